/* SPDX-License-Identifier: Apache-2.0
 * explain_show.c - an explanation as JSON: the sentence and the data behind it.
 */
#include "api/explain_internal.h"
#include "api/show.h"

static void show_flag(struct buf *out, const char *name, bool value)
{
	buf_fmt(out, ",\"%s\":%s", name, value ? "true" : "false");
}

static void show_pause_row(struct buf *out, const char *name, const struct pause_row *p)
{
	buf_fmt(out, ",\"%s\":", name);
	if (p == NULL) {
		buf_cstr(out, "null");
		return;
	}
	buf_cstr(out, "{\"by\":");
	buf_json(out, p->actor);
	show_text(out, "reason", p->reason);
	show_time(out, "since", p->since);
	buf_char(out, '}');
}

static void show_participant(const struct explain_facts *f, int step, int op, struct buf *out)
{
	struct api_target t;

	buf_cstr(out, ",\"participant\":{\"name\":");
	buf_json(out, explain_target(f, step, op));
	show_pause_row(out, "paused", explain_find_pause(f, PAUSE_PARTICIPANT, explain_target(f, step, op)));
	if (explain_find_target(f, step, op, &t)) {
		show_text(out, "breaker", str_of(t.breaker));
		show_time(out, "breaker_since", t.breaker_ms > 0 ? f->now - t.breaker_ms : 0);
		show_time(out, "throttled_until", t.quiet_ms > 0 ? f->now + t.quiet_ms : 0);
		buf_fmt(out, ",\"in_flight\":%u,\"queued\":%llu", t.in_flight, (unsigned long long)t.queued);
	}
	buf_char(out, '}');
}

static void show_note(struct buf *out, const struct note *n)
{
	if (n->at == 0) {
		buf_cstr(out, ",\"last_error\":null");
		return;
	}
	buf_fmt(out, ",\"last_error\":{\"op\":\"%s\",\"status\":%d", op_name(n->op), n->status);
	show_text(out, "detail", n->error);
	show_time(out, "at", n->at);
	buf_char(out, '}');
}

static void show_step(const struct explain_facts *f, int step, int op, struct buf *out)
{
	const struct step        *s = explain_step(f, step);
	const struct explain_wait w = explain_wait_of(f, step, op);
	const int64_t             ms = f->is_owner && f->call_ms != NULL ? f->call_ms(f->ctx, (uint16_t)step) : -1;

	buf_cstr(out, "{\"name\":");
	buf_json(out, explain_step_name(f, step));
	buf_fmt(out, ",\"op\":\"%s\",\"why\":\"%s\"", op_name((enum op)op), why_name(w.why));
	show_time(out, "until", w.until);
	buf_fmt(out, ",\"failed_attempts\":%u", s->attempts + s->misconfigured);
	show_time(out, "failing_since", s->first_at);
	show_time(out, "called_at", ms >= 0 ? f->now - ms : 0);
	show_note(out, explain_note(f, step));
	show_participant(f, step, op, out);
	buf_char(out, '}');
}

static void show_waiting(const struct explain_facts *f, struct buf *out)
{
	bool first = true;

	buf_cstr(out, ",\"steps\":[");
	for (int i = 0; f->view.txn != NULL && i <= f->view.txn->step_count; i++) {
		const int step = i == f->view.txn->step_count ? (int)TXN_CHECK : i;
		const int op = txn_wanted(f->view.txn, (uint16_t)step);

		if (op < 0)
			continue;
		if (!first)
			buf_char(out, ',');
		first = false;
		show_step(f, step, op, out);
	}
	buf_cstr(out, "],\"behind\":[");
	first = true;
	for (uint16_t i = 0; f->view.txn != NULL && i < f->view.txn->step_count; i++) {
		if (!explain_waits_behind(f->view.txn, i))
			continue;
		if (!first)
			buf_char(out, ',');
		first = false;
		buf_json(out, explain_step_name(f, i));
	}
	buf_char(out, ']');
}

static const char *owner_name(enum owner_kind k)
{
	switch (k) {
	case OWNER_NOBODY: return "nobody";
	case OWNER_US:
	case OWNER_LIVE: return "live";
	case OWNER_LEFT: return "left";
	case OWNER_FENCED: return "fenced";
	case OWNER_UNKNOWN: break;
	}
	return "unknown";
}

static void show_owner(const struct explain_facts *f, struct buf *out)
{
	char id[UUID_TEXT + 1];

	buf_cstr(out, ",\"owner\":");
	if (uuid_is_nil(f->view.row.owner)) {
		buf_cstr(out, "null");
	} else {
		buf_fmt(out, "{\"id\":\"%s\",\"state\":\"%s\"", uuid_text(f->view.row.owner, id), owner_name(f->owner));
		if (f->owner_age_ms >= 0)
			buf_fmt(out, ",\"lease_age_ms\":%lld", (long long)f->owner_age_ms);
		show_flag(out, "answered", f->is_owner);
		buf_char(out, '}');
	}
	buf_fmt(out, ",\"told_by\":{\"replica\":\"%s\"", uuid_text(f->me, id));
	show_flag(out, "is_owner", f->is_owner);
	buf_char(out, '}');
}

void explain_show(const struct explain_facts *f, const struct explanation *x, struct buf *out)
{
	const struct row *row = &f->view.row;

	buf_cstr(out, "{\"gid\":");
	buf_json(out, row->gid);
	buf_fmt(out, ",\"phase\":\"%s\",\"version\":%llu,\"why\":\"%s\"", phase_name(row->phase),
	        (unsigned long long)row->version, why_name(x->why));
	show_text(out, "sentence", buf_view(&x->sentence));
	show_text(out, "hint", str_of(why_hint(x->why)));
	show_time(out, "until", x->until);
	show_time(out, "deadline_at", row->deadline_at);
	show_time(out, "due_at", row->due_at);
	show_flag(out, "paused", row->paused);
	show_pause_row(out, "paused_by", row->paused ? f->paused : NULL);
	buf_fmt(out, ",\"stuck\":%s%s%s", row->stuck == STUCK_NONE ? "" : "\"",
	        row->stuck == STUCK_NONE ? "null" : stuck_name(row->stuck), row->stuck == STUCK_NONE ? "" : "\"");
	show_pause_row(out, "definition_paused", explain_find_pause(f, PAUSE_DEFINITION, row->definition));
	show_waiting(f, out);
	show_owner(f, out);
	show_actions(out, &f->view);
	show_flag(out, "database_up", f->database.up);
	show_time(out, "now", f->now);
	buf_char(out, '}');
}
