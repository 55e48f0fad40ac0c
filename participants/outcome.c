/* SPDX-License-Identifier: Apache-2.0
 * outcome.c - what an answer teaches: the document's map, then Saga-Outcome, then the convention.
 */
#include "coordinator/base/json.h"
#include "participants/call.h"
#include "participants/definition_call.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { RETRY_AFTER_MAX_MS = 86400000, DETAIL_MAX = 140, DETAIL_BODY_MAX = 16 << 10 };

/* ---- Retry-After (RFC 9110, section 10.2.3) --------------------------------------------- */

static bool parse_date(struct str text, int64_t *ms)
{
	/* The date of today, and the two that old servers may still send. */
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"
	};
	char copy[64];

	if (text.n >= sizeof copy)
		return false;
	str_cstr(text, copy, sizeof copy);
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		struct tm   tm = { 0 };
		const char *end = strptime(copy, forms[i], &tm);

		if (end != NULL && *end == '\0') {
			*ms = (int64_t)timegm(&tm) * 1000;
			return true;
		}
	}
	return false;
}

static bool is_digits(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0;
}

static int64_t retry_after_ms(struct str text, int64_t now_ms)
{
	uint64_t s;
	int64_t  at, ms = 0;

	if (is_digits(text))
		ms = !text_to_u64(text, &s) || s > RETRY_AFTER_MAX_MS / 1000 ? RETRY_AFTER_MAX_MS
		                                                             : (int64_t)s * 1000;
	else if (parse_date(text, &at) && at > now_ms)
		ms = at - now_ms;
	return ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : ms;
}

/* ---- the short line for people -------------------------------------------------------------- */

/* Appends at most room bytes of s as clean text: no control characters, no broken UTF-8. */
static void append_clean(struct call_lesson *out, struct str s, size_t room)
{
	size_t at = strlen(out->error);

	if (room > sizeof out->error - 1 - at)
		room = sizeof out->error - 1 - at;
	if (s.n > room) {
		s.n = room; /* not in the middle of a character, which is at most four bytes */
		for (int i = 0; i < 3 && s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80; i++)
			s.n--;
	}
	if (s.n == 0)
		return;
	memcpy(out->error + at, s.p, s.n);
	out->error[at + s.n] = '\0';
	const bool broken = !text_is_utf8(s);
	for (char *p = out->error + at; p < out->error + at + s.n; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
		else if (broken && (unsigned char)*p >= 0x80)
			*p = '?';
}

static struct str trimmed(struct str s)
{
	while (s.n > 0 && strchr(" \t\r\n", s.p[0]) != NULL && s.p[0] != '\0') {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]) != NULL && s.p[s.n - 1] != '\0')
		s.n--;
	return s;
}

/* Of a service whose answers are read as texts: the text is what it says. A page is for nobody's eyes here. */
static void append_text(struct call_lesson *out, struct str body)
{
	if (body.n == 0 || body.n > DETAIL_BODY_MAX || strchr("{[<", body.p[0]) != NULL)
		return;
	append_clean(out, STR(": "), 2);
	append_clean(out, body, DETAIL_MAX);
}

/* NULL: nobody says anything there. What an `error` is, in JSON-RPC and elsewhere, stands in its `message`. */
static const struct json *find_text(const struct json *root, const char *name)
{
	const struct json *v = json_get(root, name);

	if (v != NULL && v->type == JSON_OBJECT && strcmp(name, "error") == 0)
		v = json_get(v, "message");
	return v != NULL && v->type == JSON_STRING ? v : NULL;
}

/* What the participant itself says, where it says it in one of the usual members. */
static void append_detail(struct call_lesson *out, struct str body)
{
	static const char *const members[] = { "detail", "title", "message", "error" };
	struct arena arena = { 0 };
	struct json_error ignored;
	struct json *root = NULL;

	if (body.n > 0 && body.n <= DETAIL_BODY_MAX && body.p[0] == '{')
		root = json_parse(body, &arena, &ignored);
	for (size_t i = 0; root != NULL && i < sizeof members / sizeof members[0]; i++) {
		const struct json *v = find_text(root, members[i]);

		if (v == NULL)
			continue;
		append_clean(out, STR(": "), 2);
		append_clean(out, json_text(v, &arena), DETAIL_MAX);
		break;
	}
	arena_fini(&arena);
}

static void say(const struct call_reply *reply, struct call_lesson *out)
{
	out->error[0] = '\0';
	if (reply->status == 0) {
		append_clean(out, reply->failure.n > 0 ? reply->failure : STR("no answer"),
		             sizeof out->error);
		return;
	}
	snprintf(out->error, sizeof out->error, "HTTP %d", reply->status);
	append_detail(out, reply->body);
}

