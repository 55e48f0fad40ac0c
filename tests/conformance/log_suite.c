/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/log_suite_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool suite_ok(struct suite *s, bool pass, const char *fmt, ...)
{
	char    line[300];
	int     n = snprintf(line, sizeof line, "%s: ", s->test);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	s->given->ok(s->given->ctx, pass, line);
	return pass;
}

struct str suite_text(struct suite *s, const char *fmt, ...)
{
	char    line[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	return arena_str(&s->arena, str_of(line));
}

struct str suite_gid(struct suite *s, const char *rest)
{
	return suite_text(s, "%.*s-%s-%s", (int)s->given->prefix.n, s->given->prefix.p, s->test, rest);
}

struct uuid suite_id(struct suite *s)
{
	uint64_t a = s->given->random(s->given->ctx);

	return uuid_v4(a, s->given->random(s->given->ctx));
}

struct row suite_row(struct suite *s, struct str gid)
{
	struct row r = {
		.gid = gid,
		.owner = s->me,
		.epoch = 1,
		.version = 1,
		.phase = PHASE_TRYING,
		.created_at = 1790000000123,
		.deadline_at = 1790000009456,
		.document = s->given->document,
		.input = STR("{\"n\":1.10}"),
		.labels = STR("{\"team\":\"blue\"}"),
		.traceparent = STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
		.retention_ms = 86400000,
		.format = 1,
		.progress = STR("{\"p\":1}"),
	};

