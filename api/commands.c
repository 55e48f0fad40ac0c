/* SPDX-License-Identifier: Apache-2.0
 * commands.c - what is asked of a running transaction: by programs, and how all of it is answered.
 */
#include "api/commands.h"
#include "api/places.h"
#include "api/transactions.h"

#include "participants/call.h"
#include "participants/definition.h"

#include <string.h>

#define START_AHEAD_MAX_MS (3650ll * 86400 * 1000)

static const char *const WAIT_OR_DRY[] = { "wait", "dry_run", NULL };
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

/* ---- dry runs ------------------------------------------------------------------------- */

static void show_call(struct buf *out, const struct foresight *f, const struct foreseen *call)
{
	buf_cstr(out, "{\"step\":");
	buf_json(out, definition_step_name(f->def, call->step));
	buf_fmt(out, ",\"op\":\"%s\"", op_name(call->op));
	show_text(out, "target", definition_target(f->def, call->step, call->op));
	buf_fmt(out, ",\"at_once\":%s}", call->at_once ? "true" : "false");
}

static void show_would(struct buf *out, const struct command *c, const struct foresight *f)
{
	buf_fmt(out, "{\"dry_run\":true,\"would\":{\"action\":\"%s\",\"verdict\":\"%s\"", command_name(c->kind),
	        verdict_name(f->verdict));
	if (f->after)
		buf_fmt(out, ",\"phase\":\"%s\",\"paused\":%s,\"stuck\":%s", phase_name(f->after->phase),
		        f->after->paused ? "true" : "false", f->after->stuck != STUCK_NONE ? "true" : "false");
	buf_fmt(out, ",\"ends\":%s%s%s},\"calls\":[", f->has_end ? "\"" : "", f->has_end ? phase_name(f->end) : "null",
	        f->has_end ? "\"" : "");
	for (size_t i = 0; i < f->call_n; i++) {
		if (i > 0)
			buf_cstr(out, ",\n");
		show_call(out, f, &f->calls[i]);
	}
	buf_cstr(out, "]}\n");
}

struct dry {
	struct request    *r;
	const struct view *view;
};

static void on_foreseen(void *arg, const struct foresight *f)
{
	const struct dry   *d = arg;
	const struct asked *a = d->r->own;
	struct buf          body = { 0 };

	if (f->verdict != VERDICT_ACCEPTED && f->verdict != VERDICT_ALREADY) {
		answer_verdict(d->r, f->verdict, d->view);
		return;
	}
	show_would(&body, &a->command, f);
	request_etag(d->r, d->view->row.version);
	request_answer(d->r, 200, &body);
}

static void on_dry_view(void *arg, enum log_result result, const struct view *view)
{
	struct request      *r = arg;
	const struct asked  *a = r->own;
	struct dry           dry = { r, view };
	struct err           err = { .kind = ERR_NONE };
	enum command_result  refused;

	if (!transaction_is_there(r, result, view))
		return;
	refused = engine_foresee(r->api->engine, view, &a->command, on_foreseen, &dry, &err);
	if (refused != COMMAND_APPLIED)
		on_command(r, refused, VERDICT_NO_STEP, NULL, &err);
}

/* ---- asking ----------------------------------------------------------------------------- */

/* The owner compares If-Match when it applies the command. No transaction has version 0. */
void command_ask(struct request *r)
{
	struct asked *a = r->own;

	if (r->if_match.given && !r->if_match.any)
		a->command.if_version = r->if_match.version != 0 ? r->if_match.version : UINT64_MAX;
	if (a->dry)
		engine_read(r->api->engine, r->gid, on_dry_view, r);
	else
		engine_command(r->api->engine, &a->command, on_command, r);
}

struct asked *command_new(struct request *r, enum command_kind kind)
{
	struct asked *a = arena_alloc(request_arena(r), sizeof *a);

	a->command.kind = kind;
	a->command.gid = r->gid;
	a->command.request_id = r->request_id;
	r->own = a;
	return a;
}

void command_by(struct command *c, const struct person *p)
{
	c->actor = p->actor;
	c->role = p->role;
	c->reason = p->reason;
}

/* ---- services ------------------------------------------------------------------------ */

/* Who came with a token that is no service's, or says who he is. */
static bool is_person(struct request *r)
{
	const struct principal *who = request_principal(r);

	return json_get(r->body, "actor") || (who->is_known && !(who->roles & 1u << ROLE_SERVICE));
}

/* A duration from now on, or a time; one that has passed is now. */
static void read_start(struct request *r, struct command *c)
{
	struct str text = { 0 };
	int64_t    ms;

	request_text(r, "start_at", &text);
	if (text.n == 0)
		return;
	if (text_to_ms(text, &ms))
		c->start_at = request_now(r) + ms;
	else if (!text_to_time(text, &c->start_at) || c->start_at > request_now(r) + START_AHEAD_MAX_MS)
		request_error(r, "/start_at", "a duration like 10m, or a time like 2026-01-31T12:00:00Z, at most ten years ahead, is wanted");
}

/* {reason?, actor?, start_at?}: of a person a reason is wanted; only a confirm can have its calls made later. */
static void decide(struct request *r, enum command_kind kind)
{
	static const char *const MEMBERS[] = { "reason", "actor", NULL };
	static const char *const CONFIRM_MEMBERS[] = { "reason", "actor", "start_at", NULL };
	struct person            person = { .reason = STR("") };
	bool                     dry;

	if (!request_only(r, WAIT_OR_DRY) || !request_dry_run(r, &dry) || !request_gid(r) || !request_json(r, true) ||
	    !request_may_wait(r))
		return;
	struct asked *a = command_new(r, kind);
	a->waits = true;
	a->dry = dry;
	request_members(r, kind == COMMAND_CONFIRM ? CONFIRM_MEMBERS : MEMBERS);
	if (kind == COMMAND_CONFIRM)
		read_start(r, &a->command);
	if (is_person(r)) {
		person_read(r, &person);
		command_by(&a->command, &person);
	} else {
		request_text(r, "reason", &a->command.reason);
		if (a->command.reason.n > REASON_BYTES_MAX)
			request_error(r, "/reason", "at most %d bytes are kept", REASON_BYTES_MAX);
	}
	if (request_is_clean(r))
		command_ask(r);
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
	command_new(r, COMMAND_JOIN)->command.body = buf_view(&r->x->body);
	if (places_check_step(r, r->body))
		command_ask(r);
	else
		request_problem(r, PROBLEM_DEFINITION_INVALID, NULL);
}

/* ---- participants' callbacks ------------------------------------------------------------ */

bool command_op(struct str text, enum op *op)
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
	if (op && sig && command_op(*op, &a->command.op) &&
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
	struct asked *a = command_new(r, COMMAND_COMPLETE);

	if (is_signed(r, a) && read_output(r, &a->command.body))
		command_ask(r);
}

void handle_step_fail(struct request *r)
{
	static const char *const MEMBERS[] = { "error", NULL };
	struct asked            *a = command_new(r, COMMAND_FAIL);

	if (!is_signed(r, a) || !request_json(r, true))
		return;
	request_members(r, MEMBERS);
	request_text(r, "error", &a->command.body);
	if (request_is_clean(r))
		command_ask(r);
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
