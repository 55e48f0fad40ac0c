/* SPDX-License-Identifier: Apache-2.0 */
#include "api/admit.h"
#include "api/head.h"

#include <stdlib.h>
#include <string.h>

struct arena *request_arena(struct request *r)
{
	return &r->x->arena;
}

struct str request_keep(struct request *r, struct buf *text)
{
	struct str kept = arena_str(request_arena(r), buf_view(text));

	buf_fini(text);
	return kept;
}

int64_t request_now(const struct request *r)
{
	return r->api->ports.clock.now_ms(r->api->ports.clock.ctx);
}

struct str request_param(const struct request *r, unsigned i)
{
	return r->match.params[i];
}

bool request_is_me(const struct request *r, struct str id)
{
	struct engine_stats me;
	char                text[UUID_TEXT + 1];

	engine_stats(r->api->engine, &me);
	return str_is(id, uuid_text(me.me, text));
}

const struct principal *request_principal(const struct request *r)
{
	return &r->who;
}

/* ---- waiting --------------------------------------------------------------------------- */

bool request_takes_place(struct request *r, const char **why)
{
	*why = NULL;
	if (!r->prefer.wait)
		return true;
	if (r->api->waiters >= r->api->config.waiters_max)
		return false;
	if (r->quota == NULL || r->waits)
		return true;
	r->waits = limiter_wait(r->api->limiter, r->quota);
	if (!r->waits)
		*why = "Too many requests of yours wait already (option limit.waiters).";
	return r->waits;
}

bool request_may_wait(struct request *r)
{
	const char *why;

	if (request_takes_place(r, &why))
		return true;
	request_problem(r, PROBLEM_TOO_MANY_WAITERS, why != NULL ? "%s" : NULL, why);
	return false;
}

static void stop_waiting(struct request *r)
{
	if (r->wait_handle == 0)
		return;
	engine_unwait(r->api->engine, r->wait_handle);
	r->wait_handle = 0;
	r->api->waiters--;
}

static void on_waited(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;

	r->wait_handle = 0;
	r->api->waiters--;
	r->wait_done(r, result, view);
}

static void on_gone(void *arg)
{
	struct request *r = arg;

	if (r->wait_handle == 0)
		return;
	/* Who has only said all it had to say reads on, and nobody can tell before it is written
	 * to: what is known now is the answer. */
	engine_unwait(r->api->engine, r->wait_handle);
	r->wait_handle = engine_wait(r->api->engine, r->gid, request_now(r), on_waited, r);
}

void request_wait(struct request *r, view_done *done)
{
	const int64_t ms = r->prefer.wait_ms;
	int64_t       until = AT_NEVER;

	if (ms != WAIT_ENDLESS) {
		until = request_now(r) + ms;
		request_number(r, "Preference-Applied", "wait=", (uint64_t)(ms + 999) / 1000, "");
	}
	r->wait_done = done;
	r->api->waiters++;
	r->wait_handle = engine_wait(r->api->engine, r->gid, until, on_waited, r);
	exchange_watch(r->x, on_gone, r);
}

/* ---- the way in --------------------------------------------------------------------------- */

static struct str make_request_id(struct api *a, struct arena *arena)
{
	uint64_t bits = a->request_seed + ++a->request_n * 0x9e3779b97f4a7c15u;
	char    *id = arena_text(arena, 16);

	text_put_hex((uint32_t)(bits >> 32), id);
	text_put_hex((uint32_t)bits, id + 8);
	return (struct str){ id, 16 };
}

static bool request_id_is_valid(struct str id)
{
	return gid_is_valid(id);
}

struct query_reading {
	struct request *r;
	const char     *wrong;
};

static bool on_query(void *arg, struct str name, struct str value)
{
	struct query_reading *q = arg;

	q->wrong = query_add(&q->r->query, request_arena(q->r), name, value);
	return q->wrong == NULL;
}

static bool read_query(struct request *r)
{
	struct query_reading reading = { r, NULL };
	const struct str    *wait;

	exchange_each_query(r->x, on_query, &reading);
	if (reading.wrong) {
		request_problem(r, PROBLEM_BAD_REQUEST, "The query cannot be read: %s.", reading.wrong);
		return false;
	}
	prefer_read(exchange_header_list(r->x, "Prefer"), &r->prefer);
	wait = query_get(&r->query, "wait");
	if (!wait)
		return true;
	r->prefer.wait = true;
	if (wait_read(*wait, &r->prefer.wait_ms)) {
		r->prefer.asked_ms = r->prefer.wait_ms;
		return true;
	}
	request_problem(r, PROBLEM_BAD_REQUEST, "wait is a duration like 20s; more than 60s counts as 60s.");
	return false;
}

