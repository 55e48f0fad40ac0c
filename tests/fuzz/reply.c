/* SPDX-License-Identifier: Apache-2.0
 * reply.c - call_learn on any answer: "op status\nSaga-Outcome\nRetry-After\nbody".
 *
 * With FUZZ_WITH_LIBFUZZER a libFuzzer target; else a program that replays the files it is given.
 */
#include "coordinator/base/json.h"
#include "participants/call.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct definition *definition;

static struct definition *the_definition(void)
{
	struct arena    arena = { 0 };
	struct findings findings = { .arena = &arena };

	definition = definition_compile(STR("{\"mode\":\"saga\",\"steps\":{\"a\":{"
		"\"try\":{\"url\":\"http://a/\",\"outcomes\":{\"404\":\"refused\",\"418\":\"ok\"},"
		"\"members\":{\"/error/code\":{\"-1\":\"refused\",\"0\":\"ok\"},\"/error/0/~0~1\":{\"*\":\"unknown\"}}},"
		"\"confirm\":{\"url\":\"http://a/\"},\"cancel\":{\"url\":\"http://a/\",\"outcomes\":{\"404\":\"ok\"}}}}}"),
		DEFINITION_INLINE, (struct str){ 0 }, &findings);
	assert(definition != NULL);
	arena_fini(&arena);
	return definition;
}

static struct str next_line(struct str *rest)
{
	const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
	struct str  line = { rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n };
	size_t      used = line.n + (end != NULL);

	*rest = (struct str){ rest->p + used, rest->n - used };
	return line;
}

static void check(enum op op, const struct call_reply *reply, const struct call_lesson *l)
{
	assert((unsigned)l->outcome < OUTCOME_COUNT);
	assert(memchr(l->error, '\0', sizeof l->error) != NULL && text_is_utf8(str_of(l->error)));
	for (const char *p = l->error; *p != '\0'; p++)
		assert((unsigned char)*p >= ' ');
	assert((l->outcome == OUTCOME_OK) == (l->error[0] == '\0'));
	assert(l->retry_after_ms >= 0 && l->retry_after_ms <= 86400000);
	if (l->output.n > 0) {
		assert(op == OP_TRY && l->outcome == OUTCOME_OK && json_is_valid(l->output));
		assert(l->output.p >= reply->body.p && l->output.p + l->output.n <= reply->body.p + reply->body.n);
	}
	/* A status of 0 is no answer, and no answer is not a "no". */
	assert(reply->status != 0 || l->outcome == OUTCOME_UNKNOWN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str         rest = { (const char *)data, size }, first = next_line(&rest);
	struct call_reply  reply = { 0 };
	struct call_lesson lesson;
	enum op            op = first.n > 0 ? (enum op)((unsigned char)first.p[0] % OP_COUNT) : OP_TRY;
	uint64_t           status = 0;

	if (first.n > 2)
		text_to_u64((struct str){ first.p + 2, first.n - 2 }, &status);
	reply.status = (int)(status % 1000);
	reply.saga_outcome = next_line(&rest);
	reply.retry_after = next_line(&rest);
	reply.body = rest;
	reply.failure = rest;
	reply.body_too_big = first.n > 1 && first.p[1] == '!';
	call_learn(definition ? definition : the_definition(), 0, op, &reply, 1795423254000, &lesson);
	check(op, &reply, &lesson);
	return 0;
}

#ifndef FUZZ_WITH_LIBFUZZER
#include "tests/lib/tap.h"

#include <dirent.h>

/* Replays the corpus, and every beginning of each input. */
static void replay(const char *path)
{
	uint8_t bytes[4096];
	FILE   *f = fopen(path, "rb");
	size_t  n = f ? fread(bytes, 1, sizeof bytes, f) : 0;

	if (f != NULL)
		fclose(f);
	for (size_t i = 0; i <= n; i++)
		LLVMFuzzerTestOneInput(bytes, i);
	ok(n > 0, "%s", path);
}

int main(void)
{
	const char          *root = getenv("srcdir");
	char                 path[1024];
	const struct dirent *entry;
	DIR                 *dir;

	snprintf(path, sizeof path, "%s/tests/fuzz/corpus/reply", root ? root : ".");
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof path, "%s/tests/fuzz/corpus/reply/%.200s", root ? root : ".",
			         entry->d_name);
			replay(path);
		}
	ok(tap_run >= 10, "there is a corpus");
	if (dir != NULL)
		closedir(dir);
	definition_drop(definition);
	return tap_done();
}
#endif
