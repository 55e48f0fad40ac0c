/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fake_log_internal.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct fake_log {
	struct list            link;
	struct fake_log_config config;
	unsigned               up;  /* channels */
	struct list            ops; /* not yet answered */
	int64_t                newest;  /* when the youngest was created whose begin was sent */
	int64_t                doubted; /* the same, when it was last unknown what became of begins */
};

#define X(name, channel, text, lost) text,
static const char *const verb_names[] = { FAKE_VERBS(X) };
#undef X
#define X(name, channel, text, lost) FAKE_##channel,
static const unsigned verb_channels[] = { FAKE_VERBS(X) };
#undef X
#define X(name, channel, text, lost) lost,
static const bool verb_has_effect[] = { FAKE_VERBS(X) };
#undef X

const char *fake_verb_name(enum fake_verb verb)
{
	return verb_names[verb];
}

/* ---- an operation's way through the server and back ------------------------ */

static void release(struct fake_op *op)
{
	if (op->events == 0 && op->log == NULL && op->stage == STAGE_OVER)
		fake_op_free(op);
}

static void leave_server(struct fake_op *op)
{
	op->stage = STAGE_OVER;
	list_remove(&op->server_link);
}

static void leave_client(struct fake_op *op)
{
	op->log = NULL;
	list_remove(&op->link);
}

/* What the caller knows from now on. */
static void tell_heard(const struct fake_op *op)
{
	const struct fake_db_config *c = &op->db->config;
	const struct batch          *b = &op->batch;

	if (c->heard == NULL)
		return;
	for (size_t i = 0; op->verb == FAKE_COMMIT && i < b->begin_count; i++)
		if (op->begun[i])
			c->heard(c->ctx, b->me, b->begins[i].gid, 1);
	for (size_t i = 0; op->verb == FAKE_COMMIT && i < b->change_count; i++)
		if (op->changed[i])
			c->heard(c->ctx, b->me, b->changes[i].gid, b->changes[i].version + 1);
	if (op->verb == FAKE_RELOAD || op->verb == FAKE_ADOPT || op->verb == FAKE_TAKE_DUE || op->verb == FAKE_CLAIM)
		for (size_t i = 0; i < op->found; i++)
			c->heard(c->ctx, op->me, op->rows[i].gid, op->rows[i].version);
}

static void call_back(struct fake_op *op, struct fake_log *log, enum log_result result)
{
	if (result == LOG_DONE)
		tell_heard(op);
	bool                done = result == LOG_DONE;
	size_t              n = done ? op->found : 0;
	struct batch_result batch = { op->begun, op->changed, result == LOG_AGAIN && op->barred };

	switch (op->verb) {
	case FAKE_COMMIT:
		if (!done)
			log->doubted = log->newest;
		op->done.batch(op->arg, result, done || result == LOG_AGAIN ? &batch : NULL);
		break;
	case FAKE_RELOAD:
	case FAKE_MINE:
	case FAKE_RESTORE:
	case FAKE_ADOPT:
	case FAKE_TAKE_DUE:
	case FAKE_CLAIM:
	case FAKE_READ:
	case FAKE_ENDED: op->done.rows(op->arg, result, n > 0 ? op->rows : NULL, n); break;
	case FAKE_LOOK: op->done.look(op->arg, result, done ? op->look : (struct look){ 0 }); break;
	case FAKE_INBOX_READ: op->done.inbox(op->arg, result, n > 0 ? op->inbox_rows : NULL, n); break;
	case FAKE_INBOX_VERDICTS:
		op->done.verdicts(op->arg, result, n > 0 ? op->verdicts : NULL, n);
		break;
	case FAKE_MEMBERS: op->done.members(op->arg, result, n > 0 ? op->members : NULL, n); break;
	case FAKE_INBOX_PUT:
	case FAKE_INBOX_FORGET:
	case FAKE_ENROLL:
	case FAKE_STILL_LIVE:
	case FAKE_REPORT:
	case FAKE_FENCE:
	case FAKE_RETIRE:
	case FAKE_SWEEP: op->done.log(op->arg, result); break;
	}
}

