/* SPDX-License-Identifier: Apache-2.0
 * overview.c - GET /v1/overview: how it goes, on one page; what it costs does not grow with what is stored.
 */
#include "api/overview.h"
#include "api/show.h"
#include "api/stuck.h"

#include <string.h>

enum { COUNTED_MAX = 10000, STUCK_EXAMINED = 250, STUCK_SHOWN = 5, RATE_EVERY_MS = 5000 };

struct overview {
	struct counts       counts;
	struct stuck_groups stuck;
	bool                stuck_complete;
	struct str          paused; /* members of a JSON array */
};

/* ---- rates ----------------------------------------------------------------------------------- */

static struct rate_sample sample(const struct api *a, int64_t now_ms)
{
	const struct engine_counts *n = engine_counts(a->engine);
	struct engine_stats         stats;
	struct rate_sample          s = { .at = now_ms };

	engine_stats(a->engine, &stats);
	s.begun = stats.begun;
	s.calls = stats.calls_answered;
	for (int v = 0; v < PHASE_COUNT; v++)
		s.ended += n->ended[v];
	return s;
}

void rates_note(struct api *a, int64_t now_ms)
{
	if (a->rates[1].at != 0 && now_ms - a->rates[1].at < RATE_EVERY_MS)
		return;
	a->rates[0] = a->rates[1];
	a->rates[1] = sample(a, now_ms);
	if (a->rates[0].at == 0)
		a->rates[0] = a->rates[1];
}

void rates_read(const struct api *a, int64_t now_ms, struct rate_sample *from, struct rate_sample *now)
{
	*from = a->rates[0];
	*now = sample(a, now_ms);
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void show_phases(const struct overview *o, struct buf *out)
{
	uint64_t all = 0;
	bool     first = true;

	buf_cstr(out, "{\"unfinished\":{\"by_phase\":{");
	for (int v = 0; v < PHASE_COUNT; v++) {
		if (phase_is_ended((enum phase)v))
			continue;
		buf_fmt(out, "%s\"%s\":%llu", first ? "" : ",", phase_name((enum phase)v),
		        (unsigned long long)o->counts.by_phase[v]);
		all += o->counts.by_phase[v];
		first = false;
	}
	buf_fmt(out, "},\"count\":%llu,\"parked\":%llu,\"at_least\":%s,\"overdue_ms\":%lld}", (unsigned long long)all,
	        (unsigned long long)o->counts.parked, o->counts.complete ? "false" : "true", (long long)o->counts.overdue_ms);
}

static void show_stuck(struct overview *o, struct buf *out)
{
	stuck_sort(&o->stuck);
	buf_fmt(out, ",\n\"stuck\":{\"count\":%llu,\"at_least\":%s,\"groups\":", (unsigned long long)o->stuck.examined,
	        o->stuck_complete ? "false" : "true");
	stuck_show(&o->stuck, STUCK_SHOWN, out);
	buf_char(out, '}');
}

/* What people have stopped, whichever replica calls it. */
static void show_paused(const struct overview *o, struct buf *out)
{
	buf_cstr(out, ",\n\"paused\":[");
	buf_str(out, o->paused);
	buf_char(out, ']');
}

static void add_paused(struct buf *out, const struct pause_row *row)
{
	buf_fmt(out, "%s{\"kind\":\"%s\"", out->n > 0 ? ",\n" : "", pause_kind_name(row->kind));
	show_text(out, "name", row->name);
	show_text(out, "by", row->actor);
	show_text(out, "reason", row->reason);
	show_time(out, "since", row->since);
	buf_char(out, '}');
}

static const char *member_name(enum member_state s)
{
	switch (s) {
	case MEMBER_LIVE: return "live";
	case MEMBER_DRAINED: return "drained";
	case MEMBER_FENCED: return "fenced";
	}
	return "unknown";
}

static void show_says(const struct json *says, struct buf *out)
{
	const struct json *owned = says ? json_get(says, "owned") : NULL, *rates = says ? json_get(says, "rates") : NULL;

	buf_cstr(out, ",\"owned\":");
	buf_str(out, owned ? owned->raw : STR("null"));
	buf_cstr(out, ",\"rates\":");
	buf_str(out, rates ? rates->raw : STR("null"));
}

/* The dead only while they still own something: then somebody has to take it over. */
static void show_replicas(const struct told_all *all, struct buf *out)
{
	char id[UUID_TEXT + 1];
	bool first = true;

	buf_cstr(out, ",\n\"replicas\":[");
	for (size_t i = 0; i < all->n; i++) {
		const struct member *m = &all->items[i].member;

		if (m->state != MEMBER_LIVE && !m->owns)
			continue;
		buf_fmt(out, "%s{\"id\":\"%s\",\"state\":\"%s\",\"speed\":%.1f,\"load\":%.3f,\"owns\":%s", first ? "" : ",\n",
		        uuid_text(m->id, id), member_name(m->state), m->speed, m->load, m->owns ? "true" : "false");
		show_time(out, "seen_at", m->seen_at);
		show_says(all->items[i].says, out);
		buf_char(out, '}');
		first = false;
	}
	buf_char(out, ']');
}

struct breakers {
	struct buf *out;
	int64_t     now;
	bool        first;
};

static void show_breaker(void *arg, const struct api_target *t)
{
	struct breakers *b = arg;

	if (t->name.n == 0 || (strcmp(t->breaker, "closed") == 0 && t->quiet_ms == 0))
		return;
	buf_cstr(b->out, b->first ? "{\"name\":" : ",\n{\"name\":");
	b->first = false;
	buf_json(b->out, t->name);
	show_text(b->out, "breaker", str_of(t->breaker));
	show_time(b->out, "since", t->breaker_ms > 0 ? b->now - t->breaker_ms : 0);
	show_time(b->out, "throttled_until", t->quiet_ms > 0 ? b->now + t->quiet_ms : 0);
	buf_fmt(b->out, ",\"put_off\":%llu}", (unsigned long long)t->put_off);
}

static double per_second(uint64_t now, uint64_t before, int64_t ms)
{
	return ms > 0 && now >= before ? (double)(now - before) * 1000.0 / (double)ms : 0;
}

void overview_here(struct request *r, struct buf *out)
{
	const struct api_config *c = &r->api->config;
	struct rate_sample       from, now;
	struct engine_stats      stats;
	struct breakers          b = { out, request_now(r), true };
	char                     id[UUID_TEXT + 1];

	rates_read(r->api, r->x->since_us / 1000, &from, &now);
	engine_stats(r->api->engine, &stats);
	int64_t ms = now.at - from.at;
	buf_fmt(out, "{\"replica\":\"%s\",\"version\":\"" PACKAGE_VERSION "\",\"owned\":%llu,\"lease_age_ms\":%lld,", uuid_text(stats.me, id),
	        (unsigned long long)stats.owned, (long long)stats.lease_age_ms);
	buf_fmt(out, "\"rates\":{\"window_ms\":%lld,\"begun\":%.1f,\"ended\":%.1f,\"calls\":%.1f},", (long long)ms,
	        per_second(now.begun, from.begun, ms), per_second(now.ended, from.ended, ms),
	        per_second(now.calls, from.calls, ms));
	buf_cstr(out, "\"chaos\":");
	if (c->chaos != 0)
		buf_u64(out, c->chaos);
	else
		buf_cstr(out, "null");
	buf_cstr(out, ",\"participants\":[");
	if (c->targets != NULL)
		c->targets(c->ctx, show_breaker, &b);
	buf_cstr(out, "]}");
}

/* ---- one question after the other ---------------------------------------------------------------- */

static void answer(struct request *r, const struct told_all *all)
{
	struct buf body = { 0 };

	show_phases(r->own, &body);
	show_stuck(r->own, &body);
	show_paused(r->own, &body);
	show_replicas(all, &body);
	buf_cstr(&body, ",\n\"everywhere\":");
	overview_sum(r, all, &body);
	buf_cstr(&body, ",\n\"here\":");
	overview_here(r, &body);
	buf_cstr(&body, "}\n");
	request_answer(r, 200, &body);
}

static void on_members(void *arg, enum log_result result, const struct member *members, size_t n)
{
	struct request *r = arg;

	if (result == LOG_DONE)
		overview_ask(r, members, n, answer);
	else
		request_away(r, result);
}

static void on_pauses(void *arg, enum log_result result, const struct pause_row *rows, size_t n)
{
	struct request  *r = arg;
	struct overview *o = r->own;
	struct log_port *log = &r->api->ports.log;
	struct buf       paused = { 0 };

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++)
		add_paused(&paused, &rows[i]);
	o->paused = request_keep(r, &paused);
	log->members(log->ctx, on_members, r);
}

