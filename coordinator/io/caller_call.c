/* SPDX-License-Identifier: Apache-2.0
 * caller_call.c - what one call is: its text, its signature, how it is sent, and what its end means.
 */
#include "coordinator/io/caller_internal.h"

#include <string.h>

enum {
	SIGNATURE_HEADERS = 3,
	STRANGER_GID_MAX = 128
};

/* ---- rendering ----------------------------------------------------------------------------- */

static struct str base_url(void *ctx, struct str name)
{
	const struct caller      *c = ctx;
	const struct participant *p = NULL;

	if (c->config.participants != NULL)
		p = participants_find(c->config.participants, name);
	return p != NULL ? p->base_url : (struct str){ 0 };
}

bool job_render(struct job *j)
{
	return call_render(&j->spec, &j->caller->config.rules, base_url, j->caller, &j->arena, &j->text, &j->err);
}

/* ---- sending -------------------------------------------------------------------------------- */

static const char *header(struct arena *arena, const char *name, const char *value)
{
	const size_t size = strlen(name) + strlen(value) + 1;
	char        *p = arena_alloc(arena, size);

	strcpy(p, name);
	strcat(p, value);
	return p;
}

/* Signed when it is sent, not when it is queued: receivers refuse old timestamps. */
static void sign(struct caller *c, const struct participant *p, struct str gid, struct str step, enum op op,
                 struct call_text *text, struct arena *arena)
{
	const int64_t now_s = c->config.clock.now_ms(c->config.clock.ctx) / 1000;
	struct buf    seconds = { 0 }, signatures = { 0 };
	char          id[40], signature[64];
	size_t        n = text->header_count;
	const char  **headers = arena_array(arena, n + SIGNATURE_HEADERS, sizeof headers[0]);

	memcpy(headers, text->headers, n * sizeof headers[0]);
	webhook_id(gid, step, op, id);
	for (size_t i = 0; i < p->secret_count; i++) {
		webhook_sign(p->secrets[i], str_of(id), now_s, text->body, signature);
		buf_cstr(&signatures, i > 0 ? " " : "");
		buf_cstr(&signatures, signature);
	}
	buf_i64(&seconds, now_s);
	headers[n++] = header(arena, "webhook-id: ", id);
	headers[n++] = header(arena, "webhook-timestamp: ", seconds.p);
	headers[n++] = header(arena, "webhook-signature: ", signatures.p);
	buf_fini(&seconds);
	buf_fini(&signatures);
	text->headers = headers;
	text->header_count = n;
}

static struct http_request request_of(const struct call_text *t)
{
	return (struct http_request){ .url = t->url.p, .method = t->method.p, .headers = t->headers,
	                              .header_count = t->header_count, .body = t->body, .timeout_ms = t->timeout_ms };
}

bool job_send(struct job *j, http_done *done)
{
	struct chaos             *chaos = j->caller->config.chaos;
	const struct participant *p = targets_participant(&j->caller->targets, j->text.target);

	if (p != NULL && p->secret_missing) {
		err_set(&j->err, ERR_REFUSED,
		        "the secret of this participant cannot be read from secrets-dir");
		return false;
	}
	j->header_count = j->text.header_count;
	if (p != NULL && p->secret_count > 0)
		sign(j->caller, p, j->spec.scope.gid, definition_step_name(j->def, j->spec.step), j->spec.op, &j->text, &j->arena);
	j->state = JOB_SENT;
	j->target->is.in_flight++;
	struct http_request request = request_of(&j->text);
	if (chaos != NULL)
		j->delayed = chaos_delay(chaos, &j->spec, definition_step_name(j->def, j->spec.step), &request, done, j);
	if (j->delayed != NULL)
		return true;
	if (chaos != NULL)
		chaos_meddle(chaos, &j->spec, definition_step_name(j->def, j->spec.step), &request);
	j->transfer = http_start(j->caller->config.http, &request, done, j);
	return true;
}

/* ---- chaos ---------------------------------------------------------------------------------- */

