/* SPDX-License-Identifier: Apache-2.0
 * replay.h - without libFuzzer a fuzz target is a test: each input of its corpus, and beginnings of each.
 */
#ifndef TESTS_FUZZ_REPLAY_H
#define TESTS_FUZZ_REPLAY_H

#include <stdint.h>
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef FUZZ_WITH_LIBFUZZER
#include "tests/lib/tap.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* In memory of exactly that size, so that a sanitizer sees one byte too many. */
static void replay_bytes(const uint8_t *bytes, size_t n)
{
	uint8_t *exact = malloc(n ? n : 1);

	memcpy(exact, bytes, n);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
}

static void replay_file(const char *path)
{
	static uint8_t bytes[1 << 20];
	FILE          *f = fopen(path, "rb");
	size_t         n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
	size_t         stride = n / 100 + 1;

	if (f != NULL)
		fclose(f);
	for (size_t i = 0; i < n; i += stride)
		replay_bytes(bytes, i);
	replay_bytes(bytes, n);
	ok(f != NULL, "%s", strrchr(path, '/') + 1);
}

static int replay(const char *name, size_t least)
{
	const char *srcdir = getenv("srcdir");
	char        pattern[4096];
	glob_t      found;

	snprintf(pattern, sizeof pattern, "%s/tests/fuzz/corpus/%s/*", srcdir ? srcdir : ".", name);
	if (glob(pattern, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	ok(found.gl_pathc >= least, "the corpus is there: %zu inputs", found.gl_pathc);
	for (size_t i = 0; i < found.gl_pathc; i++)
		replay_file(found.gl_pathv[i]);
	globfree(&found);
	return tap_done();
}

#define REPLAY(name, least)                    \
	int main(void)                         \
	{                                      \
		return replay(name, least);    \
	}
#else
#define REPLAY(name, least)
#endif

#endif
