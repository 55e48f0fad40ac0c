/* SPDX-License-Identifier: Apache-2.0
 * chaos.h - what networks and crashes do to calls now and then, done on purpose and often, to try
 * services out.
 *
 * What happens to a call follows from the seed and from which call it is, not from chance: the same
 * gid, step, op and attempt meet the same again. Calls themselves are made as ever, but for time-outs
 * and those that are on the way so long that nobody waits for them; all else is copies, whose answers
 * nobody reads. A service that follows the contract comes to the same end with it as without.
 */
#ifndef COORDINATOR_IO_CHAOS_H
#define COORDINATOR_IO_CHAOS_H

#include "coordinator/io/http.h"

#include <uv.h>

/*        name       of 100 calls  what is done */
#define CHAOS_DEEDS(X)                                                                        \
	X(DUPLICATE, 25, "sent twice at the same moment")                                     \
	X(LATE,      25, "sent once more, up to two seconds later: its decision may be done") \
	X(STALE,     15, "sent once more, later, with an older Saga-Epoch")                   \
	X(HANG_UP,   15, "given up after a few milliseconds, though it may be done")          \
	X(DELAY,     10, "given up, and arrives up to two seconds later: its cancel may be done") \
	X(STRANGER,  15, "a cancel and then its try, of a gid of which there is no transaction")

#define X(name, ...) CHAOS_##name,
enum chaos_deed { CHAOS_DEEDS(X) };
#undef X
#define X(...) + 1
enum { CHAOS_DEED_COUNT = 0 CHAOS_DEEDS(X) };
#undef X

enum { CHAOS_COPIES_MAX = 1000 }; /* under way; beyond it none are made */

struct chaos;
struct copy;

struct chaos *chaos_open(uv_loop_t *loop, struct http *http, uint32_t seed);
/* Copies under way are dropped. Before its http. */
void chaos_close(struct chaos *c);

/* Does this happen to this call? of: 0 .. n - 1, drawn with it. */
bool chaos_does(const struct chaos *c, enum chaos_deed deed, const struct call_spec *spec,
                struct str step, uint32_t n, uint32_t *of);
/* The request of a call that is about to be sent: its time-out may become short,
 * and copies are made. */
void chaos_meddle(struct chaos *c, const struct call_spec *spec, struct str step,
                  struct http_request *r);
/* Is it on the way so long that it is given up? Then it is not to be sent by the caller: done hears soon
 * that no answer came, not before this returns, and the call arrives when nobody waits any more. */
struct copy *chaos_delay(struct chaos *c, const struct call_spec *spec, struct str step,
                         const struct http_request *r, http_done *done, void *arg);
void         chaos_forget(struct copy *y); /* done is not called; it arrives all the same */
/* A cancel, and its try when that was answered; both are copied. */
void chaos_stranger(struct chaos *c, const struct http_request *cancel,
                    const struct http_request *try_it);
uint64_t chaos_copies(const struct chaos *c); /* made so far */

#endif
