/* SPDX-License-Identifier: Apache-2.0
 * ctl.c - sagactl without a replica: command lines, YAML, columns; with --man, the sections made from its table.
 */
#include "sagactl/grid.h"
#include "sagactl/help.h"
#include "coordinator/base/json.h"
#include "sagactl/source.h"
#include "sagactl/verbatim.h"
#include "tests/lib/tap.h"

#include <string.h>

/* ---- command lines ------------------------------------------------------------------- */

enum { WORDS_MAX = 50 };

static bool parse(struct args *a, const char *line, struct err *err)
{
	static char  copy[512];
	static char *words[WORDS_MAX];
	static char *env[] = { "SAGAD_URL=http://env:1", "SAGAD_TOKEN_FILE=", "XSAGAD_ACTOR=x", NULL };
	int          n = 1;

	snprintf(copy, sizeof copy, "%s", line);
	words[0] = "sagactl";
	for (char *w = strtok(copy, "_"); w && n < WORDS_MAX; w = strtok(NULL, "_"))
		words[n++] = w;
	return args_parse(a, n, words, env, err);
}

static void test_commands(void)
{
	struct args a;
	struct err  err;

	for (unsigned i = 0; i < CMD_COUNT; i++) {
		const struct command_fact *c = command_fact((enum cmd)i);
		struct buf                 line = { 0 };

		buf_fmt(&line, "%s%s%s", c->noun, *c->verb ? "_" : "", c->verb);
		for (const char *w = c->args; *w; w += strcspn(w, " ") + (w[strcspn(w, " ")] != '\0'))
			buf_cstr(&line, "_x");
		ok(parse(&a, line.p, &err) && a.cmd == i, "%s is a command with its words", line.p);
		args_fini(&a);
		buf_cstr(&line, "_--help");
		ok(parse(&a, line.p, &err) && a.help && a.cmd == i, "and has a page");
		args_fini(&a);
		buf_fini(&line);
	}
	ok(parse(&a, "txn_get_g1_g2_--json", &err) && a.word_n == 2 && strcmp(a.words[1], "g2") == 0 &&
	   args_has(&a, FLAG_json), "words and flags may mix");
	args_fini(&a);
	ok(parse(&a, "--json_txn_--reason=why=so_retry_g", &err) && a.cmd == CMD_txn_retry &&
	   strcmp(a.values[FLAG_reason], "why=so") == 0, "flags may stand between them; a value may hold =");
	args_fini(&a);
	ok(parse(&a, "txn_retry_g_-mwhy", &err) && strcmp(a.values[FLAG_reason], "why") == 0 &&
	   strcmp(a.values[FLAG_url], "http://env:1") == 0 && !a.values[FLAG_token_file] && !a.values[FLAG_actor],
	   "letters; the environment where there is no flag, unless it is empty");
	args_fini(&a);
	ok(parse(&a, "txn_retry_-nm_why_--_-g", &err) && args_has(&a, FLAG_dry_run) && a.word_n == 1 &&
	   strcmp(a.words[0], "-g") == 0, "-- ends the flags");
	args_fini(&a);
	ok(parse(&a, "txn_start_d_-l_a=b_--label=c=d_--input_-", &err) && a.label_n == 2 &&
	   strcmp(a.labels[1], "c=d") == 0 && strcmp(a.values[FLAG_input], "-") == 0, "labels may be several");
	args_fini(&a);
	ok(parse(&a, "help_txn", &err) && a.help && strcmp(a.noun, "txn") == 0, "help of a noun");
	args_fini(&a);
	ok(parse(&a, "--help", &err) && a.help && !a.noun && !a.help_of_command, "help of everything");
	args_fini(&a);
}

