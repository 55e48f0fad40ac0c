/* SPDX-License-Identifier: Apache-2.0
 * xa_calls.h - what libsaga asks PostgreSQL about prepared transactions.
 */
#ifndef SQL_BARRIER_XA_CALLS_H
#define SQL_BARRIER_XA_CALLS_H

#define XA_LIMIT \
	"SELECT current_setting('max_prepared_transactions'), " \
	"to_regclass('sagad_barrier_step') IS NOT NULL"
#define XA_FIND "SELECT FROM pg_prepared_xacts WHERE gid = $1 AND database = current_database()"
#define XA_OLD                                                                                  \
	"SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::bigint"                  \
	" FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE 'saga:%:%'"   \
	" AND prepared < clock_timestamp() - make_interval(secs => $1::double precision)"       \
	" ORDER BY prepared"
/* Who waits for a row of the barrier may wait for one that is prepared, which no COMMIT of a
 * session ends. */
#define XA_IMPATIENT "SET LOCAL lock_timeout = '1s'"
#define XA_PATIENT "SET LOCAL lock_timeout TO DEFAULT"

#endif
