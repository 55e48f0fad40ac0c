/* SPDX-License-Identifier: Apache-2.0 */
#include "api/exposition.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *metric_kind_name(enum metric_kind kind)
{
	switch (kind) {
	case METRIC_COUNTER:   return "counter";
	case METRIC_GAUGE:     return "gauge";
	case METRIC_HISTOGRAM: return "histogram";
	case METRIC_INFO:      return "info";
	}
	return "unknown";
}

static bool ends_with(struct str s, const char *tail)
{
	size_t n = strlen(tail);

	return s.n > n && memcmp(s.p + s.n - n, tail, n) == 0;
}

/* OpenMetrics names a family without the ending that its kind gives to its samples. */
static struct str family_name(const struct metric_fact *fact)
{
	struct str  name = str_of(fact->name);
	const char *tail = fact->kind == METRIC_COUNTER ? "_total" : fact->kind == METRIC_INFO ? "_info" : "";

	if (*tail != '\0' && ends_with(name, tail))
		name.n -= strlen(tail);
	return name;
}

struct str metric_unit(const struct metric_fact *fact)
{
	static const char *const units[] = { "_seconds", "_bytes", "_ratio" };
	struct str               name = family_name(fact);

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (ends_with(name, units[i]))
			return str_of(units[i] + 1);
	return (struct str){ 0 };
}

void exposition_family(struct exposition *x, const struct metric_fact *fact)
{
	struct str name = str_of(fact->name), unit = metric_unit(fact);
	const char *kind = metric_kind_name(fact->kind);

	if (x->form == EXPOSITION_OPENMETRICS)
		name = family_name(fact);
	else if (fact->kind == METRIC_INFO)
		kind = metric_kind_name(METRIC_GAUGE);
	x->family = fact;
	buf_fmt(x->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)name.n, name.p, fact->help, (int)name.n, name.p, kind);
	if (x->form == EXPOSITION_OPENMETRICS && unit.n > 0)
		buf_fmt(x->out, "# UNIT %.*s %.*s\n", (int)name.n, name.p, (int)unit.n, unit.p);
}

/* The same escapes in both formats. */
static void add_value(struct buf *out, struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		switch (value.p[i]) {
		case '\\': buf_cstr(out, "\\\\"); break;
		case '"':  buf_cstr(out, "\\\""); break;
		case '\n': buf_cstr(out, "\\n"); break;
		default:   buf_char(out, value.p[i]);
		}
}

static void add_label(struct buf *out, const char *name, struct str value, char before)
{
	buf_char(out, before);
	buf_cstr(out, name);
	buf_cstr(out, "=\"");
	add_value(out, value);
	buf_char(out, '"');
}

static void add_labels(struct buf *out, const struct label *labels, size_t n, const char *le)
{
	for (size_t i = 0; i < n; i++)
		add_label(out, labels[i].name, labels[i].value, i == 0 ? '{' : ',');
	if (le != NULL)
		add_label(out, "le", str_of(le), n == 0 ? '{' : ',');
	if (n > 0 || le != NULL)
		buf_char(out, '}');
}

/* Whole numbers as such; others with as few digits as read back the same. */
static void number(double value, char out[32])
{
	if (value > -1e15 && value < 1e15 && value == (double)(int64_t)value) {
		snprintf(out, 32, "%lld", (long long)value);
		return;
	}
	snprintf(out, 32, "%.15g", value);
	if (strtod(out, NULL) != value)
		snprintf(out, 32, "%.17g", value);
}

/* Without its line's end. */
static void start_sample(struct exposition *x, const char *tail, const struct label *labels, size_t n, const char *le,
                         double value)
{
	char text[32];

	number(value, text);
	buf_cstr(x->out, x->family->name);
	buf_cstr(x->out, tail);
	add_labels(x->out, labels, n, le);
	buf_char(x->out, ' ');
	buf_cstr(x->out, text);
}

static void sample(struct exposition *x, const char *tail, const struct label *labels, size_t n, const char *le,
                   double value)
{
	start_sample(x, tail, labels, n, le, value);
	buf_char(x->out, '\n');
}

void exposition_value(struct exposition *x, const struct label *labels, size_t n, double value)
{
	assert(x->family->kind != METRIC_HISTOGRAM);
	sample(x, "", labels, n, NULL, value);
}

/* OpenMetrics wants a float there: 1.0, not 1. */
static void bound_text(double bound, char out[40])
{
	number(bound, out);
	if (strpbrk(out, ".e") == NULL)
		strcat(out, ".0");
}

static void add_example(struct exposition *x, const struct tally_example *e, enum tally_scale scale)
{
	char value[32];

	if (e == NULL || e->trace[0] == '\0' || x->form != EXPOSITION_OPENMETRICS)
		return;
	number((double)e->value / tally_unit(scale), value);
	buf_fmt(x->out, " # {trace_id=\"%s\"} %s %lld.%03d", e->trace, value, (long long)(e->at_ms / 1000),
	        (int)(e->at_ms % 1000));
}

void exposition_examples(struct exposition *x, const struct label *labels, size_t n, const struct tally *tally,
                         const struct tally_example *examples, enum tally_scale scale)
{
	const size_t bounds = tally_bounds(scale);
	uint64_t     so_far = 0;
	char         le[40];

	assert(x->family->kind == METRIC_HISTOGRAM);
	for (size_t i = 0; i <= bounds; i++) {
		so_far += tally->counts[i];
		if (i < bounds)
			bound_text(tally_bound(scale, i), le);
		start_sample(x, "_bucket", labels, n, i < bounds ? le : "+Inf", (double)so_far);
		add_example(x, examples != NULL ? &examples[i] : NULL, scale);
		buf_char(x->out, '\n');
	}
	sample(x, "_sum", labels, n, NULL, (double)tally->sum / tally_unit(scale));
	sample(x, "_count", labels, n, NULL, (double)so_far);
}

void exposition_tally(struct exposition *x, const struct label *labels, size_t n, const struct tally *tally,
                      enum tally_scale scale)
{
	exposition_examples(x, labels, n, tally, NULL, scale);
}

void exposition_end(struct exposition *x)
{
	if (x->form == EXPOSITION_OPENMETRICS)
		buf_cstr(x->out, "# EOF\n");
}

const char *exposition_content_type(enum exposition_form form)
{
	switch (form) {
	case EXPOSITION_TEXT:        return "text/plain; version=0.0.4; charset=utf-8";
	case EXPOSITION_OPENMETRICS: return "application/openmetrics-text; version=1.0.0; charset=utf-8";
	}
	return "text/plain";
}