/* ---- the convention -------------------------------------------------------------------------- */

static bool header_outcome(struct str value, enum outcome *out)
{
#define X(name, text)                                                                    \
	if (value.n == sizeof(text) - 1 && strncasecmp(value.p, text, value.n) == 0) {   \
		*out = OUTCOME_##name;                                                   \
		return true;                                                             \
	}
	TXN_OUTCOMES(X)
#undef X
	return false;
}

/* The table of the contract. A refusal of confirm or cancel is told as it is; that there
 * is no such "no" is the core's rule. */
static enum outcome conventional(int status, enum op op, struct call_lesson *out)
{
	switch (status) {
	case 200: case 201: case 204:
		return OUTCOME_OK;
	case 202: case 425:
		return OUTCOME_ONGOING;
	case 422: case 424:
		return OUTCOME_REFUSED;
	case 409: /* also "the first request with this key is still in progress" */
		out->bare_conflict = true;
		return OUTCOME_REFUSED;
	case 410:
		out->gone = op == OP_CONFIRM;
		return op == OP_CANCEL ? OUTCOME_OK : OUTCOME_REFUSED;
	case 412:
		out->stale_epoch = true;
		return OUTCOME_UNKNOWN;
	case 0: case 408: case 429:
		return OUTCOME_UNKNOWN;
	default:
		return status >= 500 && status <= 599 ? OUTCOME_UNKNOWN : OUTCOME_MISCONFIGURED;
	}
}

/* "Not JSON" alone costs somebody an afternoon where a name stands twice. */
static void say_not_json(struct str body, struct call_lesson *out)
{
	struct arena      arena = { 0 };
	struct json_error why;

	append_clean(out, STR(", but its body is not JSON"), sizeof out->error);
	if (json_parse(body, &arena, &why) == NULL) {
		append_clean(out, STR(": "), sizeof out->error);
		append_clean(out, str_of(why.text), sizeof out->error);
	}
	arena_fini(&arena);
}

static void say_too_big(struct call_lesson *out)
{
	append_clean(out, STR(", but its body is too big (calls.response-max)"), sizeof out->error);
}

/* The body of an ok try is the step's output. One that cannot be kept means that the participant
 * does not follow the contract, unless the document itself says that this status is an ok. */
static void take_output(const struct call_reply *reply, bool mapped, struct call_lesson *out)
{
	struct str body = trimmed(reply->body);

	if (reply->body_too_big) {
		out->outcome = OUTCOME_MISCONFIGURED;
		say(reply, out);
		say_too_big(out);
	} else if (body.n > 0 && json_is_valid(body)) {
		out->output = body;
	} else if (body.n > 0 && !mapped) {
		out->outcome = OUTCOME_MISCONFIGURED;
		say(reply, out);
		say_not_json(body, out);
	}
}

/* What does the answer mean whose meaning would stand in a body that nobody can read? Not "ok". */
static void doubt_body(const struct call_reply *reply, struct call_lesson *out)
{
	struct str body = trimmed(reply->body);

	if (!reply->body_too_big && (body.n == 0 || json_is_valid(body)))
		return;
	out->outcome = reply->body_too_big ? OUTCOME_MISCONFIGURED : OUTCOME_UNKNOWN;
	say(reply, out);
	if (reply->body_too_big)
		say_too_big(out);
	else
		say_not_json(body, out);
}

void call_learn(const struct definition *d, uint16_t step, enum op op,
                const struct call_reply *reply, int64_t now_ms, struct call_lesson *out)
{
	int mapped = reply->status != 0 ? definition_outcome(d, step, op, reply->status, reply->body) : -1;

	*out = (struct call_lesson){ 0 };
	if (mapped >= 0)
		out->outcome = (enum outcome)mapped;
	else if (reply->status == 0 || !header_outcome(reply->saga_outcome, &out->outcome))
		out->outcome = conventional(reply->status, op, out);
	if (out->outcome != OUTCOME_OK) {
		say(reply, out);
		if (definition_has_words(d, step, op))
			append_text(out, trimmed(reply->body));
	} else {
		if (definition_has_members(d, step, op))
			doubt_body(reply, out);
		if (out->outcome == OUTCOME_OK && op == OP_TRY)
			take_output(reply, mapped >= 0, out);
	}
	if (out->outcome == OUTCOME_ONGOING || out->outcome == OUTCOME_UNKNOWN)
		out->retry_after_ms = retry_after_ms(reply->retry_after, now_ms);
}
