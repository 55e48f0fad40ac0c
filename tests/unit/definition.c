/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/json.h"
#include "participants/definition_call.h"
#include "tests/lib/tap.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

static struct definition *compile(const char *document, enum definition_use use, const char *name,
				  struct findings *f, struct arena *arena)
{
	*f = (struct findings){ .arena = arena };
	return definition_compile(str_of(document), use, str_of(name), f);
}

/* For documents that must be valid. The caller drops it. */
static struct definition *valid(const char *document, enum definition_use use)
{
	struct arena       arena = { 0 };
	struct findings   *f = calloc(1, sizeof *f);
	struct definition *d =
	    compile(document, use, use == DEFINITION_NAMED ? "demo" : NULL, f, &arena);

	for (size_t i = 0; d == NULL && i < f->n; i++)
		printf("# %.*s: %s\n", (int)f->items[i].pointer.n, f->items[i].pointer.p,
		       f->items[i].detail.p);
	arena_fini(&arena);
	free(f);
	return d;
}

/* ---- the corpus --------------------------------------------------------------------- */

static void read_file(const char *path, struct buf *out)
{
	char   block[65536];
	size_t n;
	FILE  *file = fopen(path, "r");

	while (file != NULL && (n = fread(block, 1, sizeof block, file)) > 0)
		buf_add(out, block, n);
	if (file != NULL)
		fclose(file);
}

static size_t count_pointer(const struct findings *f, bool warning, struct str pointer)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->items[i].warning == warning && str_eq(f->items[i].pointer, pointer);
	return n;
}

static size_t count_expected(const struct json *list, struct str pointer, struct arena *arena)
{
	size_t n = 0;

	for (const struct json *it = list->first; it != NULL; it = it->next)
		n += str_eq(json_text(it, arena), pointer);
	return n;
}

/* The same pointers, each as often. */
static bool is_expected(const struct findings *f, bool warning, const struct json *list,
			struct arena *arena)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->items[i].warning == warning;
	if (n != list->n)
		return false;
	for (const struct json *it = list->first; it != NULL; it = it->next)
		if (count_pointer(f, warning, json_text(it, arena)) !=
		    count_expected(list, json_text(it, arena), arena))
			return false;
	return true;
}

static struct definition *compile_as(const struct json *root, struct findings *f)
{
	const struct json *document = json_get(root, "document");
	struct str         as = json_text(json_get(root, "as"), f->arena);
	struct definition *open, *grown = NULL;

	if (str_is(as, "named"))
		return definition_compile(document->raw, DEFINITION_NAMED,
					  str_of(json_get(document, "name") ? NULL : "demo"), f);
	if (str_is(as, "inline"))
		return definition_compile(document->raw, DEFINITION_INLINE, (struct str){ 0 }, f);
	open = valid("{\"mode\":\"tcc\"}", DEFINITION_INLINE);
	definition_join(open, document->raw, &grown, f);
	definition_drop(open);
	return grown;
}

static void test_case(const char *path)
{
	struct arena       arena = { 0 };
	struct buf         text = { 0 };
	struct findings   *f = calloc(1, sizeof *f);
	struct definition *d;
	struct json       *root;

	f->arena = &arena;
	read_file(path, &text);
	root = json_parse(buf_view(&text), &arena, NULL);
	if (ok(root != NULL, "the case is JSON: %s", path)) {
		bool marked_valid = str_is(json_text(json_get(root, "is"), &arena), "valid");
		bool fine;

		d = compile_as(root, f);
		fine = (d != NULL) == marked_valid &&
		       is_expected(f, false, json_get(root, "errors"), &arena) &&
		       is_expected(f, true, json_get(root, "warnings"), &arena);
		ok(fine, "%s: %.*s", strrchr(path, '/') + 1, (int)json_get(root, "why")->raw.n,
		   json_get(root, "why")->raw.p);
		for (size_t i = 0; !fine && i < f->n; i++)
			printf("# %s %s: %s\n", f->items[i].warning ? "warning" : "error",
			       f->items[i].pointer.p, f->items[i].detail.p);
		definition_drop(d);
	}
	buf_fini(&text);
	arena_fini(&arena);
	free(f);
}

