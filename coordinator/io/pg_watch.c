/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/pg_internal.h"

#include <stdio.h>
#include <string.h>

/* A watch has a session of its own, since nothing else can be asked of one that waits for a lock, and
 * a new one each time: the end of the session is also the end of a wait that nobody wants any more
 * (client_connection_check_interval makes the server notice). */
enum { AWAY_AFTER_MS = 250 };

static void end_watch(struct pg_watch *w, enum log_result result, bool is_free)
{
	probe_done *done = w->done;

	w->is_on = false;
	pg_timer_stop(w->timer);
	pg_link_close(&w->link);
	done(w->arg, result, is_free);
}

static void on_up(void *arg)
{
	struct pg_watch *w = &((struct pg *)arg)->watch;
	char             sql[300];

	snprintf(sql, sizeof sql, SQL_WATCH_SESSION "; " SQL_WATCH, (long long)w->key);
	w->asked = PQsendQuery(w->link.db, sql) == 1;
	if (w->asked)
		pg_link_flush(&w->link);
	else
		pg_timer_start(w->timer, AWAY_AFTER_MS);
}

static void on_input(void *arg)
{
	struct pg_watch *w = &((struct pg *)arg)->watch;
	PGresult        *r;
	bool             failed = false;

	while (w->asked && !PQisBusy(w->link.db)) {
		if ((r = PQgetResult(w->link.db)) == NULL) {
			w->asked = false;
			break;
		}
		w->granted = PQresultStatus(r) == PGRES_TUPLES_OK;
		failed = failed || (!w->granted && PQresultStatus(r) != PGRES_COMMAND_OK);
		PQclear(r);
	}
	if (w->asked)
		return;
	if (w->granted && !failed)
		end_watch(w, LOG_DONE, true);
	else
		pg_link_break(&w->link, "the watch was refused");
}

/* Not at once: whoever watches will ask again, and a database that is away must not make that a loop. */
static void on_down(void *arg, const char *why)
{
	struct pg       *pg = arg;
	struct pg_watch *w = &pg->watch;
	char             said[PG_SAID_MAX];

	pg_trace(pg, TRACE_DEBUG, "watch_broken", "error=\"%s\"", pg_said(why, said));
	if (w->is_on)
		pg_timer_start(w->timer, AWAY_AFTER_MS);
}

static void on_timer(void *arg)
{
	struct pg_watch *w = &((struct pg *)arg)->watch;

	end_watch(w, LOG_AWAY, false);
}

static void lease_unwatch(void *ctx)
{
	struct pg_watch *w = &((struct pg *)ctx)->watch;

	w->is_on = false;
	pg_timer_stop(w->timer);
	pg_link_close(&w->link);
}

static void lease_watch(void *ctx, int64_t key, probe_done *done, void *arg)
{
	struct pg_watch *w = &((struct pg *)ctx)->watch;

	lease_unwatch(ctx);
	w->is_on = true;
	w->asked = w->granted = false;
	w->key = key;
	w->done = done;
	w->arg = arg;
	pg_link_open(&w->link, "sagad watch");
}

void pg_watch_verbs(struct lease_port *port)
{
	port->watch = lease_watch;
	port->unwatch = lease_unwatch;
}

void pg_watch_init(struct pg *pg)
{
	struct pg_watch *w = &pg->watch;

	pg_link_init(&w->link, &pg->handles, &pg->dsn);
	w->link.on_up = on_up;
	w->link.on_input = on_input;
	w->link.on_down = on_down;
	w->link.arg = pg;
	w->timer = pg_timer_open(&pg->handles, on_timer, pg);
}

void pg_watch_fini(struct pg *pg)
{
	lease_unwatch(pg);
	pg_link_fini(&pg->watch.link);
	pg_timer_close(pg->watch.timer);
}
