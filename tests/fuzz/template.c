/* SPDX-License-Identifier: Apache-2.0
 * template.c - a line of template, then the input it is filled with, in each place.
 */
#include "participants/template.h"
#include "tests/fuzz/replay.h"

#include <assert.h>
#include <string.h>

struct bench {
	struct arena             arena;
	struct template_paths    paths;
	struct template_compiler c;
	unsigned                 said;
};

static int find_step(void *ctx, struct str name)
{
	(void)ctx;
	return str_is(name, "a") ? 0 : -1;
}

static void report(void *ctx, const struct json *node, const char *sentence)
{
	struct bench *b = ctx;

	(void)node;
	assert(text_is_utf8(str_of(sentence)) ||
	       strchr(sentence, '"')); /* a cut quotation at worst */
	b->said++;
}

static void reads(void *ctx, const struct json *node, int step, bool defaulted)
{
	(void)ctx, (void)node, (void)defaulted;
	assert(step == 0);
}

static size_t depth_of(struct str json)
{
	size_t n = 0;

	for (size_t i = 0; i < json.n; i++)
		n += json.p[i] == '[' || json.p[i] == '{';
	return n;
}

static void check_filled(enum template_place place, struct str out, struct str input)
{
	if (place == TEMPLATE_JSON) {
		assert(depth_of(out) + depth_of(input) >= JSON_DEPTH_MAX || json_is_valid(out));
		return;
	}
	if (place == TEMPLATE_TEXT) {
		assert(out.n <= TEMPLATE_OUTPUT_MAX && text_is_utf8(out));
		return;
	}
	assert(out.n <= TEMPLATE_LINE_MAX);
	for (size_t i = 0; i < out.n; i++) {
		unsigned char c = (unsigned char)out.p[i];

		if (place == TEMPLATE_HEADER)
			assert(c >= 0x20 && c != 0x7f);
		else
			assert(c > ' ' && c < 0x7f && c != '"' && c != '#');
	}
}

static void try_place(struct str text, struct str input, enum template_place place)
{
	struct bench     b = { 0 };
	struct buf       out = { 0 }, json = { 0 };
	struct err       err = { 0 };
	struct template *t;
	struct json     *node;
	struct str       output = input;

	b.c = (struct template_compiler){ &b.arena, &b.paths, find_step, report, reads, &b };
	buf_json(&json, text);
	node = json_parse(json_is_valid(text) ? text : buf_view(&json), &b.arena, NULL);
	t = node == NULL             ? NULL /* a NUL, or UTF-8 replaced beyond repair */
	    : place == TEMPLATE_JSON ? template_of_json(&b.c, node)
	    : !text_is_utf8(text)    ? NULL
				     : template_of_text(&b.c, node, text, place);
	if (t != NULL && b.said == 0) {
		struct template_sources sources = { .input = input,
						    .outputs = &output,
						    .output_n = 1,
						    .gid = STR("g-1"),
						    .definition = STR("d"),
						    .now = 1 };
		struct str             *values = template_find(&b.paths, &sources, &b.arena);

		if (template_fill(t, values, &b.arena, &out, &err))
			check_filled(place, buf_view(&out), input);
		else
			assert(err.kind != ERR_NONE && err.text[0] != '\0');
	}
	buf_fini(&out);
	buf_fini(&json);
	arena_fini(&b.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t         n = end != NULL ? (size_t)(end - data) : size;
	struct str     text = { (const char *)data, n }, input = { 0 };

	if (end != NULL)
		input = (struct str){ (const char *)end + 1, size - n - 1 };
	if (!json_is_valid(input))
		input = (struct str){ 0 };
	try_place(text, input, TEMPLATE_JSON);
	try_place(text, input, TEMPLATE_PATH);
	try_place(text, input, TEMPLATE_HEADER);
	try_place(text, input, TEMPLATE_TEXT);
	return 0;
}

REPLAY("template", 20)
