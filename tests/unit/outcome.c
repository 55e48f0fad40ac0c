/* SPDX-License-Identifier: Apache-2.0
 * outcome.c - what answers teach: the contract's table row by row, the document's map, Saga-Outcome, Retry-After.
 */
#include "participants/call.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

/* 2026-11-23T08:40:54.000Z */
#define NOW_MS 1795423254000

static struct definition *definition;

enum { STALE = 1, GONE = 2, BARE = 4 };

/* The table of the contract: what try learns, and what confirm and cancel learn. */
static const struct {
	int          from, to;
	enum outcome try, confirm, cancel;
	unsigned     try_flags, confirm_flags, cancel_flags;
} table[] = {
	{ 0, 0, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, 0, 0, 0 },
	{ 200, 201, OUTCOME_OK, OUTCOME_OK, OUTCOME_OK, 0, 0, 0 },
	{ 202, 202, OUTCOME_ONGOING, OUTCOME_ONGOING, OUTCOME_ONGOING, 0, 0, 0 },
	{ 203, 203, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, 0, 0, 0 },
	{ 204, 204, OUTCOME_OK, OUTCOME_OK, OUTCOME_OK, 0, 0, 0 },
	{ 205, 407, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, 0, 0, 0 },
	{ 408, 408, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, 0, 0, 0 },
	{ 409, 409, OUTCOME_REFUSED, OUTCOME_REFUSED, OUTCOME_REFUSED, BARE, BARE, BARE },
	{ 410, 410, OUTCOME_REFUSED, OUTCOME_REFUSED, OUTCOME_OK, 0, GONE, 0 },
	{ 411, 411, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, 0, 0, 0 },
	{ 412, 412, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, STALE, STALE, STALE },
	{ 413, 421, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, 0, 0, 0 },
	{ 422, 422, OUTCOME_REFUSED, OUTCOME_REFUSED, OUTCOME_REFUSED, 0, 0, 0 },
	{ 423, 423, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, 0, 0, 0 },
	{ 424, 424, OUTCOME_REFUSED, OUTCOME_REFUSED, OUTCOME_REFUSED, 0, 0, 0 },
	{ 425, 425, OUTCOME_ONGOING, OUTCOME_ONGOING, OUTCOME_ONGOING, 0, 0, 0 },
	{ 426, 428, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, 0, 0, 0 },
	{ 429, 429, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, 0, 0, 0 },
	{ 430, 499, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, 0, 0, 0 },
	{ 500, 599, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, OUTCOME_UNKNOWN, 0, 0, 0 },
	{ 600, 999, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, OUTCOME_MISCONFIGURED, 0, 0, 0 },
};

static struct call_lesson learn(enum op op, const struct call_reply *reply)
{
	struct call_lesson l;

	call_learn(definition, 0, op, reply, NOW_MS, &l);
	return l;
}

static bool fits(enum op op, int status, enum outcome outcome, unsigned flags)
{
	struct call_lesson l = learn(op, &(struct call_reply){ .status = status });
	unsigned got = (l.stale_epoch ? STALE : 0u) | (l.gone ? GONE : 0u) | (l.bare_conflict ? BARE : 0u);

	if (l.outcome != outcome || got != flags || (outcome == OUTCOME_OK) != (l.error[0] == '\0')) {
		printf("# %s %d: %s, flags %u, \"%s\"\n", op_name(op), status, outcome_name(l.outcome), got, l.error);
		return false;
	}
	return true;
}

static void check_table(void)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		unsigned bad = 0;

		for (int status = table[i].from; status <= table[i].to; status++) {
			bad += !fits(OP_TRY, status, table[i].try, table[i].try_flags);
			bad += !fits(OP_CONFIRM, status, table[i].confirm, table[i].confirm_flags);
			bad += !fits(OP_CANCEL, status, table[i].cancel, table[i].cancel_flags);
		}
		ok(bad == 0, "%d to %d: try %s, confirm %s, cancel %s", table[i].from, table[i].to,
		   outcome_name(table[i].try), outcome_name(table[i].confirm), outcome_name(table[i].cancel));
	}
}

