/* SPDX-License-Identifier: Apache-2.0 */
#include "api/admit.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct arena *request_arena(struct request *r)
{
	return &r->x->arena;
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

/* ---- answering ------------------------------------------------------------------- */

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void request_header(struct request *r, const char *name, const char *fmt, ...)
{
	char    value[512];
	va_list ap;
	int     n;

	va_start(ap, fmt);
	n = vsnprintf(value, sizeof value, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof value)
		n = (int)sizeof value - 1;
	exchange_set_header(r->x, name, (struct str){ value, (size_t)n });
}

void request_answer_as(struct request *r, unsigned status, const char *content_type, struct buf *body)
{
	struct api *a = r->api;

	exchange_set_header(r->x, "X-Request-Id", r->request_id);
	exchange_answer(r->x, status, content_type, body);
	counters_count(&a->counters, r->routed ? r->match.route : ROUTE_COUNT, status,
	               clock_us() - (uint64_t)r->x->since_us);
}

void request_answer(struct request *r, unsigned status, struct buf *body)
{
	request_answer_as(r, status, "application/json", body);
}

void request_error(struct request *r, const char *pointer, const char *fmt, ...)
{
	char    detail[256];
	va_list ap;

	/* Somebody who sends 10,000 wrong members needs no 10,000 sentences. */
	if (r->errors.n > 32 * 1024)
		return;
	va_start(ap, fmt);
	vsnprintf(detail, sizeof detail, fmt, ap);
	va_end(ap);
	problem_add_error(&r->errors, str_of(pointer), str_of(detail));
}

static void log_problem(struct request *r, enum problem p, struct str detail)
{
	struct trace_port *t = &r->api->ports.trace;
	char               line[400];

	if (problem_fact(p)->status < 500)
		return;
	snprintf(line, sizeof line, "code=%s request_id=%.*s detail=\"%.*s\"", problem_fact(p)->code,
	         (int)r->request_id.n, r->request_id.p, (int)(detail.n > 200 ? 200 : detail.n), detail.p);
	t->line(t->ctx, p == PROBLEM_INTERNAL ? TRACE_ERROR : TRACE_INFO, "request_failed", r->gid, line);
}

void request_problem(struct request *r, enum problem p, const char *fmt, ...)
{
	const struct problem_fact *fact = problem_fact(p);
	char                       detail[512] = "";
	struct buf                 body = { 0 };
	struct problem_text        text;
	va_list                    ap;

	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(detail, sizeof detail, fmt, ap);
		va_end(ap);
	}
	text = (struct problem_text){
		.detail = str_of(detail),
		.instance = r->x->path,
		.gid = r->gid_is_new ? (struct str){ 0 } : r->gid,
		.request_id = r->request_id,
		.errors = buf_view(&r->errors),
	};
	problem_write(&body, p, &text);
	if (fact->status == 429 || fact->status == 503)
		request_header(r, "Retry-After", "%u", r->retry_after_s);
	log_problem(r, p, text.detail.n ? text.detail : str_of(fact->sentence));
	request_answer_as(r, fact->status, "application/problem+json", &body);
}

void request_away(struct request *r, enum log_result result)
{
	/* For reads and single writes the caller's question is the same for all of them: try again. */
	switch (result) {
	case LOG_BAD_DATA:
		request_problem(r, PROBLEM_INVALID_REQUEST, "The database cannot store this text.");
		return;
	case LOG_LOST:
		request_problem(r, PROBLEM_UNAVAILABLE,
		                "The database connection broke; the request may or may not have had its effect. "
		                "Sending the same again is safe.");
		return;
	case LOG_DONE:
	case LOG_FENCED:
	case LOG_AGAIN:
	case LOG_AWAY:
		request_problem(r, PROBLEM_UNAVAILABLE, NULL);
		return;
	}
}

bool request_found(struct request *r, enum log_result result, size_t n, enum problem unknown)
{
	if (result != LOG_DONE)
		request_away(r, result);
	else if (n == 0)
		request_problem(r, unknown, NULL);
	else
		return true;
	return false;
}

void request_answer_page(struct request *r, struct buf *body, uint64_t filters, struct str after)
{
	if (after.n > 0) {
		buf_cstr(body, "],\"next_cursor\":\"");
		cursor_write(filters, after, body);
		buf_cstr(body, "\"}\n");
	} else {
		buf_cstr(body, "],\"next_cursor\":null}\n");
	}
	request_answer(r, 200, body);
}

/* ---- reading ---------------------------------------------------------------------- */

bool request_is_clean(struct request *r)
{
	if (r->errors.n == 0)
		return true;
	request_problem(r, PROBLEM_INVALID_REQUEST, NULL);
	return false;
}

