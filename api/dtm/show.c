/* SPDX-License-Identifier: Apache-2.0
 * show.c - a transaction as DTM's clients read it: the global one, a row for each op of a branch.
 */
#include "api/dtm/dtm.h"

#include "api/show.h"
#include "coordinator/base/digest.h"
#include "coordinator/base/mem.h"
#include "participants/call.h"
#include "participants/definition_call.h"

#include <stdlib.h>
#include <string.h>

/* ---- the global one ---------------------------------------------------------------------- */

/* DTM counts rows; we have none. The second of creation: C#'s client has 32 bits for it. */
static uint64_t id_of(const struct row *row)
{
	static const int64_t SINCE_MS = 1704067200000; /* 2024-01-01 */

	return row->created_at > SINCE_MS ? (uint64_t)(row->created_at - SINCE_MS) / 1000 : 0;
}

static void show_word(struct buf *out, const char *name, const char *text)
{
	buf_fmt(out, ",\"%s\":\"%s\"", name, text);
}

static int64_t updated_at(const struct view *v)
{
	int64_t at = v->row.ended_at ? v->row.ended_at : v->row.created_at;

	for (uint16_t i = 0; v->txn && i < v->txn->step_count; i++)
		if (v->notes[i].answered_at > at)
			at = v->notes[i].answered_at;
	return at;
}

static void show_times(struct buf *out, uint64_t id, const struct view *v, int64_t created_at,
                       int64_t updated_at)
{
	buf_fmt(out, "{\"id\":%llu", (unsigned long long)id);
	show_time(out, "create_time", created_at);
	show_time(out, "update_time", updated_at);
	show_text(out, "gid", v->row.gid);
}

void dtm_show_branch_times(struct buf *out, uint64_t id, const struct view *v, uint16_t i,
                           int64_t answered_at)
{
	const int64_t joined_at = i < v->txn->step_count ? v->notes[i].joined_at : 0;
	const int64_t made_at = joined_at ? joined_at : v->row.created_at;

	show_times(out, id, v, made_at, answered_at ? answered_at : made_at);
}

/* A string that the input keeps; false and nothing where it is empty. */
static bool show_kept(struct buf *out, const struct view *v, const char *name)
{
	struct str raw;

	if (v->row.input.n == 0 || !json_member(v->row.input, name, &raw) || raw.n <= 2)
		return false;
	buf_fmt(out, ",\"%s\":", name);
	buf_str(out, raw);
	return true;
}

/* The interval is a whole number there, so that parts of a second are rounded up. */
static void show_options(struct buf *out, const struct view *v)
{
	struct str raw;

	if (v->row.input.n == 0 || !json_member(v->row.input, "options", &raw))
		return;
	show_text(out, "options", raw);
	buf_fmt(out, ",\"next_cron_interval\":%lld", (long long)dtm_interval_s(raw));
}

/* When it goes on by itself: 0 if nobody knows, or it has ended. */
static int64_t next_at(const struct view *v)
{
	int64_t at = v->row.due_at == AT_NEVER ? 0 : v->row.due_at;

	if (phase_is_ended(v->row.phase) || v->txn == NULL)
		return 0;
	for (uint16_t i = 0; i < v->txn->step_count; i++)
		if (v->txn->steps[i].next_at && (at == 0 || v->txn->steps[i].next_at < at))
			at = v->txn->steps[i].next_at;
	if (at == 0 && v->txn->check.next_at)
		at = v->txn->check.next_at;
	return at ? at : v->txn->start_at;
}

/* As it was asked for; what the row has may be some ms beside it. */
static int64_t limit_of(const struct row *row)
{
	const int64_t ms = row->def != NULL ? definition_deadline_ms(row->def) : 0;

	return ms > 0 ? ms : row->deadline_at - row->created_at;
}

static struct str timeout_text(struct request *r, const struct view *v)
{
	const int64_t ms = limit_of(&v->row) * 1000 / r->api->config.dtm_second_ms;
	struct buf    text = { 0 };

	buf_fmt(&text, "Timeout after %lld", (long long)ms / 1000);
	if (ms % 1000 != 0) {
		buf_fmt(&text, ".%03lld", (long long)ms % 1000);
		while (text.p[text.n - 1] == '0')
			text.n--;
	}
	buf_cstr(&text, " seconds");
	return request_keep(r, &text);
}

