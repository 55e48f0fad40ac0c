/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/template.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

#define INPUT                                                                                      \
	"{\"order\":12345678901234567890.10,\"name\":\"J\\u00f6rg "                                \
	"\\\"x\\\"\",\"none\":null,\"yes\":true,"                                                  \
	" \"list\" : [ {\"a\":1}, [2 , 3], \"z\" ] ,\"o\":{\"k\":[1, 2],\"odd-name_1\":\"v\"},"    \
	"\"empty\":\"\",\"dots\":\"..\",\"path\":\"a/b?c\",\"line\":\"a\\r\\nEvil: "               \
	"1\",\"\\u0061b\":\"esc\"}"

static int find_step(void *ctx, struct str name)
{
	(void)ctx;
	return str_is(name, "hotel") ? 0 : str_is(name, "no-output") ? 1 : -1;
}

static void report(void *ctx, const struct json *node, const char *sentence)
{
	struct buf *said = ctx;

	(void)node;
	buf_fmt(said, "%s%s", said->n ? "; " : "", sentence);
}

static void reads(void *ctx, const struct json *node, int step, bool defaulted)
{
	(void)ctx, (void)node, (void)step, (void)defaulted;
}

struct bench {
	struct arena             arena;
	struct template_paths    paths;
	struct template_compiler c;
	struct buf               said;
};

static void bench_init(struct bench *b)
{
	*b = (struct bench){ 0 };
	b->c = (struct template_compiler){ .arena = &b->arena,
					   .paths = &b->paths,
					   .step = find_step,
					   .report = report,
					   .reads = reads,
					   .ctx = &b->said };
}

static void bench_fini(struct bench *b)
{
	arena_fini(&b->arena);
	buf_fini(&b->said);
}

static bool fill(struct bench *b, const struct template *t, struct str input, struct buf *out,
		 struct err *err)
{
	static const struct str outputs[2] = { { "{\"id\": \"h-1\", \"n\": 0.30}", 24 },
					       { NULL, 0 } };
	struct template_sources sources = { .input = input,
					    .outputs = outputs,
					    .output_n = 2,
					    .gid = STR("g\"1"),
					    .definition = STR("book-trip"),
					    .now = 1795423254123 };

	return template_fill(t, template_find(&b->paths, &sources, &b->arena), &b->arena, out, err);
}

/* ---- JSON bodies ------------------------------------------------------------------- */

