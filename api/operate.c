/* SPDX-License-Identifier: Apache-2.0
 * operate.c - what people ask of one transaction, each with a reason (docs/actions.md).
 */
#include "api/commands.h"
#include "api/places.h"

static const char *const DRY_ONLY[] = { "dry_run", NULL };

static void read_typed_gid(struct request *r)
{
	struct str typed = { 0 };

	request_text(r, "gid", &typed);
	if (!str_eq(typed, r->gid))
		request_error(r, "/gid",
		              "type the transaction's gid again: this can make it inconsistent");
}

/* All that operators ask of one transaction: NULL, or the command, whose body
 * still has to be read. */
static struct asked *operate_with(struct request *r, enum command_kind kind,
                                  const char *const *members)
{
	struct person person = { .reason = STR("") };
	bool          dry;

	if (!request_only(r, DRY_ONLY) || !request_dry_run(r, &dry) || !request_gid(r) ||
	    !request_json(r, true))
		return NULL;
	struct asked *a = command_new(r, kind);
	a->dry = dry;
	request_members(r, members);
	person_read(r, &person);
	command_by(&a->command, &person);
	return a;
}

static void operate(struct request *r, enum command_kind kind)
{
	static const char *const MEMBERS[] = { "reason", "actor", NULL };

	if (operate_with(r, kind, MEMBERS) && request_is_clean(r))
		command_ask(r);
}

void handle_transaction_pause(struct request *r)
{
	operate(r, COMMAND_PAUSE);
}

void handle_transaction_resume(struct request *r)
{
	operate(r, COMMAND_UNPAUSE);
}

void handle_transaction_retry(struct request *r)
{
	operate(r, COMMAND_RETRY);
}

void handle_transaction_release(struct request *r)
{
	operate(r, COMMAND_RELEASE);
}

void handle_transaction_abandon(struct request *r)
{
	static const char *const MEMBERS[] = { "reason", "actor", "gid", NULL };

	if (!operate_with(r, COMMAND_ABANDON, MEMBERS))
		return;
	read_typed_gid(r);
	if (!request_is_clean(r))
		return;
	if (r->if_match.given)
		command_ask(r);
	else
		request_problem(r, PROBLEM_PRECONDITION, NULL);
}

/* True, or noted among the errors. */
static bool read_step_op(struct request *r, struct command *c)
{
	struct str op = { 0 };

	request_text(r, "op", &op);
	if (command_op(op, &c->op) && c->op != OP_CHECK)
		return true;
	request_error(r, "/op", "try, confirm or cancel is wanted");
	return false;
}

static void read_resolution(struct request *r, struct command *c)
{
	struct str   outcome = { 0 };
	struct json *output = json_get(r->body, "output");

	read_step_op(r, c);
	request_text(r, "outcome", &outcome);
	c->outcome = str_is(outcome, "refused") ? OUTCOME_REFUSED : OUTCOME_OK;
	if (c->outcome == OUTCOME_OK && !str_is(outcome, "ok"))
		request_error(r, "/outcome", "ok or refused is wanted");
	if (output)
		c->body = output->raw;
}

void handle_step_resolve(struct request *r)
{
	static const char *const MEMBERS[] = { "op", "outcome", "output", "reason",
		                               "actor", "gid", NULL };
	struct asked            *a = operate_with(r, COMMAND_RESOLVE, MEMBERS);

	if (!a)
		return;
	a->command.step = request_param(r, 1);
	read_typed_gid(r);
	read_resolution(r, &a->command);
	if (request_is_clean(r))
		command_ask(r);
}

/* The op has to be named: the same request again must not skip the call behind it. */
void handle_step_skip(struct request *r)
{
	static const char *const MEMBERS[] = { "op", "reason", "actor", "gid", NULL };
	struct asked            *a = operate_with(r, COMMAND_SKIP, MEMBERS);

	if (!a)
		return;
	a->command.step = request_param(r, 1);
	read_typed_gid(r);
	read_step_op(r, &a->command);
	if (request_is_clean(r))
		command_ask(r);
}

static void add_change(struct buf *out, const char *name, const struct json *value)
{
	if (!value)
		return;
	buf_fmt(out, "%s\"%s\":", out->p[out->n - 1] == '{' ? "" : ",", name);
	buf_str(out, value->raw);
}

static void read_changes(struct request *r, struct command *c)
{
	const struct json *url = json_get(r->body, "url"), *timeout = json_get(r->body, "timeout");
	const struct json *retry = json_get(r->body, "retry");
	struct buf         changes = { 0 };

	if (!url && !timeout && !retry)
		request_error(r, "", "nothing is to be changed: give url, timeout or retry");
	if ((url || timeout) && read_step_op(r, c))
		c->moves = url != NULL;
	if (url) /* a call that goes elsewhere can make it inconsistent */
		read_typed_gid(r);
	buf_char(&changes, '{');
	if (url || timeout)
		add_change(&changes, "op", json_get(r->body, "op"));
	add_change(&changes, "url", url);
	add_change(&changes, "timeout", timeout);
	add_change(&changes, "retry", retry);
	buf_char(&changes, '}');
	c->body = request_keep(r, &changes);
}

void handle_step_patch(struct request *r)
{
	static const char *const MEMBERS[] = { "op", "url", "timeout", "retry",
		                               "reason", "actor", "gid", NULL };
	struct asked            *a = operate_with(r, COMMAND_PATCH, MEMBERS);
	const struct json       *url;

	if (!a)
		return;
	a->command.step = request_param(r, 1);
	read_changes(r, &a->command);
	if (!request_is_clean(r))
		return;
	url = json_get(r->body, "url");
	if (!url || url->type != JSON_STRING ||
	    places_check_url(r, "/url", json_text(url, request_arena(r))))
		command_ask(r);
	else
		request_problem(r, PROBLEM_DEFINITION_INVALID, NULL);
}
