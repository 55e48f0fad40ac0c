/* SPDX-License-Identifier: Apache-2.0
 * pg_nursery.c - rows that are over seconds after they began are in no index but that of their gids.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* A row has AGE_MS to end, at least; behind it, it goes into the index. A nursery nobody moves ends AHEAD_MS later: what
 * begins then is in the index from its birth, and whoever takes over from a dead replica has no more than that to look at. */
enum { AGE_MS = 4000, MOVE_MS = 2000, AHEAD_MS = 8000, IDLE_MS = 4000 };
/* Rows in one statement: what it changes, it locks, and commits wait for it. For those of the dead nobody waits. */
enum { LEAVE_ROWS = 500, LEAVE_DEAD_ROWS = 10000 };
/* Rows that one statement looks at: after a time without begins all that others began may lie between two of ours. */
enum { LEAVE_LOOKS = 20000, LEAVE_DEAD_LOOKS = 100000 };

/* The least gid that is made at that time: a UUIDv7 begins with its milliseconds. */
static void put_bound(struct pg_params *p, int64_t ms)
{
	char text[UUID_TEXT + 1];

	uuid_text(uuid_v7(ms, 0, 0), text);
	params_text(p, (struct str){ text, 13 });
}

/* A move that hangs takes effect long behind what was known when it was sent. */
void pg_nursery_answered(struct pg *pg)
{
	struct pg_nursery *n = &pg->nursery;

	n->born_at = clock_boot_ms();
	n->is_over = false;
	n->begins++;
}

void pg_nursery_doubt(struct pg *pg)
{
	pg->nursery.doubted = pg->nursery.until;
}

void pg_nursery_put_doubts(const struct pg *pg, struct pg_params *p)
{
	if (pg->nursery.doubted == 0)
		params_text(p, (struct str){ "", 0 });
	else
		put_bound(p, pg->nursery.doubted);
}

void pg_nursery_move(struct pg_job *job, struct uuid me)
{
	struct pg         *pg = job->conn->pg;
	struct pg_nursery *n = &pg->nursery;
	int64_t            now = clock_now_ms(pg->config.clock);
	struct pg_params  *p;

	pg_nursery_answered(pg);
	if (n->is_open && uuid_eq(n->me, me) && n->born_at - n->moved_at < MOVE_MS)
		return;
	n->me = me;
	n->is_open = true;
	n->moved_at = n->born_at;
	if (n->until < now + AHEAD_MS)
		n->until = now + AHEAD_MS;
	p = pg_job_params(job);
	params_uuid(p, me);
	put_bound(p, now - AGE_MS);
	put_bound(p, now + AHEAD_MS);
	pg_job_add(job, SQL_NURSERY_MOVE);
}

/* ---- leaving it --------------------------------------------------------------------- */

struct leave_job {
	struct pg_job      job;
	struct uuid        id;
	int32_t            limit, looks;
	uint64_t           begins; /* of our nursery, when it was sent */
	pg_adopt_next     *next;   /* or NULL */
	struct pg_adoption adoption;
};

static void on_left(struct pg_job *job);

static void leave(struct leave_job *j, struct pg *pg)
{
	struct pg_params *p;

	j->begins = pg->nursery.begins;
	pg_job_begin(&j->job, &pg->work);
	p = pg_job_params(&j->job);
	params_uuid(p, j->id);
	params_i32(p, j->limit);
	params_i32(p, j->looks);
	pg_job_add(&j->job, SQL_NURSERY_LEAVE);
	pg_job_send(&j->job, on_left);
}

static void leave_more(const struct leave_job *j, struct pg *pg)
{
	struct leave_job *more = mem_alloc(sizeof *more);

	*more = (struct leave_job){ .id = j->id, .limit = j->limit, .looks = j->looks, .next = j->next, .adoption = j->adoption };
	leave(more, pg);
}

/* A row in the way is so for the next time as well: whose nursery is open owns rows (SQL_MEMBERS). If the statement failed
 * nothing is known, and who would go on with the rows in the index would believe that there are no others. */
static void on_left(struct pg_job *job)
{
	struct leave_job         *j = (struct leave_job *)job;
	struct pg                *pg = job->conn->pg;
	struct pg_nursery        *n = &pg->nursery;
	const struct pg_adoption *a = &j->adoption;

	if (rows_of(job) > 0 && cell_bool(job->results[0], 0, 0))
		leave_more(j, pg);
	else if (j->next != NULL && job->result == LOG_DONE)
		j->next(pg, a);
	else if (j->next != NULL)
		a->done(a->arg, job->result, NULL, 0);
	else if (rows_of(job) > 0 && uuid_eq(n->me, j->id) && !n->is_open && n->begins == j->begins)
		n->is_over = cell_bool(job->results[0], 0, 1);
	pg_job_free(job);
}

static void shut(struct pg *pg, struct uuid me)
{
	struct pg_job *job = mem_alloc(sizeof *job);

	pg_job_begin(job, &pg->work);
	params_uuid(pg_job_params(job), me);
	pg_job_add(job, SQL_NURSERY_SHUT);
	pg_job_send(job, pg_job_free);
	pg->nursery.is_open = false;
}

/* Until the database says that it is over: what was sent may fail or find a row locked. */
void pg_nursery_tick(struct pg *pg, struct uuid me)
{
	struct pg_nursery *n = &pg->nursery;

	if (n->is_over || !uuid_eq(n->me, me))
		return;
	if (clock_boot_ms() - n->born_at >= IDLE_MS)
		shut(pg, me);
	struct leave_job *j = mem_alloc(sizeof *j);
	*j = (struct leave_job){ .id = me, .limit = LEAVE_ROWS, .looks = LEAVE_LOOKS };
	leave(j, pg);
}

void pg_nursery_clear(struct pg *pg, const struct pg_adoption *a, pg_adopt_next *next)
{
	struct leave_job *j = mem_alloc(sizeof *j);

	*j = (struct leave_job){ .id = a->dead, .limit = LEAVE_DEAD_ROWS, .looks = LEAVE_DEAD_LOOKS, .next = next, .adoption = *a };
	leave(j, pg);
}
