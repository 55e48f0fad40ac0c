/* SPDX-License-Identifier: Apache-2.0
 * ctl.h - one run of sagactl: what every command needs to ask, to print and to be asked back.
 */
#ifndef SAGACTL_CTL_H
#define SAGACTL_CTL_H

#include "sagactl/client.h"
#include "sagactl/grid.h"
#include "sagactl/source.h"

struct ctl {
	struct args   args;
	struct client client;
	struct answer answer;  /* the last one */
	struct buf    out;     /* for standard output; written at the end, and by ctl_flush */
	bool          color, is_terminal; /* of standard output */
	bool          can_ask;            /* somebody sits there */
	uint64_t      raw_n;              /* answers that were printed as they came */
	uint64_t      cut_at;             /* a list was longer than what was asked for: so many were shown */
};

#define X(name, ...) enum exit_status run_##name(struct ctl *c);
COMMANDS(X)
#undef X

/* ---- asking sagad. EXIT_DONE: c->answer is a success; else a sentence was written. ----- */

enum exit_status ctl_send(struct ctl *c, const struct ask *ask);
enum exit_status ctl_get(struct ctl *c, const char *path);
/* Also the answers that are problems: the caller looks at c->answer.status. EXIT_UNREACHABLE: there is none. */
enum exit_status ctl_try(struct ctl *c, const struct ask *ask);
enum exit_status ctl_problem(struct ctl *c);        /* writes what c->answer says is wrong */
/* All pages of a list, up to --limit: its items, joined by commas, as they came; else each of them. */
typedef void     ctl_item(struct ctl *c, void *arg, json_t *item);
enum exit_status ctl_list(struct ctl *c, struct buf *path, ctl_item *each, void *arg);

/* ---- writes ---------------------------------------------------------------------------- */

/* {"reason":…,"actor":… and no brace yet; asks for the reason on a terminal. */
enum exit_status ctl_begin_body(struct ctl *c, struct buf *body);
/* Actor and reason, where they are given, as a query: for bodies that are documents. */
void             ctl_add_person(struct ctl *c, struct buf *path);
/* POSTs it, with its brace, ?dry_run=true and If-Match as the flags say. */
enum exit_status ctl_write(struct ctl *c, const char *method, struct buf *path, struct buf *body, int64_t wait_ms);
/* The gid typed again, or --confirm. */
enum exit_status ctl_confirm_gid(struct ctl *c, const char *gid, const char *what);
enum exit_status ctl_confirm(struct ctl *c, const char *question); /* or --yes */
/* What a dry run answered. */
void             ctl_show_dry_run(struct ctl *c);
/* POST /v1/NOUN/NAME/VERB for the first word of the command, with reason and actor; done: "NAME is …". */
enum exit_status ctl_operate(struct ctl *c, const char *noun, const char *verb, const char *done);

/* ---- printing ---------------------------------------------------------------------------- */

void             ctl_flush(struct ctl *c);
void             ctl_raw(struct ctl *c);            /* --json: the answer as it came */
void             ctl_end_raw(struct ctl *c);        /* closes the array of several */
void             ctl_say(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* standard error */
enum exit_status ctl_usage(const struct err *err);
bool             ctl_has(const struct ctl *c, enum flag f);
/* A duration of a flag; the default where it is not given. */
enum exit_status ctl_duration(struct ctl *c, enum flag f, int64_t by_default, int64_t *ms);
enum exit_status ctl_number(struct ctl *c, enum flag f, uint64_t by_default, uint64_t *n);

/* ---- looking into answers: total on any JSON; texts live as long as the answer -------------- */

json_t     *look(const json_t *node, const char *name);        /* NULL where it is null, too */
struct str  text_of_json(const json_t *node);                  /* numbers and flags as written; of all else "" */
struct str  look_text(const json_t *node, const char *name);
int64_t     look_time(const json_t *node, const char *name);   /* 0: none */
bool        look_true(const json_t *node, const char *name);
bool        look_paused(const json_t *node); /* of transactions it is a flag, of others who, when and why, or null */
uint64_t    look_number(const json_t *node, const char *name); /* 0: none */
/* "3m ago" of a time; "-" of none. */
void        look_ago(struct ctl *c, json_t *node, const char *name, struct buf *out);

/* ---- for people --------------------------------------------------------------------------- */

void show_transaction(struct ctl *c); /* the answer */
void show_overview(struct ctl *c, json_t *o);
void show_value(struct ctl *c, json_t *node, unsigned indent); /* an object or an array, as names and values */
/* One line: "phase cancelled, cause refused by charge". */
void show_state(struct ctl *c, json_t *t, struct buf *out);
enum style style_of_phase(struct str phase);

#endif
