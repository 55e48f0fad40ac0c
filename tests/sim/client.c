/* SPDX-License-Identifier: Apache-2.0
 * client.c - who begins transactions: requests to any replica, asked again elsewhere when no answer comes.
 */
#include "tests/sim/world.h"

#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- requests --------------------------------------------------------------------- */

struct request *request_new(struct record *rec, request_send *send)
{
	struct request *q = mem_alloc(sizeof *q);

	q->rec = rec;
	q->send = send;
	list_init(&q->link);
	return q;
}

void request_end(struct request *q)
{
	list_remove(&q->link);
	free(q);
}

static void drop_request(void *arg)
{
	free(arg);
}

/* The replica died with it, on the way or later. */
static void lose_request(void *arg)
{
	struct request *q = arg;

	list_remove(&q->link);
	q->rec->unsure |= q->begins;
	if (q->scripted)
		command_again(q);
	free(q);
}

static void send_request(void *arg)
{
	struct request *q = arg;

	q->existed = q->rec->exists;
	q->sent_at = q->rec->w->loop.now;
	q->told = q->rec->told;
	if (q->begins && uuid_eq(q->rec->away_by, q->r->me))
		q->rec->away_by = (struct uuid){ 0 };
	q->send(q);
}

void client_is_shown(struct request *q, const struct row *row)
{
	struct record *rec = q->rec;
	struct world  *w = rec->w;
	/* Its server gave the lease to the others and told it nothing: it learns that from its next beat. */
	bool taken = row->epoch < rec->epoch && (w->kinds & 1u << FAULT_LEASE_DROP) != 0;
	/* What a failover lost is not back at once; and who begins it again learns that it is there, not how it stands. */
	bool excused = taken || q->sent_at <= w->calm_until || q->begins;

	if (row->version < q->told && !excused)
		violated(w, 47, "%s: r%u shows version %llu, and somebody had been shown %llu", rec->gid, q->r->number,
		         (unsigned long long)row->version, (unsigned long long)q->told);
	if (rec->told < row->version)
		rec->told = row->version < rec->version ? row->version : rec->version;
}

static void post_request(void *arg)
{
	struct request *q = arg;
	struct world   *w = q->rec->w;
	/* Impatient clients ask the one that they asked before. */
	uint32_t i = q->begins && fault(w, FAULT_CLIENTS, 2) ? q->rec->asked_last : choose(w, REPLICAS);

	for (uint32_t k = 0; k < REPLICAS; k++) {
		struct replica *r = &w->replicas[(i + k) % REPLICAS];

		if (!r->up)
			continue;
		q->r = r;
		q->rec->asked_last = r->number;
		list_push(&r->requests, &q->link);
		fake_loop_post(&w->loop, &r->end, wire_ms(w), send_request, NULL, q);
		return;
	}
	after(w, 100, post_request, drop_request, q);
}

void request_post(struct request *q, int64_t delay_ms)
{
	after(q->rec->w, delay_ms, post_request, drop_request, q);
}

void request_post_to(struct request *q, struct replica *r)
{
	if (!r->up) {
		free(q);
		return;
	}
	q->r = r;
	list_push(&r->requests, &q->link);
	fake_loop_post(&q->rec->w->loop, &r->end, 0, send_request, NULL, q);
}

void client_drop_requests(struct replica *r)
{
	list_each(it, next, &r->requests)
		lose_request(list_entry(it, struct request, link));
}

bool client_waits(const struct world *w)
{
	for (unsigned i = 0; i < REPLICAS; i++)
		if (!list_is_empty(&w->replicas[i].requests))
			return true;
	for (unsigned i = 0; i < w->record_n; i++)
		if (w->records[i].wanted && !w->records[i].acked)
			return true;
	return false;
}

/* ---- begins ------------------------------------------------------------------------- */

/* Away is a promise: not inserted, not by this replica, not later either. */
static void check_away(const struct request *q)
{
	const struct record *rec = q->rec;

	/* Of two requests to one replica, the other may have been it, and have said so. */
	if (rec->exists && !q->existed && !rec->unsure && !rec->acked && uuid_eq(rec->born_by, q->r->me))
		violated(rec->w, 23, "%s: r%u says it has not begun, and its row has landed", rec->gid, q->r->number);
}