static bool read_if_match(struct request *r)
{
	if (etag_read(exchange_header(r->x, "If-Match"), &r->if_match))
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST, "If-Match is one ETag as this API gave it, or *.");
	return false;
}

static bool is_routed(struct request *r)
{
	struct buf allow = { 0 };

	switch (r->found) {
	case ROUTER_FOUND:
		return true;
	case ROUTER_NONE:
		request_problem(r, PROBLEM_NOT_FOUND, NULL);
		return false;
	case ROUTER_BAD_PATH:
		request_problem(r, PROBLEM_BAD_REQUEST,
		                "The path is too long, or not percent-encoded UTF-8 without control characters.");
		return false;
	case ROUTER_METHOD:
	case ROUTER_OPTIONS:
		router_allow(r->match.allowed, &allow);
		request_header(r, "Allow", "%s", allow.p);
		if (str_is(r->x->method, "OPTIONS"))
			request_answer_as(r, 204, NULL, NULL);
		else
			request_problem(r, PROBLEM_METHOD_NOT_ALLOWED, "Allowed here: %s.", allow.p);
		buf_fini(&allow);
		return false;
	}
	return false;
}

static void call_handler(struct request *r)
{
	static void (*const HANDLERS[ROUTE_COUNT])(struct request *r) = {
#define X(name, ...) [ROUTE_##name] = handle_##name,
		ROUTES(X) OPS_ROUTES(X)
#undef X
	};

	HANDLERS[r->match.route](r);
}

static struct request *new_request(struct api *api, enum listener listener, struct exchange *x)
{
	struct request *r = arena_alloc(&x->arena, sizeof *r);
	struct str      id = exchange_header(x, "X-Request-Id");

	r->api = api;
	r->x = x;
	r->listener = listener;
	r->who = access_anyone;
	r->retry_after_s = 1;
	x->user = r;
	r->request_id = id.n && request_id_is_valid(id) ? id : make_request_id(api, &x->arena);
	return r;
}

bool request_admit(struct api *api, enum listener listener, struct exchange *x)
{
	struct request *r = new_request(api, listener, x);

	r->found = router_find(listener, x->method, x->path, request_arena(r), &r->match);
	r->routed = r->found == ROUTER_FOUND;
	return r->routed && admit(r);
}

void request_serve(struct api *api, enum listener listener, struct exchange *x)
{
	struct request *r = x->user ? x->user : new_request(api, listener, x);

	rates_note(api, x->since_us / 1000);
	if (x->head == HEAD_WRONG) {
		request_problem(r, PROBLEM_BAD_REQUEST, "The request cannot be read: %s.", x->wrong);
		return;
	}
	if (x->head == HEAD_MANY_HEADERS) {
		request_problem(r, PROBLEM_HEADERS_TOO_LARGE, "It has more than %d header lines.", HEAD_FIELDS_MAX);
		return;
	}
	if (x->head != HEAD_FITS) {
		request_problem(r, x->head == HEAD_LONG_URL ? PROBLEM_URI_TOO_LONG : PROBLEM_HEADERS_TOO_LARGE, NULL);
		return;
	}
	if (x->body_unclear) {
		request_problem(r, PROBLEM_BAD_REQUEST,
		                "Content-Length stands twice, or beside Transfer-Encoding: send one of them, once.");
		return;
	}
	if (r->refused) {
		admit_refuse(r);
		return;
	}
	if (x->body_too_big) {
		request_problem(r, PROBLEM_BODY_TOO_LARGE, "The body is longer than %zu bytes.", api->config.body_max);
		return;
	}
	if (is_routed(r) && read_query(r) && read_if_match(r))
		call_handler(r);
}

void request_cut_off(struct request *r)
{
	stop_waiting(r);
	request_problem(r, PROBLEM_NOT_LIVE, "This replica leaves; it is not known here what became of the request. "
	                                     "Asking another replica the same again is safe.");
}

void request_over(struct exchange *x)
{
	struct request *r = x->user;

	if (r == NULL)
		return;
	if (r->quota)
		limiter_leave(r->quota, r->waits);
	buf_fini(&r->errors);
}