static void test_bad_commands(void)
{
	static const struct { const char *line, *says; } ROWS[] = {
		{ "", "what shall be done" },
		{ "transaction_get_g", "no command `transaction`" },
		{ "txn", "wants a verb: one of start, get" },
		{ "txn_gett_g", "no `txn gett`" },
		{ "txn_get", "something is missing: sagactl txn get GID..." },
		{ "txn_skip_g", "GID STEP" },
		{ "txn_skip_g_s_more", "`more` is one word too many" },
		{ "stuck_now", "`now` is one word too many: sagactl stuck" },
		{ "txn_get_g_--phase=trying", "takes no --phase" },
		{ "txn_get_g_--colour", "no flag --colour" },
		{ "txn_get_g_-x", "no flag -x" },
		{ "txn_get_g_--json=yes", "--json takes no value" },
		{ "txn_retry_g_-m", "--reason wants a value: TEXT" },
		{ "txn_retry_g_--reason_a_-m_b", "--reason is given twice" },
	};
	struct args a;
	struct err  err;

	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		err.text[0] = '\0';
		ok(!parse(&a, ROWS[i].line, &err) && strstr(err.text, ROWS[i].says), "`%s`: %s", ROWS[i].line, err.text);
		args_fini(&a);
	}
	ok(args_parse(&a, 4, (char *[]){ "sagactl", "txn", "get", "", NULL }, NULL, &err) == false &&
	   strstr(err.text, "empty"), "an empty gid is a slip");
	args_fini(&a);
}

static void test_pages(void)
{
	struct buf page = { 0 }, bash = { 0 }, zsh = { 0 };
	unsigned   missing = 0;

	help_all(&page);
	help_bash(&bash);
	help_zsh(&zsh);
	ok(strncmp(page.p, "Examples:\n  sagactl ", 20) == 0, "examples come first");
	for (unsigned i = 0; i < CMD_COUNT; i++) {
		const struct command_fact *c = command_fact((enum cmd)i);
		char                       name[64];

		snprintf(name, sizeof name, "%s%s%s", c->noun, *c->verb ? " " : "", c->verb);
		missing += !strstr(page.p, name) || !strstr(page.p, c->text) || !*c->examples;
		missing += strncmp(c->examples, name, strlen(name)) != 0 || strchr(c->text, '\n') != NULL;
		missing += !strstr(bash.p, *c->verb ? c->verb : c->noun) || !strstr(zsh.p, *c->verb ? c->verb : c->noun);
	}
	ok(missing == 0, "every command is on the page and in the completions, with an example of its own");
	buf_fini(&page);
	buf_fini(&bash);
	buf_fini(&zsh);
}

/* ---- YAML ------------------------------------------------------------------------------ */

static void test_yaml(void)
{
	static const struct { const char *yaml, *json; } ROWS[] = {
		{ "a: 1\nb: [x, 'y', \"z\\n\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\\n\"]}" },
		{ "1.10", "1.10" },
		{ "9223372036854775808123", "9223372036854775808123" },
		{ "-0.5e+10", "-0.5e+10" },
		{ "+5", "5" },
		{ "007", "7" },
		{ "-00", "-0" },
		{ ".5", "0.5" },
		{ "5.", "5.0" },
		{ "0x1F", "31" },
		{ "0o17", "15" },
		{ "0xFFFFFFFFFFFFFFFF", "18446744073709551615" },
		{ "1e", "\"1e\"" },
		{ "-", "[null]" },
		{ "1.2.3", "\"1.2.3\"" },
		{ "10m", "\"10m\"" },
		{ "1_000", "\"1_000\"" },
		{ "2026-11-23", "\"2026-11-23\"" },
		{ "[yes, no, on, off, y, True, FALSE]", "[\"yes\",\"no\",\"on\",\"off\",\"y\",true,false]" },
		{ "[~, null, Null, , NULL]", NULL },
		{ "[~, null, Null, NULL, nUll]", "[null,null,null,null,\"nUll\"]" },
		{ "'1'", "\"1\"" },
		{ "!!str 1", "\"1\"" },
		{ "404: ok\n", "{\"404\":\"ok\"}" },
		{ "a:\n", "{\"a\":null}" },
		{ "a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}" },
		{ "a: >-\n  x\n  y\n", "{\"a\":\"x y\"}" },
		{ "{}", "{}" },
		{ "url: http://hotel:8080/${gid}/cancel", "{\"url\":\"http://hotel:8080/${gid}/cancel\"}" },
		{ "# only\n--- \n- {a: 1, b: {c: 2}}\n- []\n...\n", "[{\"a\":1,\"b\":{\"c\":2}},[]]" },
		{ "a: \"\\u00fc\"", "{\"a\":\"ü\"}" },
	};

	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		struct buf        json = { 0 };
		struct yaml_marks marks = { 0 };
		struct err        err = { 0 };
		bool              fine = yaml_to_json(str_of(ROWS[i].yaml), &json, &marks, &err);

		if (ROWS[i].json)
			ok(fine && strcmp(json.p, ROWS[i].json) == 0 && json_is_valid(buf_view(&json)), "%s is %s",
			   ROWS[i].json, fine ? json.p : err.text);
		else
			ok(!fine, "an entry of nothing is none: %s", err.text);
		buf_fini(&json);
		yaml_marks_fini(&marks);
	}
}

