/* SPDX-License-Identifier: Apache-2.0
 * commands.c - what programs and people ask of a running transaction.
 */
#include "api/audit.h"
#include "api/transactions.h"

#include "participants/call.h"

#include <string.h>

struct asked {
	struct command command;
	bool           waits;   /* confirm, cancel: 202 while it is under way */
};

static const char *const WAIT_ONLY[] = { "wait", NULL };
static const char *const NOTHING[] = { NULL };

/* ---- verdicts -------------------------------------------------------------------- */

static void answer_accepted(struct request *r, enum verdict verdict, const struct view *view)
{
	const struct asked *a = r->own;

	if (a->waits)
		transaction_answer_or_wait(r, view, 200, 202);
	else if (a->command.kind == COMMAND_JOIN && verdict == VERDICT_ACCEPTED)
		transaction_answer(r, 201, view, SHOW_STATE);
	else
		transaction_answer(r, 200, view, SHOW_STATE);
}

static void answer_verdict(struct request *r, enum verdict verdict, const struct view *view)
{
	switch (verdict) {
	case VERDICT_ACCEPTED:
	case VERDICT_ALREADY:
		answer_accepted(r, verdict, view);
		return;
	case VERDICT_DECIDED:
		request_problem(r, PROBLEM_DECIDED, "The transaction is %s already.", phase_name(view->row.phase));
		return;
	case VERDICT_IN_DOUBT:
		request_problem(r, PROBLEM_IN_DOUBT, NULL);
		return;
	case VERDICT_NOT_READY:
		request_problem(r, PROBLEM_NOT_READY, NULL);
		return;
	case VERDICT_NOT_OPEN:
		request_problem(r, PROBLEM_NOT_OPEN, NULL);
		return;
	case VERDICT_ENDED:
		request_problem(r, PROBLEM_ENDED, "The transaction is %s.", phase_name(view->row.phase));
		return;
	case VERDICT_LIMIT:
		request_problem(r, PROBLEM_TOO_MANY_STEPS, NULL);
		return;
	case VERDICT_NO_STEP:
		request_problem(r, PROBLEM_NO_STEP, NULL);
		return;
	case VERDICT_CHANGED:
		request_problem(r, PROBLEM_VERSION_CONFLICT, "It is at version %llu now.",
		                (unsigned long long)view->row.version);
		return;
	case VERDICT_UNSAFE:
		request_problem(r, PROBLEM_UNSAFE, NULL);
		return;
	}
}

/* The engine passes on one finding as "pointer: sentence". */
static void answer_invalid(struct request *r, const struct err *err)
{
	const char *text = err ? err->text : "", *colon = strstr(text, ": ");
	struct buf  pointer = { 0 };

	if (colon && (*text == '/' || colon == text)) {
		buf_add(&pointer, text, (size_t)(colon - text));
		problem_add_error(&r->errors, buf_view(&pointer), str_of(colon + 2));
		text = "The step has an error.";
	}
	buf_fini(&pointer);
	request_problem(r, err && err->kind == ERR_LIMIT ? PROBLEM_TOO_MANY_STEPS : PROBLEM_DEFINITION_INVALID,
	                "%s", text);
}

static void on_command(void *arg, enum command_result result, enum verdict verdict, const struct view *view,
                       const struct err *err)
{
	struct request *r = arg;

	switch (result) {
	case COMMAND_APPLIED:
		answer_verdict(r, verdict, view);
		return;
	case COMMAND_UNKNOWN:
		request_problem(r, PROBLEM_TRANSACTION_UNKNOWN, NULL);
		return;
	case COMMAND_INVALID:
		answer_invalid(r, err);
		return;
	case COMMAND_DIFFERS:
		request_problem(r, PROBLEM_KEY_REUSED, "A step of this name was registered with other content.");
		return;
	case COMMAND_AWAY:
		request_problem(r, PROBLEM_UNAVAILABLE, NULL);
		return;
	case COMMAND_LATE:
		request_problem(r, PROBLEM_OWNER_LATE, NULL);
		return;
	case COMMAND_LOST:
		request_problem(r, PROBLEM_FATE_UNKNOWN, NULL);
		return;
	}
}

