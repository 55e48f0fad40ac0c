/* SPDX-License-Identifier: Apache-2.0
 * audit.h - who asks for a change, and what is written down about it.
 */
#ifndef API_AUDIT_H
#define API_AUDIT_H

#include "api/request.h"

enum { ACTOR_BYTES_MAX = 128, REASON_BYTES_MAX = 1000 };

struct person {
	struct str actor, role, reason;
};

/* Members `reason` and `actor` of the body; notes errors. Who came with a token is whom the token names,
 * whatever `actor` says. */
void person_read(struct request *r, struct person *p);
/* The same where a reason may be missing: it is a parameter of the query. False: a problem has been answered. */
bool person_read_query(struct request *r, struct person *p);

/* The line for the audit; its texts live as long as the request. */
struct deed person_deed(const struct request *r, const struct person *p, const char *kind, struct str target,
                        const char *action);

/* ,"paused":… who, why and since when, or null. */
void show_pause(struct request *r, struct buf *out, enum pause_kind kind, struct str name);

/* ?dry_run=true: nothing is written. False: a problem has been answered. */
bool request_dry_run(struct request *r, bool *dry);
/* {"dry_run":true,"would":{… of a registration; the caller adds members and closes it. Versions, before 0: there is
 * none. */
void show_registration(struct buf *out, const char *kind, struct str name, uint64_t before, uint64_t after);

#endif
