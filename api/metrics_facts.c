/* SPDX-License-Identifier: Apache-2.0 */
#include "api/metrics.h"
#include "api/metrics_table.h"

static const struct metric_fact facts[] = {
#define X(group, name, kind, labels, source, help) { group, #name, METRIC_##kind, labels, help },
	METRICS(X)
#undef X
};

const struct metric_fact *metrics_facts(size_t *n)
{
	*n = sizeof facts / sizeof facts[0];
	return facts;
}

static int place_of_group(size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (str_is(str_of(facts[k].group), facts[i].group))
			return (int)k;
	return (int)i;
}

static void write_row(const struct metric_fact *f, struct buf *out)
{
	buf_fmt(out, "| `%s`", f->name);
	if (f->labels[0] != '\0')
		buf_fmt(out, " | `%s`", f->labels);
	else
		buf_cstr(out, " |");
	buf_fmt(out, " | %s | %s |\n", metric_kind_name(f->kind), f->help);
}

/* A table for each group, in the order in which they appear. */
void metrics_markdown(struct buf *out)
{
	const size_t n = sizeof facts / sizeof facts[0];

	for (size_t i = 0; i < n; i++) {
		if (place_of_group(i) != (int)i)
			continue;
		buf_fmt(out, "\n### %s\n\n| name | labels | kind | meaning |\n|---|---|---|---|\n", facts[i].group);
		for (size_t k = i; k < n; k++)
			if (place_of_group(k) == (int)i)
				write_row(&facts[k], out);
	}
}