static void test_bad_yaml(void)
{
	static char deep[2 * YAML_DEPTH_MAX + 4];
	static const struct { const char *yaml, *says; } ROWS[] = {
		{ "", "1:1: there is nothing" },
		{ "# nothing\n", "1:1: there is nothing" },
		{ "a: &x 1\n", "1:4: anchors" },
		{ "a: 1\nb: *x\n", "2:4: aliases" },
		{ "a: &x {}\n", "1:4: anchors" },
		{ "&k a: 1\n", "1:1: anchors" },
		{ "b: {}\n<<: {a: 1}\n", "2:1: <<" },
		{ "a: 1\nc: 2\na: 3\n", "3:1: this key" },
		{ "a: .nan\n", "1:4: JSON has no such number" },
		{ "- -.inf\n", "1:3: JSON has no such number" },
		{ "0x1FFFFFFFFFFFFFFFF", "1:1: JSON has no such number" },
		{ "a: !!binary eA==\n", "1:4: of the tags" },
		{ "a: !own {}\n", "1:4: of the tags" },
		{ "? [a]\n: 1\n", "1:3: a key" },
		{ "{a: 1}: 2\n", "1:1: a key" },
		{ "a: 1\n---\nb: 2\n", "2:1: a second document" },
		{ "a: [1\nb: 2\n", "2:" },
		{ "a: 1\n\tb: 2\n", "2:1" },
		{ "a: \"\\0\"", "1:4: a NUL" },
		{ "a: \xff\n", "" },
		{ deep, "nested too deep" },
	};

	memset(deep, '[', YAML_DEPTH_MAX + 1);
	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		struct buf        json = { 0 };
		struct yaml_marks marks = { 0 };
		struct err        err = { 0 };
		bool              fine = yaml_to_json(str_of(ROWS[i].yaml), &json, &marks, &err);

		ok(!fine && strstr(err.text, ROWS[i].says) && err.text[0], "refused with its place: %s", err.text);
		buf_fini(&json);
		yaml_marks_fini(&marks);
	}
}

static void locate(const char *text, const char *pointer, unsigned want_line, unsigned want_column)
{
	FILE         *file = fopen("ctl-source.tmp", "w");
	struct source s = { 0 };
	struct err    err = { 0 };
	unsigned      line = 0, column = 0;

	fputs(text, file);
	fclose(file);
	if (source_read(&s, "ctl-source.tmp", &err))
		source_locate(&s, str_of(pointer), &line, &column);
	ok(line == want_line && column == want_column, "%s is at %u:%u %s", pointer, line, column, err.text);
	source_fini(&s);
	remove("ctl-source.tmp");
}

