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
/* In the schema where setting up would make it, not elsewhere in the search_path. */
#define BARRIER_HAS_VERSION                                                               \
	"SELECT to_regprocedure(quote_ident(current_schema()) || '.sagad_barrier_version()')"
#define BARRIER_VERSION "SELECT sagad_barrier_version()"
#define BARRIER_MESSAGE "SELECT sagad_message($1, $2::timestamptz)"
/* Of the sender of a message: did its own commit happen? */
#define BARRIER_CHECK \
	"SELECT status, body FROM sagad_message_check($1, to_timestamp($2::bigint / 1000.0))"

#endif
