/* SPDX-License-Identifier: Apache-2.0
 * options.c - settings from flags, environment and file. With --help or --man it prints those texts (style test).
 */
#include "coordinator/options.h"
#include "coordinator/options_internal.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGS_MAX = 8 };

static char config_path[] = "/tmp/sagad-options-XXXXXX";

static void write_config(const char *text)
{
	FILE *f = fopen(config_path, "w");

	fputs(text, f);
	fclose(f);
}

/* The words of a command line; sagad itself stands in front of them. */
static bool read_words(struct options *o, const char *const words[ARGS_MAX], const char *env, struct err *err)
{
	char *argv[ARGS_MAX + 2] = { (char *)(uintptr_t)"sagad" };
	char *envp[3] = { (char *)(uintptr_t)"PATH=/bin", (char *)(uintptr_t)env, NULL };
	int   argc = 1;

	*err = (struct err){ 0 };
	while (argc <= ARGS_MAX && words[argc - 1] != NULL) {
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
		argc++;
	}
	return options_read(o, argc, argv, envp, err);
}

static void check_defaults(void)
{
	const char *none[ARGS_MAX] = { NULL };
	struct options o;
	struct err     err;

	ok(read_words(&o, none, NULL, &err), "without any setting the defaults hold");
	ok(o.command == OPTIONS_RUN && strcmp(o.listen, "127.0.0.1:7070") == 0 && o.workers == 1 &&
	   o.lease_ttl == 10000 && o.max_body == 1 << 20 && o.calls_queue == 10000 &&
	   strcmp(o.log_format, "json") == 0 && o.dsn[0] == '\0', "they are what the table says");
	options_fini(&o);
}

static void check_table(void)
{
	unsigned bad = 0;

	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];

		bad += row->sentence[strlen(row->sentence) - 1] != '.' || row->unit[0] == '\0';
		for (const char *p = row->name; *p != '\0'; p++)
			bad += !((*p >= 'a' && *p <= 'z') || *p == '.' || *p == '-');
	}
	ok(bad == 0, "every option has a plain name, a unit and a sentence");
}

static const struct {
	const char *why;
	const char *words[ARGS_MAX];
	const char *env;
	const char *config;
	uint32_t    workers;
	int64_t     ttl;
} good[] = {
	{ "a flag with =", { "--workers=4" }, NULL, NULL, 4, 10000 },
	{ "a flag with its value behind it", { "--workers", "4", "--lease.ttl", "2s" }, NULL, NULL, 4, 2000 },
	{ "the environment", { NULL }, "SAGAD_WORKERS=3", NULL, 3, 10000 },
	{ "dots become underscores in the environment", { NULL }, "SAGAD_LEASE_TTL=1m", NULL, 1, 60000 },
	{ "a file", { NULL }, NULL, "# settings\n\n  workers = 7 \r\nlease.ttl=5s", 7, 5000 },
	{ "the environment goes before the file", { NULL }, "SAGAD_WORKERS=3", "workers=7", 3, 10000 },
	{ "a flag goes before the environment", { "--workers=9" }, "SAGAD_WORKERS=3", "workers=7", 9, 10000 },
	{ "the last of two flags wins", { "--workers=9", "--workers=2" }, NULL, NULL, 2, 10000 },
	{ "other programs' variables are not ours", { NULL }, "SAGAD_TEST_DSN=x", NULL, 1, 10000 },
};

static void check_good(void)
{
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		const char    *words[ARGS_MAX] = { NULL };
		char           flag[64];
		struct options o;
		struct err     err;
		size_t         n = 0;

		while (good[i].words[n] != NULL) {
			words[n] = good[i].words[n];
			n++;
		}
		if (good[i].config != NULL) {
			write_config(good[i].config);
			snprintf(flag, sizeof flag, "--config=%s", config_path);
			words[n] = flag;
		}
		bool read = read_words(&o, words, good[i].env, &err);
		ok(read && o.workers == good[i].workers && o.lease_ttl == good[i].ttl, "%s %s", good[i].why, err.text);
		options_fini(&o);
	}
}

