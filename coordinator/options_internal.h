/* SPDX-License-Identifier: Apache-2.0
 * options_internal.h - the option table as rows, shared by parser and help.
 */
#ifndef COORDINATOR_OPTIONS_INTERNAL_H
#define COORDINATOR_OPTIONS_INTERNAL_H

#include "coordinator/options.h"

enum option_type { OPTION_TEXT, OPTION_WORD, OPTION_U32, OPTION_MS, OPTION_BYTES };

struct option_row {
	const char      *name;
	enum option_type type;
	const char      *def;
	uint64_t         min, max;
	const char      *unit; /* of WORD: the words, with | between */
	const char      *sentence;
	size_t           offset;
};

extern const struct option_row option_rows[];
extern const size_t            option_count;

bool        option_bytes(struct str text, uint64_t *out);
const char *option_range(const struct option_row *row, uint64_t v, char out[32]);
const char *option_kind(enum option_type type);
void        option_env_name(const struct option_row *row, char out[64]);

#endif