static void test_sources(void)
{
	struct source s = { 0 };
	struct err    err;

	locate("steps:\n  a:\n    action:\n      url: x\n  b/c: {d: [1, 22]}\n", "/steps/a/action/url", 4, 12);
	locate("steps:\n  a:\n    action:\n      url: x\n  b/c: {d: [1, 22]}\n", "/steps/b~1c/d/1", 5, 16);
	locate("steps:\n  a:\n    action:\n      url: x\n", "/steps/a/compensate", 3, 5);
	locate("{\n \"steps\": {\"a\": 7}}\n", "/steps/a", 2, 17);
	locate("{\n \"steps\": {\"a\": 7}}\n", "", 1, 1);
	ok(source_value(&s, "{\"n\": 1.10}", &err) && str_is(s.json, "{\"n\": 1.10}"), "JSON stays untouched");
	source_fini(&s);
	ok(!source_value(&s, "{\"n\": 1.}", &err) && strstr(err.text, "the value given:1:"), "or is refused: %s", err.text);
	source_fini(&s);
	ok(!source_value(&s, "a: 1", &err), "YAML comes from files alone");
	source_fini(&s);
	ok(!source_value(&s, "@/no/such/file", &err) && strstr(err.text, "/no/such/file: "), "%s", err.text);
	source_fini(&s);
}

/* ---- what jansson would lose ------------------------------------------------------------- */

static void test_verbatim(void)
{
	static const struct { const char *json, *texts; } ROWS[] = {
		{ "{\"a\": 1.10, \"b\":[-0,1e999,9223372036854775808]}", "{\"a\": \"1.10\", \"b\":[\"-0\",\"1e999\",\"9223372036854775808\"]}" },
		{ "{\"a 7\":\"8 \\\" 9\",\"b\":true}", "{\"a 7\":\"8 \\\" 9\",\"b\":true}" },
		{ "[01, 1., -, 1-2, \"3", "[01, 1., -, 1-2, \"3" },
		{ "7", "\"7\"" }, { "", "" }, { "\"\\", "\"\\" },
	};
	static const char        ARRAY[] = " [ [1,[2]] ,{\"a\":\"]\"},\"x\" , 1.10 ]";
	static const char *const ITEMS[] = { "[1,[2]]", "{\"a\":\"]\"}", "\"x\"", "1.10" };
	struct str               item;
	size_t                   at = 0;

	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		struct buf out = { 0 };

		verbatim_numbers(str_of(ROWS[i].json), &out);
		ok(str_is(buf_view(&out), ROWS[i].texts), "%s has texts for numbers: %s", ROWS[i].json, out.p ? out.p : "");
		buf_fini(&out);
	}
	for (size_t i = 0; i < sizeof ITEMS / sizeof *ITEMS; i++)
		ok(verbatim_item(str_of(ARRAY), &at, &item) && str_is(item, ITEMS[i]), "item %zu is %s", i, ITEMS[i]);
	ok(!verbatim_item(str_of(ARRAY), &at, &item), "and that was the last");
	at = 0;
	ok(!verbatim_item(STR("{\"a\":1}"), &at, &item) && !verbatim_item(STR("[]"), &at, &item), "no array, no items");
	ok(verbatim_is_number(STR("-1.50e3")) && !verbatim_is_number(STR("1s")) && !verbatim_is_number(STR("true")),
	   "numbers are told from all else");
}

static void test_compare(void)
{
	struct source s = { 0 };
	struct buf    out = { 0 };
	struct err    err;

	ok(source_value(&s, "{\"steps\":{\"a\":{\"url\":\"u\",\"n\":1.10},\"c/d\":[1,{}]},\"mode\":\"saga\"}", &err), "a document");
	source_compare(&s, STR("{\"mode\":\"saga\",\"steps\":{\"a\":{\"url\":\"u\",\"n\":1.1},\"b\":{\"x\":[true]}}}"), &out);
	ok(str_is(buf_view(&out), "  ~ /steps/a/n 1.10\n  + /steps/c~1d/0 1\n  + /steps/c~1d/1 {}\n  - /steps/b/x/0 true\n"),
	   "what is new, otherwise and gone: %s", out.p);
	buf_clear(&out);
	source_compare(&s, s.json, &out);
	ok(out.n == 0, "the same differs in nothing");
	buf_fini(&out);
	source_fini(&s);
}

