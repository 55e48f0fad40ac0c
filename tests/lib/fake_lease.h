/* SPDX-License-Identifier: Apache-2.0
 * fake_lease.h - leases behind lease_port: advisory locks of sessions that the server ends when they fall
 * silent, or rows that each beat marks anew and that stay until they are let go or fenced.
 */
#ifndef TESTS_LIB_FAKE_LEASE_H
#define TESTS_LIB_FAKE_LEASE_H

#include "coordinator/engine/port.h"
#include "tests/lib/fake_loop.h"

struct fake_locks; /* the server's side */
struct fake_lease; /* one replica's connections to it */

struct fake_locks *fake_locks_open(struct fake_loop *loop);
void               fake_locks_close(struct fake_locks *locks); /* after its leases and the loop's events */
/* The server's clock, on which nothing must depend. NULL: the loop's. */
void               fake_locks_clock(struct fake_locks *locks, int64_t (*now_ms)(void *ctx), void *ctx);
/* As a lock, or as a row that does not have this mark. */
bool               fake_locks_is_held(const struct fake_locks *locks, int64_t key, int64_t mark);
struct lease_sight fake_locks_sight(const struct fake_locks *locks, int64_t key);
/* For how long, in one session; -1: not held. */
int64_t            fake_locks_held_ms(const struct fake_locks *locks, int64_t key);
/* How long ago its holder spoke last, even if the server has forgotten that; -1: no such row is held. */
int64_t            fake_locks_silent_ms(const struct fake_locks *locks, int64_t key);
/* The lease is fenced: as a row it is over, and a beat that comes late does not revive it. */
void               fake_locks_end(struct fake_locks *locks, int64_t key);
/* Down: every session and watch dies, new ones are refused. Rows stay, but forget the last `lost_ms`. */
void               fake_locks_stop(struct fake_locks *locks, int64_t lost_ms);
void               fake_locks_start(struct fake_locks *locks);
/* It stands still, and so does whatever is asked of it; sessions that were silent for too long end after it. */
void               fake_locks_stall(struct fake_locks *locks, int64_t ms);

struct fake_lease_config {
	struct fake_locks *locks;
	struct fake_end   *end;
	void              *ctx;
	int64_t          (*delay)(void *ctx); /* of one message, either way */
	void             (*lost)(void *ctx);  /* the shell hears that the session broke */
	bool               row;               /* what it opens is a row */
};

struct fake_lease *fake_lease_open(const struct fake_lease_config *config, struct lease_port *port);
/* The process is gone; its sessions end at once, and with them its lock, but not its row. */
void               fake_lease_close(struct fake_lease *lease);
/* The server ends the session now. Silent: the replica learns of it by its next beat only. */
void               fake_lease_drop(struct fake_lease *lease, bool silent);
/* While cut nothing gets through either way; the server waits out its time. */
void               fake_lease_cut(struct fake_lease *lease, bool cut);
void               fake_lease_break_watch(struct fake_lease *lease);
/* When the last request that was answered had been sent, on the loop's clock; -1: none, or closed since. */
int64_t            fake_lease_proven_at(const struct fake_lease *lease);

#endif
