/* SPDX-License-Identifier: Apache-2.0
 * doctor.c - GET /v1/doctor: what is wrong with the database, this replica's way to it, and the replicas beside each other.
 */
#include "api/doctor_check.h"
#include "api/overview.h"
#include "api/request.h"
#include "api/show.h"

#include <time.h>

static const char *const NOTHING[] = { NULL };

/* The port's clock is the database's, carried on: it would always agree. */
static int64_t own_clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void show_check(struct buf *out, const struct check *c)
{
	buf_cstr(out, "{\"name\":");
	buf_json(out, str_of(c->name));
	show_text(out, "state", str_of(check_state_name(c->state)));
	show_text(out, "finding", buf_view(&c->finding));
	if (c->advice.n)
		show_text(out, "advice", buf_view(&c->advice));
	buf_char(out, '}');
}

/* That is when a doctor is wanted most: what this replica was told when it tried last. */
static void answer_away(struct request *r)
{
	const struct api_database db = api_database(r->api);
	struct buf                body = { 0 };

	buf_cstr(&body, "{\"healthy\":false,\"checks\":[{\"name\":\"database\",\"state\":\"bad\"");
	show_text(&body, "finding", str_of(*db.last_error ? db.last_error : "it does not answer"));
	show_text(&body, "advice", STR("this replica tries again by itself: see to the server, the network or the DSN; "
	                               "nothing that was answered is lost"));
	buf_cstr(&body, "}]}\n");
	request_answer(r, 200, &body);
}

struct doctor { /* the request's own, with its texts */
	struct doctor_fact *facts;
	size_t              n;
	unsigned            known;
	int64_t             now;
};

static void answer(struct request *r)
{
	const struct doctor *d = r->own;
	const struct facts   f = { d->facts, d->n, d->known, d->now };
	struct check         checks[CHECK_COUNT];
	struct buf           body = { 0 }, list = { 0 };
	bool                 healthy = true;

	doctor_judge(&f, checks);
	for (size_t i = 0; i < CHECK_COUNT; i++) {
		buf_cstr(&list, i ? ",\n" : "");
		show_check(&list, &checks[i]);
		healthy = healthy && checks[i].state != CHECK_BAD;
		buf_fini(&checks[i].finding);
		buf_fini(&checks[i].advice);
	}
	buf_fmt(&body, "{\"healthy\":%s,\"checks\":[{\"name\":\"database\",\"state\":\"ok\",\"finding\":\"it answers\"},\n",
	        healthy ? "true" : "false");
	buf_str(&body, buf_view(&list));
	buf_cstr(&body, "]}\n");
	buf_fini(&list);
	request_answer(r, 200, &body);
}

static void add_fact(struct request *r, struct doctor *d, struct str name, struct str value)
{
	d->facts[d->n++] = (struct doctor_fact){ arena_str(request_arena(r), name),
		                                 arena_str(request_arena(r), value) };
}

/* One that does not say its version is older than the question. */
static void on_told(struct request *r, const struct told_all *all)
{
	struct buf words = { 0 };

	for (size_t i = 0; i < all->n; i++) {
		const struct told *t = &all->items[i];
		const struct json *v = t->says ? json_get(t->says, "version") : NULL;

		if (t->member.state != MEMBER_LIVE)
			continue;
		buf_cstr(&words, words.n > 0 ? " " : "");
		if (v != NULL && v->type == JSON_STRING)
			buf_str(&words, json_text(v, request_arena(r)));
		else
			buf_cstr(&words, t->says ? "unknown" : "-");
	}
	add_fact(r, r->own, STR("replicas"), buf_view(&words));
	buf_fini(&words);
	answer(r);
}

static void on_members(void *arg, enum log_result result, const struct member *members, size_t n)
{
	struct request *r = arg;

	if (result == LOG_DONE)
		overview_ask(r, members, n, on_told);
	else
		answer_away(r);
}

static void on_facts(void *arg, enum log_result result, const struct doctor_fact *facts, size_t n, unsigned known)
{
	struct request  *r = arg;
	struct log_port *log = &r->api->ports.log;
	struct doctor   *d = arena_alloc(request_arena(r), sizeof *d);

	if (result != LOG_DONE) {
		answer_away(r);
		return;
	}
	*d = (struct doctor){ .known = known, .now = own_clock_ms() };
	d->facts = arena_array(request_arena(r), n + 1, sizeof *d->facts);
	for (size_t i = 0; i < n; i++)
		add_fact(r, d, facts[i].name, facts[i].value);
	r->own = d;
	log->members(log->ctx, on_members, r);
}

void handle_doctor(struct request *r)
{
	struct store_port *store = &r->api->store;

	if (request_only(r, NOTHING))
		store->doctor(store->ctx, on_facts, r);
}
