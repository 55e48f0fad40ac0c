/* SPDX-License-Identifier: Apache-2.0
 * args.h - a command line, read against the table of commands.
 */
#ifndef SAGACTL_ARGS_H
#define SAGACTL_ARGS_H

#include "coordinator/base/err.h"
#include "coordinator/base/text.h"
#include "sagactl/commands.h"

enum { ARGS_LABELS_MAX = 32 };

struct args {
	enum cmd     cmd;
	const char  *noun;             /* with help, of a noun alone; else NULL */
	bool         help;             /* help is wanted: of cmd, of noun, or of everything */
	bool         help_of_command;
	const char **words;            /* positional, pointing into argv */
	size_t       word_n;
	const char  *values[FLAG_COUNT]; /* NULL: not given, here or in the environment; "" for switches */
	const char  *labels[ARGS_LABELS_MAX];
	size_t       label_n;
};

/* Flags may stand anywhere, as --name=value or --name value; -- ends them. False with a sentence that names
 * the word; err->kind is ERR_INVALID. args_fini in any case. env: as environ. */
bool args_parse(struct args *a, int argc, char **argv, char **env, struct err *err)
	__attribute__((warn_unused_result));
void args_fini(struct args *a);
bool args_has(const struct args *a, enum flag f);

#endif