/* --chaos draws its seed where none is given. */
static void check_chaos(void)
{
	static const char *const words[][ARGS_MAX] = {
		{ "--chaos=7", "check" }, { "--chaos", "7", "check" }, { "--chaos", "check" }, { "check", "--chaos" }, { "--chaos", "--workers=2", "check" }
	};
	uint32_t       seeds[5];
	struct options o;
	struct err     err;

	for (size_t i = 0; i < 5; i++) {
		const char *copy[ARGS_MAX] = { NULL };

		memcpy(copy, words[i], sizeof copy);
		bool read = read_words(&o, copy, NULL, &err);
		seeds[i] = o.chaos;
		ok(read && o.command == OPTIONS_CHECK && o.chaos != 0, "chaos by seed %u %s", o.chaos, err.text);
		options_fini(&o);
	}
	ok(seeds[0] == 7 && seeds[1] == 7, "the seed that is given");
	ok(seeds[2] != seeds[3] || seeds[3] != seeds[4], "another one each time");
	ok(read_words(&o, (const char *[ARGS_MAX]){ "check" }, NULL, &err) && o.chaos == 0, "none where nobody asks for it");
	options_fini(&o);
}

static const struct {
	const char *why;
	const char *words[ARGS_MAX];
	const char *env;
	const char *config;
	const char *names; /* what the sentence must say: the source … */
	const char *says;  /* … and what is allowed */
} bad[] = {
	{ "too many", { "--workers=129" }, NULL, NULL, "--workers", "number from 1 to 128" },
	{ "not a number", { "--workers=x" }, NULL, NULL, "--workers", "\"x\"" },
	{ "a negative number", { "--workers=-1" }, NULL, NULL, "--workers", "from 1 to 128" },
	{ "a duration that is too short", { "--lease.ttl=1999ms" }, NULL, NULL, "--lease.ttl", "from 2s to 1m" },
	{ "a duration without unit", { "--lease.ttl=10" }, NULL, NULL, "--lease.ttl", "duration (as 250ms, 10s, 5m)" },
	{ "a size that is too large", { "--max-body=65MiB" }, NULL, NULL, "--max-body", "from 1KiB to 64MiB" },
	{ "a size with a wrong unit", { "--max-body=1MB" }, NULL, NULL, "--max-body", "1MiB" },
	{ "a size beyond 64 bits", { "--max-body=99999999999999GiB" }, NULL, NULL, "--max-body", "64MiB" },
	{ "a wrong word", { "--log.format=xml" }, NULL, NULL, "--log.format", "json|text|ecs" },
	{ "part of a word", { "--log.format=js" }, NULL, NULL, "--log.format", "json|text|ecs" },
	{ "an unknown flag", { "--worker=1" }, NULL, NULL, "--worker ", "sagad --help" },
	{ "a flag without value", { "--workers" }, NULL, NULL, "--workers", "needs a value" },
	{ "an unknown command", { "start" }, NULL, NULL, "start", "run (the default), migrate, check" },
	{ "two commands", { "check", "migrate" }, NULL, NULL, "migrate", "no command" },
	{ "a wrong variable", { NULL }, "SAGAD_LOG_LEVEL=loud", NULL, "SAGAD_LOG_LEVEL", "debug|info|warn|error" },
	{ "a wrong variable under a right flag", { "--workers=2" }, "SAGAD_WORKERS=0", NULL, "SAGAD_WORKERS", "1 to 128" },
	{ "a wrong line of the file", { NULL }, NULL, "\n# x\nworkers = many", ":3", "number from 1 to 128" },
	{ "an unknown name in the file", { NULL }, NULL, "worker = 1", ":1", "\"worker\" is no option" },
	{ "a line without =", { NULL }, NULL, "workers 4", ":1", "name = value" },
	{ "a file in the file", { NULL }, NULL, "config = x", ":1", "no option of a file" },
	{ "a file that is not there", { "--config=/nonexistent/x" }, NULL, NULL, "/nonexistent/x", "No such file" },
	{ "a dsn file that is not there", { "--dsn-file=/nonexistent/y" }, NULL, NULL, "/nonexistent/y", "No such" },
	{ "dsn given twice", { "--dsn=a", "--dsn-file=/dev/null" }, NULL, NULL, "dsn-file", "keep one" },
};