/* A row is born: somebody must still wait for it, or have been told that nobody knows. */
void client_check_birth(struct record *rec, struct uuid by)
{
	const struct world *w = rec->w;

	rec->born_by = by;
	if (!rec->unsure && uuid_eq(rec->away_by, by)) /* of a lost one it is known that it may */
		violated(rec->w, 27, "%s: is begun by a replica that has said since that it will not", rec->gid);
	for (unsigned i = 0; i < REPLICAS && !rec->unsure; i++)
		list_each(it, next, &w->replicas[i].requests) {
			const struct request *q = list_entry(it, struct request, link);

			if (q->begins && q->rec == rec)
				return;
		}
	if (!rec->unsure)
		violated(rec->w, 24, "%s: is begun after everybody was told that it is not", rec->gid);
}

static void on_begun(void *arg, enum begin_result result, const struct view *view)
{
	struct request *q = arg;
	struct record  *rec = q->rec;
	struct world   *w = rec->w;
	static const char *const names[] = { "done", "exists", "busy", "away", "barred", "lost", "refused" };

	say(w, "     %s: r%u answers the begin: %s", rec->gid, q->r->number, names[result]);
	if (w->loop.now - q->sent_at > BEGIN_MAX_MS && q->r->thawed_at < q->sent_at)
		violated(w, 25, "%s: r%u lets a begin hang", rec->gid, q->r->number);
	if (result == BEGIN_DONE && view != NULL && view->row.hash[1] != q->variant)
		violated(w, 26, "%s: r%u says of another body that it has begun", rec->gid, q->r->number);
	world_mix(w, (uint64_t)result);
	switch (result) {
	case BEGIN_DONE:
	case BEGIN_EXISTS:
		if (!rec->exists)
			violated(w, 20, "%s: r%u says it has begun, but no row has landed", rec->gid, q->r->number);
		if (view == NULL || !str_is(view->row.gid, rec->gid))
			violated(w, 21, "%s: r%u shows another transaction, or none", rec->gid, q->r->number);
		else
			client_is_shown(q, &view->row);
		w->seen->begun += result == BEGIN_DONE;
		w->seen->begun_twice += result == BEGIN_EXISTS;
		if (!rec->acked)
			command_script(rec, 1 + 20 * (int64_t)choose(w, 10));
		rec->acked = true;
		break;
	case BEGIN_BUSY:
	case BEGIN_AWAY:
	case BEGIN_BARRED:
	case BEGIN_LOST:
		if (result == BEGIN_AWAY || result == BEGIN_BARRED) {
			check_away(q);
			rec->away_by = q->r->me;
		}
		rec->unsure |= result == BEGIN_LOST;
		w->seen->begins_away += result == BEGIN_AWAY;
		w->seen->begins_barred += result == BEGIN_BARRED;
		w->seen->begins_lost += result == BEGIN_LOST;
		client_begin(rec, 100 + 100 * (int64_t)choose(w, 5));
		break;
	case BEGIN_REFUSED:
		w->seen->begins_refused++;
		if (!rec->spoilt)
			violated(w, 22, "%s: r%u refuses a begin that can be stored", rec->gid, q->r->number);
		rec->wanted = false;
		break;
	}
	request_end(q);
}

static struct row row_of(struct record *rec, uint8_t variant)
{
	struct definition *d = rec->first_def;
	struct row         r = { .gid = str_of(rec->gid), .def = d, .input = rec->input,
		                 .labels = STR("{\"team\":\"blue\"}"), .retention_ms = 3600000 };

	if (d->named) {
		r.definition = str_of(d->name);
		r.definition_version = 1;
	} else {
		r.document = str_of(d->text);
	}
	memset(r.hash, (int)rec->number, sizeof r.hash);
	r.hash[1] = variant;
	return r;
}

static void send_begin(struct request *q)
{
	struct record *rec = q->rec;
	struct row     r = row_of(rec, q->variant);

	r.fresh = rec->number % 2; /* perhaps it is not */
	engine_begin(q->r->engine, &r, rec->start_at, rec->deadline_at, on_begun, q);
}

void client_begin(struct record *rec, int64_t delay_ms)
{
	struct request *q;

	if (!rec->wanted || rec->acked)
		return;
	q = request_new(rec, send_begin);
	q->scripted = q->begins = true;
	q->variant = fault(rec->w, FAULT_CLIENTS, 4);
	request_post(q, delay_ms);
}

