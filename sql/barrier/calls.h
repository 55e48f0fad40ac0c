/* SPDX-License-Identifier: Apache-2.0
 * calls.h - how libsaga asks the barrier of postgresql.sql. Times are ms since 1970, or null.
 */
#ifndef SQL_BARRIER_CALLS_H
#define SQL_BARRIER_CALLS_H

#define BARRIER_ASK                                                                       \
	"SELECT answer, status, body"                                                     \
	" FROM sagad_barrier($1, $2, $3, $4::bigint, to_timestamp($5::bigint / 1000.0))"
#define BARRIER_KEEP "SELECT sagad_barrier_keep($1, $2, $3, $4::integer, $5)"
#define BARRIER_SWEEP "SELECT sagad_barrier_sweep(make_interval(secs => $1::bigint))"
/* Of the sender of a message: did its own commit happen? */
#define BARRIER_CHECK \
	"SELECT status, body FROM sagad_message_check($1, to_timestamp($2::bigint / 1000.0))"

#endif
