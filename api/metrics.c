/* SPDX-License-Identifier: Apache-2.0 */
#include "api/metrics.h"

#include "api/bulk.h"
#include "api/metrics_table.h"
#include "api/request.h"

#include <string.h>

enum {
	TIDE_EVERY_MS = 60000, /* the database counts up to 100,000 rows for it */
	TIDE_LIVES_MS = 180000
};

struct sample { /* what the numbers are read from */
	struct api                 *api;
	struct engine_stats         e;
	const struct engine_counts *n;
	struct process              p;
	double                      lag_seconds;
	unsigned                    connections, waiters;
	struct api_database         db;
	struct api_traces           traces;
	const struct counts        *tide; /* NULL: not known */
	struct bulk_counts          bulk;
};

void counters_count(struct counters *c, unsigned route, unsigned status, uint64_t us)
{
	unsigned class = status / 100;

	if (class < 1 || class > STATUS_CLASSES)
		return;
	c->answers[route][class - 1]++;
	tally_add(&c->handled_us[route], TALLY_CALL_US, us);
}

static struct label label(const char *name, const char *value)
{
	return (struct label){ name, str_of(value) };
}

static void one(struct exposition *x, const char *name, const char *value, double v)
{
	exposition_value(x, &(struct label){ name, str_of(value) }, 1, v);
}

/* ---- the replica and its transactions ---------------------------------------------- */

static void write_build(struct exposition *x, const struct sample *s)
{
	(void)s;
	one(x, "version", PACKAGE_VERSION, 1);
}

static void write_state(struct exposition *x, const struct sample *s)
{
	for (int v = ENGINE_STARTING; v <= ENGINE_GONE; v++)
		one(x, "state", engine_state_name((enum engine_state)v), s->e.state == (enum engine_state)v);
}

static void write_members(struct exposition *x, const struct sample *s)
{
	static const char *const names[MEMBER_STATE_COUNT] = {
		[MEMBER_LIVE] = "live", [MEMBER_DRAINED] = "drained", [MEMBER_FENCED] = "fenced",
	};

	for (int v = 0; v < MEMBER_STATE_COUNT; v++)
		one(x, "state", names[v], s->e.members[v]);
}

static void write_ended(struct exposition *x, const struct sample *s)
{
	for (int v = 0; v < PHASE_COUNT; v++)
		if (phase_is_ended((enum phase)v))
			one(x, "phase", phase_name((enum phase)v), (double)s->n->ended[v]);
}