static const struct {
	const char *why, *body, *becomes; /* NULL: cannot be filled */
} bodies[] = {
	{ "a body without holes stays as it was written",
	  "{ \"a\" : 1.10, \"b\\u0024\": \"\\u00e4\" }",
	  "{ \"a\" : 1.10, \"b\\u0024\": \"\\u00e4\" }" },
	{ "a whole string keeps a number as it was written", "{\"n\":\"${input.order}\"}",
	  "{\"n\":12345678901234567890.10}" },
	{ "a whole string keeps a string", "\"${input.name}\"", "\"J\\u00f6rg \\\"x\\\"\"" },
	{ "a whole string keeps null", "[\"${input.none}\"]", "[null]" },
	{ "a whole string keeps true", "[\"${ input.yes }\"]", "[true]" },
	{ "a whole string keeps an object", "[\"${input.o}\"]",
	  "[{\"k\":[1, 2],\"odd-name_1\":\"v\"}]" },
	{ "the whole input", "[\"${input}\",\"${input.list[1]}\"]", "[" INPUT ",[2 , 3]]" },
	{ "inside a string a string becomes text", "\"<${input.name}>\"",
	  "\"<J\\u00f6rg \\\"x\\\">\"" },
	{ "inside a string a number becomes text", "\"no ${input.order}!\"",
	  "\"no 12345678901234567890.10!\"" },
	{ "inside a string an object becomes its escaped text",
	  "\"${input.o.k}, ${input.list[0]}\"", "\"[1, 2], {\\\"a\\\":1}\"" },
	{ "two holes side by side", "\"${input.yes}${input.yes}\"", "\"truetrue\"" },
	{ "an index", "[\"${input.list[0].a}\",\"${input.list[1][1]}\",\"${input.list[2]}\"]",
	  "[1,3,\"z\"]" },
	{ "a name with a dash and a digit", "\"${input.o.odd-name_1}\"", "\"v\"" },
	{ "a name written with an escape in the input", "\"${input.ab}\"", "\"esc\"" },
	{ "gid, definition and now", "[\"${gid}\",\"${definition}\",\"${now}\"]",
	  "[\"g\\\"1\",\"book-trip\",\"2026-11-23T08:40:54.123Z\"]" },
	{ "the output of a step", "[\"${steps.hotel.output.n}\",\"${steps.hotel.output}\"]",
	  "[0.30,{\"id\": \"h-1\", \"n\": 0.30}]" },
	{ "a default for what is missing",
	  "[\"${input.nothing ?? 1.0}\",\"${input.list[9] ?? 'x'}\"]", "[1.0,\"x\"]" },
	{ "no default for what is there", "\"${input.yes ?? false}\"", "true" },
	{ "a default for null", "[\"${input.none ?? \\\"d\\\"}\",\"${input.none ?? null}\"]",
	  "[\"d\",null]" },
	{ "a default that is a reference", "\"${steps.no-output.output.id ?? gid}\"",
	  "\"g\\\"1\"" },
	{ "a chain of defaults", "\"${input.a ?? input.b ?? steps.hotel.output.id ?? 'c'}\"",
	  "\"h-1\"" },
	{ "a default with a brace and a dollar", "\"${input.a ?? \\\"}$\\\"}\"", "\"}$\"" },
	{ "the escape", "[\"$${input}\",\"a $${x} ${gid}\",\"$$${gid}\"]",
	  "[\"${input}\",\"a ${x} g\\\"1\",\"$${gid}\"]" },
	{ "a dollar alone is a dollar", "[\"$\",\"$5\",\"a$\",\"{}\",\"$${gid}$\"]",
	  "[\"$\",\"$5\",\"a$\",\"{}\",\"${gid}$\"]" },
	{ "names of members are no templates", "{\"${gid}\":\"${gid}\"}",
	  "{\"${gid}\":\"g\\\"1\"}" },
	{ "a hole written with escapes", "\"\\u0024{gid}\"", "\"g\\\"1\"" },
	{ "literals beside a hole stay escaped", "\"\\n\\\"${input.yes}\\\\\\u0001\"",
	  "\"\\n\\\"true\\\\\\u0001\"" },
	{ "a missing value without a default", "\"${input.nothing}\"", NULL },
	{ "a missing output without a default", "\"x ${steps.no-output.output}\"", NULL },
	{ "a member of a number", "\"${input.order.x}\"", NULL },
	{ "a member of an array", "\"${input.list.a}\"", NULL },
	{ "an index into an object", "\"${input.o[0]}\"", NULL },
	{ "an index behind the end", "\"${input.list[3]}\"", NULL },
	{ "null inside a string", "\"x${input.none}\"", NULL },
	{ "a default that is missing too", "\"${input.a ?? input.b}\"", NULL },
};

static void test_bodies(void)
{
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct bench     b;
		struct buf       out = { 0 };
		struct err       err = { 0 };
		struct template *t;
		struct json     *json;
		bool             filled;

		bench_init(&b);
		json = json_parse(str_of(bodies[i].body), &b.arena, NULL);
		t = template_of_json(&b.c, json);
		filled = fill(&b, t, STR(INPUT), &out, &err);
		if (b.said.n > 0)
			ok(false, "%s: does not compile: %s", bodies[i].why, b.said.p);
		else if (bodies[i].becomes == NULL)
			ok(!filled && err.kind == ERR_INVALID && strstr(err.text, "${"),
			   "no: %s: %s", bodies[i].why, err.text);
		else
			ok(filled && str_is(buf_view(&out), bodies[i].becomes) &&
			       json_is_valid(buf_view(&out)),
			   "%s: %s", bodies[i].why, filled ? out.p : err.text);
		buf_fini(&out);
		bench_fini(&b);
	}
}

