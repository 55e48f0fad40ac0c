/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/targets.h"

#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	TARGETS_MAX = 4096,
	TARGETS_SHOWN = 64,
	SLOW_DOWN_MS = 500,    /* what a 429 without Retry-After asks for */
	STATUS_SLOW_DOWN = 429,
	RETRY_BURST = 100,     /* on top of what may be in flight, so that after an outage all places are used */
	PAUSED_MS = 5000       /* to twice that: when a call to a paused participant asks again */
};

static int64_t boot_ms(const struct targets *ts)
{
	return ts->config->clock.boot_ms(ts->config->clock.ctx);
}

static uint32_t chance(const struct targets *ts)
{
	return (uint32_t)ts->config->clock.random(ts->config->clock.ctx);
}

/* ---- the table -------------------------------------------------------------------------- */

static void forget(struct targets *ts, struct target *t)
{
	struct caller_target *sum = &ts->forgotten;

	sum->calls += t->is.calls;
	sum->failures += t->is.failures;
	sum->rejected += t->is.rejected;
	for (size_t i = 0; i <= TALLY_BOUNDS_MAX; i++)
		sum->latency_us.counts[i] += t->is.latency_us.counts[i];
	sum->latency_us.sum += t->is.latency_us.sum;
	table_remove(&ts->table, &t->node);
	free(t->is.examples);
	free((char *)(uintptr_t)t->is.name.p);
	free(t);
}

/* Those that are shown stay: their counters must not start again. What is known of those that are open is worth its
 * place, unless there is none for others. */
static void forget_idle(struct targets *ts, bool open_too)
{
	for (struct target *t = targets_next(ts, NULL), *next; t != NULL; t = next) {
		next = targets_next(ts, t);
		if (t->is.in_flight == 0 && t->is.queued == 0 && !t->is.shown &&
		    (open_too || t->breaker.state == BREAKER_CLOSED))
			forget(ts, t);
	}
}

void targets_init(struct targets *ts, const struct caller_config *config)
{
	*ts = (struct targets){ .config = config };
	ts->table.seed = config->clock.random(config->clock.ctx);
}

void targets_fini(struct targets *ts)
{
	for (struct target *t; (t = targets_next(ts, NULL)) != NULL;)
		forget(ts, t);
	table_fini(&ts->table);
}

struct target *targets_get(struct targets *ts, struct str name)
{
	struct table_node *node = table_get(&ts->table, name);
	struct target     *t;

	if (node != NULL)
		return table_entry(node, struct target, node);
	if (ts->table.n >= TARGETS_MAX)
		forget_idle(ts, false);
	if (ts->table.n >= TARGETS_MAX)
		forget_idle(ts, true);
	t = mem_alloc(sizeof *t);
	t->is.name = str_dup(name);
	t->is.shown = ts->shown_count < TARGETS_SHOWN;
	ts->shown_count += t->is.shown;
	t->line = str_hash(name, ts->table.seed) | 1;
	list_init(&t->queue);
	table_put(&ts->table, &t->node, t->is.name);
	return t;
}

struct target *targets_next(const struct targets *ts, const struct target *t)
{
	struct table_node *node = table_next(&ts->table, t != NULL ? (struct table_node *)(uintptr_t)&t->node : NULL);

	return node != NULL ? table_entry(node, struct target, node) : NULL;
}

static void fill(const struct targets *ts, const struct target *t, struct caller_target *is)
{
	const int64_t now = boot_ms(ts);

	*is = t->is;
	is->p50_us = latency_at(&t->latency, now, 50);
	is->p99_us = latency_at(&t->latency, now, 99);
	is->breaker = t->breaker.state;
	is->breaker_ms = t->breaker.state == BREAKER_CLOSED ? 0 : now - t->breaker.opened_at;
	is->quiet_ms = t->breaker.quiet_until > now ? t->breaker.quiet_until - now : 0;
	is->opened = t->breaker.opened;
	is->put_off = t->breaker.put_off;
	breaker_window(&t->breaker, now, &is->recent, &is->recent_unknown);
}

void targets_each(const struct targets *ts, caller_each *each, void *arg)
{
	for (const struct target *t = targets_next(ts, NULL); t != NULL; t = targets_next(ts, t)) {
		struct caller_target is;

		fill(ts, t, &is);
		each(arg, &is);
	}
	if (ts->forgotten.calls + ts->forgotten.rejected > 0)
		each(arg, &ts->forgotten);
}

const struct participant *targets_participant(const struct targets *ts, struct str name)
{
	const struct str prefix = STR("participant:");

	if (ts->config->participants == NULL || !str_starts(name, prefix))
		return NULL;
	return participants_find(ts->config->participants, (struct str){ name.p + prefix.n, name.n - prefix.n });
}

/* ---- may it be called ------------------------------------------------------------------------ */

static struct breaker_rules rules_of(const struct targets *ts, const struct target *t)
{
	const struct participant *p = targets_participant(ts, t->is.name);
	struct breaker_rules      rules = ts->config->breaker;