static void write_moves(struct exposition *x, const struct sample *s)
{
#define X(from, to, text)                                                                          \
	exposition_value(x, (struct label[]){ label("from", phase_name(PHASE_##from)),             \
	                                      label("to", phase_name(PHASE_##to)) }, 2,            \
	                 (double)s->n->moves[PHASE_##from][PHASE_##to]);
	TXN_MOVES(X)
#undef X
}

static uint64_t tally_count(const struct tally *t)
{
	uint64_t n = 0;

	for (size_t i = 0; i <= TALLY_BOUNDS_MAX; i++)
		n += t->counts[i];
	return n;
}

static void write_duration(void *arg, const struct ended *ended)
{
	for (int v = 0; v < PHASE_COUNT; v++)
		if (tally_count(&ended->ms[v]) > 0)
			exposition_tally(arg, (struct label[]){ { "definition", ended->definition },
			                                        label("phase", phase_name((enum phase)v)) },
			                 2, &ended->ms[v], TALLY_TXN_MS);
}

static void write_durations(struct exposition *x, const struct sample *s)
{
	engine_each_ended(s->api->engine, write_duration, x);
}

static void write_stuck(struct exposition *x, const struct sample *s)
{
	for (int v = STUCK_NONE + 1; v < STUCK_COUNT; v++)
		one(x, "reason", stuck_name((enum stuck)v), (double)s->n->stuck[v]);
}

static void write_commands(struct exposition *x, const struct sample *s)
{
	for (int v = 0; v < COMMAND_COUNT; v++) {
		const struct label command = label("command", command_name((enum command_kind)v));

		exposition_tally(x, &command, 1, &s->n->command_ms[v], TALLY_WAIT_MS);
	}
}

/* ---- all replicas, as the database counts ------------------------------------------- */

static void on_counts(void *arg, enum log_result result, const struct counts *c)
{
	struct api *a = arg;

	a->tide.asking = false;
	if (result != LOG_DONE)
		return;
	a->tide.counts = *c;
	a->tide.known = true;
	a->tide.known_at = a->ports.clock.boot_ms(a->ports.clock.ctx);
}

/* Whoever looks at the numbers keeps them young: nobody looks, nothing is asked. */
static const struct counts *read_tide(struct api *a)
{
	struct tide *t = &a->tide;
	int64_t      now = a->ports.clock.boot_ms(a->ports.clock.ctx);

	if (!t->asking && (t->asked_at == 0 || now - t->asked_at >= TIDE_EVERY_MS)) {
		t->asking = true;
		t->asked_at = now;
		a->store.counts(a->store.ctx, 0, on_counts, a);
	}
	return t->known && now - t->known_at < TIDE_LIVES_MS ? &t->counts : NULL;
}

static void write_unfinished(struct exposition *x, const struct sample *s)
{
	for (int v = 0; s->tide != NULL && v < PHASE_COUNT; v++)
		if (!phase_is_ended((enum phase)v))
			one(x, "phase", phase_name((enum phase)v), (double)s->tide->by_phase[v]);
}

static void write_stuck_now(struct exposition *x, const struct sample *s)
{
	for (int v = STUCK_NONE + 1; s->tide != NULL && v < STUCK_COUNT; v++)
		one(x, "reason", stuck_name((enum stuck)v), (double)s->tide->by_stuck[v]);
}

static void write_parked(struct exposition *x, const struct sample *s)
{
	if (s->tide != NULL)
		exposition_value(x, NULL, 0, (double)s->tide->parked);
}

static void write_overdue(struct exposition *x, const struct sample *s)
{
	if (s->tide != NULL)
		exposition_value(x, NULL, 0, (double)s->tide->overdue_ms / 1000);
}

/* ---- calls and participants ----------------------------------------------------------- */

static void write_calls(struct exposition *x, const struct sample *s)
{
	for (int op = 0; op < OP_COUNT; op++)
		for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++)
			exposition_value(x, (struct label[]){ label("op", op_name((enum op)op)),
			                                      label("outcome", outcome_name((enum outcome)outcome)) },
			                 2, (double)s->n->calls[op][outcome]);
}

/* Those without figures of their own, as one. */
struct targets {
	struct exposition *x;
	void             (*write)(struct exposition *x, const struct label *who, const struct api_target *t);
	struct api_target  others;
	struct tally       others_us;
	bool               any;
};

static void add_target(void *arg, const struct api_target *t)
{
	struct targets   *all = arg;
	struct api_target *sum = &all->others;

	if (t->shown) {
		all->write(all->x, &(struct label){ "participant", t->name }, t);
		return;
	}
	all->any = true;
	sum->in_flight += t->in_flight;
	sum->limit += t->limit;
	sum->queued += t->queued;
	sum->failures += t->failures;
	sum->rejected += t->rejected;
	sum->opened += t->opened;
	sum->put_off += t->put_off;
	if (sum->breaker_ms < t->breaker_ms)
		sum->breaker_ms = t->breaker_ms;
	for (size_t i = 0; i <= TALLY_BOUNDS_MAX; i++)
		all->others_us.counts[i] += t->latency_us->counts[i];
	all->others_us.sum += t->latency_us->sum;
}

static void each_target(struct exposition *x, const struct sample *s,
                        void (*write)(struct exposition *, const struct label *, const struct api_target *))
{
	struct targets all = { .x = x, .write = write };

	if (s->api->config.targets == NULL)
		return;
	s->api->config.targets(s->api->config.ctx, add_target, &all);
	all.others.latency_us = &all.others_us;
	if (all.any)
		write(x, &(struct label){ "participant", STR("_other") }, &all.others);
}

#define TARGET_FAMILY(name, value)                                                                                   \
	static void each_##name(struct exposition *x, const struct label *who, const struct api_target *t)           \
	{                                                                                                            \
		exposition_value(x, who, 1, (double)(value));                                                      \
	}                                                                                                            \
	static void write_##name(struct exposition *x, const struct sample *s) { each_target(x, s, each_##name); }

TARGET_FAMILY(in_flight, t->in_flight)
TARGET_FAMILY(limit, t->limit)
TARGET_FAMILY(queued, t->queued)
TARGET_FAMILY(failures, t->failures)
TARGET_FAMILY(rejected, t->rejected)
TARGET_FAMILY(breaker, (double)t->breaker_ms / 1000)
TARGET_FAMILY(opened, t->opened)
TARGET_FAMILY(put_off, t->put_off)

static void each_latency(struct exposition *x, const struct label *who, const struct api_target *t)
{
	exposition_examples(x, who, 1, t->latency_us, t->examples, TALLY_CALL_US);
}

static void write_latency(struct exposition *x, const struct sample *s)
{
	each_target(x, s, each_latency);
}

/* ---- the log ---------------------------------------------------------------------------- */

static void write_batches(struct exposition *x, const struct sample *s)
{
	for (int v = 0; v < LOG_RESULT_COUNT; v++)
		one(x, "result", log_result_name((enum log_result)v), (double)s->n->commits[v]);
}

static void write_batch_time(struct exposition *x, const struct sample *s)
{
	if (s->db.batch_us != NULL)
		exposition_tally(x, NULL, 0, s->db.batch_us, TALLY_BATCH_US);
}

static void write_batch_rows(struct exposition *x, const struct sample *s)
{
	if (s->db.batch_rows != NULL)
		exposition_tally(x, NULL, 0, s->db.batch_rows, TALLY_ROWS);
}

/* ---- requests ----------------------------------------------------------------------------- */

static const char *route_label(unsigned route)
{
	return route < ROUTE_COUNT ? route_fact((enum route)route)->name : "none";
}

static void write_requests(struct exposition *x, const struct sample *s)
{
	static const char *const classes[STATUS_CLASSES] = { "1xx", "2xx", "3xx", "4xx", "5xx" };
	const struct counters   *c = &s->api->counters;

	for (unsigned route = 0; route <= ROUTE_COUNT; route++)
		for (unsigned class = 0; class < STATUS_CLASSES; class++)
			if (c->answers[route][class])
				exposition_value(x, (struct label[]){ label("route", route_label(route)),
				                                      label("status", classes[class]) },
				                 2, (double)c->answers[route][class]);
}

static void write_request_time(struct exposition *x, const struct sample *s)
{
	for (unsigned route = 0; route <= ROUTE_COUNT; route++) {
		const struct label which = label("route", route_label(route));

		if (tally_count(&s->api->counters.handled_us[route]) > 0)
			exposition_tally(x, &which, 1, &s->api->counters.handled_us[route], TALLY_CALL_US);
	}
}

static void write_spans(struct exposition *x, const struct sample *s)
{
	one(x, "result", "sent", (double)s->traces.sent);
	one(x, "result", "dropped", (double)s->traces.dropped);
	one(x, "result", "refused", (double)s->traces.refused);
}

/* ---- people ------------------------------------------------------------------------------- */

static void write_deed(struct exposition *x, const char *kind, const char *action, uint64_t n)
{
	exposition_value(x, (struct label[]){ label("kind", kind), label("action", action) }, 2, (double)n);
}

static void write_deeds(struct exposition *x, const struct sample *s)
{
	for (int v = 0; v < COMMAND_COUNT; v++)
		write_deed(x, "transaction", command_name((enum command_kind)v), s->n->deeds[v]);
#define X(name, kind, action) write_deed(x, kind, action, s->api->counters.deeds[DEED_##name]);
	DEEDS(X)
#undef X
}

static void write_bulk_items(struct exposition *x, const struct sample *s)
{
	one(x, "result", "done", (double)s->bulk.done);
	one(x, "result", "refused", (double)s->bulk.refused);
	one(x, "result", "failed", (double)s->bulk.failed);
}

/* ---- all of it ------------------------------------------------------------------------------ */

#define NUM(value) exposition_value(x, NULL, 0, (double)(value));
#define EACH(function) function(x, s);
#define X(group, name, kind, labels, source, help)                            \
	static void write_##name(struct exposition *x, const struct sample *s) \
	{                                                                     \
		(void)s;                                                      \
		source                                                        \
	}
METRICS(X)
#undef X

static void (*const writers[])(struct exposition *x, const struct sample *s) = {
#define X(group, name, ...) write_##name,
	METRICS(X)
#undef X
};

void metrics_write(struct api *a, enum exposition_form form, struct buf *out)
{
	struct exposition x = { .out = out, .form = form };
	struct sample     s = {
		.api = a,
		.n = engine_counts(a->engine),
		.connections = api_connections(a),
		.waiters = a->waiters,
		.db = api_database(a),
		.tide = read_tide(a),
	};
	const struct metric_fact *facts;
	size_t                    n;

	engine_stats(a->engine, &s.e);
	bulk_run_counts(a->bulk, &s.bulk);
	if (a->config.traces != NULL)
		a->config.traces(a->config.ctx, &s.traces);
	process_read(&a->process);
	s.p = a->process;
	if (a->config.loop_lag_us)
		s.lag_seconds = (double)a->config.loop_lag_us(a->config.ctx) / 1e6;
	facts = metrics_facts(&n);
	for (size_t i = 0; i < n; i++) {
		exposition_family(&x, &facts[i]);
		writers[i](&x, &s);
	}
	exposition_end(&x);
}