static struct str limit_text(struct request *r, const struct view *v)
{
	const uint32_t limit = v->txn->plan->steps[v->txn->cause_step].retry.attempts - 1;
	struct buf     text = { 0 };

	buf_fmt(&text, "RetryCount is greater than RetryLimit, RetryLimit: %u", limit);
	return request_keep(r, &text);
}

struct str dtm_rollback_reason(struct request *r, const struct view *v)
{
	const struct txn *t = v->txn;

	if (t == NULL || (dtm_of(r)->reason_later && dtm_is_reason_elsewhere(v)))
		return (struct str){ 0 };
	switch (t->cause) {
	case CAUSE_REFUSED:
		if (dtm_of(r)->reason.n > 0)
			return dtm_of(r)->reason;
		return t->cause_step < t->step_count ? v->notes[t->cause_step].error
		                                     : (struct str){ 0 };
	case CAUSE_ATTEMPTS:
		return t->cause_step < t->step_count ? limit_text(r, v) : (struct str){ 0 };
	case CAUSE_DEADLINE:
		return timeout_text(r, v);
	case CAUSE_CHECK:
		return v->check->error;
	case CAUSE_CLIENT:
	case CAUSE_OPERATOR:
		return dtm_of(r)->reason;
	case CAUSE_NONE:
		break;
	}
	return (struct str){ 0 };
}

void dtm_show_transaction(struct request *r, const struct view *v, struct buf *out)
{
	enum dtm_kind kind = DTM_SAGA;
	struct str    reason = dtm_rollback_reason(r, v);
	char          owner[UUID_TEXT + 1];

	dtm_kind_of(&v->row, &kind);
	show_times(out, id_of(&v->row), v, v->row.created_at, updated_at(v));
	show_word(out, "trans_type", dtm_kind_name(kind));
	show_word(out, "status", dtm_status(v->row.phase));
	show_kept(out, v, "query_prepared");
	if (!show_kept(out, v, "protocol"))
		show_word(out, "protocol", "http");
	if (v->row.phase == PHASE_CONFIRMED)
		show_time(out, "finish_time", v->row.ended_at);
	else if (phase_is_ended(v->row.phase))
		show_time(out, "rollback_time", v->row.ended_at);
	if (v->row.phase == PHASE_CONFIRMED && dtm_of(r)->reason.n > 0)
		show_text(out, "result", dtm_of(r)->reason);
	if (reason.n > 0)
		show_text(out, "rollback_reason", reason);
	show_options(out, v);
	show_kept(out, v, "custom_data");
	if (next_at(v) > 0)
		show_time(out, "next_cron_time", next_at(v));
	if (!uuid_is_nil(v->row.owner))
		show_word(out, "owner", uuid_text(v->row.owner, owner));
	buf_cstr(out, ",\"concurrent\":false}");
}

/* ---- the branches ------------------------------------------------------------------------ */

struct branch_op {
	enum op     op;
	const char *name;
};

/* In the order in which DTM makes their rows. */
static size_t ops_of(enum dtm_kind kind, const struct branch_op **ops)
{
	static const struct branch_op SAGA[] = { { OP_CANCEL, "compensate" },
		                                 { OP_TRY, "action" } };
	static const struct branch_op TCC[] = { { OP_CANCEL, "cancel" },
		                                { OP_CONFIRM, "confirm" } };
	static const struct branch_op MSG[] = { { OP_TRY, "action" } };
	static const struct branch_op XA[] = { { OP_CANCEL, "rollback" },
		                               { OP_CONFIRM, "commit" } };

	switch (kind) {
	case DTM_SAGA:
		*ops = SAGA;
		return 2;
	case DTM_TCC:
		*ops = TCC;
		return 2;
	case DTM_MSG:
		*ops = MSG;
		return 1;
	case DTM_XA:
		*ops = XA;
		return 2;
	case DTM_WORKFLOW:
		break;
	}
	return 0;
}

/* Of what was cancelled the state no longer tells it. */
static const char *try_status(const struct txn *t, uint16_t i, const struct note *note)
{
	switch (t->steps[i].state) {
	case STEP_PENDING:
	case STEP_UNTRIED:
		return "prepared";
	case STEP_REFUSED:
		return "failed";
	case STEP_TRIED:
	case STEP_CONFIRMED:
		return "succeed";
	case STEP_CANCELLED:
		return note->tried_at == 0 ? "prepared" : note->refused ? "failed" : "succeed";
	}
	return "";
}