static const struct {
	const char  *why, *header;
	int          status;
	enum outcome outcome;
} headers[] = {
	{ "refused settles a 409", "refused", 409, OUTCOME_REFUSED },
	{ "the header goes before the status", "ongoing", 200, OUTCOME_ONGOING },
	{ "in any case of letters", "UNKNOWN", 422, OUTCOME_UNKNOWN },
	{ "misconfigured can be said, too", "misconfigured", 500, OUTCOME_MISCONFIGURED },
	{ "a word that is no outcome does not count", "refuse", 500, OUTCOME_UNKNOWN },
	{ "nor does an empty header", "", 422, OUTCOME_REFUSED },
	{ "without an answer there is no header", "ok", 0, OUTCOME_UNKNOWN },
};

static void check_headers(void)
{
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		struct call_lesson l = learn(OP_TRY, &(struct call_reply){ .status = headers[i].status,
			                                                   .saga_outcome = str_of(headers[i].header) });

		ok(l.outcome == headers[i].outcome && !l.bare_conflict, "Saga-Outcome: %s", headers[i].why);
	}
}

static void check_map(void)
{
	struct call_lesson l;

	call_learn(definition, 1, OP_TRY, &(struct call_reply){ .status = 404, .saga_outcome = STR("unknown") }, NOW_MS, &l);
	ok(l.outcome == OUTCOME_REFUSED, "the document's own map goes before all");
	call_learn(definition, 1, OP_TRY, &(struct call_reply){ .status = 409 }, NOW_MS, &l);
	ok(l.outcome == OUTCOME_REFUSED && !l.bare_conflict, "a 409 in the map is no bare one");
	call_learn(definition, 1, OP_CANCEL, &(struct call_reply){ .status = 404, .body = STR("<html>") }, NOW_MS, &l);
	ok(l.outcome == OUTCOME_OK && l.output.n == 0, "404 may be an ok of a cancel");
	call_learn(definition, 1, OP_TRY, &(struct call_reply){ .status = 418, .body = STR("teapot") }, NOW_MS, &l);
	ok(l.outcome == OUTCOME_OK && l.output.n == 0, "a mapped ok needs no JSON");
	call_learn(definition, 1, OP_TRY, &(struct call_reply){ .status = 500 }, NOW_MS, &l);
	ok(l.outcome == OUTCOME_UNKNOWN, "what the map does not name goes by the table");
	call_learn(definition, TXN_CHECK, OP_CHECK, &(struct call_reply){ .status = 410 }, NOW_MS, &l);
	ok(l.outcome == OUTCOME_REFUSED, "a back-check is asked like a try");
	call_learn(definition, 999, OP_TRY, &(struct call_reply){ .status = 200 }, NOW_MS, &l);
	ok(l.outcome == OUTCOME_OK, "a step that is not there harms nobody");
}

static void check_texts(void)
{
	static const struct {
		uint16_t    step;
		enum op     op;
		int         status;
		const char *body, *error;
	} answers[] = {
		{ 2, OP_TRY, 200, "  no seats: NO\n", "HTTP 200: no seats: NO" },
		{ 2, OP_TRY, 500, "out of\npaper", "HTTP 500: out of paper" },
		{ 2, OP_TRY, 409, "{\"message\":\"NO\"}", "HTTP 409: NO" },
		{ 2, OP_TRY, 409, "{\"NO\":1}", "HTTP 409" },
		{ 2, OP_TRY, 500, "<html>", "HTTP 500" },
		{ 2, OP_TRY, 500, "[1]", "HTTP 500" },
		{ 2, OP_TRY, 500, "   ", "HTTP 500" },
		{ 2, OP_CONFIRM, 500, "out of paper", "HTTP 500" }, /* it has no words */
		{ 0, OP_TRY, 500, "out of paper", "HTTP 500" },
	};
	struct call_lesson l;

	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		call_learn(definition, answers[i].step, answers[i].op,
		           &(struct call_reply){ .status = answers[i].status, .body = str_of(answers[i].body) }, NOW_MS, &l);
		ok(strcmp(l.error, answers[i].error) == 0, "a text where there are words: %s", l.error);
	}
}