static void test_corpus(void)
{
	const char *srcdir = getenv("srcdir");
	char        pattern[4096];
	glob_t      found;

	snprintf(pattern, sizeof pattern, "%s/tests/corpus/definitions/*.json",
		 srcdir ? srcdir : ".");
	if (glob(pattern, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	ok(found.gl_pathc > 100, "the corpus is there: %zu documents", found.gl_pathc);
	for (size_t i = 0; i < found.gl_pathc; i++)
		test_case(found.gl_pathv[i]);
	globfree(&found);
}

/* ---- limits --------------------------------------------------------------------------- */

static void test_limits(void)
{
	struct arena     arena = { 0 };
	struct findings *f = calloc(1, sizeof *f);
	struct buf       b = { 0 };

	buf_cstr(&b, "{\"x\":\"");
	while (b.n <= DEFINITION_BYTES_MAX)
		buf_char(&b, 'x');
	buf_cstr(&b, "\"}");
	ok(compile(b.p, DEFINITION_NAMED, "demo", f, &arena) == NULL && f->errors == 1,
	   "a document beyond 1 MiB is refused unread");
	buf_clear(&b);
	buf_cstr(&b, "{\"steps\":{\"a\":{\"action\":{\"url\":\"http://h/\"},\"after\":[0");
	for (int i = 0; i < 500; i++)
		buf_cstr(&b, ",0");
	buf_cstr(&b, "]}}}");
	ok(compile(b.p, DEFINITION_NAMED, "demo", f, &arena) == NULL &&
	       f->n == DEFINITION_FINDINGS_MAX && f->errors == 501,
	   "of 501 errors 100 are told and all counted: %zu, %zu", f->n, f->errors);
	ok(compile("{\"steps\":{\"a\":[}}", DEFINITION_NAMED, "demo", f, &arena) == NULL &&
	       f->n == 1 && str_is(f->items[0].pointer, "/steps/a/0"),
	   "broken JSON is told with its place: %s", f->items[0].detail.p);
	buf_fini(&b);
	arena_fini(&arena);
	free(f);
}

static void test_steps(void)
{
	struct arena     arena = { 0 };
	struct findings *f = calloc(1, sizeof *f);
	struct buf       b = { 0 };

	buf_cstr(&b, "{\"steps\":{\"a\":{\"kind\":\"retriable\",\"action\":{\"url\":\"http://h/\"}}");
	for (int i = 1; i < TXN_STEPS_MAX; i++)
		buf_fmt(&b, ",\"s%d\":{\"kind\":\"retriable\",\"action\":{\"url\":\"http://h/\"}}", i);
	buf_cstr(&b, "}}");
	struct definition *d = compile(b.p, DEFINITION_NAMED, "demo", f, &arena);
	ok(d != NULL && !f->too_many_steps, "256 steps are a definition");
	definition_drop(d);
	b.n -= 2;
	buf_cstr(&b, ",\"more\":{\"kind\":\"retriable\",\"action\":{\"url\":\"http://h/\"}}}}");
	ok(compile(b.p, DEFINITION_NAMED, "demo", f, &arena) == NULL && f->too_many_steps &&
	       str_is(f->items[0].pointer, "/steps/more"),
	   "one more is too many, and has its own mark");
	buf_fini(&b);
	arena_fini(&arena);
	free(f);
}

static void test_dot_segments(void)
{
	static const struct {
		const char *path;
		bool        fits;
	} rows[] = {
		{ "/..", false }, { "/.", false }, { "/../x", false }, { "/a/../b", false },
		{ "/a/./b", false }, { "/a/..", false }, { "/a/..?q=1", false }, { "/${gid}/..", false },
		{ "/a.b/..c/...", true }, { "/a?x=/../b", true }, { "/a//b", true }, { "/..${gid}", true },
	};
	struct arena     arena = { 0 };
	struct findings *f = calloc(1, sizeof *f);
	struct buf       b = { 0 };

	for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
		const char *path = rows[i / 2].path;

		buf_clear(&b);
		buf_fmt(&b, "{\"steps\":{\"a\":{\"kind\":\"retriable\",\"action\":{%s%s\"}}}}",
			i % 2 ? "\"participant\":\"p\",\"path\":\"" : "\"url\":\"http://h", path);
		struct definition *d = compile(b.p, DEFINITION_NAMED, "demo", f, &arena);
		ok((d != NULL) == rows[i / 2].fits, "%s %s", rows[i / 2].fits ? "a path:" : "no path:", path);
		definition_drop(d);
	}
	buf_fini(&b);
	arena_fini(&arena);
	free(f);
}

static void test_hints_leave_room(void)
{
	struct arena     arena = { 0 };
	struct findings *f = calloc(1, sizeof *f);
	struct buf       b = { 0 };
	size_t           told = 0;

	buf_cstr(&b, "{\"steps\":{");
	for (int i = 0; i < 200; i++)
		buf_fmt(&b, "%s\"s%d\":{\"action\":{\"url\":\"http://h/\"},\"after\":[\"s%d\"]}",
			i ? "," : "", i, (i + 1) % 200);
	buf_cstr(&b, "}}");
	ok(compile(b.p, DEFINITION_NAMED, "demo", f, &arena) == NULL && f->errors == 1,
	   "a ring of 200 steps is an error");
	for (size_t i = 0; i < f->n; i++)
		told += !f->items[i].warning;
	ok(told == 1 && f->n == DEFINITION_FINDINGS_MAX / 2 + 1, "and told beside 200 warnings");
	buf_fini(&b);
	arena_fini(&arena);
	free(f);
}

static void test_many_edges(void)
{
	struct arena     arena = { 0 };
	struct findings *f = calloc(1, sizeof *f);
	struct buf       b = { 0 };

	buf_cstr(&b, "{\"steps\":{");
	for (int i = 0; i < 100; i++) {
		buf_fmt(&b,
			"%s\"s%d\":{\"kind\":\"retriable\",\"action\":{\"url\":\"http://h/"
			"\"},\"after\":[",
			i ? "," : "", i);
		for (int k = 0; k < i; k++)
			buf_fmt(&b, "%s\"s%d\"", k ? "," : "", k);
		buf_cstr(&b, "]}");
	}
	buf_cstr(&b, "}}");
	ok(compile(b.p, DEFINITION_NAMED, "demo", f, &arena) == NULL &&
	       f->errors == 100 * 99 / 2 - TXN_EDGES_MAX,
	   "4,096 dependencies and no more: %zu errors", f->errors);
	buf_fini(&b);
	arena_fini(&arena);
	free(f);
}

/* ---- what it becomes --------------------------------------------------------------------- */

static const char trip[] =
    "{\"name\":\"demo\",\"deadline\":\"10m\",\"retention\":\"1d\",\"max_parallel\":4,\"stuck_"
    "after\":\"1m\","
    "\"defaults\":{\"timeout\":\"2s\",\"poll\":\"5s\",\"retry\":{\"initial\":\"100ms\",\"factor\":"
    "1.5}},"
    "\"steps\":{"
    "\"hotel\":{\"action\":{\"url\":\"http://Hotel:8080/r/${input.city}?n=${input.n}\","
    "\"headers\":{\"X-Order\":\"${input.order}\"},\"body\":{\"n\":\"${input.n}\",\"at\":\"${now}\"}"
    "},"
    "\"compensate\":{\"url\":\"http://hotel:8080/r/${steps.hotel.output.id ?? "
    "gid}\",\"method\":\"DELETE\","
    "\"outcomes\":{\"404\":\"ok\",\"409\":\"ongoing\"}}},"
    "\"pay\":{\"kind\":\"pivot\",\"after\":[\"hotel\"],\"retry\":{\"attempts\":3,\"jitter\":"
    "\"none\"},\"poll\":\"1s\","
    "\"try\":{\"participant\":\"bank\",\"path\":\"/holds\",\"timeout\":\"7s\"},"
    "\"confirm\":{\"participant\":\"bank\",\"path\":\"/holds/${steps.pay.output.id}\"},"
    "\"cancel\":{\"url\":\"https://bank/c\",\"outcomes\":{\"404\":\"ok\"}}},"
    "\"mail\":{\"kind\":\"retriable\",\"after\":[\"pay\"],\"action\":{\"url\":\"http://"
    "mail\",\"method\":\"GET\"}}},"
    "\"output\":{\"id\":\"${steps.hotel.output.id}\",\"bank\":\"${steps.pay.output ?? null}\"}}";

static void test_plan(void)
{
	struct definition *d = valid(trip, DEFINITION_NAMED);
	const struct plan *p = definition_plan(d);

	ok(p->mode == MODE_SAGA && !p->open && p->step_count == 3 && p->max_parallel == 4 &&
	       p->stuck_after_ms == 60000,
	   "the head of the plan");
	ok(definition_deadline_ms(d) == 600000 && definition_retention_ms(d) == 86400000,
	   "deadline and retention");
	ok(p->steps[0].has == (HAS_TRY | HAS_CANCEL) &&
	       p->steps[1].has == (HAS_TRY | HAS_CONFIRM | HAS_CANCEL) &&
	       p->steps[2].has == HAS_TRY,
	   "the calls that exist");
	ok(p->steps[0].kind == KIND_COMPENSATABLE && p->steps[1].kind == KIND_PIVOT &&
	       p->steps[2].kind == KIND_RETRIABLE,
	   "the kinds");
	ok(p->steps[0].after_n == 0 && p->steps[1].after_n == 1 &&
	       p->edges[p->steps[1].after_at] == 0 && p->edges[p->steps[2].after_at] == 1,
	   "the order");
	ok(p->steps[0].retry.initial_ms == 100 && p->steps[0].retry.factor_milli == 1500 &&
	       p->steps[0].retry.max_ms == 60000 && p->steps[0].retry.jitter &&
	       p->steps[0].retry.attempts == 0 && p->steps[0].poll_ms == 5000,
	   "defaults of the definition over those of the daemon");
	ok(p->steps[1].retry.initial_ms == 100 && !p->steps[1].retry.jitter &&
	       p->steps[1].retry.attempts == 3 && p->steps[1].poll_ms == 1000,
	   "and the step's own over both");
	ok(definition_step_find(d, STR("mail")) == 2 && definition_step_find(d, STR("mai")) == -1 &&
	       str_is(definition_step_name(d, 1), "pay") &&
	       str_is(definition_step_name(d, TXN_CHECK), "check"),
	   "names and numbers");
	ok(str_is(definition_document(d), trip) && str_is(definition_name(d), "demo"),
	   "the text stays");
	definition_drop(d);
}

static void test_builtin_defaults(void)
{
	struct definition *d =
	    valid("{\"steps\":{\"a\":{\"action\":{\"url\":\"http://h\"}}}}", DEFINITION_NAMED);
	const struct plan *p = definition_plan(d);

	ok(definition_timeout_ms(d, 0, OP_TRY) == 3000 && p->steps[0].poll_ms == 1000 &&
	       p->steps[0].retry.initial_ms == 200 && p->steps[0].retry.factor_milli == 2000 &&
	       p->steps[0].retry.max_ms == 60000 && p->steps[0].retry.attempts == 0 &&
	       p->steps[0].retry.jitter && p->stuck_after_ms == 900000 && p->max_parallel == 16 &&
	       definition_retention_ms(d) == 604800000 && definition_deadline_ms(d) == 0,
	   "the defaults of the daemon");
	definition_drop(d);
}

static void test_targets(void)
{
	struct definition *d = valid(trip, DEFINITION_NAMED);
	const struct str   none = { 0 };

	ok(str_is(definition_target(d, 0, OP_TRY), "hotel:8080") &&
	       str_is(definition_target(d, 2, OP_TRY), "mail:80") &&
	       str_is(definition_target(d, 1, OP_CANCEL), "bank:443") &&
	       str_is(definition_target(d, 1, OP_TRY), "participant:bank"),
	   "where calls go, in lower case, with port");
	ok(definition_target(d, 0, OP_CONFIRM).n == 0 &&
	       definition_target(d, TXN_CHECK, OP_CHECK).n == 0 &&
	       definition_target(d, 9, OP_TRY).n == 0,
	   "no call, no target");
	ok(definition_calls(d, STR("hotel:8080")) && definition_calls(d, STR("hotel")) &&
	       definition_calls(d, STR("bank")) && definition_calls(d, STR("participant:bank")),
	   "who is called");
	ok(!definition_calls(d, STR("hotel:80")) && !definition_calls(d, STR("hot")) &&
	       !definition_calls(d, STR("")) && !definition_calls(d, STR("participant")) &&
	       !definition_calls(d, STR("ban")),
	   "who is not");
	ok(definition_has_call(d, 1, OP_CONFIRM) && !definition_has_call(d, 0, OP_CONFIRM) &&
	       !definition_has_call(d, 0, OP_CHECK) && !definition_has_call(d, TXN_CHECK, OP_CHECK),
	   "which calls exist");
	ok(definition_timeout_ms(d, 0, OP_TRY) == 2000 &&
	       definition_timeout_ms(d, 1, OP_TRY) == 7000 &&
	       definition_timeout_ms(d, 0, OP_CONFIRM) == 0,
	   "time-outs");
	ok(definition_outcome(d, 0, OP_CANCEL, 404, none) == OUTCOME_OK &&
	       definition_outcome(d, 0, OP_CANCEL, 409, none) == OUTCOME_ONGOING &&
	       definition_outcome(d, 0, OP_CANCEL, 500, none) == -1 &&
	       definition_outcome(d, 0, OP_TRY, 404, none) == -1 &&
	       definition_outcome(d, 0, OP_CONFIRM, 404, none) == -1,
	   "what the document says of a status");
	definition_drop(d);
}

/* ---- what all calls have in common ------------------------------------------------------- */

static const char common[] =
    "{\"name\":\"demo\",\"defaults\":{\"headers\":{\"X-Tenant\":\"t-${input.t}\",\"X-All\":\"1\"},"
    "\"outcomes\":{\"200\":\"ok\",\"425\":\"ongoing\",\"409\":\"refused\",\"*\":\"unknown\"},"
    "\"words\":{\"ONGOING\":\"ongoing\",\"FAILURE\":\"refused\"}},"
    "\"steps\":{\"a\":{\"action\":{\"url\":\"http://h/a\",\"body_text\":\"${input.text}\"},"
    "\"compensate\":{\"url\":\"http://h/b\",\"body_text\":\"\",\"headers\":{\"x-tenant\":\"own\"},"
    "\"outcomes\":{\"404\":\"ok\"},\"words\":{}}},"
    "\"b\":{\"action\":{\"nothing\":true},\"compensate\":{\"url\":\"http://h/u\"}}}}";

static void test_common_answers(void)
{
	static const struct {
		int         status;
		const char *body;
		int         outcome;
	} rows[] = {
		{ 200, "", OUTCOME_OK },           { 200, "FAILURE", OUTCOME_REFUSED },
		{ 200, "x ONGOING FAILURE", OUTCOME_ONGOING }, { 500, "a FAILURE", OUTCOME_REFUSED },
		{ 409, "", OUTCOME_REFUSED },      { 409, "ONGOING", OUTCOME_ONGOING },
		{ 425, "FAILURE", OUTCOME_ONGOING }, { 201, "{}", OUTCOME_UNKNOWN },
		{ 404, "failure", OUTCOME_UNKNOWN },
	};
	struct definition *d = valid(common, DEFINITION_NAMED);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		ok(definition_outcome(d, 0, OP_TRY, rows[i].status, str_of(rows[i].body)) == rows[i].outcome,
		   "%d \"%s\" is %s", rows[i].status, rows[i].body, outcome_name((enum outcome)rows[i].outcome));
	ok(definition_outcome(d, 0, OP_CANCEL, 404, STR("FAILURE")) == OUTCOME_OK &&
	       definition_outcome(d, 0, OP_CANCEL, 500, STR("FAILURE")) == -1,
	   "a call's own outcomes and words stand in place of those of all");
	ok(definition_outcome(d, 1, OP_CANCEL, 200, STR("FAILURE")) == OUTCOME_REFUSED,
	   "those of all hold for a compensate as well");
	definition_drop(d);
}

static void test_members(void)
{
	static const char text[] =
	    "{\"name\":\"demo\",\"defaults\":{\"outcomes\":{\"200\":\"ok\",\"202\":\"ongoing\",\"*\":\"unknown\"},"
	    "\"words\":{\"FAILURE\":\"refused\"},"
	    "\"members\":{\"/error/code\":{\"-1\":\"refused\",\"busy\":\"ongoing\"},\"/error\":{\"*\":\"unknown\"},"
	    "\"/a~1b/1/~0\":{\"true\":\"ok\",\"\":\"misconfigured\"}}},"
	    "\"steps\":{\"a\":{\"action\":{\"url\":\"http://h/a\"},"
	    "\"compensate\":{\"url\":\"http://h/b\",\"outcomes\":{\"404\":\"ok\"},\"members\":{}}}}}";
	static const struct {
		int         status;
		const char *body;
		int         outcome;
	} rows[] = {
		{ 200, "{\"error\" :\n {\"code\": -1}}", OUTCOME_REFUSED },
		{ 200, "{\"error\":{\"code\":\"-1\"}}", OUTCOME_REFUSED },
		{ 200, "{\"error\":{\"code\":\"b\\u0075sy\"}}", OUTCOME_ONGOING },
		{ 200, "{\"error\":{\"code\":-10}}", OUTCOME_UNKNOWN },
		{ 200, "{\"error\":{\"code\":null}}", OUTCOME_UNKNOWN },
		{ 200, "{\"error\":\"boom\"}", OUTCOME_UNKNOWN },
		{ 200, "{\"error\":[]}", OUTCOME_UNKNOWN },
		{ 200, "{\"error\":null,\"result\":{\"error\":{\"code\":-1}}}", OUTCOME_OK },
		{ 200, "[{\"error\":{\"code\":-1}}]", OUTCOME_OK },
		{ 200, "{\"error\":{\"code\":-1}", OUTCOME_OK }, /* not JSON: call_learn doubts it */
		{ 200, "", OUTCOME_OK },
		{ 200, "\"error\"", OUTCOME_OK },
		{ 200, "{\"error\":{\"code\":\"busy\"},\"m\":\"FAILURE\"}", OUTCOME_REFUSED },
		{ 202, "{\"error\":{\"code\":-1}}", OUTCOME_ONGOING },
		{ 500, "{\"a/b\":[0,{\"~\":true}]}", OUTCOME_OK },
		{ 500, "{\"a/b\":[0,{\"~\":\"\"}]}", OUTCOME_MISCONFIGURED },
		{ 500, "{\"a/b\":[{\"~\":true}]}", OUTCOME_UNKNOWN },
		{ 500, "{\"a/b\":{\"1\":{\"~\":true}}}", OUTCOME_OK },
	};
	struct definition *d = valid(text, DEFINITION_NAMED);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		ok(definition_outcome(d, 0, OP_TRY, rows[i].status, str_of(rows[i].body)) == rows[i].outcome,
		   "%d %s is %s", rows[i].status, rows[i].body, outcome_name((enum outcome)rows[i].outcome));
	ok(definition_has_members(d, 0, OP_TRY) && !definition_has_members(d, 0, OP_CANCEL) &&
	       definition_outcome(d, 0, OP_CANCEL, 404, str_of(rows[0].body)) == OUTCOME_OK,
	   "a call's own members stand in place of those of all");
	definition_drop(d);
}

static void test_common_calls(void)
{
	struct definition     *d = valid(common, DEFINITION_NAMED);
	struct scope           scope = { .def = d, .gid = STR("g"),
					 .input = STR("{\"t\":7,\"text\":\"{\\\"a\\\": \\u00e4}\\n\"}") };
	struct arena           arena = { 0 };
	struct definition_call call;
	struct err             err = { 0 };

	ok(definition_render(&scope, 0, OP_TRY, &arena, &call, &err) && str_is(call.body, "{\"a\": \xc3\xa4}\n"),
	   "a text goes out as it is: %s", err.text);
	ok(call.header_count == 2 && str_is(call.headers[0].name, "X-Tenant") && str_is(call.headers[0].value, "t-7"),
	   "with the headers of all calls");
	ok(definition_render(&scope, 0, OP_CANCEL, &arena, &call, &err) && call.body.n == 0 && str_is(call.method, "POST"),
	   "an empty text is no body");
	ok(call.header_count == 2 && str_is(call.headers[0].value, "own") && str_is(call.headers[1].name, "X-All"),
	   "a header of its own stands in place of that of all");
	ok(definition_calls_nothing(d, 1, OP_TRY) && !definition_calls_nothing(d, 1, OP_CANCEL) &&
	       definition_has_call(d, 1, OP_TRY) && definition_plan(d)->steps[1].has & HAS_TRY &&
	       definition_target(d, 1, OP_TRY).n == 0,
	   "a call that is nothing is one, and goes nowhere");
	scope.input = STR("{\"text\":{\"n\":1.10},\"t\":0}");
	ok(definition_render(&scope, 0, OP_TRY, &arena, &call, &err) && str_is(call.body, "{\"n\":1.10}"),
	   "what is no text goes out as it was written");
	arena_fini(&arena);
	definition_drop(d);
}

/* ---- rendering ------------------------------------------------------------------------------ */

static void test_render(void)
{
	struct definition     *d = valid(trip, DEFINITION_NAMED);
	struct str             outputs[3] = { STR("{\"id\":\"h/1\"}"), STR("{\"id\":1.0}"), { 0 } };
	struct scope           scope = { .def = d,
					 .gid = STR("g1"),
					 .now = 0,
					 .outputs = outputs,
					 .input = STR("{\"city\":\"Bad Tölz\",\"n\":2.50,\"order\":7}") };
	struct arena           arena = { 0 };
	struct definition_call call;
	struct err             err = { 0 };

	ok(definition_render(&scope, 0, OP_TRY, &arena, &call, &err), "a try renders: %s",
	   err.text);
	ok(str_is(call.url, "http://Hotel:8080/r/Bad%20T%C3%B6lz?n=2.50"), "its URL: %.*s",
	   (int)call.url.n, call.url.p);
	ok(str_is(call.body, "{\"n\":2.50,\"at\":\"1970-01-01T00:00:00.000Z\"}"), "its body");
	ok(call.header_count == 1 && str_is(call.headers[0].name, "X-Order") &&
	       str_is(call.headers[0].value, "7"),
	   "its header");
	ok(str_is(call.method, "POST") && call.participant.n == 0 && call.timeout_ms == 2000,
	   "method and time-out");
	ok(definition_render(&scope, 0, OP_CANCEL, &arena, &call, &err) &&
	       str_is(call.method, "DELETE") && call.body.n == 0 &&
	       str_is(call.url, "http://hotel:8080/r/h%2F1"),
	   "a DELETE has no body");
	scope.outputs = NULL;
	ok(definition_render(&scope, 0, OP_CANCEL, &arena, &call, &err) &&
	       str_is(call.url, "http://hotel:8080/r/g1"),
	   "a refused step is cancelled by the default");
	ok(!definition_render(&scope, 1, OP_CONFIRM, &arena, &call, &err) &&
	       err.kind == ERR_INVALID,
	   "a missing output is an error: %s", err.text);
	scope.outputs = outputs;
	ok(definition_render(&scope, 1, OP_TRY, &arena, &call, &err) &&
	       str_is(call.participant, "bank") && str_is(call.url, "/holds") &&
	       str_eq(call.body, scope.input),
	   "by name: a path, and the input for a body");
	ok(definition_render(&scope, 1, OP_CONFIRM, &arena, &call, &err) &&
	       str_is(call.url, "/holds/1.0"),
	   "numbers stay as they were");
	ok(definition_render(&scope, 2, OP_TRY, &arena, &call, &err) &&
	       str_is(call.url, "http://mail/") && call.body.n == 0,
	   "a GET has no body, a URL its slash");
	scope.input = (struct str){ 0 };
	ok(definition_render(&scope, 1, OP_TRY, &arena, &call, &err) && str_is(call.body, "null"),
	   "no input is null");
	ok(!definition_render(&scope, 0, OP_CONFIRM, &arena, &call, &err) &&
	       err.kind == ERR_NOT_FOUND,
	   "no such call");
	arena_fini(&arena);
	definition_drop(d);
}

static void test_output(void)
{
	struct definition *d = valid(trip, DEFINITION_NAMED);
	struct str         outputs[3] = { STR("{\"id\":\"h1\"}"), { 0 }, { 0 } };
	struct scope       scope = { .def = d, .gid = STR("g1"), .outputs = outputs };
	struct buf         out = { 0 };
	struct err         err;

	ok(definition_output(d, &scope, &out, &err) &&
	       str_is(buf_view(&out), "{\"id\":\"h1\",\"bank\":null}"),
	   "the output of all");
	buf_clear(&out);
	outputs[0].n = 0;
	ok(!definition_output(d, &scope, &out, &err) && out.n == 0, "nothing half: %s", err.text);
	definition_drop(d);
	scope.def = d = valid("{\"mode\":\"tcc\"}", DEFINITION_INLINE);
	ok(definition_output(d, &scope, &out, &err) && str_is(buf_view(&out), "null"),
	   "no template, no output");
	buf_fini(&out);
	definition_drop(d);
}

static void test_mermaid(void)
{
	struct definition *d = valid(trip, DEFINITION_NAMED);
	struct buf         out = { 0 };

	definition_mermaid(d, &out);
	ok(str_is(buf_view(&out), "flowchart LR\n"
				  "    s0[\"hotel<br/>action, compensate\"]\n"
				  "    s1{{\"pay<br/>try, confirm, cancel\"}}\n"
				  "    s2([\"mail<br/>action\"])\n"
				  "    s0 --> s1\n"
				  "    s1 --> s2\n"),
	   "a drawing");
	buf_clear(&out);
	definition_drop(d);
	d = valid("{\"deadline\":\"1s\",\"mode\":\"message\",\"check\":{\"url\":\"http://"
		  "h\"},\"steps\":{\"end\":{\"action\":"
		  "{\"url\":\"http://h\"}}}}",
		  DEFINITION_NAMED);
	definition_mermaid(d, &out);
	ok(str_is(buf_view(&out), "flowchart LR\n"
				  "    check{\"check<br/>asks the sender\"}\n"
				  "    s0([\"end<br/>action\"])\n"
				  "    check --> s0\n"),
	   "and of a message");
	ok(definition_plan(d)->open && definition_plan(d)->mode == MODE_MESSAGE,
	   "a message is born prepared");
	buf_fini(&out);
	definition_drop(d);
}

/* ---- joins ------------------------------------------------------------------------------------
 */

static int join(struct definition *d, const char *step, struct definition **grown,
		struct findings *f, struct arena *arena)
{
	*f = (struct findings){ .arena = arena };
	return definition_join(d, str_of(step), grown, f);
}

static void test_join_plan(struct definition *d)
{
	const struct plan     *p = definition_plan(d);
	struct scope           scope = { .def = d, .gid = STR("g"), .input = STR("{}") };
	struct arena           arena = { 0 };
	struct definition_call call;

	ok(p->open && p->step_count == 2 && p->steps[0].joined && p->steps[1].joined,
	   "both steps have joined");
	ok(p->steps[0].has == (HAS_CONFIRM | HAS_CANCEL), "the first is tried by its caller");
	ok(p->steps[1].has == (HAS_TRY | HAS_CANCEL), "the second by us");
	ok(definition_render(&scope, 0, OP_CONFIRM, &arena, &call, NULL) &&
	       str_is(call.body, "{\"n\":1.10}"),
	   "data is the body of its calls");
	ok(definition_render(&scope, 1, OP_CANCEL, &arena, &call, NULL) && str_is(call.body, "{}"),
	   "without data it is the input");
	arena_fini(&arena);
}

static void test_join(void)
{
	static const char one[] =
	    "{\"name\":\"one\",\"data\":{\"n\": 1.10},\"try\":{\"url\":\"http://h/t\"},"
	    "\"confirm\":{\"url\":\"http://h/c\"},\"cancel\":{\"url\":\"http://h/u\"}}";
	static const char two[] =
	    "{\"name\":\"two\",\"call_try\":true,\"action\":{\"url\":\"http://h/a\"},"
	    "\"compensate\":{\"url\":\"http://h/\\\" u\"}}";
	struct arena       arena = { 0 };
	struct findings   *f = calloc(1, sizeof *f);
	struct definition *open =
	    valid("{ \"mode\" : \"tcc\" , \"deadline\":\"5s\" }", DEFINITION_INLINE);
	struct definition *first = NULL, *second = NULL, *again = NULL, *none;

	ok(definition_plan(open)->open && definition_plan(open)->step_count == 0,
	   "an open tcc begins with nothing");
	ok(join(open, one, &first, f, &arena) == 1 && first != NULL && f->errors == 0,
	   "a step joins");
	ok(join(first, two, &second, f, &arena) == -2 && second == NULL && f->errors == 1 &&
	       str_is(f->items[0].pointer, "/compensate/url"),
	   "an invalid step does not, with pointers into it");
	ok(join(first,
		"{\"name\":\"two\",\"call_try\":true,\"action\":{\"url\":\"http://h/"
		"a\"},\"compensate\":{\"url\":\"http://h/u\"}}",
		&second, f, &arena) == 1,
	   "another joins");
	test_join_plan(second);
	ok(definition_deadline_ms(second) == 5000, "the deadline stays");
	ok(join(second,
		"{\"name\": \"one\", \"data\":{\"n\":1.10},\n\"try\":{\"url\":\"http://h/t\"},"
		"\"confirm\":{\"url\":\"http://h/c\"},\"cancel\":{\"url\":\"http://h/u\"}}",
		&again, f, &arena) == 0 &&
	       again == NULL,
	   "the same again, laid out differently, is the same");
	ok(join(second, "{\"name\":\"one\",\"confirm\":{\"url\":\"http://h/c\"}}", &again, f,
		&arena) == -1 &&
	       again == NULL,
	   "another content of that name is not");
	again = definition_compile(definition_document(second), DEFINITION_INLINE,
				   (struct str){ 0 }, f);
	ok(again != NULL, "the grown text is all an adopter needs");
	if (again != NULL)
		test_join_plan(again);
	ok(join(open, "{\"name\":", &none, f, &arena) == -2 && f->errors == 1,
	   "broken JSON does not join");
	definition_drop(again);
	definition_drop(second);
	definition_drop(first);
	definition_drop(open);
	free(f);
	arena_fini(&arena);
}

static void test_join_refused(void)
{
	struct arena       arena = { 0 };
	struct findings   *f = calloc(1, sizeof *f);
	struct definition *d = valid(trip, DEFINITION_NAMED), *grown;

	ok(join(d, "{\"name\":\"x\",\"confirm\":{\"url\":\"http://h\"}}", &grown, f, &arena) ==
		   -2 &&
	       f->errors == 1,
	   "nothing joins a saga");
	ok(join(d, "[]", &grown, f, &arena) == -2, "whatever it is");
	definition_drop(d);
	free(f);
	arena_fini(&arena);
}

static void test_join_limit(void)
{
	struct arena       arena = { 0 };
	struct findings   *f = calloc(1, sizeof *f);
	struct definition *d = valid("{\"mode\":\"tcc\"}", DEFINITION_INLINE), *grown;
	int                joined = 1;
	char               step[100];

	for (int i = 0; i < TXN_STEPS_MAX && joined == 1; i++) {
		snprintf(step, sizeof step,
			 "{\"name\":\"s%d\",\"confirm\":{\"url\":\"http://h/\"}}", i);
		joined = join(d, step, &grown, f, &arena);
		if (joined == 1) {
			definition_drop(d);
			d = grown;
		}
	}
	ok(definition_plan(d)->step_count == TXN_STEPS_MAX, "256 steps can join");
	ok(join(d, "{\"name\":\"more\",\"confirm\":{\"url\":\"http://h/\"}}", &grown, f, &arena) ==
		   -2 &&
	       str_is(f->items[0].pointer, "/name"),
	   "one more cannot: %s", f->items[0].detail.p);
	definition_drop(d);
	free(f);
	arena_fini(&arena);
}

static void test_names(void)
{
	struct arena       arena = { 0 };
	struct findings   *f = calloc(1, sizeof *f);
	struct definition *d;
	const char        *text =
	    "{\"name\":\"demo\",\"steps\":{\"a\":{\"action\":{\"url\":\"http://h\"}}}}";

	d = compile(text, DEFINITION_NAMED, "other", f, &arena);
	ok(d == NULL && str_is(f->items[0].pointer, "/name"),
	   "another name than the address says: %s", f->items[0].detail.p);
	d = compile(text, DEFINITION_NAMED, "", f, &arena);
	ok(d != NULL && str_is(definition_name(d), "demo"),
	   "no address: the document's name counts");
	ok(definition_hold(d) == d, "a definition is counted");
	definition_drop(d);
	ok(str_is(definition_name(d), "demo"), "and lives until the last lets go");
	definition_drop(d);
	definition_drop(NULL);
	free(f);
	arena_fini(&arena);
}

int main(void)
{
	test_corpus();
	test_limits();
	test_steps();
	test_dot_segments();
	test_hints_leave_room();
	test_many_edges();
	test_plan();
	test_builtin_defaults();
	test_targets();
	test_common_answers();
	test_members();
	test_common_calls();
	test_render();
	test_output();
	test_mermaid();
	test_join();
	test_join_refused();
	test_join_limit();
	test_names();
	return tap_done();
}
