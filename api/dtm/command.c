/* SPDX-License-Identifier: Apache-2.0
 * command.c - a command to the engine, and what is said when it came to no verdict.
 */
#include "api/dtm/dtm.h"

void dtm_command_failed(struct request *r, enum command_result result, const struct err *err)
{
	switch (result) {
	case COMMAND_APPLIED:
	case COMMAND_UNKNOWN:
		dtm_error(r, "no TransGlobal with gid: %.*s found", (int)r->gid.n, r->gid.p);
		return;
	case COMMAND_INVALID:
		dtm_error(r, "%s", err ? err->text : "it cannot be done");
		return;
	case COMMAND_DIFFERS:
		dtm_error(r, "this branch is registered with other content: UniqueKeyConflict");
		return;
	case COMMAND_AWAY:
		dtm_error(r, "the database is away; the same again is safe");
		return;
	case COMMAND_LATE:
		dtm_error(r, "its owner has not answered in time; the same again is safe");
		return;
	case COMMAND_LOST:
		dtm_error(r, "it is not known whether it was done; the same again is safe");
		return;
	}
}

static void on_read(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;
	enum dtm_kind   kind;

	if (result != LOG_DONE)
		dtm_away(r, result);
	else
		dtm_of(r)->then(r, view && dtm_kind_of(&view->row, &kind) ? view : NULL);
}

void dtm_find(struct request *r, dtm_then *then)
{
	dtm_of(r)->then = then;
	engine_read(r->api->engine, r->gid, on_read, r);
}

bool dtm_is_same_kind(struct request *r, const struct view *view)
{
	if (dtm_is(view, dtm_of(r)->trans.kind))
		return true;
	dtm_refuse_gid(r);
	return false;
}

struct command *dtm_command(struct request *r, enum command_kind kind)
{
	struct command *c = &dtm_of(r)->command;

	*c = (struct command){ .kind = kind, .gid = r->gid, .request_id = r->request_id };
	return c;
}
