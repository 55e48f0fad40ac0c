/* SPDX-License-Identifier: Apache-2.0
 * overview.h - what each replica says of itself, and what that comes to.
 */
#ifndef API_OVERVIEW_H
#define API_OVERVIEW_H

#include "api/request.h"

struct told {
	struct member      member; /* its address is the request's */
	bool               asked;  /* it lives, and is not the one that asks */
	/* As of GET /internal/overview/{id}; NULL: it does not live, or does not answer. */
	const struct json *says;
};

struct told_all {
	struct told *items;
	size_t       n;
};

/* This replica: {"replica":…,"version":…,"owned":…,"lease_age_ms":…,"rates":{…},"participants":[…]} */
void overview_here(struct request *r, struct buf *out);
/* Asks all that live, so many at once, for at most a second each; this one is not asked, but
 * heard. done once, perhaps at once. */
void overview_ask(struct request *r, const struct member *members, size_t n,
                  void (*done)(struct request *r, const struct told_all *all));
/* {"answered":…,"silent":[…],"owned":…,"rates":{…},"participants":[…]} */
void overview_sum(struct request *r, const struct told_all *all, struct buf *out);

#endif
