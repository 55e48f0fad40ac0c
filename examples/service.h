/* SPDX-License-Identifier: Apache-2.0
 * service.h - a small participant service: things that can be taken, held, and given back.
 *
 * What a service owes a coordinator is all in service_effect.c: the barrier
 * (the same op twice has one effect, a cancel without its try is remembered, a
 * try after its cancel is refused), in the same database transaction as the effect.
 */
#ifndef EXAMPLES_SERVICE_H
#define EXAMPLES_SERVICE_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>

enum { SERVICE_REPLY_MAX = 512, SERVICE_WORD_MAX = 200, SERVICE_DELAY_MAX_MS = 10000 };

/* What a call does to an item. Its op is in brackets. */
enum effect {
	EFFECT_TAKE,      /* a saga's action [try]: the quantity falls */
	EFFECT_GIVE_BACK, /* its compensation [cancel]: and rises again */
	EFFECT_HOLD,      /* TCC [try]: set aside, nobody else can have it */
	EFFECT_CONFIRM,   /* [confirm]: what was set aside is gone */
	EFFECT_RELEASE    /* [cancel]: what was set aside is free again */
};

struct service_route {    /* POST */
	const char *path; /* one segment may be "*" */
	enum effect effect;
};

struct service_item {
	const char *name;
	long long quantity; /* at the beginning */
};

struct service {
	const char *name;                   /* its schema in the database, too */
	const char *item_field;             /* of the request body: which item */
	const char *amount_field;           /* how much of it */
	const struct service_route *routes; /* ends with path NULL */
	const struct service_item *items;   /* ends with name NULL; the first is the default */
};

/* Serves until SIGTERM or SIGINT. Flags: --listen=ADDRESS:PORT --dsn=DSN. */
int service_main(const struct service *s, int argc, char **argv);

/* ---- inside ---------------------------------------------------------------------- */

struct service_call {
	enum effect effect;
	const char *gid, *step; /* headers Saga-Id and Saga-Step */
	const char *item;       /* of a try */
	long long amount;
};

struct service_reply {
	int status;
	bool refused;                 /* say so in Saga-Outcome: a bare 409 would leave doubt */
	char body[SERVICE_REPLY_MAX]; /* JSON */
};

/* Makes the schema, tables and first items; harmless if they are there. */
bool effect_setup(PGconn *db, const struct service *s);
/* One call, one database transaction. Fills the reply in every case; false: the
 * database failed and nothing happened (503). */
bool effect_apply(PGconn *db, const struct service *s, const struct service_call *call,
		  struct service_reply *reply);
/* {"items": […], "ledger": […]} with the newest 1,000 lines; free() it. NULL: the database failed.
 */
char *effect_show(PGconn *db, const struct service *s);

#endif
