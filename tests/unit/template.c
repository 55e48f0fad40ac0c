/* SPDX-License-Identifier: Apache-2.0
 * template.c - limits of templates; what they become is in participants/vectors/templates.json.
 */
#include "participants/template.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

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
	test_depth();
	test_many_paths();
	test_size();
	test_no_input();
	return tap_done();
}
