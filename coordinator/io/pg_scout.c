/* SPDX-License-Identifier: Apache-2.0
 * pg_scout.c - looks now and then at the hosts of the DSN that we are not connected to.
 *
 * After a failover the old primary may come back and still call itself writable. Whoever is connected
 * there, or starts and finds it first in the DSN, would go on in a past that the others have left: its
 * timeline is older, and only a look at the other hosts tells.
 */
#include "coordinator/io/pg_internal.h"

#include <stdlib.h>
#include <string.h>

enum { SCOUT_EVERY_MS = 3000, SCOUT_FIRST_MS = 1500 };

static void next_host(struct pg_scout *s)
{
	pg_link_close(&s->link);
	s->asked = false;
	s->at++;
	if (s->at < s->host_n) {
		pg_timer_start(s->timer, s->is_first ? 0 : SCOUT_EVERY_MS);
		return;
	}
	s->at = 0;
	s->is_first = false; /* sessions may be opened: the newest server is known */
	pg_timer_start(s->timer, SCOUT_EVERY_MS);
}

static void on_up(void *arg)
{
	struct pg_scout *s = &((struct pg *)arg)->scout;

	s->asked = PQsendQuery(s->link.db, SQL_SCOUT) == 1;
	if (s->asked)
		pg_link_flush(&s->link);
	else
		pg_timer_start(s->timer, 0);
}

static void on_input(void *arg)
{
	struct pg       *pg = arg;
	struct pg_scout *s = &pg->scout;

	if (!s->asked || PQisBusy(s->link.db))
		return;
	PGresult *r = PQgetResult(s->link.db);
	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1)
		(void)pg_timeline_meet(pg, (int32_t)strtol(PQgetvalue(r, 0, 0), NULL, 10));
	PQclear(r);
	next_host(s);
}

static void on_down(void *arg, const char *why)
{
	(void)why; /* a host that is away is no news */
	next_host(&((struct pg *)arg)->scout);
}

/* Some session of ours is there: it knows the timeline itself. */
static bool is_ours(const struct pg *pg, const struct pg_host *host)
{
	const PGconn *db = pg->log.state == CONN_READY ? pg->log.link.db : NULL;

	return db != NULL && strcmp(PQhost(db), host->name) == 0 && strcmp(PQport(db), host->port) == 0;
}

static void on_timer(void *arg)
{
	struct pg       *pg = arg;
	struct pg_scout *s = &pg->scout;

	if (pg_link_is_open(&s->link)) { /* no answer in time */
		next_host(s);
	} else if (is_ours(pg, &s->hosts[s->at])) {
		next_host(s);
	} else {
		s->link.dsn = &s->hosts[s->at].dsn;
		pg_timer_start(s->timer, s->is_first ? SCOUT_FIRST_MS : SCOUT_EVERY_MS);
		pg_link_open(&s->link, "sagad scout");
	}
}

bool pg_scout_is_first(const struct pg *pg)
{
	return pg->scout.is_first;
}

void pg_scout_init(struct pg *pg, const char *dsn)
{
	struct pg_scout *s = &pg->scout;

	s->host_n = pg_dsn_hosts(dsn, &s->hosts);
	if (s->host_n < 2) /* nowhere else to look */
		return;
	s->is_first = true;
	pg_link_init(&s->link, &pg->handles, &s->hosts[0].dsn);
	s->link.on_up = on_up;
	s->link.on_input = on_input;
	s->link.on_down = on_down;
	s->link.arg = pg;
	s->timer = pg_timer_open(&pg->handles, on_timer, pg);
	pg_timer_start(s->timer, 0);
}

void pg_scout_close(struct pg *pg)
{
	if (pg->scout.timer == NULL)
		return;
	pg_link_fini(&pg->scout.link);
	pg_timer_close(pg->scout.timer);
}

void pg_scout_free(struct pg *pg)
{
	pg_dsn_hosts_free(pg->scout.hosts, pg->scout.host_n);
}