static void deliver(void *arg)
{
	struct fake_op *op = arg;

	op->events--;
	if (op->log != NULL && !op->cut) {
		struct fake_log *log = op->log;

		leave_client(op);
		call_back(op, log, op->result);
	}
	release(op);
}

static void deliver_cut(void *arg)
{
	struct fake_op *op = arg;

	op->events--;
	if (op->log != NULL) {
		struct fake_log *log = op->log;

		leave_client(op);
		call_back(op, log, verb_has_effect[op->verb] ? LOG_LOST : LOG_AWAY);
	}
	release(op);
}

static void deliver_away(void *arg)
{
	((struct fake_op *)arg)->result = LOG_AWAY;
	deliver(arg);
}

static void nobody_there(void *arg)
{
	struct fake_op *op = arg;

	op->events--;
	if (op->log != NULL)
		leave_client(op);
	release(op);
}

static void answer(struct fake_op *op, int64_t delay_ms, fake_run *run)
{
	if (op->log == NULL || (op->cut && run != deliver_cut))
		return;
	op->events++;
	fake_loop_post(op->db->config.loop, op->log->config.end, delay_ms, run, nobody_there, op);
}

static void finish(struct fake_op *op)
{
	const struct fake_db_config *c = &op->db->config;
	size_t n = op->verb == FAKE_COMMIT ? op->batch.begin_count + op->batch.change_count : op->found;

	leave_server(op);
	if (c->answered != NULL)
		c->answered(c->ctx, op->verb, op->result, n, op->log != NULL && !op->cut);
	answer(op, op->fate.answer_ms, deliver);
}

static void land(void *arg);

static void forget_event(void *arg)
{
	struct fake_op *op = arg;

	op->events--;
	if (op->stage != STAGE_OVER)
		leave_server(op);
	release(op);
}

/* From the lock queue on. True: others may have become free to go. */
static bool advance(struct fake_op *op)
{
	if (op->stage != STAGE_WAITING || fake_db_must_wait(op))
		return false;
	if (op->verb == FAKE_COMMIT && op->fate.land_ms > 0) {
		op->stage = STAGE_LANDING;
		op->events++;
		fake_loop_post(op->db->config.loop, NULL, op->fate.land_ms, land, forget_event, op);
		return false;
	}
	fake_db_apply(op);
	finish(op);
	release(op);
	return true;
}

static void wake(struct fake_db *db)
{
	bool again = true;

	while (again) {
		again = false;
		list_each(it, after, &db->ops)
			if (advance(list_entry(it, struct fake_op, server_link)))
				again = true;
	}
}

static void land(void *arg)
{
	struct fake_op *op = arg;
	struct fake_db *db = op->db;

	op->events--;
	if (op->stage == STAGE_LANDING) {
		fake_db_apply(op);
		finish(op);
	}
	release(op);
	wake(db);
}

static void arrive(void *arg)
{
	struct fake_op *op = arg;
	struct fake_db *db = op->db;

	op->events--;
	if (op->stage != STAGE_SENT) {
		release(op);
		return;
	}
	if (op->fate.refuse != LOG_DONE) {
		op->result = op->fate.refuse;
		finish(op);
		release(op);
		return;
	}
	op->stage = STAGE_WAITING;
	wake(db);
}

static struct fake_op *new_op(struct fake_log *log, enum fake_verb verb)
{
	struct fake_op *op = mem_alloc(sizeof *op);

	op->verb = verb;
	op->log = log;
	op->db = log->config.db;
	list_init(&op->link);
	list_init(&op->server_link);
	list_push(&log->ops, &op->link);
	return op;
}

static void send(struct fake_op *op, void *arg)
{
	struct fake_log *log = op->log;

	op->arg = arg;
	if ((log->up & verb_channels[op->verb]) == 0) {
		op->stage = STAGE_OVER;
		answer(op, 1, deliver_away);
		return;
	}
	log->config.fate(log->config.ctx, op->verb, &op->fate);
	op->stage = STAGE_SENT;
	list_push(&op->db->ops, &op->server_link);
	op->events++;
	fake_loop_post(op->db->config.loop, NULL, op->fate.arrive_ms, arrive, forget_event, op);
}