static const char *branch_status(const struct txn *t, uint16_t i, enum op op,
                                 const struct note *note)
{
	if (op == OP_CONFIRM)
		return t->steps[i].state == STEP_CONFIRMED ? "succeed" : "prepared";
	if (op == OP_CANCEL)
		return t->steps[i].state == STEP_CANCELLED ? "succeed" : "prepared";
	return try_status(t, i, note);
}

/* Without what we put behind it. */
static struct str given_url(struct str url)
{
	static const char OURS[] = "branch_id=";

	for (size_t i = url.n; i > sizeof OURS; i--)
		if (memcmp(url.p + i - sizeof OURS + 1, OURS, sizeof OURS - 1) == 0)
			return (struct str){ url.p, i - sizeof OURS };
	return url;
}

void dtm_show_data(struct buf *out, struct str body)
{
	char *text;

	if (body.n == 0)
		return;
	text = mem_alloc(4 * ((body.n + 2) / 3) + 1);
	digest_base64((const uint8_t *)body.p, body.n, text);
	buf_cstr(out, ",\"bin_data\":\"");
	buf_cstr(out, text);
	buf_char(out, '"');
	free(text);
}

static void show_call(struct request *r, const struct view *v, const struct str *outputs,
                      uint16_t i, enum op op, struct buf *out)
{
	const struct scope     scope = { v->row.def, v->row.gid, v->row.created_at, v->row.input,
		                         outputs };
	struct definition_call call = { 0 };
	struct err             err;

	if (!definition_has_call(v->row.def, i, op) ||
	    definition_calls_nothing(v->row.def, i, op) ||
	    !definition_render(&scope, i, op, request_arena(r), &call, &err))
		return;
	show_text(out, "url", given_url(call.url));
	dtm_show_data(out, call.body);
}

static void show_branch(struct request *r, const struct view *v, const struct str *outputs,
                        uint16_t i, const struct branch_op *op, uint64_t id, struct buf *out)
{
	const struct note *note = &v->notes[i];
	struct str         name = definition_step_name(v->row.def, i);
	const char        *status = branch_status(v->txn, i, op->op, note);
	int64_t            done_at = 0; /* a person may have said that it is done: no time then */

	if (strcmp(status, "prepared") != 0)
		done_at = op->op == OP_TRY ? note->tried_at : note->op == op->op ? note->answered_at : 0;
	dtm_show_branch_times(out, id, v, i, done_at);
	show_call(r, v, outputs, i, op->op, out);
	show_text(out, "branch_id",
	          (struct str){ name.p + sizeof DTM_BRANCH_PREFIX - 1,
	                        name.n - sizeof DTM_BRANCH_PREFIX + 1 });
	show_word(out, "op", op->name);
	show_word(out, "status", status);
	if (done_at > 0)
		show_time(out, "finish_time", done_at);
	buf_char(out, '}');
}

void dtm_show_branches(struct request *r, const struct view *v, struct buf *out)
{
	const struct branch_op *ops = NULL;
	enum dtm_kind           kind;
	uint64_t                id = id_of(&v->row);
	struct str             *outputs;

	if (v->txn == NULL || v->row.def == NULL || !dtm_kind_of(&v->row, &kind))
		return;
	if (kind == DTM_WORKFLOW) {
		workflow_show_branches(r, v, id, out);
		return;
	}
	outputs = arena_array(request_arena(r), v->txn->step_count, sizeof *outputs);
	for (uint16_t i = 0; i < v->txn->step_count; i++)
		outputs[i] = v->notes[i].output;
	for (uint16_t i = 0; i < v->txn->step_count; i++) {
		if (!str_starts(definition_step_name(v->row.def, i), STR(DTM_BRANCH_PREFIX)))
			continue;
		for (size_t k = 0, n = ops_of(kind, &ops); k < n; k++) {
			if (out->p[out->n - 1] == '}')
				buf_char(out, ',');
			show_branch(r, v, outputs, i, &ops[k], ++id, out);
		}
	}
}