static void check_members(void)
{
	static const struct {
		enum op      op;
		bool         too_big;
		const char  *body;
		enum outcome outcome;
		const char  *error;
	} answers[] = {
		{ OP_TRY, false, " {\"no\": 1} ", OUTCOME_REFUSED, "HTTP 200" },
		{ OP_TRY, false, "{\"yes\":1}", OUTCOME_OK, "" },
		{ OP_TRY, false, " \n", OUTCOME_OK, "" },
		{ OP_TRY, false, "{\"no\":", OUTCOME_UNKNOWN, "HTTP 200, but its body is not JSON: " },
		{ OP_TRY, false, "<html>", OUTCOME_UNKNOWN, "HTTP 200, but its body is not JSON: " },
		{ OP_TRY, false, "{\"no\":{\"a\":1,\"a\":2}}", OUTCOME_UNKNOWN, "HTTP 200, but its body is not JSON: " },
		{ OP_TRY, true, "{", OUTCOME_MISCONFIGURED, "HTTP 200, but its body is too big" },
		{ OP_CONFIRM, false, "{\"later\":true}", OUTCOME_ONGOING, "HTTP 200" },
		{ OP_CONFIRM, false, "{\"later\":", OUTCOME_UNKNOWN, "HTTP 200, but its body is not JSON: " },
		{ OP_CONFIRM, true, "", OUTCOME_MISCONFIGURED, "HTTP 200, but its body is too big" },
		{ OP_CANCEL, false, "<html>", OUTCOME_OK, "" }, /* it has no members */
		{ OP_CANCEL, true, "", OUTCOME_OK, "" },
	};
	struct call_lesson l;

	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		call_learn(definition, 3, answers[i].op,
		           &(struct call_reply){ .status = 200, .body = str_of(answers[i].body),
		                                 .body_too_big = answers[i].too_big }, NOW_MS, &l);
		ok(l.outcome == answers[i].outcome && strncmp(l.error, answers[i].error, strlen(answers[i].error)) == 0 &&
		       (l.outcome != OUTCOME_OK || l.error[0] == '\0'),
		   "members: %s %s is %s: %s", op_name(answers[i].op), answers[i].body, outcome_name(l.outcome), l.error);
	}
}

static const struct {
	const char *text;
	int64_t     ms;
} delays[] = {
	{ "", 0 }, { "0", 0 }, { "7", 7000 }, { "99999999", 86400000 }, { "99999999999999999999", 86400000 }, { "-1", 0 }, { "1.5", 0 },
	{ "soon", 0 }, { "Mon, 23 Nov 2026 08:41:24 GMT", 30000 }, { "Mon, 23 Nov 2026 08:40:00 GMT", 0 },
	{ "Monday, 23-Nov-26 08:41:24 GMT", 30000 }, { "Mon Nov 23 08:41:24 2026", 30000 },
	{ "Mon, 23 Nov 2099 08:41:24 GMT", 86400000 }, { "Mon, 23 Nov 2026 08:41:24 GMT and more", 0 },
	{ "Mon, 23 Nov 2026 08:41:24 CET", 0 },
};

static void check_delays(void)
{
	for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
		struct call_lesson l = learn(OP_TRY, &(struct call_reply){ .status = 503,
			                                                   .retry_after = str_of(delays[i].text) });

		ok(l.retry_after_ms == delays[i].ms, "Retry-After \"%s\" is %lld ms", delays[i].text,
		   (long long)l.retry_after_ms);
	}
	ok(learn(OP_TRY, &(struct call_reply){ .status = 422, .retry_after = STR("7") }).retry_after_ms == 0,
	   "a refusal is not asked again");
}

static void check_output(void)
{
	struct call_lesson l = learn(OP_TRY, &(struct call_reply){ .status = 200, .body = STR(" {\"n\": 1.10}\r\n") });

	ok(l.outcome == OUTCOME_OK && str_is(l.output, "{\"n\": 1.10}"), "the output is the body, as it was written");
	l = learn(OP_TRY, &(struct call_reply){ .status = 200, .body = STR(" \n") });
	ok(l.outcome == OUTCOME_OK && l.output.n == 0, "white space is no output");
	l = learn(OP_TRY, &(struct call_reply){ .status = 200, .body = STR("{\"a\":1,\"a\":2}") });
	ok(l.outcome == OUTCOME_MISCONFIGURED && strstr(l.error, "not JSON: this name stands twice") != NULL,
	   "a name twice is not JSON here, and it says why: %s", l.error);
	l = learn(OP_TRY, &(struct call_reply){ .status = 200, .body = STR("\"\\u0000\"") });
	ok(l.outcome == OUTCOME_MISCONFIGURED, "nor is a NUL, which the log could not keep");
	l = learn(OP_CONFIRM, &(struct call_reply){ .status = 200, .body = STR("{\"a\":1}") });
	ok(l.outcome == OUTCOME_OK && l.output.n == 0, "only a try has an output");
	l = learn(OP_TRY, &(struct call_reply){ .status = 200, .body_too_big = true });
	ok(l.outcome == OUTCOME_MISCONFIGURED && strstr(l.error, "too big") != NULL, "an output over the cap");
}