/* ---- the verbs: copy the question, send it ------------------------------------- */

static void bad(const struct fake_log *log, const char *what)
{
	log->config.db->config.bad(log->config.db->config.ctx, what);
}

static void copy_gids(struct fake_op *op, const struct str *gids, size_t n)
{
	op->gids = arena_array(&op->arena, n, sizeof *op->gids);
	op->n = n;
	for (size_t i = 0; i < n; i++) {
		if (!fake_check_gid(gids[i]))
			bad(op->log, "gid is not 1 to 128 printable ASCII characters");
		op->gids[i] = arena_str(&op->arena, gids[i]);
	}
	if (n == 0)
		bad(op->log, "asked for no gid");
}

static void copy_ids(struct fake_op *op, const struct uuid *ids, size_t n)
{
	op->ids = arena_array(&op->arena, n, sizeof *op->ids);
	op->n = n;
	if (n > 0)
		memcpy(op->ids, ids, n * sizeof *ids);
	else
		bad(op->log, "asked for no id");
}

static void verb_commit(void *ctx, const struct batch *batch, batch_done *done, void *arg)
{
	struct fake_log *log = ctx;

	const struct batch *other = NULL;

	list_each(it, after, &log->ops) {
		const struct fake_op *op = list_entry(it, struct fake_op, link);

		if (op->verb == FAKE_COMMIT && other != NULL)
			bad(log, "a third commit while two are under way");
		if (op->verb == FAKE_COMMIT)
			other = &op->batch;
	}
	if (other != NULL)
		fake_check_apart(log->config.db, other, batch);
	log->config.db->abreast += other != NULL;
	fake_check_batch(log->config.db, batch);
	struct fake_op *op = new_op(log, FAKE_COMMIT);
	op->batch = fake_copy_batch(&op->arena, batch);
	for (size_t i = 0; i < batch->begin_count; i++)
		if (log->newest < batch->begins[i].created_at)
			log->newest = batch->begins[i].created_at;
	op->done.batch = done;
	send(op, arg);
}

static void ask_rows(void *ctx, enum fake_verb verb, struct uuid me, const struct str *gids, size_t n,
                     rows_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, verb);

	op->me = me;
	copy_gids(op, gids, n);
	op->done.rows = done;
	send(op, arg);
}

static void verb_reload(void *ctx, struct uuid me, const struct str *gids, size_t n, rows_done *done,
                        void *arg)
{
	ask_rows(ctx, FAKE_RELOAD, me, gids, n, done, arg);
}

static void verb_claim(void *ctx, struct uuid me, struct str gid, rows_done *done, void *arg)
{
	ask_rows(ctx, FAKE_CLAIM, me, &gid, 1, done, arg);
}

static void verb_read(void *ctx, const struct str *gids, size_t n, rows_done *done, void *arg)
{
	ask_rows(ctx, FAKE_READ, (struct uuid){ 0 }, gids, n, done, arg);
}

static void verb_ended(void *ctx, const struct str *gids, size_t n, rows_done *done, void *arg)
{
	ask_rows(ctx, FAKE_ENDED, (struct uuid){ 0 }, gids, n, done, arg);
}

static void page(void *ctx, enum fake_verb verb, struct uuid me, struct uuid dead, struct str after_gid,
                 unsigned limit, enum danger danger, rows_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, verb);

	op->me = me;
	op->other = dead;
	op->after = arena_str(&op->arena, after_gid);
	op->limit = limit;
	op->danger = danger;
	op->doubted = op->log->doubted;
	op->done.rows = done;
	if (limit == 0)
		bad(ctx, "a page of no rows");
	send(op, arg);
}

static void verb_mine(void *ctx, struct uuid me, struct str after_gid, unsigned limit, rows_done *done,
                      void *arg)
{
	page(ctx, FAKE_MINE, me, (struct uuid){ 0 }, after_gid, limit, DANGER_NONE, done, arg);
}

