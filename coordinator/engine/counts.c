/* SPDX-License-Identifier: Apache-2.0
 * counts.c - what happened here since start, for /metrics. Nothing is decided by it.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <assert.h>
#include <stdlib.h>

/* Names of definitions come from outside: the first so many have figures of their own, the others share. */
enum { DEFINITIONS_SHOWN = 50, TRACE_CALLS_MAX = 16 };

struct ending {
	struct table_node node;
	struct ended      is;
};

static struct ending *new_ending(struct engine *e, struct str name)
{
	struct ending *ending = mem_alloc(sizeof *ending);

	ending->is.definition = str_dup(name);
	table_put(&e->endings, &ending->node, ending->is.definition);
	return ending;
}

static struct ended *ending_of(struct engine *e, struct str name)
{
	struct table_node *node;

	/* Definitions begin with a letter: these two names are nobody's. */
	if (name.n == 0)
		name = STR("_inline");
	node = table_get(&e->endings, name);
	if (node == NULL && e->endings.n >= DEFINITIONS_SHOWN) {
		name = STR("_other");
		node = table_get(&e->endings, name);
	}
	return node != NULL ? &table_entry(node, struct ending, node)->is : &new_ending(e, name)->is;
}

static uint64_t since(int64_t then, int64_t now)
{
	return now > then ? (uint64_t)(now - then) : 0;
}

void count_end(struct engine *e, const struct row *row, enum phase phase)
{
	struct ended *ended = ending_of(e, row->definition);

	e->counts.ended[phase]++;
	tally_add(&ended->ms[phase], TALLY_TXN_MS, since(row->created_at, now_ms(e)));
}

void count_move(struct engine *e, const struct owned *o, const struct txn *next)
{
	enum phase from = o->txn.phase, to = next->phase;

	if (next->stuck != o->txn.stuck && next->stuck != STUCK_NONE)
		e->counts.stuck[next->stuck]++;
	if (from == to)
		return;
	e->counts.moves[from][to]++;
	if (phase_is_ended(to))
		count_end(e, &o->row, to);
}

void count_command(struct engine *e, const struct order *order)
{
	tally_add(&e->counts.command_ms[order->c.kind], TALLY_WAIT_MS, since(order->asked_at, boot_ms(e)));
}

/* ---- traces ---------------------------------------------------------------------------------- */

void tell_ended(struct engine *e, const struct row *row, const struct txn *t)
{
	if (e->ports.trace.ended != NULL)
		e->ports.trace.ended(e->ports.trace.ctx, row, t);
}

bool engine_traceparent(const struct engine *e, struct str gid, struct str *out)
{
	const struct owned *o = owned_look(e, gid);

	if (o == NULL)
		return false;
	*out = o->row.traceparent;
	return true;
}

/* The one before may have made the very calls that it waits for: the same attempts. */
void tell_adopted(struct engine *e, const struct owned *o)
{
	struct trace_call calls[TRACE_CALLS_MAX];
	size_t            n = 0;

	if (e->ports.trace.adopted == NULL || o == NULL || !o->readable)
		return;
	for (uint16_t i = 0; i < o->txn.step_count && n < TRACE_CALLS_MAX; i++) {
		const struct step *s = &o->txn.steps[i];
		int                op = txn_wanted(&o->txn, i);

		if (op >= 0)
			calls[n++] = (struct trace_call){ i, (enum op)op, s->attempts + s->misconfigured + 1u,
				                          calls_ended(o, i, (enum op)op) };
	}
	e->ports.trace.adopted(e->ports.trace.ctx, &o->row, e->adopt_from, calls, n);
}

void counts_fini(struct engine *e)
{
	struct table_node *node = table_next(&e->endings, NULL);

	while (node != NULL) {
		struct ending     *ending = table_entry(node, struct ending, node);
		struct table_node *next = table_next(&e->endings, node);

		table_remove(&e->endings, node);
		free((char *)(uintptr_t)ending->is.definition.p);
		free(ending);
		node = next;
	}
	table_fini(&e->endings);
}

struct uuid engine_incarnation(const struct engine *e)
{
	return e->me;
}

const struct engine_counts *engine_counts(const struct engine *e)
{
	return &e->counts;
}

void engine_each_ended(const struct engine *e, void (*each)(void *arg, const struct ended *ended), void *arg)
{
	for (struct table_node *node = table_next(&e->endings, NULL); node != NULL;
	     node = table_next(&e->endings, node))
		each(arg, &table_entry(node, struct ending, node)->is);
}

/* What should have been done by now and was not, in ms: a timer that is due, a commit that is wanted, a row that
 * is to be read again. */
void counts_lags(const struct engine *e, struct engine_stats *out)
{
	const struct heap_node *timer = heap_first(&e->timers);
	const struct list      *doubt = e->doubts.next;

	out->schedule_lag_ms = timer != NULL ? since(timer->at, now_ms(e)) : 0;
	out->oldest_runnable_ms = out->schedule_lag_ms;
	if (e->wanted_at != 0 && since(e->wanted_at, boot_ms(e)) > out->oldest_runnable_ms)
		out->oldest_runnable_ms = since(e->wanted_at, boot_ms(e));
	if (doubt == &e->doubts)
		return;
	int64_t at = list_entry(doubt, struct owned, commit_link)->doubt_since;
	if (since(at, boot_ms(e)) > out->oldest_runnable_ms)
		out->oldest_runnable_ms = since(at, boot_ms(e));
}

/* As they were at the last look; a dead one counts until its row is swept. */
void counts_members(const struct engine *e, struct engine_stats *out)
{
	const struct peer *me = peer_find(e, e->me);

	for (size_t i = 0; i < e->peers_n; i++)
		out->members[e->peers[i].state]++;
	out->share = me != NULL ? me->share : 0;
}

const char *log_result_name(enum log_result r)
{
#define X(name, text, ...) [LOG_##name] = text,
	static const char *const names[LOG_RESULT_COUNT] = { LOG_RESULTS(X) };
#undef X

	assert((int)r < LOG_RESULT_COUNT);
	return names[r];
}