static void check_errors(void)
{
	char               long_body[1000];
	struct call_lesson l = learn(OP_TRY, &(struct call_reply){ .status = 422, .body = STR("{\"detail\":\"no room\"}") });

	ok(strcmp(l.error, "HTTP 422: no room") == 0, "a problem's detail is told");
	l = learn(OP_TRY, &(struct call_reply){ .status = 422, .body = STR("{\"message\":\"a\\nb\\u0007\"}") });
	ok(strcmp(l.error, "HTTP 422: a b ") == 0, "without control characters");
	l = learn(OP_TRY, &(struct call_reply){ .status = 422, .body = STR("{\"detail\":{\"x\":1},\"error\":\"e\"}") });
	ok(strcmp(l.error, "HTTP 422: e") == 0, "only texts are told");
	l = learn(OP_TRY, &(struct call_reply){ .status = 500, .body = STR("secret stack trace") });
	ok(strcmp(l.error, "HTTP 500") == 0, "other bodies are not");
	strcpy(long_body, "{\"detail\":\"");
	while (strlen(long_body) < 900)
		strcat(long_body, "\xc3\xa4");
	strcat(long_body, "\"}");
	l = learn(OP_TRY, &(struct call_reply){ .status = 500, .body = str_of(long_body) });
	ok(strlen(l.error) > 100 && strlen(l.error) < sizeof l.error && text_is_utf8(str_of(l.error)),
	   "a long one is cut between characters");
	l = learn(OP_TRY, &(struct call_reply){ .failure = STR("bad\xff\n") });
	ok(strcmp(l.error, "bad? ") == 0, "a failure's text is made clean");
	l = learn(OP_TRY, &(struct call_reply){ 0 });
	ok(strcmp(l.error, "no answer") == 0, "there is always a reason");
}

int main(void)
{
	struct arena    arena = { 0 };
	struct findings findings = { .arena = &arena };

	definition = definition_compile(STR("{\"mode\":\"saga\",\"steps\":{"
		"\"a\":{\"try\":{\"url\":\"http://a/\"},\"confirm\":{\"url\":\"http://a/\"},\"cancel\":{\"url\":\"http://a/\"}},"
		"\"b\":{\"try\":{\"url\":\"http://a/\",\"outcomes\":{\"404\":\"refused\",\"409\":\"refused\",\"418\":\"ok\"}},"
		"\"confirm\":{\"url\":\"http://a/\"},\"cancel\":{\"url\":\"http://a/\",\"outcomes\":{\"404\":\"ok\"}}},"
		"\"c\":{\"try\":{\"url\":\"http://a/\",\"words\":{\"NO\":\"refused\"}},"
		"\"confirm\":{\"url\":\"http://a/\"},\"cancel\":{\"url\":\"http://a/\"}},"
		"\"d\":{\"try\":{\"url\":\"http://a/\",\"outcomes\":{\"200\":\"ok\"},\"members\":{\"/no\":{\"*\":\"refused\"}}},"
		"\"confirm\":{\"url\":\"http://a/\",\"members\":{\"/later\":{\"true\":\"ongoing\"}}},\"cancel\":{\"url\":\"http://a/\"}}}}"),
		DEFINITION_INLINE, (struct str){ 0 }, &findings);
	if (definition == NULL)
		return 1;
	check_table();
	check_headers();
	check_map();
	check_texts();
	check_members();
	check_delays();
	check_output();
	check_errors();
	definition_drop(definition);
	arena_fini(&arena);
	return tap_done();
}