static void verb_restore(void *ctx, struct uuid me, const struct row *rows, size_t n, rows_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_RESTORE);

	op->me = me;
	op->known = arena_array(&op->arena, n, sizeof *op->known);
	op->n = n;
	if (n == 0)
		bad(ctx, "restores no row");
	for (size_t i = 0; i < n; i++) {
		op->known[i] = fake_copy_row(&op->arena, &rows[i]);
		if (op->known[i].def != NULL)
			op->db->config.definition.hold(op->db->config.definition.ctx, op->known[i].def);
		for (size_t k = 0; k < i; k++)
			if (str_eq(rows[k].gid, rows[i].gid))
				bad(ctx, "restores a row twice at once");
		if (!uuid_is_nil(rows[i].owner) && !uuid_eq(rows[i].owner, me))
			bad(ctx, "restores a row of another");
	}
	op->done.rows = done;
	send(op, arg);
}

static void verb_adopt(void *ctx, struct uuid me, struct uuid dead, struct str after_gid, unsigned limit,
                       enum danger danger, rows_done *done, void *arg)
{
	struct fake_log     *log = ctx;
	const struct member *m = fake_db_member(log->config.db, dead);

	if (m != NULL && m->state == MEMBER_LIVE)
		bad(log, "adopts from a live incarnation");
	page(ctx, FAKE_ADOPT, me, dead, after_gid, limit, danger, done, arg);
}

static void verb_look(void *ctx, look_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_LOOK);

	op->done.look = done;
	send(op, arg);
}

static void verb_take_due(void *ctx, struct uuid me, unsigned limit, rows_done *done, void *arg)
{
	page(ctx, FAKE_TAKE_DUE, me, (struct uuid){ 0 }, (struct str){ 0 }, limit, DANGER_NONE, done, arg);
}

static void verb_inbox_put(void *ctx, const struct inbox_row *row, log_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_INBOX_PUT);

	op->inbox = (struct inbox_row){ row->id, arena_str(&op->arena, row->gid),
		                        arena_str(&op->arena, row->command),
		                        arena_str(&op->arena, row->body) };
	if (uuid_is_nil(row->id) || !fake_check_gid(row->gid) || row->command.n == 0)
		bad(ctx, "inbox: no id, gid or command");
	op->done.log = done;
	send(op, arg);
}

static void verb_inbox_read(void *ctx, struct uuid me, unsigned limit, inbox_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_INBOX_READ);

	op->me = me;
	op->limit = limit;
	op->done.inbox = done;
	send(op, arg);
}

static void verb_inbox_verdicts(void *ctx, const struct uuid *ids, size_t n, verdicts_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_INBOX_VERDICTS);

	copy_ids(op, ids, n);
	op->done.verdicts = done;
	send(op, arg);
}

static void verb_inbox_forget(void *ctx, const struct uuid *ids, size_t n, log_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_INBOX_FORGET);

	copy_ids(op, ids, n);
	op->done.log = done;
	send(op, arg);
}

static void verb_enroll(void *ctx, const struct member *me, log_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_ENROLL);

	op->member = fake_copy_member(&op->arena, me);
	if (uuid_is_nil(me->id) || me->weight < 1 || me->weight > 1000)
		bad(ctx, "member: no id, or a weight out of range");
	op->done.log = done;
	send(op, arg);
}

static void tell(void *ctx, enum fake_verb verb, struct uuid me, log_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, verb);

	op->me = me;
	op->done.log = done;
	send(op, arg);
}

static void verb_still_live(void *ctx, struct uuid me, log_done *done, void *arg)
{
	tell(ctx, FAKE_STILL_LIVE, me, done, arg);
}

static void verb_report(void *ctx, struct uuid me, double speed, double load, log_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_REPORT);

	op->me = me;
	op->speed = speed;
	op->load = load;
	op->done.log = done;
	send(op, arg);
}

static void verb_members(void *ctx, members_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_MEMBERS);

	op->done.members = done;
	send(op, arg);
}

