/* SPDX-License-Identifier: Apache-2.0
 * service.c - the HTTP side of an example service: its routes, and what can be said of a call
 * before there is a database session.
 */
#include "examples/service.h"

#include "participants/libsaga/saga/mhd.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SESSIONS = 6, BODY_MAX = 1 << 16 };

struct handling { /* of one route */
	const struct service *about;
	enum effect effect;
};

struct order { /* what a try asks for */
	char item[SERVICE_WORD_MAX];
	long long amount;
	long delay_ms; /* how long it shall take: for demonstrations */
};

/* ---- calls --------------------------------------------------------------------------- */

static bool word_is_plain(const char *w)
{
	if (!w || !*w || strlen(w) >= SERVICE_WORD_MAX)
		return false;
	for (; *w; w++)
		if (*w <= ' ' || *w > '~' || *w == '"' || *w == '\\')
			return false;
	return true;
}

/* NULL, or what is wrong with the body. */
static const char *check_order(const struct service *s, json_t *body, struct order *out)
{
	json_t *item = json_object_get(body, s->item_field);
	json_t *amount = json_object_get(body, s->amount_field);
	const char *name = item ? json_string_value(item) : s->items[0].name;

	if (!json_is_object(body))
		return "the body is a JSON object";
	out->delay_ms = (long)json_integer_value(json_object_get(body, "delay_ms"));
	if (out->delay_ms < 0 || out->delay_ms > SERVICE_DELAY_MAX_MS)
		return "delay_ms is 0 to 10000";
	if (!word_is_plain(name))
		return "the item is a word";
	snprintf(out->item, sizeof(out->item), "%s", name);
	out->amount = json_integer_value(amount);
	if (!json_is_integer(amount) || out->amount <= 0 || out->amount > 1000000000)
		return "the amount is a whole number above 0";
	return NULL;
}

static const char *read_order(const struct service *s, const struct saga_call *call,
                              struct order *out)
{
	json_t *body = json_loadb(call->body, call->body_size, 0, NULL);
	const char *wrong = check_order(s, body, out);

	json_decref(body);
	return wrong;
}

/* Before a session is taken: a wrong body is no reason to open a transaction, and who dawdles
 * does it without one. */
static bool before_try(void *ctx, const struct saga_call *call, struct saga_answer *answer)
{
	const struct handling *h = ctx;
	struct order order;
	const char *wrong = read_order(h->about, call, &order);

	if (wrong) {
		answer->status = 400;
		saga_answer_error(answer, wrong);
		return false;
	}
	if (order.delay_ms)
		nanosleep(&(struct timespec){ order.delay_ms / 1000,
					      order.delay_ms % 1000 * 1000000 }, NULL);
	return true;
}

static enum saga_result handle(void *ctx, PGconn *db, const struct saga_call *call,
                               struct saga_answer *answer)
{
	const struct handling *h = ctx;
	struct order order;

	if (h->effect != EFFECT_TAKE && h->effect != EFFECT_HOLD)
		return effect_second(db, call, answer);
	if (read_order(h->about, call, &order))
		return SAGA_FAILED;
	return effect_try(db, h->about, call, order.item, order.amount, h->effect == EFFECT_HOLD,
	                  answer);
}

static enum saga_op op_of(enum effect e)
{
	switch (e) {
	case EFFECT_TAKE:
	case EFFECT_HOLD: return SAGA_TRY;
	case EFFECT_CONFIRM: return SAGA_CONFIRM;
	case EFFECT_GIVE_BACK:
	case EFFECT_RELEASE: return SAGA_CANCEL;
	}
	return SAGA_TRY;
}

/* ---- other requests ------------------------------------------------------------------------ */

struct server {
	const struct service *about;
	struct saga_pool *pool;
};

static bool show(void *ctx, const struct saga_request *request, struct saga_answer *answer)
{
	const struct server *sv = ctx;
	PGconn *db;

	if (!strcmp(request->method, "POST")) {
		answer->status = 400;
		return saga_answer_error(answer, "Saga-Id and Saga-Step are missing");
	}
	answer->status = 200;
	if (!strcmp(request->path, "/livez"))
		return saga_answer_printf(answer, "{\"live\": true}");
	if (strcmp(request->path, "/"))
		return false;
	db = saga_pool_take(sv->pool);
	if (!effect_show(db, answer)) {
		answer->status = 503;
		saga_answer_error(answer, "the database is away");
	}
	saga_pool_give(sv->pool, db);
	return true;
}

static void tell(void *ctx, const struct saga_call *call, const struct saga_answer *answer)
{
	const struct server *sv = ctx;

	if (answer->log[0])
		fprintf(stderr, "%s: %s %s: HTTP %d: %s\n", sv->about->name,
		        call ? call->gid : "no call", call ? saga_op_name(call->op) : "",
		        answer->status, answer->log);
}

/* ---- start and stop ---------------------------------------------------------------------- */

static const char *flag_value(int argc, char **argv, const char *name, const char *otherwise)
{
	size_t n = strlen(name);

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, n) && argv[i][n] == '=')
			return argv[i] + n + 1;
	return otherwise;
}

static int serve(const struct server *sv, const char *listen)
{
	struct saga_mhd_options options = { .listen = listen, .body_max = BODY_MAX };
	struct handling handlings[SERVICE_ROUTES_MAX];
	struct saga_route routes[SERVICE_ROUTES_MAX];
	struct saga_service service = {
		.pool = sv->pool, .routes = routes, .other = show, .after = tell
	};
	struct saga_error error;
	struct saga_mhd *http;
	sigset_t stop;
	int got;

	service.ctx = (void *)(uintptr_t)sv;
	for (const struct service_route *r = sv->about->routes; r->path; r++) {
		size_t i = service.route_count++;
		enum saga_op op = op_of(r->effect);

		handlings[i] = (struct handling){ sv->about, r->effect };
		routes[i] = (struct saga_route){ .path = r->path, .op = op, .handler = handle,
						 .before = op == SAGA_TRY ? before_try : NULL,
						 .ctx = &handlings[i] };
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	pthread_sigmask(SIG_BLOCK, &stop, NULL); /* before there are threads: they inherit it */
	http = saga_mhd_open(&service, &options, &error);
	if (!http) {
		fprintf(stderr, "%s: %s\n", sv->about->name, error.text);
		return error.code == SAGA_E_ARGUMENT ? 2 : 1;
	}
	printf("%s: listening on http://%s\n", sv->about->name, listen);
	fflush(stdout);
	sigwait(&stop, &got);
	saga_mhd_close(http);
	return 0;
}

static struct saga_pool *open_pool(const struct service *s, const char *dsn)
{
	struct saga_error error;
	struct saga_pool *pool = saga_pool_open(dsn, s->name, SESSIONS, &error);
	PGconn *db;
	bool ready;

	if (!pool) {
		fprintf(stderr, "%s: %s\n", s->name, error.text);
		return NULL;
	}
	db = saga_pool_take(pool);
	ready = effect_setup(db, s);
	saga_pool_give(pool, db);
	if (ready)
		return pool;
	saga_pool_close(pool);
	return NULL;
}

int service_main(const struct service *s, int argc, char **argv)
{
	struct server sv = { .about = s };
	const char *listen = flag_value(argc, argv, "--listen", NULL);
	int rc = 1;

	if (!listen) {
		fprintf(stderr, "usage: %s --listen=ADDRESS:PORT [--dsn=DSN]\n", argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	sv.pool = open_pool(s, flag_value(argc, argv, "--dsn", ""));
	if (sv.pool)
		rc = serve(&sv, listen);
	saga_pool_close(sv.pool);
	return rc;
}
