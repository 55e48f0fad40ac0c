/* SPDX-License-Identifier: Apache-2.0
 * hotel.c - nights in hotels, for sagas: a reservation, and its cancellation.
 */
#include "examples/service.h"

static const struct service_route routes[] = { { "/reservations", EFFECT_TAKE },
					       { "/reservations/*/cancel", EFFECT_GIVE_BACK },
					       { 0 } };

static const struct service_item items[] = { { "grand", 100000 }, { "cabin", 3 }, { 0 } };

int main(int argc, char **argv)
{
	static const struct service hotel = {
		.name = "hotel",
		.item_field = "hotel",
		.amount_field = "nights",
		.routes = routes,
		.items = items,
	};

	return service_main(&hotel, argc, argv);
}