static void verb_fence(void *ctx, struct uuid me, struct uuid dead, int64_t lock_key, int64_t mark,
                       log_done *done, void *arg)
{
	struct fake_op      *op = new_op(ctx, FAKE_FENCE);
	const struct member *m = fake_db_member(op->db, dead);

	op->me = me;
	op->other = dead;
	op->key = lock_key;
	op->mark = mark;
	op->done.log = done;
	if (uuid_eq(me, dead))
		bad(ctx, "fences itself");
	if (m != NULL && m->lock_key != lock_key)
		bad(ctx, "fences by the key of another");
	if (op->db->config.fences != NULL)
		op->db->config.fences(op->db->config.ctx, me, dead);
	send(op, arg);
}

static void verb_retire(void *ctx, struct uuid me, log_done *done, void *arg)
{
	tell(ctx, FAKE_RETIRE, me, done, arg);
}

static void verb_sweep(void *ctx, bool all, log_done *done, void *arg)
{
	struct fake_op *op = new_op(ctx, FAKE_SWEEP);

	op->all = all;
	op->done.log = done;
	send(op, arg);
}

/* ---- the client ------------------------------------------------------------------ */

struct fake_log *fake_log_open(const struct fake_log_config *config, struct log_port *port)
{
	struct fake_log *log = mem_alloc(sizeof *log);

	log->config = *config;
	log->up = FAKE_COMMITS | FAKE_OTHERS;
	list_init(&log->ops);
	list_push(&config->db->logs, &log->link);
	*port = (struct log_port){
		.ctx = log,
		.commit = verb_commit,
		.reload = verb_reload,
		.mine = verb_mine,
		.restore = verb_restore,
		.adopt = verb_adopt,
		.look = verb_look,
		.take_due = verb_take_due,
		.claim = verb_claim,
		.read = verb_read,
		.ended = verb_ended,
		.inbox_put = verb_inbox_put,
		.inbox_read = verb_inbox_read,
		.inbox_verdicts = verb_inbox_verdicts,
		.inbox_forget = verb_inbox_forget,
		.enroll = verb_enroll,
		.still_live = verb_still_live,
		.report = verb_report,
		.members = verb_members,
		.fence = verb_fence,
		.retire = verb_retire,
		.sweep = verb_sweep,
	};
	return log;
}

/* What was on its way may still get there; what had arrived goes on without us. */
static void sever(struct fake_op *op, struct fake_log *log)
{
	if (op->stage == STAGE_SENT && !log->config.survives(log->config.ctx, op->verb))
		leave_server(op);
}

void fake_log_break(struct fake_log *log, unsigned channels)
{
	log->up &= ~channels;
	list_each(it, after, &log->ops) {
		struct fake_op *op = list_entry(it, struct fake_op, link);

		if ((verb_channels[op->verb] & channels) == 0 || op->cut)
			continue;
		sever(op, log);
		op->cut = true;
		answer(op, 0, deliver_cut);
	}
}

void fake_log_restore(struct fake_log *log, unsigned channels)
{
	log->up |= channels;
	log->doubted = log->newest;
}

bool fake_log_owes(const struct fake_log *log, struct uuid me)
{
	list_each(it, after, &log->ops) {
		const struct fake_op *op = list_entry(it, struct fake_op, link);

		if (op->verb == FAKE_COMMIT && !uuid_eq(op->batch.me, me))
			return true;
	}
	return false;
}

bool fake_log_is_up(const struct fake_log *log, unsigned channels)
{
	return (log->up & channels) == channels;
}

void fake_log_close(struct fake_log *log)
{
	list_each(it, after, &log->ops) {
		struct fake_op *op = list_entry(it, struct fake_op, link);

		sever(op, log);
		leave_client(op);
		release(op);
	}
	list_remove(&log->link);
	free(log);
}

void fake_db_restart(struct fake_db *db)
{
	list_each(it, after, &db->ops) {
		struct fake_op *op = list_entry(it, struct fake_op, server_link);

		leave_server(op);
		release(op);
	}
	list_each(it, after, &db->logs)
		fake_log_break(list_entry(it, struct fake_log, link), FAKE_COMMITS | FAKE_OTHERS);
}