/* ---- URLs and headers ------------------------------------------------------------------ */

static const struct {
	const char         *why;
	enum template_place place;
	const char         *text, *becomes;
} lines[] = {
	{ "a path segment is percent-encoded", TEMPLATE_PATH, "/x/${input.path}/y",
	  "/x/a%2Fb%3Fc/y" },
	{ "UTF-8 and quotes are percent-encoded", TEMPLATE_PATH, "/${input.name}",
	  "/J%C3%B6rg%20%22x%22" },
	{ "a query value is percent-encoded", TEMPLATE_PATH, "/x?q=${input.path}&r=${input.yes}",
	  "/x?q=a%2Fb%3Fc&r=true" },
	{ "a number in a path", TEMPLATE_PATH, "/${input.order}", "/12345678901234567890.10" },
	{ "a default in a path", TEMPLATE_PATH, "/r/${steps.no-output.output.id ?? gid}/cancel",
	  "/r/g%221/cancel" },
	{ "an empty query value", TEMPLATE_PATH, "/x?q=${input.empty}", "/x?q=" },
	{ "dots beside other letters", TEMPLATE_PATH, "/v${input.dots}/", "/v../" },
	{ "dots in a query", TEMPLATE_PATH, "/?${input.dots}", "/?.." },
	{ "a slash at the end", TEMPLATE_PATH, "/${input.yes}/", "/true/" },
	{ "an empty path segment", TEMPLATE_PATH, "/x/${input.empty}/cancel", NULL },
	{ "an empty last path segment", TEMPLATE_PATH, "/x/${input.empty}", NULL },
	{ "an empty segment before a query", TEMPLATE_PATH, "/${input.empty}?a=b", NULL },
	{ "a segment of two dots", TEMPLATE_PATH, "/x/${input.dots}/y", NULL },
	{ "a segment of two dots, one of them literal", TEMPLATE_PATH, "/x/.${input.dot ?? '.'}",
	  NULL },
	{ "an object in a path", TEMPLATE_PATH, "/${input.o}", NULL },
	{ "an array in a query", TEMPLATE_PATH, "/?a=${input.list}", NULL },
	{ "null in a path", TEMPLATE_PATH, "/${input.none}", NULL },
	{ "a header", TEMPLATE_HEADER, "Bearer ${input.o.odd-name_1} ${input.order}",
	  "Bearer v 12345678901234567890.10" },
	{ "an empty header", TEMPLATE_HEADER, "${input.empty}", "" },
	{ "a header of another line", TEMPLATE_HEADER, "x ${input.line}", NULL },
	{ "a header beyond ASCII", TEMPLATE_HEADER, "${input.name}", NULL },
	{ "an object in a header", TEMPLATE_HEADER, "${input.o}", NULL },
};

static void test_lines(void)
{
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct bench     b;
		struct buf       out = { 0 };
		struct err       err = { 0 };
		struct template *t;
		bool             filled;

		bench_init(&b);
		t = template_of_text(&b.c, NULL, str_of(lines[i].text), lines[i].place);
		filled = fill(&b, t, STR(INPUT), &out, &err);
		if (b.said.n > 0)
			ok(false, "%s: does not compile: %s", lines[i].why, b.said.p);
		else if (lines[i].becomes == NULL)
			ok(!filled && err.kind == ERR_INVALID, "no: %s: %s", lines[i].why,
			   err.text);
		else
			ok(filled && str_is(buf_view(&out), lines[i].becomes), "%s: %s",
			   lines[i].why, filled ? (out.p ? out.p : "") : err.text);
		buf_fini(&out);
		bench_fini(&b);
	}
}

/* ---- what does not compile ---------------------------------------------------------------- */

