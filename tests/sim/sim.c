/* SPDX-License-Identifier: Apache-2.0
 * sim.c - runs seeds and kept tapes; shrinks what fails and tells its story.
 *
 *   sim [first-seed] [count] [--part] [--progress] [--no-shrink] [--tape FILE] [--keep FILE]: the tape of what failed
 */
#include "tests/sim/world.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CODE_ABORTED = 1000, SHRINK_RUNS = 6000, TWICE_EVERY = 50, TAPES_MAX = 500 };

static struct sim {
	struct world world;
	struct tape  tape;
	struct seen  seen;
	bool         trace, shrink;
	const char  *keep;
	uint64_t     seed;
	jmp_buf      abort;
} sim;

/* An assertion in the code under test is a finding like another: it can be shrunk. What
 * the run held is lost; the process ends soon after. */
static void on_abort(int sig)
{
	(void)sig;
	longjmp(sim.abort, 1);
}

static void on_crash(int sig)
{
	char line[80];
	int  n = snprintf(line, sizeof line, "not ok - seed %llu: signal %d\n", (unsigned long long)sim.seed, sig);

	if (write(STDOUT_FILENO, line, (size_t)n) < n)
		_exit(3);
	_exit(2);
}

static void catch(int sig, void (*handler)(int))
{
	struct sigaction a = { .sa_handler = handler, .sa_flags = SA_NODEFER };

	sigaction(sig, &a, NULL);
}

static int run(void *ctx, struct tape *tape)
{
	(void)ctx;
	if (setjmp(sim.abort) != 0) {
		snprintf(sim.world.why, sizeof sim.world.why, "an assertion failed");
		return CODE_ABORTED;
	}
	return world_run(&sim.world, tape, &sim.seen, sim.trace);
}

static void tell_failure(const char *name)
{
	struct seen before = sim.seen;
	int         mute = open("/dev/null", O_WRONLY), out = dup(STDERR_FILENO);
	size_t      n = sim.tape.n;

	printf("not ok 1 - %s: %s\n", name, sim.world.why);
	fflush(stdout);
	dup2(mute, STDERR_FILENO); /* assertions speak up at every attempt */
	unsigned runs = !sim.shrink ? 0 : tape_shrink(&sim.tape, run, NULL, SHRINK_RUNS);
	dup2(out, STDERR_FILENO);
	size_t live = 0;
	for (size_t i = 0; i < sim.tape.n; i++)
		live += sim.tape.choices[i] != 0;
	printf("# shrunk from %zu choices to %zu (%zu not zero) in %u runs\n", n, sim.tape.n, live, runs);
	sim.trace = true;
	tape_rewind(&sim.tape);
	run(NULL, &sim.tape);
	if (sim.keep == NULL) {
		tape_print(&sim.tape, stdout, "# tape: ");
	} else if (!tape_keep(&sim.tape, sim.keep, name, sim.world.why)) {
		printf("# %s cannot be written\n", sim.keep);
	}
	puts("1..1");
	sim.seen = before;
}

static bool run_seed(uint64_t seed)
{
	char name[40];

	sim.seed = seed;
	snprintf(name, sizeof name, "seed %llu", (unsigned long long)seed);
	tape_record(&sim.tape, seed);
	int      code = run(NULL, &sim.tape);
	uint64_t story = sim.world.story;
	if (seed % TWICE_EVERY == 0) {
		tape_rewind(&sim.tape);
		int again = run(NULL, &sim.tape);

		if (again != code || sim.world.story != story) {
			printf("not ok 1 - %s is not deterministic: %d and %d\n1..1\n", name, code, again);
			return false;
		}
	}
	if (code != 0)
		tell_failure(name);
	return code == 0;
}

static int is_tape(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 5 && strcmp(d->d_name + n - 5, ".tape") == 0;
}

/* Tapes of failures past. The world has changed since, so that most are only runs like others. */
static bool run_tapes(const char *folder, unsigned *count)
{
	struct dirent **names = NULL;
	int             n = scandir(folder, &names, is_tape, alphasort);
	bool            ok = true;

	for (int i = 0; i < n; i++) {
		char path[800];

		snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
		if (ok && tape_load(&sim.tape, path)) {
			++*count;
			ok = run(NULL, &sim.tape) == 0;
			if (!ok)
				tell_failure(names[i]->d_name);
		}
		free(names[i]);
	}
	free(names);
	return ok;
}

static bool tell_seen(uint64_t runs)
{
	static const struct {
		const char *name;
		size_t      at;
	} things[] = {
#define X(name) { #name, offsetof(struct seen, name) },
		SEEN(X)
#undef X
	};
	unsigned long missing = 0;

	for (size_t i = 0; i < sizeof things / sizeof things[0]; i++) {
		unsigned long v;

		memcpy(&v, (const char *)&sim.seen + things[i].at, sizeof v);
		printf("%s%s=%lu", i % 8 == 0 ? "\n# " : " ", things[i].name, v);
		missing += v == 0;
		if (v == 0)
			printf("(!)");
	}
	printf("\n");
	/* A few runs prove nothing either way. */
	return runs < 3000 || missing == 0;
}

int main(int argc, char **argv)
{
	uint64_t    numbers[2] = { 1, 1000 };
	int         n = 0;
	bool        progress = false, part = false;
	const char *tape = NULL, *srcdir = getenv("srcdir");
	char        folder[400];
	unsigned    tapes = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--progress") == 0)
			progress = true;
		else if (strcmp(argv[i], "--part") == 0)
			part = true; /* whoever runs the others compares what none of them has met */
		else if (strcmp(argv[i], "--tape") == 0 && i + 1 < argc)
			tape = argv[++i];
		else if (strcmp(argv[i], "--keep") == 0 && i + 1 < argc)
			sim.keep = argv[++i];
		else if (n < 2 && argv[i][0] != '-')
			numbers[n++] = strtoull(argv[i], NULL, 0);
	}
	if (n == 1)
		numbers[1] = 1;
	sim.shrink = true;
	for (int i = 1; i < argc; i++)
		sim.shrink = sim.shrink && strcmp(argv[i], "--no-shrink") != 0;
	catch(SIGABRT, on_abort);
	catch(SIGSEGV, on_crash);
	if (tape != NULL) {
		if (!tape_load(&sim.tape, tape))
			return 2;
		sim.trace = true;
		printf("1..1\n%s 1 - %s\n", run(NULL, &sim.tape) == 0 ? "ok" : "not ok", tape);
		return sim.world.code != 0;
	}
	snprintf(folder, sizeof folder, "%s/tests/sim/tapes", srcdir != NULL ? srcdir : ".");
	if (!run_tapes(folder, &tapes))
		return 1;
	for (uint64_t seed = numbers[0]; seed < numbers[0] + numbers[1]; seed++) {
		sim.trace = numbers[1] == 1;
		if (!run_seed(seed))
			return 1;
		if (progress && seed % 1000 == 0)
			fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	}
	printf("ok 1 - %u tapes and %llu seeds", tapes, (unsigned long long)numbers[1]);
	bool all = tell_seen(numbers[1]) || part;
	printf("%s 2 - everything interesting has happened\n1..2\n", all ? "ok" : "not ok");
	return !all;
}
