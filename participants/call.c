/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/call.h"

#include "coordinator/base/digest.h"
#include "participants/definition_call.h"

#include <string.h>
#include <strings.h>

enum { OUR_HEADERS = 13 };

/* ---- small texts ----------------------------------------------------------------------- */

#define JOIN(arena, ...)                                       \
	join(arena, (const struct str[]){ __VA_ARGS__ },       \
	     sizeof((const struct str[]){ __VA_ARGS__ }) / sizeof(struct str))

/* One NUL-terminated text of many: every call makes a dozen, too many for printf. */
static struct str join(struct arena *arena, const struct str *parts, size_t n)
{
	size_t size = 0, at = 0;
	char  *p;

	for (size_t i = 0; i < n; i++)
		size += parts[i].n;
	p = arena_text(arena, size);
	for (size_t i = 0; i < n; i++) {
		if (parts[i].n > 0)
			memcpy(p + at, parts[i].p, parts[i].n);
		at += parts[i].n;
	}
	return (struct str){ p, at };
}

/* RFC 3986: what may stand in a path segment as it is. */
static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~' || c == ':' || c == '@';
}

static struct str path_segment(struct arena *arena, struct str s)
{
	static const char hex[] = "0123456789ABCDEF";
	char             *p = arena_text(arena, 3 * s.n);
	size_t            n = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (is_plain(s.p[i])) {
			p[n++] = s.p[i];
			continue;
		}
		p[n++] = '%';
		p[n++] = hex[c >> 4];
		p[n++] = hex[c & 15];
	}
	return (struct str){ p, n };
}

/* A child of the transaction's span, which is a child of the starter's. */
static struct str traceparent(const struct call_spec *spec, const struct call_rules *rules, struct arena *arena)
{
	struct trace t;
	char         span[SPAN_HEX + 1];
	struct str   flags = STR("01");

	trace_id_of(spec->scope.gid, spec->traceparent, &t);
	/* Where we record nothing we pass on what the starter said. */
	if (rules->traces != NULL)
		flags = trace_is_recorded(&t, rules->traces) ? STR("01") : STR("00");
	else if (t.parent.n > 0)
		flags = (struct str){ spec->traceparent.p + 53, 2 };
	return JOIN(arena, STR("traceparent: 00-"), str_of(t.id), STR("-"),
	            str_of(trace_span_hex(spec->span, span)), STR("-"), flags);
}

/* ---- the request --------------------------------------------------------------------------- */

struct names { /* of what is called */
	struct str gid, step, op;
};

static struct str callback_header(const struct call_spec *spec, const struct call_rules *rules,
                                  const struct names *names, struct arena *arena)
{
	char sig[65];

	if (rules->callback_ready != NULL)
		callback_sign_ready(rules->callback_ready, names->gid, names->step, spec->op, sig);
	else
		callback_sign(rules->callback_key, names->gid, names->step, spec->op, sig);
	return JOIN(arena, STR("Saga-Callback: "), rules->callback_base, STR("/v1/transactions/"),
	            path_segment(arena, names->gid), STR("/steps/"), names->step,
	            STR("/complete?op="), names->op, STR("&sig="), { sig, 64 });
}

static bool has_header(const struct definition_call *call, const char *name)
{
	for (size_t i = 0; i < call->header_count; i++)
		if (call->headers[i].name.n == strlen(name) &&
		    strncasecmp(call->headers[i].name.p, name, call->headers[i].name.n) == 0)
			return true;
	return false;
}

static void add(struct call_text *out, struct str header)
{
	out->headers[out->header_count++] = header.p;
}

