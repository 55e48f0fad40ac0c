/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fake_log_internal.h"

#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { INBOX_KEPT_MS = 60000 };

/* ---- rows ---------------------------------------------------------------- */

/* Where gid is, or where it would go. */
static size_t place_of(const struct fake_db *db, struct str gid)
{
	size_t low = 0, high = db->row_n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (str_cmp(db->rows[mid].gid, gid) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct row *find(const struct fake_db *db, struct str gid)
{
	size_t i = place_of(db, gid);

	return i < db->row_n && str_eq(db->rows[i].gid, gid) ? &db->rows[i] : NULL;
}

void fake_db_burden(struct fake_db *db, struct str gid, uint32_t adoptions)
{
	struct row *r = find(db, gid);

	if (r != NULL && r->ended_at == 0)
		r->adoptions = adoptions;
}

void fake_db_format(struct fake_db *db, struct str gid, uint16_t format)
{
	struct row *r = find(db, gid);

	if (r != NULL)
		r->format = format;
}

const struct row *fake_db_row(const struct fake_db *db, struct str gid)
{
	return find(db, gid);
}

const struct row *fake_db_row_at(const struct fake_db *db, size_t i)
{
	return i < db->row_n ? &db->rows[i] : NULL;
}

static void tell(const struct fake_db *db, struct uuid by, const struct row *before,
                 const struct row *after)
{
	if (db->config.wrote != NULL)
		db->config.wrote(db->config.ctx, by, before, after);
}

static struct definition *compile(const struct fake_db *db, const struct row *r)
{
	return db->config.compile(db->config.ctx, r->definition, r->definition_version, r->document);
}

static void let_go(const struct fake_db *db, struct definition *def)
{
	if (def != NULL)
		db->config.definition.drop(db->config.definition.ctx, def);
}

static void insert_row(struct fake_db *db, const struct row *r)
{
	size_t i = place_of(db, r->gid);

	if (db->row_n == db->row_cap) {
		db->row_cap = db->row_cap ? 2 * db->row_cap : 16;
		db->rows = mem_grow(db->rows, db->row_cap, sizeof *db->rows);
	}
	memmove(db->rows + i + 1, db->rows + i, (db->row_n - i) * sizeof *db->rows);
	db->row_n++;
	db->rows[i] = fake_keep_row(r);
	db->rows[i].def = compile(db, r);
}

static bool insert(struct fake_db *db, const struct row *r)
{
	if (find(db, r->gid) != NULL)
		return false;
	insert_row(db, r);
	tell(db, r->owner, NULL, find(db, r->gid));
	return true;
}

bool fake_db_start(struct fake_db *db, const struct row *r)
{
	fake_past_note(db, FAKE_COMMIT);
	return insert(db, r);
}

static void delete_row(struct fake_db *db, size_t i)
{
	tell(db, (struct uuid){ 0 }, &db->rows[i], NULL);
	let_go(db, db->rows[i].def);
	fake_free_row(&db->rows[i]);
	db->row_n--;
	memmove(db->rows + i, db->rows + i + 1, (db->row_n - i) * sizeof *db->rows);
}

static void replace_text(struct str *old, struct str by)
{
	free((char *)(uintptr_t)old->p);
	*old = str_dup(by);
}

static bool change(struct fake_db *db, struct uuid me, int64_t at, const struct change *c)
{
	struct row *r = find(db, c->gid);

	if (r == NULL || !uuid_eq(r->owner, me) || r->epoch != c->epoch || r->version != c->version)
		return false;
	struct arena before_mem = { 0 };
	struct row   before = fake_copy_row(&before_mem, r);

	r->version++;
	r->phase = c->phase;
	r->stuck = c->stuck;
	r->paused = c->paused;
	r->adoptions = 0;
	replace_text(&r->progress, c->progress);
	if (c->document.p != NULL) {
		replace_text(&r->document, c->document);
		let_go(db, r->def);
		r->def = compile(db, r);
	}
	if (c->ended || c->release)
		r->owner = (struct uuid){ 0 };
	if (c->ended)
		r->ended_at = at != 0 ? at : db->config.now_ms(db->config.ctx);
	if (c->release)
		r->due_at = c->due_at;
	tell(db, me, &before, r);
	arena_fini(&before_mem);
	return true;
}

static uint64_t next_epoch(const struct fake_db *db, uint64_t epoch)
{
	return epoch + 1 > db->first_epoch ? epoch + 1 : db->first_epoch;
}

static void take(struct fake_db *db, struct row *r, struct uuid me, bool adopted)
{
	struct row before = *r;

	r->owner = me;
	r->due_at = 0;
	r->epoch = next_epoch(db, r->epoch);
	r->version++;
	r->adoptions += adopted;
	tell(db, me, &before, r);
}

/* ---- members, inbox, journal ------------------------------------------------ */

static struct member *find_member(const struct fake_db *db, struct uuid id)
{
	for (size_t i = 0; i < db->member_n; i++)
		if (uuid_eq(db->members[i].id, id))
			return &db->members[i];
	return NULL;
}

const struct member *fake_db_member(const struct fake_db *db, struct uuid id)
{
	return find_member(db, id);
}

const struct member *fake_db_member_at(const struct fake_db *db, size_t i)
{
	return i < db->member_n ? &db->members[i] : NULL;
}

static uint32_t rows_of(const struct fake_db *db, struct uuid id)
{
	uint32_t n = 0;

	for (size_t i = 0; i < db->row_n && n < MEMBER_ROWS_MAX; i++)
		n += uuid_eq(db->rows[i].owner, id);
	return n;
}

static bool owns(const struct fake_db *db, struct uuid id)
{
	for (size_t i = 0; i < db->row_n; i++)
		if (uuid_eq(db->rows[i].owner, id))
			return true;
	return false;
}

static struct fake_acted *find_acted(const struct fake_db *db, struct uuid id)
{
	for (size_t i = 0; i < db->acted_n; i++)
		if (uuid_eq(db->acted[i].id, id))
			return &db->acted[i];
	return NULL;
}

static void note_acted(struct fake_db *db, struct uuid id)
{
	if (find_acted(db, id) != NULL)
		return;
	if (db->acted_n == db->acted_cap) {
		db->acted_cap = db->acted_cap ? 2 * db->acted_cap : 8;
		db->acted = mem_grow(db->acted, db->acted_cap, sizeof *db->acted);
	}
	db->acted[db->acted_n++] = (struct fake_acted){ .id = id };
}

static enum log_result enroll(struct fake_db *db, const struct member *me)
{
	const struct member *old = find_member(db, me->id);
	size_t               i = 0;

	if (old != NULL)
		return old->state == MEMBER_LIVE ? LOG_DONE : LOG_FENCED;
	if (find_acted(db, me->id) != NULL && find_acted(db, me->id)->swept)
		db->config.bad(db->config.ctx, "enrols an incarnation that acted, died and was swept away");
	if (db->member_n == db->member_cap) {
		db->member_cap = db->member_cap ? 2 * db->member_cap : 8;
		db->members = mem_grow(db->members, db->member_cap, sizeof *db->members);
	}
	while (i < db->member_n && memcmp(&db->members[i].id, &me->id, sizeof me->id) < 0)
		i++;
	memmove(db->members + i + 1, db->members + i, (db->member_n - i) * sizeof *db->members);
	db->member_n++;
	db->members[i] = *me;
	db->members[i].state = MEMBER_LIVE;
	db->members[i].address = str_dup(me->address);
	db->members[i].started_at = db->members[i].seen_at = db->config.now_ms(db->config.ctx);
	return LOG_DONE;
}

static enum log_result fence(struct fake_db *db, const struct fake_op *op)
{
	struct member *dead = find_member(db, op->other);

	if (db->config.is_held(db->config.ctx, op->key, op->mark))
		return LOG_AGAIN;
	if (db->config.fenced != NULL)
		db->config.fenced(db->config.ctx, op->key);
	if (dead != NULL && dead->state == MEMBER_LIVE) {
		dead->state = MEMBER_FENCED;
		dead->rows = rows_of(db, dead->id);
		dead->fenced_by = op->me;
	}
	return LOG_DONE;
}

static struct fake_inbox *find_inbox(const struct fake_db *db, struct uuid id)
{
	for (size_t i = 0; i < db->inbox_n; i++)
		if (uuid_eq(db->inbox[i].row.id, id))
			return &db->inbox[i];
	return NULL;
}

static void inbox_delete(struct fake_db *db, size_t i)
{
	struct inbox_row *r = &db->inbox[i].row;

	free((char *)(uintptr_t)r->gid.p);
	free((char *)(uintptr_t)r->command.p);
	free((char *)(uintptr_t)r->body.p);
	db->inbox_n--;
	memmove(db->inbox + i, db->inbox + i + 1, (db->inbox_n - i) * sizeof *db->inbox);
}

static void inbox_put(struct fake_db *db, const struct inbox_row *r)
{
	if (find_inbox(db, r->id) != NULL)
		return;
	if (db->inbox_n == db->inbox_cap) {
		db->inbox_cap = db->inbox_cap ? 2 * db->inbox_cap : 16;
		db->inbox = mem_grow(db->inbox, db->inbox_cap, sizeof *db->inbox);
	}
	db->inbox[db->inbox_n++] = (struct fake_inbox){
		.row = { r->id, str_dup(r->gid), str_dup(r->command), str_dup(r->body) }
	};
}

static bool has_missed(const struct fake_op *op, struct str gid)
{
	for (size_t i = 0; i < op->batch.change_count; i++)
		if (str_eq(op->batch.changes[i].gid, gid))
			return !op->changed[i];
	return false;
}

/* A command whose change did not apply was not applied either: it stays. */
static void settle(struct fake_db *db, const struct fake_op *op, const struct settled *s)
{
	struct fake_inbox *in = find_inbox(db, s->id);

	if (in == NULL || has_missed(op, in->row.gid))
		return;
	if (db->config.settled != NULL)
		db->config.settled(db->config.ctx, &in->row, s->verdict, in->settled);
	if (in->settled)
		return;
	in->settled = true;
	in->verdict = s->verdict;
	in->settled_at = db->config.now_ms(db->config.ctx);
}

static void add_entry(struct fake_db *db, const struct entry *e)
{
	if (db->entry_n == db->entry_cap) {
		db->entry_cap = db->entry_cap ? 2 * db->entry_cap : 64;
		db->entries = mem_grow(db->entries, db->entry_cap, sizeof *db->entries);
	}
	struct entry *kept = &db->entries[db->entry_n++];
	*kept = *e;
	kept->gid = str_dup(e->gid);
	kept->what = str_dup(e->what);
	kept->step = kept->op = kept->outcome = (struct str){ 0 };
	kept->detail = str_dup(e->detail);
	kept->actor = str_dup(e->actor);
}

/* Effect and verdict belong into one commit: else the command is found again, and done twice. Reasons
 * that people give are unique in the tests that use this. */
static void check_settled(struct fake_db *db, const struct fake_op *op, const struct entry *e)
{
	if (e->actor.n == 0 || e->detail.n == 0 || has_missed(op, e->gid))
		return;
	for (size_t i = 0; i < db->inbox_n; i++) {
		const struct fake_inbox *in = &db->inbox[i];

		if (!in->settled && str_eq(in->row.gid, e->gid) &&
		    memmem(in->row.body.p, in->row.body.n, e->detail.p, e->detail.n) != NULL)
			db->config.bad(db->config.ctx, "a command takes effect and stays in the inbox");
	}
}

/* What a person did is told twice: in the journal, which goes with its transaction, and in the audit. */
static void check_deeds(struct fake_db *db, const struct batch *b, const struct entry *e)
{
	size_t n = 0;

	if (e->actor.n == 0)
		return;
	for (size_t i = 0; i < b->deed_count; i++)
		n += str_eq(b->deeds[i].target, e->gid) && str_eq(b->deeds[i].reason, e->detail) &&
		     str_eq(b->deeds[i].action, e->what) && b->deeds[i].after == b->deeds[i].before + 1;
	if (n != 1)
		db->config.bad(db->config.ctx, "a person's change without its line in the audit");
}

/* ---- the verbs ----------------------------------------------------------------- */

size_t fake_db_abreast(const struct fake_db *db)
{
	return db->abreast;
}

size_t fake_db_long_waits(const struct fake_db *db)
{
	return db->long_waits;
}

static bool is_blocked(const struct fake_db *db, struct str gid)
{
	return db->config.is_blocked != NULL && db->config.is_blocked(db->config.ctx, gid);
}

static enum log_result commit(struct fake_op *op)
{
	struct fake_db      *db = op->db;
	const struct batch  *b = &op->batch;
	const struct member *me = find_member(db, b->me);

	op->begun = arena_array(&op->arena, b->begin_count, sizeof *op->begun);
	op->changed = arena_array(&op->arena, b->change_count, sizeof *op->changed);
	for (size_t i = 0; i < b->change_count; i++)
		if (is_blocked(db, b->changes[i].gid))
			return LOG_AGAIN;
	for (size_t i = 0; i < b->begin_count && !op->barred; i++)
		op->barred = !b->begins[i].fresh && find(db, b->begins[i].gid) == NULL && is_blocked(db, b->begins[i].gid);
	if (op->barred) {
		db->long_waits += !b->hasty;
		return LOG_AGAIN;
	}
	if (!fake_is_storable(db, b))
		return LOG_BAD_DATA;
	if (b->begin_count > 0 && (me == NULL || me->state != MEMBER_LIVE))
		return LOG_FENCED;
	for (size_t i = 0; i < b->begin_count; i++)
		if (b->begins[i].fresh && find(db, b->begins[i].gid) != NULL)
			return LOG_AGAIN;
	for (size_t i = 0; i < b->begin_count; i++)
		op->begun[i] = insert(db, &b->begins[i]);
	for (size_t i = 0; i < b->change_count; i++)
		op->changed[i] = change(db, b->me, b->at, &b->changes[i]);
	for (size_t i = 0; i < b->entry_count; i++)
		if (!has_missed(op, b->entries[i].gid))
			add_entry(db, &b->entries[i]);
	for (size_t i = 0; i < b->settled_count; i++)
		settle(db, op, &b->settled[i]);
	for (size_t i = 0; i < b->entry_count; i++) {
		check_settled(db, op, &b->entries[i]);
		check_deeds(db, b, &b->entries[i]);
	}
	return LOG_DONE;
}

static void give(struct fake_op *op, const struct row *r, bool keys_only)
{
	struct fake_db *db = op->db;

	if (op->rows == NULL)
		op->rows = arena_array(&op->arena, db->row_n, sizeof *op->rows);
	struct row *copy = &op->rows[op->found++];
	if (keys_only) {
		*copy = (struct row){ .gid = arena_str(&op->arena, r->gid), .epoch = r->epoch,
		                      .version = r->version };
		return;
	}
	*copy = fake_copy_row(&op->arena, r);
	if (copy->def != NULL)
		db->config.definition.hold(db->config.definition.ctx, copy->def);
}

static enum log_result reload(struct fake_op *op)
{
	const struct fake_db_config *c = &op->db->config;

	for (size_t i = 0; c->is_unreadable != NULL && i < op->n; i++)
		if (c->is_unreadable(c->ctx, op->gids[i]))
			return LOG_BAD_DATA;
	for (size_t i = 0; i < op->n; i++) {
		struct row *r = find(op->db, op->gids[i]);

		if (r == NULL || !uuid_eq(r->owner, op->me))
			continue;
		struct row before = *r;
		r->epoch = next_epoch(op->db, r->epoch);
		r->version++;
		tell(op->db, op->me, &before, r);
		give(op, r, false);
	}
	return LOG_DONE;
}

static bool may_become(enum phase from, enum phase to)
{
	bool open = from == PHASE_PREPARED || from == PHASE_TRYING;

	return open || from == to || (!phase_is_ended(from) && txn_may_move(from, to));
}

static void give_gid(struct fake_op *op, struct str gid)
{
	op->rows[op->found++] = (struct row){ .gid = arena_str(&op->arena, gid) };
}

static void tell_restored(const struct fake_op *op, const struct row *before, const struct row *after)
{
	if (op->db->config.restored != NULL)
		op->db->config.restored(op->db->config.ctx, op->me, before, after);
}

static void restore_row(struct fake_op *op, const struct row *known)
{
	struct fake_db *db = op->db;
	struct row     *r = find(db, known->gid), before;

	if (known->epoch >= db->first_epoch)
		return;
	if (r == NULL) {
		insert_row(db, known);
		tell_restored(op, NULL, find(db, known->gid));
		give_gid(op, known->gid);
		return;
	}
	if (r->epoch >= db->first_epoch || r->epoch > known->epoch || r->version >= known->version ||
	    !may_become(r->phase, known->phase))
		return;
	before = *r;
	*r = fake_keep_row(known);
	r->def = compile(db, r);
	tell_restored(op, &before, r);
	let_go(db, before.def);
	fake_free_row(&before);
	give_gid(op, known->gid);
}

/* Whoever was fenced takes nothing any more: its row may be gone before it learns of it. */
static bool is_live(struct fake_db *db, struct uuid id)
{
	const struct member *m = find_member(db, id);

	return m != NULL && m->state == MEMBER_LIVE;
}

static enum log_result restore(struct fake_op *op)
{
	if (!is_live(op->db, op->me))
		return LOG_FENCED;
	op->rows = arena_array(&op->arena, op->n, sizeof *op->rows);
	for (size_t i = 0; i < op->n; i++)
		restore_row(op, &op->known[i]);
	return LOG_DONE;
}

/* Who asks for his rows has been told of that one, and of every begin since. */
static bool is_left_out(const struct fake_op *op, const struct row *r)
{
	const struct fake_db_config *c = &op->db->config;

	return op->verb == FAKE_MINE && c->nursery_ms > 0 && r->epoch == 1 && r->created_at > op->doubted &&
	       c->now_ms(c->ctx) - r->created_at < c->nursery_ms;
}

static void walk_owned(struct fake_op *op)
{
	struct fake_db *db = op->db;
	bool            adopting = op->verb == FAKE_ADOPT;

	if (adopting && !is_live(db, op->me))
		return;
	for (size_t i = 0; i < db->row_n && op->found < op->limit; i++) {
		struct row *r = &db->rows[i];

		if (!uuid_eq(r->owner, adopting ? op->other : op->me) || str_cmp(r->gid, op->after) <= 0 ||
		    is_left_out(op, r))
			continue;
		if (adopting && (fake_db_is_locked(op, r->gid) || op->danger != danger_of(r->adoptions) ||
		                 r->format > ROW_FORMAT))
			continue;
		if (adopting)
			take(db, r, op->me, true);
		give(op, r, !adopting);
		if (adopting && op->danger == DANGER_HIGH)
			break;
	}
}

static void look(struct fake_op *op)
{
	struct fake_db *db = op->db;
	int64_t         now = db->config.now_ms(db->config.ctx);

	for (size_t i = 0; i < db->row_n && !op->look.due; i++) {
		const struct row *r = &db->rows[i];

		op->look.due = r->due_at != 0 && r->due_at <= now && r->format <= ROW_FORMAT;
	}
	op->look.commands = fake_db_inbox(db, false) > 0;
}

static void take_due(struct fake_op *op)
{
	struct fake_db *db = op->db;
	int64_t         now = db->config.now_ms(db->config.ctx);

	if (!is_live(db, op->me))
		return;
	for (size_t i = 0; i < db->row_n && op->found < op->limit; i++) {
		struct row *r = &db->rows[i];

		if (r->due_at == 0 || r->due_at > now || r->format > ROW_FORMAT ||
		    fake_db_is_locked(op, r->gid))
			continue;
		take(db, r, op->me, false);
		give(op, r, false);
	}
}

static void claim(struct fake_op *op)
{
	struct row *r = find(op->db, op->gids[0]);

	if (r == NULL || r->due_at == 0 || r->format > ROW_FORMAT || !is_live(op->db, op->me))
		return;
	take(op->db, r, op->me, false);
	give(op, r, false);
}

static void read_rows(struct fake_op *op)
{
	for (size_t i = 0; i < op->n; i++) {
		const struct row *r = find(op->db, op->gids[i]);

		if (r != NULL && op->found < op->db->row_n &&
		    (op->verb == FAKE_READ || phase_is_ended(r->phase)))
			give(op, r, false);
	}
}

static void inbox_read(struct fake_op *op)
{
	struct fake_db *db = op->db;

	op->inbox_rows = arena_array(&op->arena, db->inbox_n, sizeof *op->inbox_rows);
	for (size_t i = 0; i < db->inbox_n && op->found < op->limit; i++) {
		const struct inbox_row *in = &db->inbox[i].row;
		const struct row       *r = find(db, in->gid);

		if (db->inbox[i].settled ||
		    (r != NULL && !uuid_is_nil(r->owner) && !uuid_eq(r->owner, op->me)) ||
		    (r != NULL && r->format > ROW_FORMAT))
			continue;
		op->inbox_rows[op->found++] = (struct inbox_row){
			in->id, arena_str(&op->arena, in->gid), arena_str(&op->arena, in->command),
			arena_str(&op->arena, in->body)
		};
	}
}

static void inbox_verdicts(struct fake_op *op)
{
	op->verdicts = arena_array(&op->arena, op->n, sizeof *op->verdicts);
	for (size_t i = 0; i < op->n; i++) {
		const struct fake_inbox *in = find_inbox(op->db, op->ids[i]);

		if (in != NULL && in->settled)
			op->verdicts[op->found++] = (struct settled){ in->row.id, in->verdict };
	}
}

static void inbox_forget(struct fake_op *op)
{
	for (size_t i = 0; i < op->n; i++) {
		const struct fake_inbox *in = find_inbox(op->db, op->ids[i]);

		if (in != NULL)
			inbox_delete(op->db, (size_t)(in - op->db->inbox));
	}
}

static void members(struct fake_op *op)
{
	struct fake_db *db = op->db;

	op->members = arena_array(&op->arena, db->member_n, sizeof *op->members);
	for (size_t i = 0; i < db->member_n; i++) {
		op->members[i] = fake_copy_member(&op->arena, &db->members[i]);
		op->members[i].owns = owns(db, db->members[i].id);
		if (db->config.sight != NULL)
			op->members[i].lease = db->config.sight(db->config.ctx, db->members[i].lock_key);
	}
	op->found = db->member_n;
}

static void sweep(struct fake_db *db, bool all)
{
	int64_t now = db->config.now_ms(db->config.ctx);

	for (size_t i = db->row_n; i-- > 0;)
		if (db->rows[i].ended_at != 0 && db->rows[i].ended_at + db->rows[i].retention_ms <= now)
			delete_row(db, i);
	for (size_t i = all ? db->inbox_n : 0; i-- > 0;)
		if (db->inbox[i].settled && db->inbox[i].settled_at + INBOX_KEPT_MS < now)
			inbox_delete(db, i);
	for (size_t i = all ? db->member_n : 0; i-- > 0;) {
		if (db->members[i].state == MEMBER_LIVE || owns(db, db->members[i].id))
			continue;
		if (find_acted(db, db->members[i].id) != NULL)
			find_acted(db, db->members[i].id)->swept = true;
		free((char *)(uintptr_t)db->members[i].address.p);
		db->member_n--;
		memmove(db->members + i, db->members + i + 1, (db->member_n - i) * sizeof *db->members);
	}
}

static void report(struct fake_op *op)
{
	struct member *m = find_member(op->db, op->me);

	if (m == NULL)
		return;
	note_acted(op->db, op->me);
	m->speed = op->speed;
	m->load = op->load;
	m->seen_at = op->db->config.now_ms(op->db->config.ctx);
}

static enum log_result still_live(const struct fake_op *op)
{
	return is_live(op->db, op->me) ? LOG_DONE : LOG_FENCED;
}

static void retire(struct fake_op *op)
{
	struct member *m = find_member(op->db, op->me);

	if (m != NULL && m->state == MEMBER_LIVE)
		m->state = MEMBER_DRAINED;
}

void fake_db_apply(struct fake_op *op)
{
	op->result = LOG_DONE;
	fake_past_note(op->db, op->verb);
	switch (op->verb) {
	case FAKE_COMMIT: op->result = commit(op); break;
	case FAKE_RELOAD: op->result = reload(op); break;
	case FAKE_RESTORE: op->result = restore(op); break;
	case FAKE_MINE:
	case FAKE_ADOPT: walk_owned(op); break;
	case FAKE_LOOK: look(op); break;
	case FAKE_TAKE_DUE: take_due(op); break;
	case FAKE_CLAIM: claim(op); break;
	case FAKE_READ:
	case FAKE_ENDED: read_rows(op); break;
	case FAKE_INBOX_PUT: inbox_put(op->db, &op->inbox); break;
	case FAKE_INBOX_READ: inbox_read(op); break;
	case FAKE_INBOX_VERDICTS: inbox_verdicts(op); break;
	case FAKE_INBOX_FORGET: inbox_forget(op); break;
	case FAKE_ENROLL: op->result = enroll(op->db, &op->member); break;
	case FAKE_STILL_LIVE: op->result = still_live(op); break;
	case FAKE_REPORT: report(op); break;
	case FAKE_MEMBERS: members(op); break;
	case FAKE_FENCE: op->result = fence(op->db, op); break;
	case FAKE_RETIRE: retire(op); break;
	case FAKE_SWEEP: sweep(op->db, op->all); break;
	}
}

/* ---- open and close ---------------------------------------------------------------- */

struct fake_db *fake_db_open(const struct fake_db_config *config)
{
	struct fake_db *db = mem_alloc(sizeof *db);

	db->config = *config;
	list_init(&db->ops);
	list_init(&db->logs);
	return db;
}

size_t fake_db_inbox(const struct fake_db *db, bool settled)
{
	size_t n = 0;

	for (size_t i = 0; i < db->inbox_n; i++)
		n += db->inbox[i].settled == settled;
	return n;
}

size_t fake_db_entries(const struct fake_db *db)
{
	return db->entry_n;
}

const struct entry *fake_db_entry_at(const struct fake_db *db, size_t i)
{
	return i < db->entry_n ? &db->entries[i] : NULL;
}

void fake_db_close(struct fake_db *db)
{
	list_each(it, after, &db->ops) {
		list_remove(it);
		fake_op_free(list_entry(it, struct fake_op, server_link));
	}
	fake_past_free(db);
	while (db->row_n > 0) {
		let_go(db, db->rows[--db->row_n].def);
		fake_free_row(&db->rows[db->row_n]);
	}
	while (db->inbox_n > 0)
		inbox_delete(db, db->inbox_n - 1);
	for (size_t i = 0; i < db->member_n; i++)
		free((char *)(uintptr_t)db->members[i].address.p);
	for (size_t i = 0; i < db->entry_n; i++) {
		const struct entry *e = &db->entries[i];

		free((char *)(uintptr_t)e->gid.p);
		free((char *)(uintptr_t)e->what.p);
		free((char *)(uintptr_t)e->detail.p);
		free((char *)(uintptr_t)e->actor.p);
	}
	free(db->rows);
	free(db->inbox);
	free(db->members);
	free(db->acted);
	free(db->entries);
	free(db);
}
