/* SPDX-License-Identifier: Apache-2.0
 * actions.c - what can be asked of a transaction now, by the core's table and its judgement.
 */
#include "api/show.h"

#include "participants/definition.h"

static void show_action(struct buf *out, const struct view *v, enum action a, int step, int op)
{
	const struct action_fact *fact = action_fact(a);

	buf_fmt(out, "%s{\"action\":\"%s\"", out->p[out->n - 1] == '[' ? "" : ",", fact->name);
	if (step >= 0)
		show_text(out, "step", definition_step_name(v->row.def, (uint16_t)step));
	if (op >= 0)
		buf_fmt(out, ",\"op\":\"%s\"", op_name((enum op)op));
	buf_fmt(out, ",\"typed\":%s}", fact->is_typed && (a != ACTION_PATCH || op >= 0) ? "true" : "false");
}

/* Deadlines apart, what is possible does not depend on the time. */
static bool is_possible(const struct view *v, enum action a, uint16_t step, int op)
{
	return txn_judge(v->txn, 0, a, step, op) == VERDICT_ACCEPTED;
}

static void show_of_step(struct buf *out, const struct view *v, enum action a, uint16_t i)
{
	int wanted = txn_wanted(v->txn, i);

	if (a != ACTION_PATCH) {
		if (wanted >= 0 && is_possible(v, a, i, wanted))
			show_action(out, v, a, i, wanted);
		return;
	}
	if (is_possible(v, a, i, -1)) /* its time-out and retries */
		show_action(out, v, a, i, -1);
	for (int op = OP_TRY; op <= OP_CANCEL; op++)
		if (is_possible(v, a, i, op))
			show_action(out, v, a, i, op);
}

void show_actions(struct buf *out, const struct view *v)
{
	buf_cstr(out, ",\"actions\":[");
	for (int a = 0; v->txn && v->row.def && a < ACTION_COUNT; a++) {
		const struct action_fact *fact = action_fact((enum action)a);

		if (!(fact->phases & 1u << v->row.phase))
			continue;
		for (uint16_t i = 0; fact->of_step && i < v->txn->step_count; i++)
			show_of_step(out, v, (enum action)a, i);
		if (!fact->of_step && is_possible(v, (enum action)a, 0, 0))
			show_action(out, v, (enum action)a, -1, -1);
	}
	buf_char(out, ']');
}