	memset(r.hash, 0xa5, sizeof r.hash);
	return r;
}

struct change suite_change(const struct row *r, const char *progress)
{
	return (struct change){ .gid = r->gid, .epoch = r->epoch, .version = r->version,
		                .phase = r->phase, .progress = str_of(progress) };
}

/* ---- asking and waiting -------------------------------------------------------- */

static void ask(struct suite *s)
{
	s->done = false;
	s->result = LOG_AWAY;
	s->rows = NULL;
	s->inbox = NULL;
	s->verdicts = NULL;
	s->members = NULL;
	s->n = 0;
	s->def_seen = false;
}

static void wait(struct suite *s)
{
	if (!s->given->pump(s->given->ctx, &s->done))
		suite_ok(s, false, "an answer comes");
}

static void answered(struct suite *s, enum log_result result)
{
	if (s->done)
		suite_ok(s, false, "done is called once");
	s->done = true;
	s->result = result;
}

static void on_batch(void *arg, enum log_result result, const struct batch_result *r)
{
	struct suite *s = arg;

	answered(s, result);
	s->begun = arena_array(&s->arena, s->batch_begins, sizeof *s->begun);
	s->changed = arena_array(&s->arena, s->batch_changes, sizeof *s->changed);
	if (result != LOG_DONE || r == NULL)
		return;
	for (size_t i = 0; i < s->batch_begins; i++)
		s->begun[i] = r->begun[i];
	for (size_t i = 0; i < s->batch_changes; i++)
		s->changed[i] = r->changed[i];
}

static void on_rows(void *arg, enum log_result result, const struct row *rows, size_t n)
{
	struct suite *s = arg;

	answered(s, result);
	s->n = n;
	s->rows = arena_array(&s->arena, n, sizeof *s->rows);
	s->def_seen = n > 0 && rows[0].def != NULL;
	for (size_t i = 0; i < n; i++) {
		struct row *r = &s->rows[i];

		*r = rows[i];
		r->def = NULL;
		r->gid = arena_str(&s->arena, rows[i].gid);
		r->definition = arena_str(&s->arena, rows[i].definition);
		r->document = arena_str(&s->arena, rows[i].document);
		r->input = arena_str(&s->arena, rows[i].input);
		r->labels = arena_str(&s->arena, rows[i].labels);
		r->traceparent = arena_str(&s->arena, rows[i].traceparent);
		r->progress = arena_str(&s->arena, rows[i].progress);
	}
}

static void on_done(void *arg, enum log_result result)
{
	answered(arg, result);
}

static void on_inbox(void *arg, enum log_result result, const struct inbox_row *rows, size_t n)
{
	struct suite *s = arg;

	answered(s, result);
	s->n = n;
	s->inbox = arena_array(&s->arena, n, sizeof *s->inbox);
	for (size_t i = 0; i < n; i++)
		s->inbox[i] = (struct inbox_row){ rows[i].id, arena_str(&s->arena, rows[i].gid),
			                          arena_str(&s->arena, rows[i].command),
			                          arena_str(&s->arena, rows[i].body) };
}

static void on_verdicts(void *arg, enum log_result result, const struct settled *rows, size_t n)
{
	struct suite *s = arg;

	answered(s, result);
	s->n = n;
	s->verdicts = arena_array(&s->arena, n, sizeof *s->verdicts);
	for (size_t i = 0; i < n; i++)
		s->verdicts[i] = rows[i];
}

static void on_members(void *arg, enum log_result result, const struct member *m, size_t n)
{
	struct suite *s = arg;

	answered(s, result);
	s->n = n;
	s->members = arena_array(&s->arena, n, sizeof *s->members);
	for (size_t i = 0; i < n; i++) {
		s->members[i] = m[i];
		s->members[i].address = arena_str(&s->arena, m[i].address);
	}
}

void suite_commit(struct suite *s, const struct log_port *p, const struct batch *b)
{
	ask(s);
	s->batch_begins = b->begin_count;
	s->batch_changes = b->change_count;
	p->commit(p->ctx, b, on_batch, s);
	wait(s);
}

bool suite_begin(struct suite *s, struct str gid)
{
	struct row r = suite_row(s, gid);

	suite_commit(s, s->given->a, &(struct batch){ .me = s->me, .begins = &r, .begin_count = 1 });
	return s->result == LOG_DONE && s->begun[0];
}

bool suite_apply(struct suite *s, const struct log_port *p, struct uuid me, struct change c)
{
	suite_commit(s, p, &(struct batch){ .me = me, .changes = &c, .change_count = 1 });
	return s->result == LOG_DONE && s->changed[0];
}

void suite_reload(struct suite *s, struct uuid me, const struct str *gids, size_t n)
{
	ask(s);
	s->given->a->reload(s->given->a->ctx, me, gids, n, on_rows, s);
	wait(s);
}

void suite_restore_at(struct suite *s, const struct log_port *p, struct uuid me, const struct row *rows, size_t n)
{
	ask(s);
	p->restore(p->ctx, me, rows, n, on_rows, s);
	wait(s);
}

void suite_restore(struct suite *s, struct uuid me, const struct row *rows, size_t n)
{
	suite_restore_at(s, s->given->a, me, rows, n);
}

void suite_mine(struct suite *s, struct uuid me, struct str after, unsigned limit)
{
	ask(s);
	s->given->a->mine(s->given->a->ctx, me, after, limit, on_rows, s);
	wait(s);
}

void suite_adopt(struct suite *s, const struct log_port *p, struct uuid me, struct uuid dead, struct str after,
                 unsigned limit, enum danger danger)
{
	ask(s);
	p->adopt(p->ctx, me, dead, after, limit, danger, on_rows, s);
	wait(s);
}

static void on_look(void *arg, enum log_result result, struct look found)
{
	struct suite *s = arg;

	answered(s, result);
	s->look = found;
}

void suite_look(struct suite *s, const struct log_port *p)
{
	ask(s);
	s->look = (struct look){ 0 };
	p->look(p->ctx, on_look, s);
	wait(s);
}

void suite_take_due(struct suite *s, struct uuid me, unsigned limit)
{
	ask(s);
	s->given->a->take_due(s->given->a->ctx, me, limit, on_rows, s);
	wait(s);
}

void suite_claim(struct suite *s, const struct log_port *p, struct uuid me, struct str gid)
{
	ask(s);
	p->claim(p->ctx, me, gid, on_rows, s);
	wait(s);
}

void suite_read(struct suite *s, const struct str *gids, size_t n)
{
	ask(s);
	s->given->b->read(s->given->b->ctx, gids, n, on_rows, s);
	wait(s);
}

const struct row *suite_read_one(struct suite *s, struct str gid)
{
	suite_read(s, &gid, 1);
	return s->n == 1 && str_eq(s->rows[0].gid, gid) ? &s->rows[0] : NULL;
}

void suite_ended(struct suite *s, const struct str *gids, size_t n)
{
	ask(s);
	s->given->b->ended(s->given->b->ctx, gids, n, on_rows, s);
	wait(s);
}

void suite_inbox_put(struct suite *s, struct uuid id, struct str gid, const char *body)
{
	ask(s);
	s->given->b->inbox_put(s->given->b->ctx,
	                       &(struct inbox_row){ id, gid, STR("cancel"), str_of(body) }, on_done, s);
	wait(s);
}

void suite_inbox_read(struct suite *s, const struct log_port *p, struct uuid me, unsigned limit)
{
	ask(s);
	p->inbox_read(p->ctx, me, limit, on_inbox, s);
	wait(s);
}

void suite_inbox_verdicts(struct suite *s, const struct uuid *ids, size_t n)
{
	ask(s);
	s->given->b->inbox_verdicts(s->given->b->ctx, ids, n, on_verdicts, s);
	wait(s);
}

void suite_inbox_forget(struct suite *s, const struct uuid *ids, size_t n)
{
	ask(s);
	s->given->b->inbox_forget(s->given->b->ctx, ids, n, on_done, s);
	wait(s);
}

void suite_enroll(struct suite *s, const struct log_port *p, struct uuid id, int64_t key)
{
	struct member m = { .id = id, .lock_key = key, .address = STR("http://127.0.0.1:1"), .weight = 100 };

	ask(s);
	p->enroll(p->ctx, &m, on_done, s);
	wait(s);
}

void suite_report(struct suite *s, struct uuid me, double speed, double load)
{
	ask(s);
	s->given->a->report(s->given->a->ctx, me, speed, load, on_done, s);
	wait(s);
}

const struct member *suite_member(struct suite *s, struct uuid id)
{
	ask(s);
	s->given->b->members(s->given->b->ctx, on_members, s);
	wait(s);
	for (size_t i = 0; i < s->n; i++)
		if (uuid_eq(s->members[i].id, id))
			return &s->members[i];
	return NULL;
}

void suite_fence(struct suite *s, struct uuid me, struct uuid dead, int64_t key)
{
	ask(s);
	s->given->b->fence(s->given->b->ctx, me, dead, key, 0, on_done, s);
	wait(s);
}

void suite_retire(struct suite *s, struct uuid me)
{
	ask(s);
	s->given->a->retire(s->given->a->ctx, me, on_done, s);
	wait(s);
}

void suite_still_live(struct suite *s, struct uuid me)
{
	ask(s);
	s->given->a->still_live(s->given->a->ctx, me, on_done, s);
	wait(s);
}

/* Who sweeps has seen who is dead, for a while. */
void suite_sweep(struct suite *s)
{
	ask(s);
	s->given->a->members(s->given->a->ctx, on_members, s);
	wait(s);
	s->given->sleep(s->given->ctx, 10);
	ask(s);
	s->given->a->sweep(s->given->a->ctx, true, on_done, s);
	wait(s);
}

/* ---- the run ------------------------------------------------------------------------ */

void log_suite_run(const struct log_suite *given)
{
	static const struct {
		const char *name;
		void      (*run)(struct suite *s);
	} tests[] = {
		{ "looks", suite_looks },       { "commits", suite_commits },
		{ "rows", suite_rows }, { "ends", suite_ends },
		{ "payloads", suite_payloads }, { "mixed", suite_mixed }, { "alike", suite_alike }, { "pages", suite_pages },
		{ "parking", suite_parking },   { "adoption", suite_adoption },
		{ "inbox", suite_inbox },       { "inbox-misses", suite_inbox_misses },
		{ "inbox-newer", suite_inbox_newer },
		{ "members", suite_members },   { "fencing", suite_fencing },
		{ "retirement", suite_retirement }, { "sweeping", suite_sweeping },
		{ "restoring", suite_restoring },
	};

	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		struct suite s = { .given = given, .test = tests[i].name };

		s.me = suite_id(&s);
		s.you = suite_id(&s);
		s.my_key = (int64_t)given->random(given->ctx);
		s.your_key = (int64_t)given->random(given->ctx);
		suite_enroll(&s, given->a, s.me, s.my_key);
		suite_ok(&s, s.result == LOG_DONE, "a replica enrols");
		suite_enroll(&s, given->b, s.you, s.your_key);
		suite_ok(&s, s.result == LOG_DONE, "and another");
		tests[i].run(&s);
		arena_fini(&s.arena);
	}
}
