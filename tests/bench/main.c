/* SPDX-License-Identifier: Apache-2.0
 * main.c - the benchmark (./dev bench starts it), and its clients and its participant on their own.
 */
#include "coordinator/base/mem.h"
#include "tests/bench/document.h"
#include "tests/bench/report.h"
#include "tests/bench/stub.h"
#include "tests/bench/wire.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: bench run --sagad PROGRAM --dsn DSN --postmaster PID --logs DIR --tool postgres.sh --folder DIR\n"
	"                 [--port PORT] [--rounds N] [--seconds S] [--quick] [--json | --markdown] [--by-statement]\n"
	"                 [--scenario NAME]...\n"
	"       bench load --port PORT [--path PATH] [--definition NAME] [--clients N] [--seconds S] [--rate R]\n"
	"                  [--input BYTES] [--nowait] [--accepted FILE]\n"
	"       bench stub --port PORT\n"
	"       bench list\n";

struct arguments {
	struct world_config world;
	const char         *tool, *folder, *path, *definition, *accepted;
	unsigned            rounds, clients, input;
	double              seconds, rate;
	bool                quick, json, markdown, nowait, by_statement;
	bool               *wanted; /* by scenario */
	unsigned            wanted_count;
};

__attribute__((noreturn)) static void complain(void)
{
	fputs(usage, stderr);
	exit(2);
}

static void want(struct arguments *a, const char *name)
{
	for (size_t i = 0; i < scenario_count; i++)
		if (strcmp(scenarios[i].name, name) == 0) {
			a->wanted[i] = true;
			a->wanted_count++;
			return;
		}
	world_die("there is no scenario %s; ./dev bench --list names them", name);
}

enum flag { SAGAD = 1, DSN, POSTMASTER, LOGS, TOOL, FOLDER, PORT, ROUNDS, SECONDS, QUICK, JSON, SCENARIO, PATH,
	DEFINITION, CLIENTS, RATE, INPUT, NOWAIT, ACCEPTED, MARKDOWN, BY_STATEMENT };

static const struct option flags[] = {
	{ "sagad", required_argument, NULL, SAGAD }, { "dsn", required_argument, NULL, DSN },
	{ "postmaster", required_argument, NULL, POSTMASTER }, { "logs", required_argument, NULL, LOGS },
	{ "tool", required_argument, NULL, TOOL }, { "folder", required_argument, NULL, FOLDER },
	{ "port", required_argument, NULL, PORT }, { "rounds", required_argument, NULL, ROUNDS },
	{ "seconds", required_argument, NULL, SECONDS }, { "quick", no_argument, NULL, QUICK },
	{ "json", no_argument, NULL, JSON }, { "scenario", required_argument, NULL, SCENARIO },
	{ "path", required_argument, NULL, PATH }, { "definition", required_argument, NULL, DEFINITION },
	{ "clients", required_argument, NULL, CLIENTS }, { "rate", required_argument, NULL, RATE },
	{ "input", required_argument, NULL, INPUT }, { "nowait", no_argument, NULL, NOWAIT },
	{ "accepted", required_argument, NULL, ACCEPTED },
	{ "markdown", no_argument, NULL, MARKDOWN }, { "by-statement", no_argument, NULL, BY_STATEMENT }, { NULL, 0, NULL, 0 }
};

static unsigned number(const char *text, unsigned max)
{
	char         *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || v < 1 || v > max)
		complain();
	return (unsigned)v;
}

static double seconds_of(const char *text)
{
	char  *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !(v > 0 && v <= 3600))
		complain();
	return v;
}

static void read_option(struct arguments *a, int option)
{
	switch (option) {
	case SAGAD: a->world.sagad = optarg; break;
	case DSN: a->world.dsn = optarg; break;
	case POSTMASTER: a->world.postmaster = (pid_t)number(optarg, 1u << 30); break;
	case LOGS: a->world.logs = optarg; break;
	case TOOL: a->tool = optarg; break;
	case FOLDER: a->folder = optarg; break;
	case PORT: a->world.port = (uint16_t)number(optarg, 65000); break;
	case ROUNDS: a->rounds = number(optarg, ROUNDS_MAX); break;
	case SECONDS: a->seconds = seconds_of(optarg); break;
	case QUICK: a->quick = true; break;
	case JSON: a->json = true; break;
	case MARKDOWN: a->markdown = true; break;
	case BY_STATEMENT: a->by_statement = true; break;
	case SCENARIO: want(a, optarg); break;
	case PATH: a->path = optarg; break;
	case DEFINITION: a->definition = optarg; break;
	case CLIENTS: a->clients = number(optarg, 10000); break;
	case RATE: a->rate = number(optarg, 10000000); break;
	case INPUT: a->input = number(optarg, 64u << 20); break;
	case NOWAIT: a->nowait = true; break;
	case ACCEPTED: a->accepted = optarg; break;
	default: complain();
	}
}

/* ---- run --------------------------------------------------------------------------- */