/* The owner compares If-Match when it applies the command. No transaction has version 0. */
static void ask(struct request *r)
{
	struct asked *a = r->own;

	if (r->if_match.given && !r->if_match.any)
		a->command.if_version = r->if_match.version != 0 ? r->if_match.version : UINT64_MAX;
	engine_command(r->api->engine, &a->command, on_command, r);
}

static struct asked *new_command(struct request *r, enum command_kind kind)
{
	struct asked *a = arena_alloc(request_arena(r), sizeof *a);

	a->command.kind = kind;
	a->command.gid = r->gid;
	r->own = a;
	return a;
}

/* ---- services ------------------------------------------------------------------------ */

/* {reason?, actor?}: with an actor it is a person's doing, and needs a reason. */
static void decide(struct request *r, enum command_kind kind)
{
	static const char *const MEMBERS[] = { "reason", "actor", NULL };
	struct asked            *a;

	if (!request_only(r, WAIT_ONLY) || !request_gid(r) || !request_json(r, true) || !request_may_wait(r))
		return;
	a = new_command(r, kind);
	a->waits = true;
	request_members(r, MEMBERS);
	request_text(r, "reason", &a->command.reason);
	request_text(r, "actor", &a->command.actor);
	if (a->command.actor.n && !a->command.reason.n)
		request_error(r, "/reason", "say why");
	if (a->command.reason.n > REASON_BYTES_MAX)
		request_error(r, "/reason", "at most %d bytes are kept", REASON_BYTES_MAX);
	if (a->command.actor.n > ACTOR_BYTES_MAX)
		request_error(r, "/actor", "a name of at most %d bytes is wanted", ACTOR_BYTES_MAX);
	if (request_is_clean(r))
		ask(r);
}

void handle_transaction_confirm(struct request *r)
{
	decide(r, COMMAND_CONFIRM);
}

void handle_transaction_cancel(struct request *r)
{
	decide(r, COMMAND_CANCEL);
}

void handle_transaction_join(struct request *r)
{
	if (!request_only(r, NOTHING) || !request_gid(r) || !request_json(r, false))
		return;
	new_command(r, COMMAND_JOIN)->command.body = buf_view(&r->x->body);
	ask(r);
}

/* ---- participants' callbacks ------------------------------------------------------------ */

static bool read_op(struct str text, enum op *op)
{
	for (unsigned i = 0; i < OP_COUNT; i++) {
		if (str_is(text, op_name((enum op)i))) {
			*op = (enum op)i;
			return true;
		}
	}
	return false;
}

/* The signature stands for the URL we gave, so that only who was called can answer. */
static bool is_signed(struct request *r, struct asked *a)
{
	static const char *const KNOWN[] = { "op", "sig", NULL };
	const struct str        *op, *sig;

	if (!request_only(r, KNOWN) || !request_gid(r))
		return false;
	op = query_get(&r->query, "op");
	sig = query_get(&r->query, "sig");
	a->command.gid = r->gid;
	a->command.step = request_param(r, 1);
	if (op && sig && read_op(*op, &a->command.op) &&
	    callback_verify(r->api->config.callback_key, r->gid, a->command.step, a->command.op, *sig))
		return true;
	request_problem(r, PROBLEM_CALLBACK_FORBIDDEN, NULL);
	return false;
}

/* The body is the output: any JSON value, or nothing. */
static bool read_output(struct request *r, struct str *output)
{
	struct str        body = buf_view(&r->x->body);
	struct json_error err;

	*output = body;
	if (body.n == 0 || json_parse(body, request_arena(r), &err))
		return true;
	request_error(r, err.pointer, "%s (at byte %zu)", err.text, err.at);
	request_problem(r, PROBLEM_INVALID_JSON, "The body is the step's output: one JSON value, or nothing.");
	return false;
}