static void add_view(void *arg, const struct view *view)
{
	stuck_add(arg, view);
}

static void on_stuck(void *arg, enum log_result result, const struct row *rows, size_t n, const struct list_page *page)
{
	struct request    *r = arg;
	struct overview   *o = r->own;
	struct store_port *store = &r->api->store;

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++)
		engine_view(r->api->engine, &rows[i], add_view, &o->stuck);
	o->stuck_complete = page->next.n == 0;
	store->pauses(store->ctx, on_pauses, r);
}

static void on_counts(void *arg, enum log_result result, const struct counts *c)
{
	struct request    *r = arg;
	struct overview   *o = r->own;
	struct store_port *store = &r->api->store;

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	o->counts = *c;
	store->stuck(store->ctx, STR(""), STUCK_EXAMINED, on_stuck, r);
}

void handle_overview(struct request *r)
{
	static const char *const NOTHING[] = { NULL };
	struct store_port       *store = &r->api->store;
	struct overview         *o = arena_alloc(request_arena(r), sizeof *o);

	if (!request_only(r, NOTHING))
		return;
	o->stuck.arena = request_arena(r);
	r->own = o;
	store->counts(store->ctx, COUNTED_MAX, on_counts, r);
}

/* ---- another replica asks ---------------------------------------------------------------------------- */

void handle_replica_overview(struct request *r)
{
	static const char *const NOTHING[] = { NULL };
	struct buf               body = { 0 };

	if (!request_only(r, NOTHING))
		return;
	if (!request_is_me(r, request_param(r, 0))) {
		request_problem(r, PROBLEM_REPLICA_UNKNOWN, "That life of this replica is over.");
		return;
	}
	overview_here(r, &body);
	buf_char(&body, '\n');
	request_answer(r, 200, &body);
}
