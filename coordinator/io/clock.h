/* SPDX-License-Identifier: Apache-2.0
 * clock.h - the database's clock as last heard, carried on by CLOCK_BOOTTIME. It goes back only where the
 * database's own clock was set back, by seconds or more.
 */
#ifndef COORDINATOR_IO_CLOCK_H
#define COORDINATOR_IO_CLOCK_H

#include "coordinator/engine/port.h"

/* clock_init() it. Until the database was heard it shows this machine's real time. */
struct clock {
	int64_t offset_ms; /* database minus boot */
	int64_t slack_ms;  /* half the round trip it was heard with: how wrong it may be */
	int64_t heard_at;  /* boot; 0: never */
	int64_t last_ms;   /* shown last */
};

void    clock_init(struct clock *c);
/* The database said db_ms in an answer to what was sent and received then (boot_ms). */
void    clock_heard(struct clock *c, int64_t db_ms, int64_t sent_at, int64_t received_at);
int64_t clock_now_ms(struct clock *c);
int64_t clock_at_ms(struct clock *c, int64_t boot_at); /* the same for whoever knows what the boot clock shows */
int64_t clock_boot_ms(void);
int64_t clock_boot_us(void); /* the same, finer */
struct clock_port clock_port_of(struct clock *c); /* c outlives the port */

#endif