/* json_parse() counts depth itself; this only tells its error from the others. */
static bool is_too_deep(struct str text, size_t at)
{
	unsigned depth = 0;
	bool     in_string = false;

	for (size_t i = 0; i <= at && i < text.n; i++) {
		char c = text.p[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
	}
	return depth > JSON_DEPTH_MAX;
}

static bool read_body(struct request *r, bool optional, unsigned levels)
{
	struct json_error err;
	struct str        text = buf_view(&r->x->body);
	struct str        type = exchange_header(r->x, "Content-Type");

	if (text.n == 0 && optional)
		text = STR("{}");
	else if (type.n && !media_type_is_json(type)) {
		request_problem(r, PROBLEM_MEDIA_TYPE, NULL);
		return false;
	}
	r->body = json_outline(text, levels, request_arena(r), &err);
	if (!r->body) {
		request_error(r, err.pointer, "%s (at byte %zu)", err.text, err.at);
		request_problem(r, is_too_deep(text, err.at) ? PROBLEM_JSON_TOO_DEEP : PROBLEM_INVALID_JSON, NULL);
		return false;
	}
	if (r->body->type != JSON_OBJECT) {
		request_error(r, "", "an object is wanted, not %s", json_type_name(r->body->type));
		return request_is_clean(r);
	}
	return true;
}

bool request_json(struct request *r, bool optional)
{
	return read_body(r, optional, JSON_DEPTH_MAX + 1);
}

bool request_outline(struct request *r)
{
	return read_body(r, false, 3);
}

bool request_gid(struct request *r)
{
	struct str gid = request_param(r, 0);

	if (!gid_is_valid(gid)) {
		request_problem(r, PROBLEM_TRANSACTION_UNKNOWN,
		                "A gid is 1 to 128 printable ASCII characters without space, quotes and backslash.");
		return false;
	}
	r->gid = gid;
	return true;
}

bool request_only(struct request *r, const char *const *known)
{
	const struct str *name = query_unknown(&r->query, known);
	char              text[64];

	if (!name)
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST, "The query parameter \"%s\" is not known here.",
	                str_cstr(*name, text, sizeof text));
	return false;
}

bool request_limit(struct request *r, unsigned *limit)
{
	const struct str *text = query_get(&r->query, "limit");
	uint64_t          n = PAGE_DEFAULT;

	if (text && (!text_to_u64(*text, &n) || n < 1 || n > PAGE_MAX)) {
		request_problem(r, PROBLEM_BAD_REQUEST, "limit is a number from 1 to %d.", PAGE_MAX);
		return false;
	}
	*limit = (unsigned)n;
	return true;
}

void request_text(struct request *r, const char *name, struct str *out)
{
	struct json *m = json_get(r->body, name);
	char         pointer[64];

	if (!m)
		return;
	if (m->type == JSON_STRING) {
		*out = json_text(m, request_arena(r));
		return;
	}
	snprintf(pointer, sizeof pointer, "/%s", name);
	request_error(r, pointer, "a string is wanted, not %s", json_type_name(m->type));
}

void request_members(struct request *r, const char *const *known)
{
	struct buf pointer = { 0 };

	for (struct json *m = r->body->first; m; m = m->next) {
		const char *const *k = known;

		while (*k && !str_is(m->key, *k))
			k++;
		if (*k)
			continue;
		buf_clear(&pointer);
		json_pointer(m, &pointer);
		request_error(r, pointer.p, "this member is not known here");
	}
	buf_fini(&pointer);
}

/* ---- waiting --------------------------------------------------------------------------- */

bool request_may_wait(struct request *r)
{
	if (!r->prefer.wait)
		return true;
	if (r->api->waiters >= r->api->config.waiters_max) {
		request_problem(r, PROBLEM_TOO_MANY_WAITERS, NULL);
		return false;
	}
	if (r->quota == NULL || r->waits)
		return true;
	r->waits = limiter_wait(r->api->limiter, r->quota);
	if (r->waits)
		return true;
	request_problem(r, PROBLEM_TOO_MANY_WAITERS, "Too many requests of yours wait already (option limit.waiters).");
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

static void on_gone(void *arg)
{
	struct request *r = arg;

	if (r->wait_handle == 0)
		return;
	stop_waiting(r);
	/* 499, as others count it; nobody reads it. */
	request_answer_as(r, 499, NULL, NULL);
}

static void on_waited(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;

	r->wait_handle = 0;
	r->api->waiters--;
	r->wait_done(r, result, view);
}

void request_wait(struct request *r, view_done *done)
{
	r->wait_done = done;
	r->api->waiters++;
	request_header(r, "Preference-Applied", "wait=%lld", (long long)((r->prefer.wait_ms + 999) / 1000));
	r->wait_handle = engine_wait(r->api->engine, r->gid, request_now(r) + r->prefer.wait_ms, on_waited, r);
	exchange_watch(r->x, on_gone, r);
}

/* ---- the way in --------------------------------------------------------------------------- */

static struct str make_request_id(struct api *a, struct arena *arena)
{
	char *id = arena_alloc(arena, 20);

	snprintf(id, 20, "%016llx",
	         (unsigned long long)(a->request_seed + ++a->request_n * 0x9e3779b97f4a7c15u));
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
	if (wait_read(*wait, &r->prefer.wait_ms))
		return true;
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
