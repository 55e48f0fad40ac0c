/* SPDX-License-Identifier: Apache-2.0
 * libsaga_template.c - templates.json, and what a definition of the examples becomes.
 */
#include "participants/libsaga/saga/template.h"
#include "tests/lib/tap.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *text(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static enum saga_place place_of(const char *name)
{
	static const char *const names[] = {
#define X(name, text) text,
		SAGA_PLACES(X)
#undef X
	};
	int i = 0;

	while (strcmp(names[i], name) != 0)
		i++;
	return (enum saga_place)i;
}

static void test_vectors(const json_t *root)
{
	struct saga_output outputs[8];
	struct saga_sources sources = { .input = text(root, "input"),
		                        .outputs = outputs,
		                        .gid = text(root, "gid"),
		                        .definition = text(root, "definition") };
	struct saga_error error;
	const char *step;
	json_t *v, *c;
	char *out;
	size_t i;

	sources.now_ms = json_integer_value(json_object_get(root, "now_ms"));
	json_object_foreach(json_object_get(root, "outputs"), step, v)
		outputs[sources.output_count++] =
			(struct saga_output){ step, json_string_value(v) };
	json_array_foreach(json_object_get(root, "cases"), i, c) {
		enum saga_filled is = saga_fill(text(c, "template"), place_of(text(c, "place")),
		                                &sources, &out, &error);

		if (text(c, "becomes"))
			ok(is == SAGA_FILL_DONE && !strcmp(out, text(c, "becomes")), "%s: %s",
			   text(c, "name"), is == SAGA_FILL_DONE ? out : error.text);
		else
			ok(is == SAGA_FILL_NO_VALUE && !out, "%s: %s", text(c, "name"), error.text);
		free(out);
	}
	ok(i > 50, "%zu templates", i);
	json_array_foreach(json_object_get(root, "wrong"), i, c) {
		enum saga_filled is = saga_fill(text(c, "template"), place_of(text(c, "place")),
		                                &sources, &out, &error);

		ok(is == SAGA_FILL_BAD_TEMPLATE && strstr(error.text, text(c, "says")),
		   "wrong: %s: %s", text(c, "name"), error.text);
		free(out);
	}
	ok(i > 30, "%zu that are wrong", i);
}

static enum saga_filled fill(const char *source, enum saga_place place, const char *input,
                             const char *wanted)
{
	struct saga_sources sources = { .input = input, .gid = "g" };
	struct saga_error error = { 0 };
	char *out;
	enum saga_filled is = saga_fill(source, place, &sources, &out, &error);

	if (is == SAGA_FILL_DONE && (!wanted || strcmp(out, wanted) != 0))
		printf("# it became %.100s\n", out);
	else if (is != SAGA_FILL_DONE)
		printf("# %s\n", error.text);
	is = is == SAGA_FILL_DONE && wanted && strcmp(out, wanted) != 0 ? SAGA_FILL_ERROR : is;
	free(out);
	return is;
}

static void test_more(void)
{
	static char big[9000];

	ok(fill("to ${input.a} and ${input.o}: $${x} $5\n", SAGA_PLACE_TEXT,
	        "{\"a\": \"\\u00e4\\n\", \"o\": [1, null]}",
	        "to ä\n and [1, null]: ${x} $5\n") == SAGA_FILL_DONE,
	   "a body of text takes all");
	ok(fill("${input}", SAGA_PLACE_TEXT, NULL, "null") == SAGA_FILL_DONE, "and null");
	ok(fill("{\"a\": \"${gid}\"", SAGA_PLACE_JSON, NULL, NULL) == SAGA_FILL_BAD_TEMPLATE,
	   "half a body");
	ok(fill("\"\\u0000${gid}\"", SAGA_PLACE_JSON, NULL, NULL) == SAGA_FILL_BAD_TEMPLATE,
	   "a zero byte");
	ok(fill("x", SAGA_PLACE_TEXT, "{", NULL) == SAGA_FILL_ERROR, "an input that is no JSON");
	memset(big, 'x', sizeof(big) - 1);
	ok(fill(big, SAGA_PLACE_HEADER, NULL, NULL) == SAGA_FILL_NO_VALUE, "too long a header");
	ok(fill(big, SAGA_PLACE_TEXT, NULL, big) == SAGA_FILL_DONE, "which a body may be");
	ok(fill("/$${x}", SAGA_PLACE_PATH, NULL, NULL) == SAGA_FILL_BAD_TEMPLATE,
	   "a brace in a path");
	ok(fill("", SAGA_PLACE_HEADER, NULL, "") == SAGA_FILL_DONE, "nothing");
	for (const char *s = "\"${input.a[1].b ?? steps.x.output ?? 'y\\\\\"}\""; *s; s++)
		(void)fill(s, SAGA_PLACE_TEXT, NULL, NULL); /* under the sanitizers */
}

int main(void)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];
	json_t *root;

	snprintf(path, sizeof(path), "%s/participants/vectors/templates.json",
	         srcdir ? srcdir : ".");
	root = json_load_file(path, 0, NULL);
	if (!root) {
		printf("Bail out! %s cannot be read\n", path);
		return 1;
	}
	test_vectors(root);
	test_more();
	json_decref(root);
	return tap_done();
}