/* ---- in SQL --------------------------------------------------------------------------- */

/* What sagad.start() of sql/0004_start.sql leaves. */
static void begin_in_sql(void *arg)
{
	static const struct note none;
	struct record *rec = arg;
	struct world  *w = rec->w;
	struct row     r = row_of(rec, 0);
	struct step    steps[STEPS_MAX];
	struct note    notes[STEPS_MAX] = { 0 };
	struct txn     t = { .steps = steps };
	struct buf     text = { 0 };

	txn_init(&t, &rec->first_def->plan, rec->start_at, rec->deadline_at);
	r.created_at = world_now(w);
	progress_write(&text, &t, r.created_at, notes, &none);
	r.progress = buf_view(&text);
	r.epoch = r.version = 1;
	r.phase = t.phase;
	r.deadline_at = rec->deadline_at;
	r.due_at = rec->start_at != 0 ? rec->start_at : r.created_at;
	r.format = ROW_FORMAT;
	say(w, "%s: is begun in SQL", rec->gid);
	w->seen->begun_in_sql += fake_db_start(w->db, &r);
	buf_fini(&text);
	if (!rec->acked)
		command_script(rec, 1 + 20 * (int64_t)choose(w, 10));
	rec->acked = true;
}

void client_begin_again(struct record *rec)
{
	after(rec->w, 1 + 20 * (int64_t)choose(rec->w, 30), begin_in_sql, NULL, rec);
}

/* ---- who begins, and when --------------------------------------------------------------- */

static void want(void *arg)
{
	struct record *rec = arg;
	struct world  *w = rec->w;

	/* From now on; drawn as so many milliseconds from then. */
	if (rec->start_at != 0)
		rec->start_at += world_now(w);
	if (rec->deadline_at != 0)
		rec->deadline_at += world_now(w);
	rec->wanted = true;
	if (rec->by_sql) {
		begin_in_sql(rec);
		if (fault(w, FAULT_CLIENTS, 3)) { /* and asks a replica as well: it is there */
			rec->acked = false;
			client_begin(rec, (int64_t)choose(w, 30));
		}
		return;
	}
	client_begin(rec, 0);
	while (fault(w, FAULT_CLIENTS, 2))
		client_begin(rec, (int64_t)choose(w, 30) * (1 + 49 * (int64_t)choose(w, 2)));
}

static void go_on(void *arg)
{
	struct world *w = arg;

	if (!w->faults) {
		for (unsigned i = 0; i < w->record_n; i++)
			command_repair(&w->records[i]);
		after(w, 1500, go_on, NULL, w);
		return;
	}
	if ((w->kinds & (1u << FAULT_COMMANDS | 1u << FAULT_OPERATORS)) != 0)
		command_draw(w, &w->records[choose(w, w->record_n)]);
	after(w, 30 + 40 * (int64_t)choose(w, 16), go_on, NULL, w);
}

void client_start(struct world *w)
{
	/* Bytewise order is not the order of birth. */
	static const char *const gids[TXNS_MAX] = { "b-1", "B-2", "a_3", "~4" };

	w->record_n = 1 + tape_choose(w->tape, TXNS_MAX);
	for (unsigned i = 0; i < w->record_n; i++) {
		struct record *rec = &w->records[i];

		rec->w = w;
		rec->number = i;
		snprintf(rec->gid, sizeof rec->gid, "%s", gids[i]);
		rec->spoilt = fault(w, FAULT_BAD_TEXT, 4);
		rec->input = rec->spoilt ? STR("\"!unstorable!\"") : STR("{\"n\":1.10}");
		rec->def = rec->first_def = plan_draw(w, rec);
		rec->by_sql = rec->first_def->named && !rec->spoilt && fault(w, FAULT_SQL, 2);
		rec->sender_ok = tape_choose(w->tape, 2) == 0;
		if (!rec->sender_ok)
			plan_ask_caller(w, rec->def);
		rec->join_n = tape_choose(w->tape, 4);
		after(w, 200 * (int64_t)tape_choose(w->tape, 16), want, NULL, rec);
	}
	after(w, 100, go_on, NULL, w);
}
