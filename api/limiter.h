/* SPDX-License-Identifier: Apache-2.0
 * limiter.h - how much one caller may ask: a token bucket each, and a count of what waits. Pure: the caller brings the time.
 */
#ifndef API_LIMITER_H
#define API_LIMITER_H

#include "coordinator/base/text.h"

struct limiter;
struct quota; /* of one caller */

struct limiter_config {
	uint32_t rate;     /* requests a second; 0: no limit */
	uint32_t burst;    /* requests that may come at once, at least 1 */
	uint32_t waiters;  /* requests of one caller that may wait; 0: no limit */
	uint32_t callers;  /* remembered at most; further ones share one quota until one is forgotten */
	uint64_t seed;     /* random: names and addresses come from outside */
};

struct limiter *limiter_open(const struct limiter_config *config);
/* One request of this caller, now: 0, or the ms after which it would be taken. now_ms never goes back. The quota stays
 * until the request leaves it. */
int64_t limiter_take(struct limiter *l, struct str caller, int64_t now_ms, struct quota **out);
/* This request waits, until it leaves: false if too many do. */
bool    limiter_wait(struct limiter *l, struct quota *q);
void    limiter_leave(struct quota *q, bool waited);
size_t  limiter_callers(const struct limiter *l);
void    limiter_close(struct limiter *l); /* harmless on NULL */

#endif
