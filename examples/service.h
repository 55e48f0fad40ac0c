/* SPDX-License-Identifier: Apache-2.0
 * service.h - a small participant service: things that can be taken, held, and given back.
 *
 * What a service owes a coordinator (the same op twice has one effect, a try after its cancel is
 * refused) is libsaga's affair; here are only the effects.
 */
#ifndef EXAMPLES_SERVICE_H
#define EXAMPLES_SERVICE_H

#include "participants/libsaga/saga/service.h"

enum { SERVICE_WORD_MAX = 200, SERVICE_DELAY_MAX_MS = 10000, SERVICE_ROUTES_MAX = 8 };

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

/* Makes the schema, tables, barrier and first items; harmless if they are there. */
bool effect_setup(PGconn *db, const struct service *s);
/* Takes (or only holds) amount of item, in the transaction that is open on db. */
enum saga_result effect_try(PGconn *db, const struct service *s, const struct saga_call *call,
			    const char *item, long long amount, bool hold,
			    struct saga_answer *answer);
/* Confirms or cancels what the try of this step did, whatever the body says. */
enum saga_result effect_second(PGconn *db, const struct saga_call *call,
                               struct saga_answer *answer);
/* {"items": […], "ledger": […]} with the newest 1,000 lines. False: the database failed. */
bool effect_show(PGconn *db, struct saga_answer *answer);

#endif
