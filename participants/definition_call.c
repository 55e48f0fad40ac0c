/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/definition_internal.h"

#include <string.h>

static const struct call_plan *find_call(const struct definition *d, uint16_t step, enum op op)
{
	if (step == TXN_CHECK)
		return op == OP_CHECK ? d->check : NULL;
	if (step >= d->plan.step_count || (int)op >= STEP_OPS)
		return NULL;
	return d->steps[step].calls[op];
}

bool definition_has_call(const struct definition *d, uint16_t step, enum op op)
{
	return find_call(d, step, op) != NULL;
}

uint32_t definition_timeout_ms(const struct definition *d, uint16_t step, enum op op)
{
	const struct call_plan *call = find_call(d, step, op);

	return call != NULL ? call->timeout_ms : 0;
}

bool definition_calls_nothing(const struct definition *d, uint16_t step, enum op op)
{
	const struct call_plan *call = find_call(d, step, op);

	return call != NULL && call->nothing;
}

static int outcome_of_status(const struct answer_rules *rules, int status)
{
	for (size_t i = 0; i < rules->outcome_n; i++)
		if (rules->outcomes[i].status == status)
			return rules->outcomes[i].outcome;
	return rules->other;
}

static int outcome_of_words(const struct answer_rules *rules, struct str body)
{
	for (size_t i = 0; i < rules->word_n && body.n > 0; i++)
		if (memmem(body.p, body.n, rules->words[i].word.p, rules->words[i].word.n) != NULL)
			return rules->words[i].outcome;
	return -1;
}

int definition_outcome(const struct definition *d, uint16_t step, enum op op, int status, struct str body)
{
	const struct call_plan *call = find_call(d, step, op);
	int                     by_status, by_body;

	if (call == NULL)
		return -1;
	by_status = outcome_of_status(&call->answers, status);
	if (by_status == OUTCOME_ONGOING)
		return by_status;
	by_body = outcome_of_words(&call->answers, body);
	if (by_body < 0)
		by_body = outcome_of_members(&call->answers, body);
	return by_body < 0 ? by_status : by_body;
}

bool definition_has_words(const struct definition *d, uint16_t step, enum op op)
{
	const struct call_plan *call = find_call(d, step, op);

	return call != NULL && call->answers.word_n > 0;
}

bool definition_has_members(const struct definition *d, uint16_t step, enum op op)
{
	const struct call_plan *call = find_call(d, step, op);

	return call != NULL && call->answers.member_n > 0;
}

struct str definition_target(const struct definition *d, uint16_t step, enum op op)
{
	const struct call_plan *call = find_call(d, step, op);

	return call != NULL ? call->target : (struct str){ 0 };
}

/* host: a target as definition_target() gives it, or without its port or prefix. */
static bool goes_to(const struct call_plan *call, struct str host)
{
	struct str target, rest;

	if (call == NULL)
		return false;
	if (call->participant.n > 0 && str_eq(call->participant, host))
		return true;
	target = call->target;
	if (!str_starts(target, host))
		return false;
	rest = (struct str){ target.p + host.n, target.n - host.n };
	return rest.n == 0 || (call->participant.n == 0 && rest.p[0] == ':' &&
			       memchr(rest.p + 1, ':', rest.n - 1) == NULL);
}

bool definition_calls(const struct definition *d, struct str host)
{
	if (goes_to(d->check, host))
		return true;
	for (uint16_t i = 0; i < d->plan.step_count; i++)
		for (unsigned op = 0; op < STEP_OPS; op++)
			if (goes_to(d->steps[i].calls[op], host))
				return true;
	return false;
}

/* ---- rendering ---------------------------------------------------------------------- */

static struct template_sources sources_of(const struct scope *scope)
{
	return (struct template_sources){ .input = scope->input,
					  .outputs = scope->outputs,
					  .output_n = scope->outputs != NULL
							  ? scope->def->plan.step_count
							  : 0,
					  .gid = scope->gid,
					  .definition = scope->def->name,
					  .now = scope->now };
}

static bool fill(const struct template *t, const struct str *values, struct arena *arena,
		 struct str *out, struct err *err)
{
	struct buf b = { 0 };
	bool       fine = template_fill(t, values, arena, &b, err);

	if (fine)
		*out = arena_str(arena, buf_view(&b));
	buf_fini(&b);
	return fine;
}

static bool fill_headers(const struct call_plan *call, const struct str *values,
			 struct arena *arena, struct definition_call *out, struct err *err)
{
	out->header_count = call->header_n;
	out->headers = arena_array(arena, call->header_n, sizeof *out->headers);
	for (size_t i = 0; i < call->header_n; i++) {
		out->headers[i].name = call->headers[i].name;
		if (!fill(call->headers[i].value, values, arena, &out->headers[i].value, err))
			return false;
	}
	return true;
}

static bool fill_url(const struct call_plan *call, const struct str *values, struct arena *arena,
		     struct str *out, struct err *err)
{
	struct buf b = { 0 };
	bool       fine;

	if (call->url.n > 0) {
		*out = call->url;
		return true;
	}
	buf_str(&b, call->origin);
	fine = template_fill(call->path, values, arena, &b, err);
	if (fine)
		*out = arena_str(arena, buf_view(&b));
	buf_fini(&b);
	return fine;
}

bool definition_render(const struct scope *scope, uint16_t step, enum op op, struct arena *arena,
		       struct definition_call *out, struct err *err)
{
	const struct call_plan *call = find_call(scope->def, step, op);
	struct template_sources sources = sources_of(scope);
	const struct str       *values;

	if (call == NULL)
		return err_set(err, ERR_NOT_FOUND, "the definition has no such call");
	values = template_find(&call->paths, &sources, arena);
	*out = (struct definition_call){ .method = call->method,
					 .participant = call->participant,
					 .literal = &scope->def->literal,
					 .timeout_ms = call->timeout_ms };
	if (!fill_url(call, values, arena, &out->url, err) ||
	    !fill_headers(call, values, arena, out, err))
		return false;
	if (call->no_body || call->nothing)
		return true;
	if (call->body != NULL)
		return fill(call->body, values, arena, &out->body, err);
	out->body = call->data.n > 0 ? call->data : scope->input.n > 0 ? scope->input : STR("null");
	return true;
}

bool definition_output(const struct definition *d, const struct scope *scope, struct buf *out,
		       struct err *err)
{
	struct template_sources sources = sources_of(scope);
	struct arena            arena = { 0 };
	size_t                  start = out->n;
	bool                    fine = true;

	if (d->output == NULL) {
		buf_cstr(out, "null");
		return true;
	}
	fine = template_fill(d->output, template_find(&d->output_paths, &sources, &arena), &arena,
			     out, err);
	if (!fine) /* nothing half */
		out->n = start;
	arena_fini(&arena);
	return fine;
}
