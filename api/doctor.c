/* SPDX-License-Identifier: Apache-2.0
 * doctor.c - GET /v1/doctor: what is wrong with the database and this replica's way to it.
 */
#include "api/doctor_check.h"
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

static void on_facts(void *arg, enum log_result result, const struct doctor_fact *facts, size_t n, unsigned known)
{
	struct request    *r = arg;
	const struct facts f = { facts, n, known, own_clock_ms() };
	struct check       checks[CHECK_COUNT];
	struct buf         body = { 0 }, list = { 0 };
	bool               healthy = true;

	if (result != LOG_DONE) {
		answer_away(r);
		return;
	}
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

void handle_doctor(struct request *r)
{
	struct store_port *store = &r->api->store;

	if (request_only(r, NOTHING))
		store->doctor(store->ctx, on_facts, r);
}
