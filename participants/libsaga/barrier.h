/* SPDX-License-Identifier: Apache-2.0
 * barrier.h - sql/barrier/postgresql.sql as text; made by sql/barrier/embed.sh.
 */
#ifndef LIBSAGA_BARRIER_H
#define LIBSAGA_BARRIER_H

#define barrier_lock    saga_own_barrier_lock
#define barrier_script  saga_own_barrier_script
#define barrier_version saga_own_barrier_version

extern const char barrier_lock[];          /* the statement that lets one process set it up */
extern const char *const barrier_script[]; /* lines; ends with NULL */
extern const char barrier_version[];      /* what sagad_barrier_version() says once it has run */

#endif
