/* SPDX-License-Identifier: Apache-2.0
 * metrics.c - tallies, and how numbers are written. --markdown and --list print the table, for other tests.
 */
#include "api/metrics.h"
#include "tests/lib/tap.h"

#include <ctype.h>
#include <string.h>

static void check_scale(enum tally_scale scale, const char *name)
{
	size_t n = tally_bounds(scale);
	bool   grow = n > 0 && n <= TALLY_BOUNDS_MAX && tally_bound(scale, 0) > 0;

	for (size_t i = 1; i < n; i++)
		grow &= tally_bound(scale, i) > tally_bound(scale, i - 1);
	ok(grow, "%zu bounds of %s grow, from %g to %g", n, name, tally_bound(scale, 0), tally_bound(scale, n - 1));
}

static void test_tally(void)
{
	struct tally t = { 0 };

	tally_add(&t, TALLY_WAIT_MS, 0);
	tally_add(&t, TALLY_WAIT_MS, 1);
	tally_add(&t, TALLY_WAIT_MS, 2);
	tally_add(&t, TALLY_WAIT_MS, 60000);
	tally_add(&t, TALLY_WAIT_MS, 60001);
	ok(t.counts[0] == 2 && t.counts[1] == 1, "a value stands in the first bucket that is not below it");
	ok(t.counts[tally_bounds(TALLY_WAIT_MS) - 1] == 1 && t.counts[tally_bounds(TALLY_WAIT_MS)] == 1,
	   "what is larger than all of them stands behind the last");
	ok(t.sum == 120004, "and all are summed");
#define X(name, ...) check_scale(TALLY_##name, #name);
	TALLY_SCALES(X)
#undef X
}

static const struct metric_fact COUNTED = { "", "a_seconds_total", METRIC_COUNTER, "x,y", "Help" };
static const struct metric_fact ABOUT = { "", "b_info", METRIC_INFO, "v", "About" };
static const struct metric_fact SPREAD = { "", "c_ratio", METRIC_HISTOGRAM, "", "Spread" };

static struct str write_all(enum exposition_form form, struct buf *out)
{
	struct exposition x = { .out = out, .form = form };
	struct tally      t = { 0 };

	exposition_family(&x, &COUNTED);
	exposition_value(&x, (struct label[]){ { "x", STR("q\"b\\n\n") }, { "y", STR("") } }, 2, 1.5);
	exposition_family(&x, &ABOUT);
	exposition_value(&x, &(struct label){ "v", STR("1") }, 1, 1);
	exposition_family(&x, &SPREAD);
	tally_add(&t, TALLY_ROWS, 2);
	tally_add(&t, TALLY_ROWS, 1000);
	exposition_tally(&x, NULL, 0, &t, TALLY_ROWS);
	exposition_end(&x);
	return buf_view(out);
}

static const char SPREAD_TEXT[] =
	"c_ratio_bucket{le=\"1.0\"} 0\nc_ratio_bucket{le=\"2.0\"} 1\nc_ratio_bucket{le=\"4.0\"} 1\n"
	"c_ratio_bucket{le=\"8.0\"} 1\nc_ratio_bucket{le=\"16.0\"} 1\nc_ratio_bucket{le=\"32.0\"} 1\n"
	"c_ratio_bucket{le=\"64.0\"} 1\nc_ratio_bucket{le=\"128.0\"} 1\nc_ratio_bucket{le=\"256.0\"} 1\n"
	"c_ratio_bucket{le=\"512.0\"} 1\nc_ratio_bucket{le=\"+Inf\"} 2\nc_ratio_sum 1002\nc_ratio_count 2\n";

static void test_forms(void)
{
	struct buf want = { 0 }, got = { 0 };

	buf_fmt(&want, "# HELP a_seconds_total Help\n# TYPE a_seconds_total counter\n"
	               "a_seconds_total{x=\"q\\\"b\\\\n\\n\",y=\"\"} 1.5\n"
	               "# HELP b_info About\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n"
	               "# HELP c_ratio Spread\n# TYPE c_ratio histogram\n%s", SPREAD_TEXT);
	ok(str_eq(write_all(EXPOSITION_TEXT, &got), buf_view(&want)), "the Prometheus text format");
	buf_clear(&want);
	buf_clear(&got);
	buf_fmt(&want, "# HELP a_seconds Help\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n"
	               "a_seconds_total{x=\"q\\\"b\\\\n\\n\",y=\"\"} 1.5\n"
	               "# HELP b About\n# TYPE b info\nb_info{v=\"1\"} 1\n"
	               "# HELP c_ratio Spread\n# TYPE c_ratio histogram\n# UNIT c_ratio ratio\n%s# EOF\n", SPREAD_TEXT);
	ok(str_eq(write_all(EXPOSITION_OPENMETRICS, &got), buf_view(&want)), "OpenMetrics");
	buf_fini(&want);
	buf_fini(&got);
}

static void test_numbers(void)
{
	static const struct {
		double      value;
		const char *text;
	} rows[] = { { 0, "0" }, { -0.0, "0" }, { 3, "3" }, { -1, "-1" }, { 0.1, "0.1" }, { 1e15, "1e+15" },
		     { 123456789012, "123456789012" }, { 1.0 / 3, "0.33333333333333331" } };
	static const struct metric_fact plain = { "", "n", METRIC_GAUGE, "", "" };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf        out = { 0 }, want = { 0 };
		struct exposition x = { .out = &out, .family = &plain };

		exposition_value(&x, NULL, 0, rows[i].value);
		buf_fmt(&want, "n %s\n", rows[i].text);
		ok(str_eq(buf_view(&out), buf_view(&want)), "%g is written %s", rows[i].value, rows[i].text);
		buf_fini(&out);
		buf_fini(&want);
	}
}

static bool name_is_good(const char *name)
{
	bool good = islower((unsigned char)name[0]);

	for (const char *p = name; *p; p++)
		good = good && (islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '_');
	return good;
}

static bool ends_in(const char *name, const char *tail)
{
	size_t n = strlen(name), m = strlen(tail);

	return n > m && strcmp(name + n - m, tail) == 0;
}

static void test_table(void)
{
	size_t                    n;
	const struct metric_fact *facts = metrics_facts(&n);

	for (size_t i = 0; i < n; i++) {
		const struct metric_fact *f = &facts[i];
		bool                      once = true;

		for (size_t k = 0; k < i; k++)
			once = once && strcmp(facts[k].name, f->name) != 0;
		ok(once && name_is_good(f->name) && f->help[0] != '\0' && strpbrk(f->help, "\\\n|") == NULL &&
		   ends_in(f->name, "_total") == (f->kind == METRIC_COUNTER) &&
		   ends_in(f->name, "_info") == (f->kind == METRIC_INFO), "%s is well named, once", f->name);
	}
}

static void print_list(void)
{
	size_t                    n;
	const struct metric_fact *facts = metrics_facts(&n);

	for (size_t i = 0; i < n; i++)
		printf("%s\t%s\t%s\n", facts[i].name, metric_kind_name(facts[i].kind), facts[i].labels);
}

int main(int argc, char **argv)
{
	struct buf out = { 0 };

	if (argc > 1 && strcmp(argv[1], "--list") == 0) {
		print_list();
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--markdown") == 0) {
		metrics_markdown(&out);
		fputs(out.p, stdout);
		buf_fini(&out);
		return 0;
	}
	test_tally();
	test_forms();
	test_numbers();
	test_table();
	return tap_done();
}