static const struct {
	const char         *why;
	enum template_place place;
	const char         *text, *says;
} wrong[] = {
	{ "an unknown root", TEMPLATE_JSON, "${inputs.x}", "a reference begins with" },
	{ "nothing", TEMPLATE_JSON, "${}", "a reference is expected" },
	{ "never closed", TEMPLATE_JSON, "x ${input.a", "?? or } is expected" },
	{ "a dollar and a brace at the end", TEMPLATE_JSON, "x ${", "a reference is expected" },
	{ "an empty name", TEMPLATE_JSON, "${input..a}", "a name is expected" },
	{ "a name that begins with a digit", TEMPLATE_JSON, "${input.1}", "a name is expected" },
	{ "a negative index", TEMPLATE_JSON, "${input[-1]}", "an index is" },
	{ "a huge index", TEMPLATE_JSON, "${input[99999999999999999999]}", "an index is" },
	{ "an index never closed", TEMPLATE_JSON, "${input[1}", "an index is" },
	{ "a step that does not exist", TEMPLATE_JSON, "${steps.nobody.output}", "no step" },
	{ "a step's other parts", TEMPLATE_JSON, "${steps.hotel.state}", "only the output" },
	{ "a step alone", TEMPLATE_JSON, "${steps.hotel}", "only the output" },
	{ "steps alone", TEMPLATE_JSON, "${steps}", "write steps.NAME.output" },
	{ "a part of gid", TEMPLATE_JSON, "${gid.x}", "have no parts" },
	{ "a part of now", TEMPLATE_JSON, "${now[0]}", "have no parts" },
	{ "a literal alone", TEMPLATE_JSON, "${1}", "a reference is expected" },
	{ "a word for a literal", TEMPLATE_JSON, "${input.a ?? nothing}",
	  "a reference begins with" },
	{ "a broken number", TEMPLATE_JSON, "${input.a ?? 01}", "a reference, or a literal" },
	{ "a literal array", TEMPLATE_JSON, "${input.a ?? []}", "a reference, or a literal" },
	{ "a literal string never closed", TEMPLATE_JSON, "${input.a ?? \"x}",
	  "a reference, or a literal" },
	{ "a quoted text never closed", TEMPLATE_JSON, "${input.a ?? 'x}", "closing '" },
	{ "something behind a literal", TEMPLATE_JSON, "${input.a ?? 1 ?? gid}",
	  "nothing can follow" },
	{ "one question mark", TEMPLATE_JSON, "${input.a ? 1}", "?? or }" },
	{ "arithmetic", TEMPLATE_JSON, "${input.a + 1}", "?? or }" },
	{ "a call", TEMPLATE_JSON, "${input.a()}", "?? or }" },
	{ "nine alternatives", TEMPLATE_JSON,
	  "${input.a??input.b??input.c??input.d??input.e??input.f??input.g??input.h??input.i}",
	  "at most 8" },
	{ "a space in a path", TEMPLATE_PATH, "/a b", "percent-encode" },
	{ "a letter beyond ASCII in a path", TEMPLATE_PATH, "/\xc3\xa4", "percent-encode" },
	{ "half a percent-encoding", TEMPLATE_PATH, "/a%2", "percent-encode" },
	{ "an encoded dot", TEMPLATE_PATH, "/%2E${gid}", "as a dot" },
	{ "a fragment", TEMPLATE_PATH, "/a#b", "fragment" },
	{ "a line feed in a header", TEMPLATE_HEADER, "a\nb", "printable ASCII" },
};

static void test_wrong(void)
{
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct bench b;
		struct buf   json = { 0 };

		bench_init(&b);
		buf_json(&json, str_of(wrong[i].text));
		if (wrong[i].place == TEMPLATE_JSON)
			template_of_json(&b.c, json_parse(buf_view(&json), &b.arena, NULL));
		else
			template_of_text(&b.c, NULL, str_of(wrong[i].text), wrong[i].place);
		ok(b.said.n > 0 && strstr(b.said.p, wrong[i].says), "refused: %s: %s", wrong[i].why,
		   b.said.n > 0 ? b.said.p : "it compiled");
		buf_fini(&json);
		bench_fini(&b);
	}
}