static void add_saga_headers(const struct call_spec *spec, const struct call_rules *rules,
                             const struct names *names, struct arena *arena, struct call_text *out)
{
	char digits[20], time[32];

	add(out, JOIN(arena, STR("Saga-Id: "), names->gid));
	add(out, JOIN(arena, STR("Saga-Step: "), names->step));
	add(out, JOIN(arena, STR("Saga-Op: "), names->op));
	add(out, JOIN(arena, STR("Saga-Attempt: "), text_of_u64(spec->attempt, digits)));
	add(out, JOIN(arena, STR("Saga-Epoch: "), text_of_u64(spec->epoch, digits)));
	/* The same in every call of a transaction: by it, where there is no deadline, a participant
	 * knows one that is older than what it remembers. */
	add(out, JOIN(arena, STR("Saga-Accepted: "), str_of(text_of_time(spec->scope.now, time))));
	if (spec->deadline_at != 0)
		add(out, JOIN(arena, STR("Saga-Deadline: "),
		              str_of(text_of_time(spec->deadline_at, time))));
	/* The back-check is a question; nobody calls back with its answer. */
	if (spec->step != TXN_CHECK && rules->callback_key.n > 0 && rules->callback_base.n > 0)
		add(out, callback_header(spec, rules, names, arena));
	add(out, JOIN(arena, STR("Idempotency-Key: \""), names->gid, STR(":"), names->step,
	              STR(":"), names->op, STR("\"")));
	add(out, traceparent(spec, rules, arena));
}

static void add_headers(const struct call_spec *spec, const struct call_rules *rules,
                        const struct definition_call *call, struct arena *arena,
                        struct call_text *out)
{
	struct names names = { spec->scope.gid, definition_step_name(spec->scope.def, spec->step),
		               str_of(op_name(spec->op)) };

	out->headers = arena_array(arena, call->header_count + call->literal->n + OUR_HEADERS,
	                           sizeof out->headers[0]);
	if (call->body.n > 0 && !has_header(call, "Content-Type") && !call->literal->has_type)
		add(out, STR("Content-Type: application/json"));
	if (!has_header(call, "Accept") && !call->literal->has_accept)
		add(out, STR("Accept: application/json"));
	add_saga_headers(spec, rules, &names, arena, out);
	for (size_t i = 0; i < call->literal->n; i++)
		add(out, call->literal->lines[i]);
	for (size_t i = 0; i < call->header_count; i++) {
		const struct definition_header *h = &call->headers[i];

		/* libcurl drops "Name:" and sends "Name;" as an empty header. */
		if (h->value.n == 0)
			add(out, JOIN(arena, h->name, STR(";")));
		else
			add(out, JOIN(arena, h->name, STR(": "), h->value));
	}
}

static bool is_base_url(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
			return false;
	return str_starts(s, STR("http://")) || str_starts(s, STR("https://"));
}

static bool find_url(const struct definition_call *call, participant_base *base, void *base_ctx,
                     struct arena *arena, struct str *out, struct err *err)
{
	const struct str name = call->participant;
	struct str       url = { 0 };

	if (name.n > 0) {
		if (base != NULL)
			url = base(base_ctx, name);
		if (url.n == 0)
			return err_set(err, ERR_NOT_FOUND,
			               "participant \"%.*s\" is unknown; PUT /v1/participants/%.*s",
			               (int)name.n, name.p, (int)name.n, name.p);
		if (!is_base_url(url))
			return err_set(err, ERR_INVALID,
			               "the base URL of participant \"%.*s\" is no http(s) URL",
			               (int)name.n, name.p);
	}
	*out = JOIN(arena, url, call->url);
	return true;
}

bool call_render(const struct call_spec *spec, const struct call_rules *rules,
                 participant_base *base, void *base_ctx, struct arena *arena,
                 struct call_text *out, struct err *err)
{
	struct definition_call call;

	*out = (struct call_text){ 0 };
	if (!definition_has_call(spec->scope.def, spec->step, spec->op))
		return err_set(err, ERR_INVALID, "the definition has no %s for this step",
		               op_name(spec->op));
	if (!definition_render(&spec->scope, spec->step, spec->op, arena, &call, err) ||
	    !find_url(&call, base, base_ctx, arena, &out->url, err))
		return false;
	out->method = arena_str(arena, call.method);
	if (call.body.n > 0)
		out->body = arena_str(arena, call.body);
	out->timeout_ms = call.timeout_ms;
	out->target = definition_target(spec->scope.def, spec->step, spec->op);
	add_headers(spec, rules, &call, arena, out);
	return true;
}
