/* SPDX-License-Identifier: Apache-2.0
 * stock.c - pieces on shelves, for TCC: set aside, then sent or put back.
 */
#include "examples/service.h"

static const struct service_route routes[] = { { "/pieces/reserve", EFFECT_HOLD },
					       { "/pieces/confirm", EFFECT_CONFIRM },
					       { "/pieces/cancel", EFFECT_RELEASE },
					       { 0 } };

static const struct service_item items[] = { { "lamp", 100000 }, { "vase", 1 }, { 0 } };

int main(int argc, char **argv)
{
	static const struct service stock = {
		.name = "stock",
		.item_field = "article",
		.amount_field = "pieces",
		.routes = routes,
		.items = items,
	};

	return service_main(&stock, argc, argv);
}