/* ---- columns ----------------------------------------------------------------------------- */

static void test_grid(void)
{
	struct grid g = { .heads = { "A", "LONGER", "" } };
	struct buf  out = { 0 };

	grid_add(&g, STYLE_BOLD, STR("größer"));
	grid_fmt(&g, STYLE_PLAIN, "%d", 7);
	grid_add(&g, STYLE_RED, STR(""));
	grid_add(&g, STYLE_PLAIN, STR("x"));
	grid_add(&g, STYLE_PLAIN, STR("y"));
	grid_add(&g, STYLE_RED, STR("stuck"));
	grid_write(&g, false, &out);
	ok(strcmp(out.p, "A       LONGER\ngrößer  7\nx       y       stuck\n") == 0 && grid_rows(&g) == 2,
	   "columns are aligned by characters, and no line ends in spaces: %s", out.p);
	buf_clear(&out);
	grid_write(&g, true, &out);
	ok(strstr(out.p, "\033[31mstuck\033[0m") && strstr(out.p, "x       y"), "colours take no width");
	grid_fini(&g);
	buf_clear(&out);
	style_add(&out, true, STYLE_RED, STR("a\033[2J\nb\x7f\xc2\x9b" "c\xff"));
	ok(!memchr(out.p + 1, '\033', out.n - 5) && !strchr(out.p, '\n') && !strchr(out.p, 0x7f) &&
	   !strstr(out.p, "\xc2\x9b"), "what a terminal might obey is taken out");
	buf_clear(&out);
	text_clean(&out, STR("a\xc2\x9b" "c"));
	ok(strcmp(out.p, "a?c") == 0, "also as two bytes");
	buf_fini(&out);
}

static void test_bars(void)
{
	static const struct { uint64_t done, total; const char *text; } ROWS[] = {
		{ 0, 3, "[....................] 0 of 3" }, { 1, 3, "[######..............] 1 of 3" },
		{ 3, 3, "[####################] 3 of 3" }, { 5, 3, "[####################] 5 of 3" },
	};

	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		struct buf out = { 0 };

		bar_add(&out, ROWS[i].done, ROWS[i].total);
		ok(str_is(buf_view(&out), ROWS[i].text), "%s", out.p);
		buf_fini(&out);
	}
}

static void test_times(void)
{
	static const struct { int64_t at, now; const char *text; } ROWS[] = {
		{ 5000, 5000, "now" }, { 5999, 5000, "now" }, { 5000, 5999, "now" }, { 5000, 6000, "1s ago" },
		{ 65000, 5000, "in 60s" }, { 0, 119999, "119s ago" }, { 0, 120000, "2m ago" }, { 0, 7199999, "119m ago" },
		{ 0, 7200000, "2h ago" }, { 0, 172800000, "2d ago" },
	};

	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		struct buf out = { 0 };

		ago_add(&out, ROWS[i].at, ROWS[i].now);
		ok(strcmp(out.p, ROWS[i].text) == 0, "%s is %s", ROWS[i].text, out.p);
		buf_fini(&out);
	}
}

int main(int argc, char **argv)
{
	struct buf page = { 0 };

	if (argc > 1 && strcmp(argv[1], "--man") == 0) {
		help_man(&page);
		fputs(page.p, stdout);
		buf_fini(&page);
		return 0;
	}
	test_commands();
	test_bad_commands();
	test_pages();
	test_yaml();
	test_bad_yaml();
	test_sources();
	test_verbatim();
	test_compare();
	test_grid();
	test_bars();
	test_times();
	return tap_done();
}
