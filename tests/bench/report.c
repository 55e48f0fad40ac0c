/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	if (n == 0 || isnan(v[0]))
		return NAN;
	qsort(v, n, sizeof *v, compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static struct floors median_floors(const struct rounds *r)
{
	struct floors m;
	double        direct[ROUNDS_MAX], direct_1[ROUNDS_MAX], log[ROUNDS_MAX], commit[ROUNDS_MAX];

	for (unsigned i = 0; i < r->n; i++) {
		direct[i] = r->floors[i].direct_per_s;
		direct_1[i] = r->floors[i].direct_1_ms;
		log[i] = r->floors[i].log_per_s;
		commit[i] = r->floors[i].commit_ms;
	}
	m.direct_per_s = median(direct, r->n);
	m.direct_1_ms = median(direct_1, r->n);
	m.log_per_s = median(log, r->n);
	m.commit_ms = median(commit, r->n);
	return m;
}

static struct figures median_figures(const struct rounds *r, size_t scenario)
{
	struct figures m = r->figures[scenario][0];
	double         v[ROUNDS_MAX];

#define X(field, ...) \
	for (unsigned i = 0; i < r->n; i++) \
		v[i] = r->figures[scenario][i].field; \
	m.field = median(v, r->n);
	FIGURES(X)
#undef X
	for (unsigned i = 0; i < r->n; i++)
		m.best_per_s = fmax(m.best_per_s, r->figures[scenario][i].per_s);
	for (unsigned k = 0; k < MORE_MAX; k++) {
		for (unsigned i = 0; i < r->n; i++)
			v[i] = r->figures[scenario][i].more[k].value;
		m.more[k].value = median(v, r->n);
	}
	return m;
}

/* ---- for people --------------------------------------------------------------------- */

static void cell(FILE *out, double v, int decimals, int width)
{
	if (isnan(v))
		fprintf(out, " %*s", width, "-");
	else
		fprintf(out, " %*.*f", width, decimals, v);
}

/* Group commit at work, in one line: what one saga costs in statements by how many are under way. */
static void statements_line(const struct rounds *r, FILE *out)
{
	bool first = true;

	for (size_t i = 0; i < scenario_count; i++) {
		if (!r->was_run[i] || strncmp(scenarios[i].name, "wait-", 5) != 0 || strstr(scenarios[i].name, "-c") != NULL)
			continue;
		struct figures m = median_figures(r, i);
		fprintf(out, "%s%.3f (%s)", first ? "Statements a saga, fewer with more load: " : ", ", m.statements,
		        scenarios[i].name);
		first = false;
	}
	if (!first)
		fputc('\n', out);
}

/* What the server says of each: calls and rows of one saga, and what one call takes. */
static void statement_table(const struct rounds *r, size_t scenario, FILE *out)
{
	const struct figures *f = &r->figures[scenario][0];

	if (f->by_statement[0].name == NULL)
		return;
	fprintf(out, "\n%-16s %12s %12s %10s %8s\n", scenarios[scenario].name, "calls/saga", "rows/saga", "us a call", "share");
	for (size_t i = 0; i < STATEMENTS_SHOWN && f->by_statement[i].name != NULL; i++) {
		const struct statement_use *s = &f->by_statement[i];

		fprintf(out, "%-16s %12.4f %12.4f %10.1f %8.3f\n", s->name, s->calls, s->rows, s->us, s->share);
	}
}

static void table_row(const struct rounds *r, size_t scenario, FILE *out)
{
	struct figures m = median_figures(r, scenario);

	fprintf(out, "%-13s", scenarios[scenario].name);
#define X(field, name, head, decimals) cell(out, m.field, decimals, (int)sizeof head - 1 > 8 ? (int)sizeof head - 1 : 8);
	FIGURES(X)
#undef X
	for (unsigned k = 0; k < MORE_MAX && m.more[k].name != NULL; k++)
		fprintf(out, "  %s %.*f", m.more[k].name, m.more[k].value < 100 ? 3 : 0, m.more[k].value);
	fputc('\n', out);
}

void report_table(const struct rounds *r, FILE *out)
{
	struct floors f = median_floors(r);

	fprintf(out, "median of %u round%s; CPU, WAL, commits and statements per saga\n\n", r->n, r->n > 1 ? "s" : "");
	fprintf(out, "floors: direct %.0f/s (two calls each, 64 clients; one client %.3f ms), "
	             "log %.0f sagas/s (row writes in the best batch; smallest commit %.3f ms)\n\n",
	        f.direct_per_s, f.direct_1_ms, f.log_per_s, f.commit_ms);
	fprintf(out, "%-13s", "");
#define X(field, name, head, decimals) fprintf(out, " %8s", head);
	FIGURES(X)
#undef X
	fputc('\n', out);
	for (size_t i = 0; i < scenario_count; i++)
		if (r->was_run[i])
			table_row(r, i, out);
	fputc('\n', out);
	statements_line(r, out);
	for (size_t i = 0; i < scenario_count; i++)
		if (r->was_run[i])
			statement_table(r, i, out);
}

/* ---- for the docs -------------------------------------------------------------------- */

static void markdown_cell(FILE *out, double v, int decimals)
{
	if (isnan(v) || isinf(v))
		fputs(" |", out);
	else
		fprintf(out, " %.*f |", decimals, v);
}

static void markdown_row(const struct rounds *r, size_t scenario, FILE *out)
{
	struct figures m = median_figures(r, scenario);

	fprintf(out, "| `%s` |", scenarios[scenario].name);
	markdown_cell(out, m.per_s, 0);
	markdown_cell(out, m.best_per_s, 0);
	markdown_cell(out, m.of_direct, 3);
	markdown_cell(out, m.p50_ms, 2);
	markdown_cell(out, m.p99_ms, 2);
	markdown_cell(out, m.coordinator_us, 1);
	markdown_cell(out, m.postgres_us, 1);
	markdown_cell(out, m.stub_us + m.generator_us, 1);
	markdown_cell(out, m.wal_bytes, 0);
	markdown_cell(out, m.commits, 3);
	markdown_cell(out, m.statements, 3);
	markdown_cell(out, m.rows_a_commit, 1);
	for (unsigned k = 0; k < MORE_MAX && m.more[k].name != NULL; k++)
		fprintf(out, "%s `%s` %.*f", k > 0 ? "," : "", m.more[k].name, m.more[k].value < 100 ? 3 : 0, m.more[k].value);
	fputs(" |\n", out);
}

void report_markdown(const struct rounds *r, FILE *out)
{
	struct floors f = median_floors(r);

	fprintf(out, "Medians of %u round%s. Floors: %.0f operations/s `direct` (one client %.3f ms), %.0f sagas/s `log`, smallest commit "
	             "%.2f ms.\n\n", r->n, r->n > 1 ? "s" : "", f.direct_per_s, f.direct_1_ms, f.log_per_s, f.commit_ms);
	fputs("| | sagas/s | best | of direct | p50 ms | p99 ms | replica µs | PostgreSQL µs | others µs | WAL bytes | commits | statements | "
	      "rows a commit | |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n", out);
	for (size_t i = 0; i < scenario_count; i++)
		if (r->was_run[i])
			markdown_row(r, i, out);
	fputc('\n', out);
	statements_line(r, out);
}

/* ---- for machines --------------------------------------------------------------------- */

static void member(FILE *out, const char *name, double v, bool first)
{
	fprintf(out, "%s\"%s\": ", first ? "" : ", ", name);
	if (isnan(v) || isinf(v))
		fputs("null", out);
	else
		fprintf(out, "%.6g", v);
}

static void json_figures(const struct figures *m, FILE *out)
{
	bool first = true;

#define X(field, name, ...) \
	member(out, name, m->field, first); \
	first = false;
	FIGURES(X)
#undef X
	for (unsigned k = 0; k < MORE_MAX && m->more[k].name != NULL; k++)
		member(out, m->more[k].name, m->more[k].value, false);
	if (m->by_statement[0].name == NULL)
		return;
	fputs(", \"by_statement\": {", out);
	for (size_t i = 0; i < STATEMENTS_SHOWN && m->by_statement[i].name != NULL; i++) {
		fprintf(out, "%s\"%s\": {", i == 0 ? "" : ", ", m->by_statement[i].name);
		member(out, "calls", m->by_statement[i].calls, true);
		member(out, "rows", m->by_statement[i].rows, false);
		member(out, "us_a_call", m->by_statement[i].us, false);
		member(out, "share", m->by_statement[i].share, false);
		fputc('}', out);
	}
	fputc('}', out);
}

void report_json(const struct rounds *r, FILE *out)
{
	struct floors f = median_floors(r);
	bool          first = true;

	fputs("{\"floors\": {", out);
	member(out, "direct_per_s", f.direct_per_s, true);
	member(out, "log_per_s", f.log_per_s, false);
	member(out, "direct_1_p50_ms", f.direct_1_ms, false);
	member(out, "commit_p50_ms", f.commit_ms, false);
	fputs("},\n \"scenarios\": {", out);
	for (size_t i = 0; i < scenario_count; i++) {
		struct figures m;

		if (!r->was_run[i])
			continue;
		m = median_figures(r, i);
		fprintf(out, "%s\"%s\": {", first ? "\n  " : ",\n  ", scenarios[i].name);
		json_figures(&m, out);
		fputc('}', out);
		first = false;
	}
	fputs("\n }}\n", out);
}