void handle_step_complete(struct request *r)
{
	struct asked *a = new_command(r, COMMAND_COMPLETE);

	if (is_signed(r, a) && read_output(r, &a->command.body))
		ask(r);
}

void handle_step_fail(struct request *r)
{
	static const char *const MEMBERS[] = { "error", NULL };
	struct asked            *a = new_command(r, COMMAND_FAIL);

	if (!is_signed(r, a) || !request_json(r, true))
		return;
	request_members(r, MEMBERS);
	request_text(r, "error", &a->command.body);
	if (request_is_clean(r))
		ask(r);
}

/* ---- operators ------------------------------------------------------------------------------ */

static void read_person(struct request *r, struct command *c)
{
	c->actor = STR("operator");
	request_text(r, "actor", &c->actor);
	request_text(r, "reason", &c->reason);
	if (c->reason.n < 1 || c->reason.n > REASON_BYTES_MAX)
		request_error(r, "/reason", "say why, in at most %d bytes", REASON_BYTES_MAX);
	if (c->actor.n < 1 || c->actor.n > ACTOR_BYTES_MAX)
		request_error(r, "/actor", "a name of at most %d bytes is wanted", ACTOR_BYTES_MAX);
}

static void read_typed_gid(struct request *r)
{
	struct str typed = { 0 };

	request_text(r, "gid", &typed);
	if (!str_eq(typed, r->gid))
		request_error(r, "/gid", "type the transaction's gid again: this can make it inconsistent");
}

static void operate(struct request *r, enum command_kind kind)
{
	static const char *const MEMBERS[] = { "reason", "actor", NULL };

	if (!request_only(r, NOTHING) || !request_gid(r) || !request_json(r, true))
		return;
	struct asked *a = new_command(r, kind);
	request_members(r, MEMBERS);
	read_person(r, &a->command);
	if (request_is_clean(r))
		ask(r);
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

void handle_transaction_abandon(struct request *r)
{
	static const char *const MEMBERS[] = { "reason", "actor", "gid", NULL };

	if (!request_only(r, NOTHING) || !request_gid(r) || !request_json(r, true))
		return;
	struct asked *a = new_command(r, COMMAND_ABANDON);
	request_members(r, MEMBERS);
	read_person(r, &a->command);
	read_typed_gid(r);
	if (!request_is_clean(r))
		return;
	if (r->if_match.given)
		ask(r);
	else
		request_problem(r, PROBLEM_PRECONDITION, NULL);
}

static void read_resolution(struct request *r, struct command *c)
{
	struct str   op = { 0 }, outcome = { 0 };
	struct json *output = json_get(r->body, "output");

	request_text(r, "op", &op);
	request_text(r, "outcome", &outcome);
	if (!read_op(op, &c->op) || c->op == OP_CHECK)
		request_error(r, "/op", "try, confirm or cancel is wanted");
	c->outcome = str_is(outcome, "refused") ? OUTCOME_REFUSED : OUTCOME_OK;
	if (c->outcome == OUTCOME_OK && !str_is(outcome, "ok"))
		request_error(r, "/outcome", "ok or refused is wanted");
	if (output)
		c->body = output->raw;
}

void handle_step_resolve(struct request *r)
{
	static const char *const MEMBERS[] = { "op", "outcome", "output", "reason", "actor", "gid", NULL };

	if (!request_only(r, NOTHING) || !request_gid(r) || !request_json(r, true))
		return;
	struct asked *a = new_command(r, COMMAND_RESOLVE);
	a->command.step = request_param(r, 1);
	request_members(r, MEMBERS);
	read_person(r, &a->command);
	read_typed_gid(r);
	read_resolution(r, &a->command);
	if (request_is_clean(r))
		ask(r);
}

/* ---- replicas ---------------------------------------------------------------------------------- */

/* A hint: whoever sends it wins nothing but a look into the inbox. */
void handle_replica_poke(struct request *r)
{
	if (!request_only(r, NOTHING) || !request_gid(r))
		return;
	engine_on_poke(r->api->engine, r->gid);
	request_answer_as(r, 204, NULL, NULL);
}
