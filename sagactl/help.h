/* SPDX-License-Identifier: Apache-2.0
 * help.h - what is made of the table of commands: --help, the man page's sections, completion.
 */
#ifndef SAGACTL_HELP_H
#define SAGACTL_HELP_H

#include "sagactl/args.h"

void help_all(struct buf *out);
void help_noun(struct buf *out, const char *noun);
void help_command(struct buf *out, enum cmd c);
void help_man(struct buf *out);             /* COMMANDS, OPTIONS, EXIT STATUS, EXAMPLES in man(7) */
void help_bash(struct buf *out);
void help_zsh(struct buf *out);

#endif