static void run_round(struct bench *b, const struct arguments *a, struct rounds *r, unsigned round)
{
	double before, behind;

	b->wait_64_per_s = 0;
	fprintf(stderr, "round %u of %u: floors\n", round + 1, a->rounds);
	floors_run(b, &r->floors[round]);
	before = floors_direct(b);
	for (size_t i = 0; i < scenario_count; i++) {
		const struct scenario *s = &scenarios[i];
		struct figures        *f = &r->figures[i][round];

		if (!r->was_run[i])
			continue;
		fprintf(stderr, "round %u of %u: %s: %s", round + 1, a->rounds, s->name, s->what);
		s->run(b, s, f);
		behind = floors_direct(b);
		f->best_per_s = f->per_s;
		f->direct_per_s = (before + behind) / 2;
		f->of_direct = f->per_s / f->direct_per_s;
		f->of_log = f->per_s / r->floors[round].log_per_s;
		before = behind;
		if (f->per_s > 0)
			fprintf(stderr, " (%.0f/s, %.3f of direct)", f->per_s, f->of_direct);
		fputc('\n', stderr);
	}
}

static int run(struct arguments *a)
{
	static struct bench b;
	struct rounds       r = { .figures = mem_array(scenario_count, sizeof *r.figures),
		                  .was_run = mem_array(scenario_count, sizeof *r.was_run) };

	if (!a->world.sagad || !a->world.dsn || !a->world.postmaster || !a->world.logs || !a->tool || !a->folder)
		complain();
	if (a->rounds == 0)
		a->rounds = a->quick ? 1 : 3;
	b.seconds = a->seconds > 0 ? a->seconds : a->quick ? 0.7 : 5;
	b.warm_seconds = b.seconds / 4;
	b.many = a->quick ? 100000 : 1000000;
	b.by_statement = a->by_statement;
	b.backlog = a->quick ? 5000 : 100000;
	b.known = a->quick ? 5000 : 20000;
	b.postgres_tool = a->tool;
	b.postgres_folder = a->folder;
	for (size_t i = 0; i < scenario_count; i++)
		r.was_run[i] = a->wanted_count == 0 || a->wanted[i];
	world_open(&b.w, &a->world);
	for (r.n = 0; r.n < a->rounds; r.n++)
		run_round(&b, a, &r, r.n);
	if (a->json)
		report_json(&r, stdout);
	else if (a->markdown)
		report_markdown(&r, stdout);
	else
		report_table(&r, stdout);
	world_close(&b.w);
	free(r.figures);
	free(r.was_run);
	return 0;
}

/* ---- load ---------------------------------------------------------------------------- */

static int load(const struct arguments *a)
{
	static struct load_result r;
	struct buf                body = { 0 };
	struct load_config        c = { .hosts = { { 0x7f000001, a->world.port } }, .host_count = 1,
		                        .paths = { a->path ? a->path : "/v1/transactions" }, .calls = 1,
		                        .headers = a->nowait ? "" : "Prefer: wait=60\r\n",
		                        .clients = a->clients ? a->clients : 64, .rate = a->rate,
		                        .seconds = a->seconds > 0 ? a->seconds : 5 };

	document_begin(&body, a->definition ? a->definition : "two", a->input ? a->input : 500);
	c.body = buf_view(&body);
	if (a->accepted && (c.accepted = fopen(a->accepted, "we")) == NULL)
		world_die("%s cannot be written", a->accepted);
	bool reached = load_run(&c, &r);
	if (c.accepted && fclose(c.accepted) != 0)
		world_die("%s cannot be written", a->accepted);
	buf_fini(&body);
	if (!reached)
		world_die("nobody listens on port %u", a->world.port);
	printf("{\"done\": %llu, \"failed\": %llu, \"per_s\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f}\n",
	       (unsigned long long)r.done, (unsigned long long)r.failed, (double)r.in_time / r.seconds,
	       (double)histogram_at(&r.latency, 0.5) / 1e6, (double)histogram_at(&r.latency, 0.99) / 1e6,
	       (double)histogram_at(&r.latency, 0.999) / 1e6);
	return 0;
}

static int list(void)
{
	for (size_t i = 0; i < scenario_count; i++)
		printf("%-14s %s\n", scenarios[i].name, scenarios[i].what);
	return 0;
}

int main(int argc, char **argv)
{
	struct arguments a = { .world = { .port = 7470 }, .wanted = mem_array(scenario_count, sizeof *a.wanted) };
	const char      *verb = argc > 1 ? argv[1] : "";
	int              option, status = 2;

	optind = 2;
	while ((option = getopt_long(argc, argv, "", flags, NULL)) != -1)
		read_option(&a, option);
	if (optind < argc)
		complain();
	if (strcmp(verb, "run") == 0)
		status = run(&a);
	else if (strcmp(verb, "load") == 0)
		status = load(&a);
	else if (strcmp(verb, "stub") == 0)
		status = stub_run(a.world.port);
	else if (strcmp(verb, "list") == 0)
		status = list();
	else
		complain();
	free(a.wanted);
	return status;
}