/* ---- limits -------------------------------------------------------------------------------- */

static void test_depth(void)
{
	struct bench b;
	struct buf   text = { 0 };

	bench_init(&b);
	buf_cstr(&text, "${input");
	for (int i = 0; i < TEMPLATE_DEPTH_MAX; i++)
		buf_cstr(&text, ".a");
	buf_char(&text, '}');
	template_of_text(&b.c, NULL, buf_view(&text), TEMPLATE_HEADER);
	ok(b.said.n == 0, "a reference 32 levels deep compiles");
	text.n--;
	buf_cstr(&text, ".a}");
	template_of_text(&b.c, NULL, buf_view(&text), TEMPLATE_HEADER);
	ok(b.said.n > 0, "one level more does not: %s", b.said.p);
	buf_fini(&text);
	bench_fini(&b);
}

static void test_many_paths(void)
{
	struct bench b;
	struct buf   text = { 0 };

	bench_init(&b);
	for (int i = 0; i < TEMPLATE_NODES_MAX - 1; i++)
		buf_fmt(&text, "${input.n%d}", i);
	template_of_text(&b.c, NULL, buf_view(&text), TEMPLATE_HEADER);
	ok(b.said.n == 0, "1,023 members of the input can be read by one call");
	buf_cstr(&text, "${input.one}");
	template_of_text(&b.c, NULL, buf_view(&text), TEMPLATE_HEADER);
	ok(b.said.n > 0, "one more cannot: %s", b.said.p);
	buf_fini(&text);
	bench_fini(&b);
}

static void test_size(void)
{
	struct bench     b;
	struct buf       text = { 0 }, input = { 0 }, out = { 0 };
	struct err       err = { 0 };
	struct template *t;

	bench_init(&b);
	buf_char(&input, '"');
	for (int i = 0; i < 1000; i++)
		buf_char(&input, 'x');
	buf_char(&input, '"');
	buf_char(&text, '"');
	for (int i = 0; i < 1100; i++)
		buf_cstr(&text, "${input}");
	buf_char(&text, '"');
	t = template_of_json(&b.c, json_parse(buf_view(&text), &b.arena, NULL));
	ok(!fill(&b, t, buf_view(&input), &out, &err) && err.kind == ERR_LIMIT && out.n < 1 << 21,
	   "a body beyond 1 MiB is not made: %s", err.text);
	buf_clear(&out);
	t = template_of_text(
	    &b.c, NULL,
	    STR("/${input}/${input}/${input}/${input}/${input}/${input}/${input}/${input}"),
	    TEMPLATE_PATH);
	ok(!fill(&b, t, buf_view(&input), &out, &err) && err.kind == ERR_LIMIT,
	   "nor a URL beyond 8000 bytes: %s", err.text);
	buf_fini(&text);
	buf_fini(&input);
	buf_fini(&out);
	bench_fini(&b);
}

static void test_no_input(void)
{
	struct bench     b;
	struct buf       out = { 0 };
	struct template *t;

	bench_init(&b);
	t = template_of_json(&b.c,
			     json_parse(STR("[\"${input}\",\"${input.a ?? 1}\"]"), &b.arena, NULL));
	ok(fill(&b, t, (struct str){ 0 }, &out, NULL) && str_is(buf_view(&out), "[null,1]"),
	   "no input is null");
	ok(!template_is_constant(t), "a template with holes is not constant");
	t = template_of_json(&b.c, json_parse(STR("[\"$\"]"), &b.arena, NULL));
	ok(template_is_constant(t), "one without is");
	buf_fini(&out);
	bench_fini(&b);
}

int main(void)
{
	test_bodies();
	test_lines();
	test_wrong();
	test_depth();
	test_many_paths();
	test_size();
	test_no_input();
	return tap_done();
}
