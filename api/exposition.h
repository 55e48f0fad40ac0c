/* SPDX-License-Identifier: Apache-2.0
 * exposition.h - how numbers are written: the Prometheus text format 0.0.4, or OpenMetrics 1.0.
 */
#ifndef API_EXPOSITION_H
#define API_EXPOSITION_H

#include "coordinator/base/tally.h"
#include "coordinator/base/text.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_INFO };

struct metric_fact {
	const char      *group, *name; /* as its samples are called, _total of a counter included */
	enum metric_kind kind;
	const char      *labels;       /* comma separated, or empty */
	const char      *help;
};

enum exposition_form { EXPOSITION_TEXT, EXPOSITION_OPENMETRICS };

struct label {
	const char *name;
	struct str  value;
};

struct exposition {
	struct buf               *out;
	enum exposition_form      form;
	const struct metric_fact *family; /* of the samples that follow */
};

const char *metric_kind_name(enum metric_kind kind);
/* The unit that its name ends with ("seconds", "bytes", "ratio"), or empty. */
struct str  metric_unit(const struct metric_fact *fact);

/* Says what follows; then its samples, then the next family. */
void exposition_family(struct exposition *x, const struct metric_fact *fact);
void exposition_value(struct exposition *x, const struct label *labels, size_t n, double value);
void exposition_tally(struct exposition *x, const struct label *labels, size_t n, const struct tally *tally,
                      enum tally_scale scale);
/* The same with an example for each bucket that has one, where the format knows them; examples may be NULL. */
void exposition_examples(struct exposition *x, const struct label *labels, size_t n, const struct tally *tally,
                         const struct tally_example *examples, enum tally_scale scale);
void exposition_end(struct exposition *x);
const char *exposition_content_type(enum exposition_form form);

#endif