	if (p != NULL && p->breaker_percent >= 0)
		rules.percent = (uint32_t)p->breaker_percent;
	if (p != NULL && p->retry_percent >= 0) {
		rules.retry_percent = (uint32_t)p->retry_percent;
		rules.burst = p->retry_percent == 100 ? 0 : RETRY_BURST + t->is.limit;
	}
	return rules;
}

static bool is_paused(const struct targets *ts, const struct target *t)
{
	return ts->config->pauses != NULL &&
	       pauses_target(ts->config->pauses, ts->config->participants, t->is.name) != NULL;
}

/* Somebody stopped it, and will say when it goes on: nobody needs to ask often. */
static int64_t wait_for_person(const struct targets *ts, struct target *t)
{
	t->breaker.put_off++;
	return PAUSED_MS + (int64_t)(chance(ts) % PAUSED_MS);
}

int64_t target_ask(struct targets *ts, struct target *t, bool retry, struct breaker_pass *pass, bool *failing)
{
	const struct breaker_rules rules = rules_of(ts, t);
	int64_t                    wait_ms = 0;

	*failing = !is_paused(ts, t);
	*pass = (struct breaker_pass){ 0 };
	if (!*failing)
		return wait_for_person(ts, t);
	switch (breaker_ask(&t->breaker, &rules, boot_ms(ts), retry, chance(ts), pass, &wait_ms)) {
	case BREAKER_SAYS_GO:
	case BREAKER_SAYS_PROBE:
		return 0;
	case BREAKER_SAYS_OPEN:
	case BREAKER_SAYS_QUIET:
	case BREAKER_SAYS_BUDGET:
		break;
	}
	return wait_ms;
}

bool target_may_go(const struct targets *ts, const struct target *t, struct breaker_pass pass)
{
	return (pass.probe || breaker_look(&t->breaker, boot_ms(ts)) == BREAKER_SAYS_GO) && !is_paused(ts, t);
}

int64_t target_turn(struct targets *ts, struct target *t, bool *failing)
{
	const struct breaker_rules rules = rules_of(ts, t);

	*failing = !is_paused(ts, t);
	return *failing ? breaker_turn(&t->breaker, &rules, boot_ms(ts), chance(ts)) : wait_for_person(ts, t);
}

/* ---- what its answers teach --------------------------------------------------------------------- */

static void say_breaker(const struct targets *ts, const struct target *t, const struct breaker *before)
{
	const struct trace_port *trace = &ts->config->trace;
	const bool               opened = before->state == BREAKER_CLOSED;
	char                     detail[300];
	uint32_t                 calls, nothing;

	if (trace->line == NULL || opened == (t->breaker.state == BREAKER_CLOSED))
		return;
	breaker_window(&t->breaker, boot_ms(ts), &calls, &nothing);
	if (opened)
		snprintf(detail, sizeof detail, "participant=%.*s calls=%u unanswered=%u", (int)t->is.name.n, t->is.name.p,
		         calls, nothing);
	else
		snprintf(detail, sizeof detail, "participant=%.*s open_ms=%lld", (int)t->is.name.n, t->is.name.p,
		         (long long)(boot_ms(ts) - before->opened_at));
	trace->line(trace->ctx, opened ? TRACE_WARN : TRACE_INFO, opened ? "breaker_opened" : "breaker_closed",
	            (struct str){ 0 }, detail);
}

bool target_learn(struct targets *ts, struct target *t, struct breaker_pass pass, const struct http_result *result,
                  const struct call_lesson *lesson)
{
	const struct breaker_rules rules = rules_of(ts, t);
	const struct breaker       before = t->breaker;
	int64_t                    slow_down_ms = 0;
	bool                       room;

	t->is.calls++;
	if (lesson->outcome == OUTCOME_UNKNOWN || lesson->outcome == OUTCOME_MISCONFIGURED)
		t->is.failures++;
	tally_add(&t->is.latency_us, TALLY_CALL_US, result->took_us);
	latency_add(&t->latency, boot_ms(ts), result->took_us);
	if (result->unsendable) {
		breaker_drop(&t->breaker, pass);
		return false;
	}
	if (lesson->outcome == OUTCOME_UNKNOWN && result->reply.status == STATUS_SLOW_DOWN)
		slow_down_ms = lesson->retry_after_ms > SLOW_DOWN_MS ? lesson->retry_after_ms : SLOW_DOWN_MS;
	room = breaker_end(&t->breaker, &rules, boot_ms(ts), pass, lesson->outcome != OUTCOME_UNKNOWN || lesson->stale_epoch,
	                   slow_down_ms);
	if (before.state != t->breaker.state)
		say_breaker(ts, t, &before);
	return room;
}

/* Only those that have figures of their own have them, so that memory is bounded. */
void target_example(struct target *t, const char *trace, uint64_t took_us, int64_t now_ms)
{
	struct tally_example *e;

	if (!t->is.shown)
		return;
	if (t->is.examples == NULL)
		t->is.examples = mem_array(TALLY_BOUNDS_MAX + 1, sizeof *t->is.examples);
	e = &t->is.examples[tally_bucket(TALLY_CALL_US, took_us)];
	*e = (struct tally_example){ .value = took_us, .at_ms = now_ms };
	snprintf(e->trace, sizeof e->trace, "%s", trace);
}
