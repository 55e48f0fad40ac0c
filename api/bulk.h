/* SPDX-License-Identifier: Apache-2.0
 * bulk.h - an action on every transaction that a filter matches: what it asks, and whoever runs it.
 */
#ifndef API_BULK_H
#define API_BULK_H

#include "api/request.h"

enum { BULK_RATE_MAX = 1000, BULK_RATE_DEFAULT = 50 };

struct bulk_filter {
	struct list_filter  list;   /* with the first label */
	const struct json  *labels; /* all of them; or NULL */
};

/* The actions that need nobody to type a gid. */
bool bulk_action(struct str text, enum command_kind *out);
/* What is wrong with the filter, or NULL. Times count from created_at: what begins later (by more than clocks differ) is
 * none of it. pointer: where. */
const char *bulk_filter_read(const struct json *filter, int64_t created_at, struct arena *arena, struct bulk_filter *out,
                             struct str *pointer);
/* The store filters by one label; further ones are looked at here. */
bool bulk_filter_fits(const struct bulk_filter *f, const struct row *row);

/* How many were refused, by verdict; unknown: there is no such transaction any more. */
struct bulk_refusals {
	uint64_t by_verdict[VERDICT_COUNT], unknown;
};

/* A JSON object; what is none counts as empty. */
void bulk_refusals_read(struct bulk_refusals *refusals, struct str text, struct arena *arena);
void bulk_refusals_write(const struct bulk_refusals *refusals, struct buf *out);

/* With its ETag. */
void bulk_answer(struct request *r, unsigned status, const struct bulk_row *b);

struct bulk_run;

struct bulk_counts { /* of what this replica ran, since start */
	uint64_t done, refused, failed;
	bool     running;
};
void bulk_run_counts(const struct bulk_run *run, struct bulk_counts *out);

struct bulk_run *bulk_run_open(struct api *a);
void    bulk_run_close(struct bulk_run *run);
void    bulk_run_tick(struct bulk_run *run);
int64_t bulk_run_next_at(const struct bulk_run *run); /* boot_ms */
/* There may be one to run: looks at once. */
void    bulk_run_look(struct bulk_run *run);

#endif
