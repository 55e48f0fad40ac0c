/* SPDX-License-Identifier: Apache-2.0 */
#include "api/metrics.h"

#include "api/request.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* What single numbers are read from. */
struct sample {
	struct engine_stats e;
	double              cpu_seconds, resident_bytes, lag_seconds;
	unsigned            connections, waiters;
	struct api_database db;
};

/*        name                                type     value                    unit and meaning */
#define METRICS(X)                                                                                              \
	X(sagad_live,                         gauge,   s->e.state == ENGINE_LIVE, "1 while this replica holds its lease") \
	X(sagad_lease_age_seconds,            gauge,   (double)s->e.lease_age_ms / 1000, "Seconds since the last answered heartbeat was sent; negative: no lease") \
	X(sagad_owned_transactions,           gauge,   s->e.owned,              "Transactions in memory, driven by this replica") \
	X(sagad_open_calls,                   gauge,   s->e.open_calls,         "Calls to participants under way or queued") \
	X(sagad_queued_changes,               gauge,   s->e.queued_changes,     "Changes waiting for the batch under way") \
	X(sagad_waiters,                      gauge,   s->waiters,              "Requests waiting for a transaction to end") \
	X(sagad_connections,                  gauge,   s->connections,          "Open connections of API clients") \
	X(sagad_speed,                        gauge,   s->e.speed,              "Steps a second this replica could do, as it reports it") \
	X(sagad_load_ratio,                   gauge,   s->e.load,               "Load over capacity") \
	X(sagad_transactions_begun_total,     counter, s->e.begun,              "Transactions accepted here and durable") \
	X(sagad_transactions_confirmed_total, counter, s->e.confirmed,          "Transactions that ended confirmed here") \
	X(sagad_transactions_cancelled_total, counter, s->e.cancelled,          "Transactions that ended cancelled here") \
	X(sagad_transactions_abandoned_total, counter, s->e.abandoned,          "Transactions that a person ended here") \
	X(sagad_transactions_adopted_total,   counter, s->e.adopted,            "Transactions taken over from dead replicas") \
	X(sagad_transactions_parked_total,    counter, s->e.parked,             "Transactions released because they sleep") \
	X(sagad_transactions_taken_due_total, counter, s->e.taken_due,          "Parked transactions taken up when due") \
	X(sagad_transactions_reloaded_total,  counter, s->e.reloaded,           "Transactions read again after a commit of unknown fate") \
	X(sagad_calls_total,                  counter, s->e.calls,              "Calls to participants started") \
	X(sagad_calls_ok_total,               counter, s->e.calls_ok,           "Calls answered ok") \
	X(sagad_calls_refused_total,          counter, s->e.calls_refused,      "Calls refused") \
	X(sagad_calls_ongoing_total,          counter, s->e.calls_ongoing,      "Calls answered with: still in progress") \
	X(sagad_calls_unknown_total,          counter, s->e.calls_unknown,      "Calls that taught nothing") \
	X(sagad_calls_misconfigured_total,    counter, s->e.calls_misconfigured, "Calls answered against the contract") \
	X(sagad_commits_total,                counter, s->e.commits,            "Batches committed") \
	X(sagad_committed_rows_total,         counter, s->e.committed_rows,     "Rows in those batches") \
	X(sagad_commit_failures_total,        counter, s->e.commit_failures,    "Batches that did not commit") \
	X(sagad_missed_rows_total,            counter, s->e.missed_rows,        "Changes refused because owner, epoch or version differed") \
	X(sagad_failovers_total,              counter, s->e.failovers,          "Times this replica met a database server that had been promoted") \
	X(sagad_restored_total,               counter, s->e.restored,           "Transactions brought back that a failover had lost or set back") \
	X(sagad_diverged_total,               counter, s->e.diverged,           "Transactions with which others had gone on from an older state after a failover") \
	X(sagad_fenced_total,                 counter, s->e.fenced,             "Dead replicas fenced by this one") \
	X(sagad_incarnations_total,           counter, s->e.incarnations,       "Lives of this process") \
	X(sagad_commands_total,               counter, s->e.commands,           "Commands asked of this replica") \
	X(sagad_inbox_commands_total,         counter, s->e.inbox_commands,     "Commands applied from the inbox") \
	X(sagad_database_up,                  gauge,   s->db.up,                "1 while commits and reads can be sent") \
	X(sagad_database_unsafe_standby,      gauge,   s->db.unsafe_standby,    "1 if there are standbys and none of them is synchronous") \
	X(sagad_database_failovers,           gauge,   s->db.failovers,         "Failovers that replicas have met on this database") \
	X(sagad_failover_unfinished,          gauge,   s->db.failover_unfinished, "Transactions that were unfinished at the newest of them") \
	X(sagad_database_connects_total,      counter, s->db.connects,          "Database sessions opened") \
	X(sagad_database_breaks_total,        counter, s->db.breaks,            "Database sessions that broke") \
	X(sagad_database_statements_total,    counter, s->db.statements,        "Statements sent") \
	X(sagad_loop_lag_seconds,             gauge,   s->lag_seconds,          "How late timers of the event loop are, smoothed") \
	X(process_cpu_seconds_total,          counter, s->cpu_seconds,          "Seconds on CPU, user and system") \
	X(process_resident_memory_bytes,      gauge,   s->resident_bytes,       "Resident memory")

