/* SPDX-License-Identifier: Apache-2.0
 * payment.c - money in accounts: charge and refund for sagas, holds for TCC.
 */
#include "examples/service.h"

static const struct service_route routes[] = {
	{ "/charges", EFFECT_TAKE },         { "/charges/refund", EFFECT_GIVE_BACK },
	{ "/holds", EFFECT_HOLD },           { "/holds/confirm", EFFECT_CONFIRM },
	{ "/holds/cancel", EFFECT_RELEASE }, { 0 }
};

static const struct service_item items[] = { { "ada", 10000000 }, { "bob", 100 }, { 0 } };

int main(int argc, char **argv)
{
	static const struct service payment = {
		.name = "payment",
		.item_field = "account",
		.amount_field = "amount",
		.routes = routes,
		.items = items,
	};

	return service_main(&payment, argc, argv);
}
