/* SPDX-License-Identifier: Apache-2.0
 * request_answer.c - what a request is answered: bodies, headers, problems, pages of lists.
 */
#include "api/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

void request_number(struct request *r, const char *name, const char *before, uint64_t v,
                    const char *after)
{
	const size_t before_n = strlen(before), after_n = strlen(after);
	char         digits[20];
	struct str   number = text_of_u64(v, digits);
	char        *text = arena_alloc(&r->x->arena, before_n + number.n + after_n);

	memcpy(text, before, before_n);
	memcpy(text + before_n, number.p, number.n);
	memcpy(text + before_n + number.n, after, after_n);
	exchange_set_header(r->x, name, (struct str){ text, before_n + number.n + after_n });
}

void request_etag(struct request *r, uint64_t version)
{
	request_number(r, "ETag", "\"", version, "\"");
}

void request_answer_as(struct request *r, unsigned status, const char *content_type,
                       struct buf *body)
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
	snprintf(line, sizeof line, "code=%s request_id=%.*s detail=\"%.*s\"",
	         problem_fact(p)->code, (int)r->request_id.n, r->request_id.p,
	         (int)(detail.n > 200 ? 200 : detail.n), detail.p);
	t->line(t->ctx, p == PROBLEM_INTERNAL ? TRACE_ERROR : TRACE_INFO, "request_failed", r->gid,
	        line);
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
	/* For reads and single writes the caller's question is the same for all
	 * of them: try again. */
	switch (result) {
	case LOG_BAD_DATA:
		request_problem(r, PROBLEM_INVALID_REQUEST, "The database cannot store this text.");
		return;
	case LOG_LOST:
		request_problem(r, PROBLEM_UNAVAILABLE,
		                "The database connection broke; the request may or may not have "
		                "had its effect. Sending the same again is safe.");
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

void request_item(struct buf *body)
{
	buf_cstr(body, body->n ? ",\n" : "{\"items\":[");
}

void request_answer_page(struct request *r, struct buf *body, uint64_t filters, struct str after)
{
	if (body->n == 0)
		request_item(body);
	if (after.n > 0) {
		buf_cstr(body, "],\"next_cursor\":\"");
		cursor_write(filters, after, body);
		buf_cstr(body, "\"}\n");
	} else {
		buf_cstr(body, "],\"next_cursor\":null}\n");
	}
	request_answer(r, 200, body);
}