struct metric {
	const char *name, *type, *help;
	double    (*value)(const struct sample *s);
};

#define X(name, type, value, help) \
	static double value_of_##name(const struct sample *s) { return (double)(value); }
METRICS(X)
#undef X

static const struct metric LIST[] = {
#define X(name, type, value, help) { #name, #type, help, value_of_##name },
	METRICS(X)
#undef X
};

void counters_count(struct counters *c, unsigned route, unsigned status, uint64_t us)
{
	unsigned class = status / 100;

	if (class < 1 || class > STATUS_CLASSES)
		return;
	c->answers[route][class - 1]++;
	c->handled_us[route] += us;
}

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* ---- families with labels --------------------------------------------------------- */

static const char *route_label(unsigned route)
{
	return route < ROUTE_COUNT ? route_fact((enum route)route)->name : "none";
}

static void write_requests(const struct counters *c, struct buf *out)
{
	head(out, "sagad_http_requests_total", "counter", "Requests answered, by route and class of status");
	for (unsigned route = 0; route <= ROUTE_COUNT; route++)
		for (unsigned class = 0; class < STATUS_CLASSES; class++)
			if (c->answers[route][class])
				buf_fmt(out, "sagad_http_requests_total{route=\"%s\",status=\"%uxx\"} %llu\n",
				        route_label(route), class + 1,
				        (unsigned long long)c->answers[route][class]);
	head(out, "sagad_http_request_seconds_total", "counter",
	     "Seconds from whole request to answer, waits included, summed by route");
	for (unsigned route = 0; route <= ROUTE_COUNT; route++)
		if (c->handled_us[route])
			buf_fmt(out, "sagad_http_request_seconds_total{route=\"%s\"} %.6f\n", route_label(route),
			        (double)c->handled_us[route] / 1e6);
}

/* One family at a time, as the format wants it. */
struct family {
	struct buf *out;
	const char *name;
	double    (*value)(const struct api_target *t);
};

static double target_in_flight(const struct api_target *t) { return t->in_flight; }
static double target_queued(const struct api_target *t) { return (double)t->queued; }
static double target_calls(const struct api_target *t) { return (double)t->calls; }
static double target_failures(const struct api_target *t) { return (double)t->failures; }
static double target_rejected(const struct api_target *t) { return (double)t->rejected; }
static double target_seconds(const struct api_target *t) { return (double)t->latency_us / 1e6; }

static void write_target(void *arg, const struct api_target *t)
{
	struct family *f = arg;

	/* Names are hosts and ports, or names checked when they came: nothing to escape. */
	buf_fmt(f->out, "%s{target=\"%.*s\"} %.17g\n", f->name, (int)t->name.n, t->name.p, f->value(t));
}

static void write_targets(const struct api_config *c, struct buf *out)
{
	static const struct {
		const char *name, *type, *help;
		double    (*value)(const struct api_target *t);
	} FAMILIES[] = {
		{ "sagad_target_in_flight", "gauge", "Calls under way to one participant", target_in_flight },
		{ "sagad_target_queued", "gauge", "Calls waiting for one participant", target_queued },
		{ "sagad_target_calls_total", "counter", "Calls answered by one participant", target_calls },
		{ "sagad_target_failures_total", "counter", "Of these, unknown or misconfigured", target_failures },
		{ "sagad_target_rejected_total", "counter", "Calls turned away: its queue was full", target_rejected },
		{ "sagad_target_seconds_total", "counter", "Seconds that its calls took, summed", target_seconds },
	};

	if (!c->targets)
		return;
	for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
		struct family f = { out, FAMILIES[i].name, FAMILIES[i].value };

		head(out, FAMILIES[i].name, FAMILIES[i].type, FAMILIES[i].help);
		c->targets(c->ctx, write_target, &f);
	}
}

/* ---- all of it ------------------------------------------------------------------------ */

static double resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE              *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) != 0)
		return 0;
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void metrics_write(struct api *a, struct buf *out)
{
	struct sample s = {
		.cpu_seconds = cpu_seconds(),
		.resident_bytes = resident_bytes(),
		.connections = api_connections(a),
		.waiters = a->waiters,
		.db = api_database(a),
	};

	engine_stats(a->engine, &s.e);
	if (a->config.loop_lag_us)
		s.lag_seconds = (double)a->config.loop_lag_us(a->config.ctx) / 1e6;
	for (size_t i = 0; i < sizeof LIST / sizeof *LIST; i++) {
		head(out, LIST[i].name, LIST[i].type, LIST[i].help);
		buf_fmt(out, "%s %.17g\n", LIST[i].name, LIST[i].value(&s));
	}
	write_requests(&a->counters, out);
	write_targets(&a->config, out);
}
