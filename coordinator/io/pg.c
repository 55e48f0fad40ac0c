/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/pg.h"

#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pg_trace(struct pg *pg, enum trace_level level, const char *event, const char *fmt, ...)
{
	char    detail[512];
	va_list ap;

	if (pg->config.trace.line == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(detail, sizeof detail, fmt, ap);
	va_end(ap);
	pg->config.trace.line(pg->config.trace.ctx, level, event, (struct str){ 0 }, detail);
}

const char *pg_said(const char *text, char out[PG_SAID_MAX])
{
	size_t n = 0;

	for (; text != NULL && text[n] != '\0' && text[n] != '\n' && n < PG_SAID_MAX - 1; n++)
		out[n] = text[n] == '"' ? '\'' : text[n];
	out[n] = '\0';
	return out;
}

/* ---- dones that are due -------------------------------------------------------- */

void pg_later(struct pg *pg, struct pg_job *job)
{
	list_push(&pg->later, &job->node);
	if (!pg_timer_is_on(pg->later_timer))
		pg_timer_start(pg->later_timer, 0);
}

void pg_run_later(struct pg *pg)
{
	struct list due, *node;

	/* What these callbacks add waits for the next turn. */
	list_init(&due);
	while ((node = list_pop(&pg->later)) != NULL)
		list_push(&due, node);
	pg_timer_stop(pg->later_timer);
	while ((node = list_pop(&due)) != NULL) {
		struct pg_job *job = list_entry(node, struct pg_job, node);

		if (pg->closing)
			pg_job_free(job);
		else
			job->done(job);
	}
}

static void on_later(void *arg)
{
	pg_run_later(arg);
}

/* ---- the connections -------------------------------------------------------------- */

void pg_conn_changed(struct pg *pg)
{
	bool is_up = pg->log.state == CONN_READY && pg->work.state == CONN_READY;
	bool came = is_up && !pg->was_up;
	bool work_came = pg->work.state == CONN_READY && !pg->work_was_up;

	pg->was_up = is_up;
	pg->work_was_up = pg->work.state == CONN_READY;
	if (work_came || came)
		pg_nursery_doubt(pg); /* another server may lack what the last one said */
	if (work_came && !pg->closing)
		pg_timeline_look(pg);
	if (!came || pg->closing)
		return;
	pg_trace(pg, TRACE_INFO, "log_connected", "connects=%llu", (unsigned long long)pg->connects);
	if (pg->unsafe_standby)
		pg_trace(pg, TRACE_WARN, "unsafe_standby",
		         "advice=\"a failover can lose decisions: set synchronous_standby_names\"");
	if (pg->config.on_back != NULL)
		pg->config.on_back(pg->config.ctx);
}

static void on_all_closed(void *arg)
{
	struct pg *pg = arg;
	void     (*closed)(void *) = pg->closed;
	void      *ctx = pg->closed_ctx;

	pg_dsn_fini(&pg->dsn);
	pg_scout_free(pg);
	free(pg->graves);
	free(pg);
	if (closed != NULL)
		closed(ctx);
}

/*
 * What hangs must not cost more than the lease does. The server ends its statements first; a session
 * without any answer is given up after two TTLs: others have taken over by then, and until then no new
 * incarnation gets anything done. Dead replicas are remembered while a statement of theirs may still run.
 */
static void set_paces(struct pg_config *c)
{
	if (c->lease_ttl_ms == 0)
		c->lease_ttl_ms = 10000;
	if (c->statement_timeout_ms == 0)
		c->statement_timeout_ms = c->lease_ttl_ms < 6667 ? c->lease_ttl_ms * 3 / 2 : 10000;
	if (c->keep_inbox_ms == 0)
		c->keep_inbox_ms = 60000;
	if (c->keep_audit_ms == 0)
		c->keep_audit_ms = 365ll * 24 * 3600 * 1000;
	if (c->keep_replica_ms == 0)
		c->keep_replica_ms = c->statement_timeout_ms < 15000 ? 60000 : 4 * c->statement_timeout_ms;
}

uint32_t pg_patience_ms(const struct pg *pg)
{
	uint32_t statement_ms = pg->config.statement_timeout_ms, ttl_ms = pg->config.lease_ttl_ms;

	return 2 * (statement_ms < ttl_ms ? statement_ms : ttl_ms);
}

struct pg *pg_open(struct uv_loop_s *loop, const struct pg_config *config, struct err *err)
{
	struct pg_dsn dsn;

	if (!pg_dsn_parse(&dsn, config->dsn, err))
		return NULL;
	struct pg *pg = mem_alloc(sizeof *pg);
	pg->config = *config;
	pg->config.dsn = NULL; /* the caller's */
	set_paces(&pg->config);
	pg_dsn_pace(&dsn, pg->config.lease_ttl_ms);
	pg->dsn = dsn;
	pg->handles = (struct pg_handles){ .loop = loop, .closed = on_all_closed, .arg = pg };
	list_init(&pg->later);
	pg->later_timer = pg_timer_open(&pg->handles, on_later, pg);
	list_init(&pg->definitions.age);
	pg_conn_open(&pg->log, pg, "sagad log", ON_LOG);
	pg_conn_open(&pg->work, pg, "sagad work", ON_WORK);
	pg_conn_open(&pg->store, pg, "sagad store", ON_STORE);
	pg_lease_init(pg);
	pg_watch_init(pg);
	pg_timeline_init(pg);
	pg_scout_init(pg, config->dsn);
	return pg;
}

void pg_ports(struct pg *pg, struct log_port *log, struct lease_port *lease, struct store_port *store)
{
	pg_log_port(pg, log);
	pg_lease_port(pg, lease);
	pg_store_port(pg, store);
}

void pg_close(struct pg *pg, void (*closed)(void *ctx), void *ctx)
{
	struct list *node;

	assert(!pg->closing);
	pg->closing = true;
	pg->closed = closed;
	pg->closed_ctx = ctx;
	pg_timeline_fini(pg);
	pg_scout_close(pg);
	pg_watch_fini(pg);
	pg_lease_fini(pg);
	pg_conn_close(&pg->store);
	pg_conn_close(&pg->work);
	pg_conn_close(&pg->log);
	while ((node = list_pop(&pg->later)) != NULL)
		pg_job_free(list_entry(node, struct pg_job, node));
	definitions_fini(&pg->definitions);
	pg_timer_close(pg->later_timer);
	pg->handles.closing = true;
}

void pg_stats(const struct pg *pg, struct pg_stats *out)
{
	*out = (struct pg_stats){
		.log_up = pg->log.state == CONN_READY,
		.work_up = pg->work.state == CONN_READY,
		.store_up = pg->store.state == CONN_READY,
		.lease_held = pg->lease.state == LEASE_OPEN,
		.unsafe_standby = pg->unsafe_standby,
		.connects = pg->connects,
		.breaks = pg->breaks,
		.statements = pg->statements,
		.timeline = pg->timeline,
		.failovers = pg->failover_n,
		.failover_unfinished = (uint64_t)pg->failover_unfinished,
		.batch_us = &pg->batch_us,
		.batch_rows = &pg->batch_rows,
		.last_error = pg->last_error,
	};
}