static void check_bad(void)
{
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		const char    *words[ARGS_MAX] = { bad[i].words[0], bad[i].words[1] };
		char           flag[64];
		struct options o;
		struct err     err;

		if (bad[i].config != NULL) {
			write_config(bad[i].config);
			snprintf(flag, sizeof flag, "--config=%s", config_path);
			words[0] = flag;
		}
		bool read = read_words(&o, words, bad[i].env, &err);
		ok(!read && strstr(err.text, bad[i].names) != NULL && strstr(err.text, bad[i].says) != NULL,
		   "%s is refused: %s", bad[i].why, err.text);
		if (read)
			options_fini(&o);
	}
}

static void check_commands(void)
{
	struct options o;
	struct err     err;
	const char    *migrate[ARGS_MAX] = { "migrate", "--dsn=x" }, *check[ARGS_MAX] = { "--dsn=x", "check" };
	const char    *help[ARGS_MAX] = { "--nonsense", "--help" }, *version[ARGS_MAX] = { "--version" };

	ok(read_words(&o, migrate, NULL, &err) && o.command == OPTIONS_MIGRATE && strcmp(o.dsn, "x") == 0,
	   "sagad migrate");
	options_fini(&o);
	ok(read_words(&o, check, NULL, &err) && o.command == OPTIONS_CHECK, "a command may stand behind flags");
	options_fini(&o);
	ok(read_words(&o, help, "SAGAD_WORKERS=0", &err) && o.command == OPTIONS_HELP,
	   "who asks for help gets it, whatever else is wrong");
	options_fini(&o);
	ok(read_words(&o, version, NULL, &err) && o.command == OPTIONS_VERSION, "sagad --version");
	options_fini(&o);
}

static void check_dsn_file(void)
{
	const char    *words[ARGS_MAX];
	char           flag[64];
	struct options o;
	struct err     err;

	snprintf(flag, sizeof flag, "--dsn-file=%s", config_path);
	words[0] = flag;
	words[1] = NULL;
	write_config("host=db password='x y'\n\n");
	ok(read_words(&o, words, NULL, &err) && strcmp(o.dsn, "host=db password='x y'") == 0,
	   "the dsn comes from its file, without the line end");
	options_fini(&o);
}

static void check_help(void)
{
	struct buf help = { 0 };
	unsigned   missing = 0, wide = 0;

	options_help(&help);
	for (size_t i = 0; i < option_count; i++) {
		char flag[64];

		snprintf(flag, sizeof flag, "  --%s=", option_rows[i].name);
		missing += strstr(help.p, flag) == NULL;
	}
	for (const char *line = help.p; *line != '\0'; line += strcspn(line, "\n") + 1)
		wide += strcspn(line, "\n") > 100;
	ok(missing == 0, "help names every option");
	ok(wide == 0, "no line of it is wider than 100 columns");
	ok(strstr(help.p, "examples:") != NULL && strstr(help.p, "2s to 1m, default 10s") != NULL,
	   "it has examples, and says what is allowed");
	buf_fini(&help);
}

int main(int argc, char **argv)
{
	struct buf text = { 0 };
	int        fd;

	if (argc == 2) {
		(strcmp(argv[1], "--man") == 0 ? options_man : options_help)(&text);
		fputs(text.p, stdout);
		buf_fini(&text);
		return 0;
	}
	fd = mkstemp(config_path);
	if (fd < 0)
		return 1;
	close(fd);
	check_defaults();
	check_table();
	check_good();
	check_chaos();
	check_bad();
	check_commands();
	check_dsn_file();
	check_help();
	unlink(config_path);
	return tap_done();
}