/* The same call for a gid that no transaction has. False: it cannot be rendered. */
static bool render_stranger(struct job *j, struct str gid, enum op op, struct call_text *out)
{
	const struct participant *p = targets_participant(&j->caller->targets, definition_target(j->def, j->spec.step, op));
	struct call_spec          spec = j->spec;
	struct err                ignored;

	spec.scope.gid = gid;
	spec.op = op;
	if (!call_render(&spec, &j->caller->config.rules, base_url, j->caller, &j->arena, out, &ignored))
		return false;
	if (p != NULL && p->secret_count > 0)
		sign(j->caller, p, gid, definition_step_name(j->def, spec.step), op, out, &j->arena);
	return true;
}

/* A cancel that overtook its try: here for a transaction that does not exist, so that nothing depends on it. */
void job_send_stranger(struct job *j)
{
	struct chaos    *chaos = j->caller->config.chaos;
	const struct str gid = j->spec.scope.gid, tail = STR("~chaos");
	struct call_text cancel, try_it;
	uint32_t         of;

	if (chaos == NULL || j->spec.op != OP_TRY || gid.n + tail.n > STRANGER_GID_MAX ||
	    !definition_has_call(j->def, j->spec.step, OP_CANCEL) ||
	    !chaos_does(chaos, CHAOS_STRANGER, &j->spec, definition_step_name(j->def, j->spec.step), 0, &of))
		return;
	char            *p = arena_alloc(&j->arena, gid.n + tail.n);
	const struct str stranger = { p, gid.n + tail.n };

	memcpy(p, gid.p, gid.n);
	memcpy(p + gid.n, tail.p, tail.n);
	if (!render_stranger(j, stranger, OP_CANCEL, &cancel) || !render_stranger(j, stranger, OP_TRY, &try_it))
		return;
	const struct http_request first = request_of(&cancel), second = request_of(&try_it);

	chaos_stranger(chaos, &first, &second);
}

/* ---- its end -------------------------------------------------------------------------------- */

static void tell(const struct job *j, struct span_attempt a)
{
	const struct caller_config *c = &j->caller->config;

	if (c->attempted == NULL)
		return;
	a.gid = j->spec.scope.gid;
	a.definition = definition_name(j->def);
	a.step = definition_step_name(j->def, j->spec.step);
	a.op = j->spec.op;
	a.attempt = j->spec.attempt;
	a.epoch = j->spec.epoch;
	a.span = j->spec.span;
	c->attempted(c->attempted_ctx, j->spec.traceparent, &a);
}

/* What counts as an attempt has a span, though nobody was called. */
void job_tell_unsent(const struct job *j)
{
	const struct clock_port *clock = &j->caller->config.clock;

	if (j->answer.outcome != OUTCOME_OK && !j->answer.unsent && j->answer.put_off_ms == 0)
		tell(j, (struct span_attempt){ .error = j->answer.error, .outcome = j->answer.outcome,
		                               .end_ms = clock->now_ms(clock->ctx) });
}

static void note_example(const struct job *j, uint64_t took_us, int64_t now_ms)
{
	const struct caller_config *c = &j->caller->config;
	struct trace                trace;

	if (c->attempted == NULL || c->rules.traces == NULL)
		return;
	trace_id_of(j->spec.scope.gid, j->spec.traceparent, &trace);
	if (trace_is_recorded(&trace, c->rules.traces))
		target_example(j->target, trace.id, took_us, now_ms);
}

void job_learn(const struct job *j, const struct http_result *result, struct call_lesson *out)
{
	const struct clock_port *clock = &j->caller->config.clock;
	const int64_t            now_ms = clock->now_ms(clock->ctx);

	call_learn(j->def, j->spec.step, j->spec.op, &result->reply, now_ms, out);
	if (result->unsendable)
		out->outcome = OUTCOME_MISCONFIGURED;
	tell(j, (struct span_attempt){ .method = j->text.method, .url = j->text.url, .error = str_of(out->error),
	                               .outcome = out->outcome, .stale = out->stale_epoch, .status = result->reply.status,
	                               .end_ms = now_ms, .took_us = result->took_us });
	note_example(j, result->took_us, now_ms);
}
