/* SPDX-License-Identifier: Apache-2.0
 * log.c - what a commit costs: two-step sagas through the log's port, nothing else, at several batch sizes.
 *
 *   SAGAD_TEST_DSN=... log [sagas [SQL to run first, to try a change of the schema [sagas a batch]]]
 *
 * Each saga is a begin, one step and its end; begins, steps and ends of different sagas share commits,
 * as they do in a busy replica. CPU of the server is that of the backend that commits (same machine).
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"
#include "tests/conformance/pg_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INPUT_BYTES = 500, GID = 36 };

struct bench {
	struct harness *h;
	struct uuid     me;
	char            input[INPUT_BYTES + 1];
	int             pid;
	uint64_t        serial;
};

static double cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static double wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static double server_us(const struct bench *b)
{
	char               path[64];
	unsigned long long ns = 0;

	snprintf(path, sizeof path, "/proc/%d/schedstat", b->pid);
	FILE *f = fopen(path, "r");
	if (f != NULL && fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f != NULL)
		fclose(f);
	return (double)ns / 1e3;
}

/* Three generations of n sagas: one begins, one steps, one ends, in one commit. */
static void run(struct bench *b, size_t n, unsigned rounds)
{
	char        (*gids)[GID + 1] = mem_array(3 * n, sizeof *gids);
	struct row    *begins = mem_array(n, sizeof *begins);
	struct change *changes = mem_array(2 * n, sizeof *changes);
	double         client = cpu_us(), server = server_us(b), start = wall_us();
	size_t         sagas = 0;

	for (unsigned round = 0; round < rounds + 2; round++) {
		struct batch  batch = { .me = b->me, .begins = begins, .changes = changes };
		struct answer a;

		for (size_t i = 0; i < n && round < rounds; i++) {
			char *gid = gids[(round % 3) * n + i];

			b->serial++;
			uuid_text(uuid_v7(clock_now_ms(&b->h->a.clock), b->serial >> 20, b->serial << 44), gid);
			begins[i] = make_row(b->me, str_of(gid));
			begins[i].definition = STR("trip");
			begins[i].definition_version = 1;
			begins[i].input = (struct str){ b->input, INPUT_BYTES };
			begins[i].fresh = true;
			batch.begin_count++;
		}
		for (unsigned age = 1; age <= 2; age++) {
			if (round < age || round - age >= rounds)
				continue;
			for (size_t i = 0; i < n; i++)
				changes[batch.change_count++] = (struct change){
					.gid = str_of(gids[((round - age) % 3) * n + i]), .epoch = 1, .version = age,
					.phase = age == 1 ? PHASE_TRYING : PHASE_CONFIRMED,
					.progress = STR("{\"s\":[[1,\"{\\\"id\\\":1234}\"],[0]]}"), .ended = age == 2 };
		}
		if (commit_batch(b->h, &b->h->a, &batch, &a) != LOG_DONE || (a.changes > 0 && !a.changed)) {
			printf("a commit failed\n");
			exit(1);
		}
		sagas += batch.begin_count;
	}
	double wall = wall_us() - start, count = (double)sagas;
	printf("%8zu %10.0f %14.2f %14.2f %14.2f\n", n, count / wall * 1e6, (cpu_us() - client) / count,
	       (server_us(b) - server) / count, wall / (rounds + 2) / 1e3);
	free(gids);
	free(begins);
	free(changes);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 1, 10, 30, 100, 300 };
	const size_t        only = argc > 3 ? (size_t)atoi(argv[3]) : 0;
	struct harness      h;
	const char         *why;
	unsigned            total = argc > 1 ? (unsigned)atoi(argv[1]) : 60000;

	if (!harness_open(&h, "sagad_bench", &why)) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	if (argc > 2 && argv[2][0] != '\0' && !pg_database_run(&h.database, "%s", argv[2]))
		return 1;
	struct bench b = { .h = &h, .me = make_id() };
	memset(b.input, 'x', INPUT_BYTES);
	b.input[0] = b.input[INPUT_BYTES - 1] = '"';
	enroll(&h, &h.a, b.me, 1);
	b.pid = PQbackendPID(h.a.pg->log.link.db);
	printf("%8s %10s %14s %14s %14s\n", "sagas", "sagas/s", "client us", "server us", "commit ms");
	printf("%8s %10s %14s %14s %14s\n", "a batch", "", "a saga", "a saga", "");
	if (only > 0)
		run(&b, only, total / (unsigned)only);
	for (size_t i = 0; only == 0 && i < sizeof sizes / sizeof sizes[0]; i++)
		run(&b, sizes[i], (unsigned)(total / sizes[i] > 3000 ? 3000 : total / sizes[i]));
	harness_close(&h);
	return 0;
}
