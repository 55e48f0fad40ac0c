/* SPDX-License-Identifier: Apache-2.0
 * commands.h - a command on its way from a request to whoever drives its transaction.
 */
#ifndef API_COMMANDS_H
#define API_COMMANDS_H

#include "api/audit.h"

struct asked { /* the request's own */
	struct command command;
	bool           waits;   /* confirm, cancel: 202 while it is under way */
	bool           dry;     /* only say what would be done */
};

struct asked *command_new(struct request *r, enum command_kind kind);
void          command_by(struct command *c, const struct person *p);
/* Sends it, or foresees it, and answers; once, when its body has been read without errors. */
void          command_ask(struct request *r);
bool          command_op(struct str text, enum op *op);

#endif
