/* SPDX-License-Identifier: Apache-2.0
 * query.c - one transaction as it is, and why it was rolled back.
 */
#include "api/dtm/dtm.h"

/* ---- reasons ----------------------------------------------------------------------------- */

/* Somebody said so (of a workflow that is its result), or what the step's note told was overwritten
 * by the answer to its cancel: only the journal knows. */
bool dtm_is_reason_elsewhere(const struct view *view)
{
	const struct txn *t = view->txn;
	enum dtm_kind     kind;

	if (t == NULL)
		return false;
	if (t->phase == PHASE_CONFIRMED)
		return dtm_kind_of(&view->row, &kind) && kind == DTM_WORKFLOW;
	if (t->cause == CAUSE_REFUSED)
		return t->cause_step < t->step_count && view->notes[t->cause_step].op != OP_TRY;
	return t->cause == CAUSE_CLIENT || t->cause == CAUSE_OPERATOR;
}

static bool is_reason(const struct reason *why, const struct entry *e)
{
	if (why->refused.n > 0)
		return str_eq(e->step, why->refused) &&
		       str_is(e->outcome, outcome_name(OUTCOME_REFUSED)) &&
		       str_is(e->op, op_name(OP_TRY));
	return e->detail.n > 0 && (str_is(e->what, command_name(COMMAND_CANCEL)) ||
	                           str_is(e->what, command_name(COMMAND_CONFIRM)));
}

static void find_reason(struct reason *why, uint64_t after);

/* Oldest first, and what was tried for days has many lines before the one that tells. */
static void on_journal(void *arg, enum log_result result, const struct entry_row *rows, size_t n)
{
	struct reason *why = arg;
	bool           found = false;

	if (result != LOG_DONE) {
		dtm_away(why->r, result);
		return;
	}
	for (size_t i = 0; i < n && !found; i++)
		if ((found = is_reason(why, &rows[i].entry)))
			why->text = arena_str(request_arena(why->r), rows[i].entry.detail);
	if (found || n < PAGE_MAX)
		why->found(why->r, why);
	else
		find_reason(why, rows[n - 1].number);
}

static void find_reason(struct reason *why, uint64_t after)
{
	struct store_port *store = &why->r->api->store;

	store->journal(store->ctx, why->gid, after, PAGE_MAX, on_journal, why);
}

static struct str refused_step(struct request *r, const struct view *view)
{
	const struct txn *t = view->txn;

	if (t->cause != CAUSE_REFUSED || t->cause_step >= t->step_count || view->row.def == NULL)
		return (struct str){ 0 };
	return arena_str(request_arena(r),
	                 definition_step_name(view->row.def, t->cause_step));
}

struct reason *dtm_reason_of(struct request *r, const struct view *view)
{
	struct reason *why = arena_alloc(request_arena(r), sizeof *why);

	*why = (struct reason){ .r = r,
		                .gid = arena_str(request_arena(r), view->row.gid),
		                .refused = refused_step(r, view) };
	return why;
}

void dtm_find_reason(struct reason *why, void (*found)(struct request *r, struct reason *why))
{
	why->found = found;
	find_reason(why, 0);
}

static void on_view(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;

	if (result == LOG_DONE && view)
		dtm_of(r)->then(r, view);
	else
		dtm_away(r, result);
}

static void on_reason(struct request *r, struct reason *why)
{
	dtm_of(r)->reason = why->text;
	engine_read(r->api->engine, r->gid, on_view, r);
}

void dtm_ask_reason(struct request *r, const struct view *view, dtm_then *then)
{
	if (!dtm_is_reason_elsewhere(view)) {
		then(r, view);
		return;
	}
	dtm_of(r)->then = then;
	dtm_find_reason(dtm_reason_of(r, view), on_reason);
}

/* ---- query ------------------------------------------------------------------------------- */

static void answer_query(struct request *r, const struct view *view)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"transaction\":");
	if (view)
		dtm_show_transaction(r, view, &body);
	else
		buf_cstr(&body, "null");
	buf_cstr(&body, ",\"branches\":[");
	if (view)
		dtm_show_branches(r, view, &body);
	buf_cstr(&body, "]}");
	dtm_data(r, &body);
}

static void answer_found(struct request *r, const struct view *view)
{
	if (view)
		dtm_ask_reason(r, view, answer_query);
	else
		answer_query(r, NULL);
}

void handle_dtm_query(struct request *r)
{
	if (dtm_read_gid(r, dtm_param(r, "gid")))
		dtm_find(r, answer_found);
}
