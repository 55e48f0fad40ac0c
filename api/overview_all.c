/* SPDX-License-Identifier: Apache-2.0
 * overview_all.c - asks every live replica how it goes there, since only it knows, and adds up the
 * answers.
 */
#include "api/overview.h"

#include "api/show.h"

#include <stdlib.h>

enum { ASK_MS = 1000, AT_ONCE = 32 };

/* ---- asking ------------------------------------------------------------------------------- */

struct round {
	struct request *r;
	struct told_all all;
	size_t          next, under_way;
	bool            sending;
	void          (*done)(struct request *r, const struct told_all *all);
};

struct question {
	struct round *round;
	struct told  *of;
};

static void send(struct round *round);

/* What is no answer of a replica of ours counts as none. */
static const struct json *read_answer(struct request *r, struct str body)
{
	struct json_error err;
	struct json      *says =
		json_parse(arena_str(request_arena(r), body), request_arena(r), &err);
	bool whole = says != NULL && json_get(says, "rates") != NULL &&
	             json_get(says, "participants") != NULL;

	return whole ? says : NULL;
}

static void on_told(void *arg, int status, struct str body)
{
	struct question *q = arg;
	struct round    *round = q->round;

	if (status == 200)
		q->of->says = read_answer(round->r, body);
	round->under_way--;
	if (!round->sending) /* else send() sees it itself */
		send(round);
}

static void ask_one(struct round *round, struct told *of)
{
	const struct api_config *c = &round->r->api->config;
	struct question         *q = arena_alloc(request_arena(round->r), sizeof *q);
	char                     id[UUID_TEXT + 1];

	*q = (struct question){ round, of };
	round->under_way++;
	c->ask(c->ctx, of->member.address, "/internal/overview/",
	       str_of(uuid_text(of->member.id, id)), ASK_MS, on_told, q);
}

static void send(struct round *round)
{
	round->sending = true;
	while (round->next < round->all.n && round->under_way < AT_ONCE) {
		struct told *t = &round->all.items[round->next++];

		if (t->asked)
			ask_one(round, t);
	}
	round->sending = false;
	if (round->under_way == 0)
		round->done(round->r, &round->all);
}

void overview_ask(struct request *r, const struct member *members, size_t n,
                  void (*done)(struct request *r, const struct told_all *all))
{
	struct round       *round = arena_alloc(request_arena(r), sizeof *round);
	struct engine_stats me;
	struct buf          here = { 0 };

	engine_stats(r->api->engine, &me);
	overview_here(r, &here);
	*round = (struct round){ .r = r, .done = done };
	round->all.items = arena_alloc(request_arena(r), (n + 1) * sizeof *round->all.items);
	round->all.n = n;
	for (size_t i = 0; i < n; i++) {
		struct told *t = &round->all.items[i];
		bool         is_me = uuid_eq(members[i].id, me.me);

		*t = (struct told){ .member = members[i] };
		t->member.address = arena_str(request_arena(r), members[i].address);
		t->asked = members[i].state == MEMBER_LIVE && !is_me && r->api->config.ask != NULL;
		if (is_me)
			t->says = read_answer(r, buf_view(&here));
	}
	buf_fini(&here);
	send(round);
}

/* ---- adding up ------------------------------------------------------------------------------ */

static double number_of(const struct json *object, const char *name)
{
	const struct json *v = json_get(object, name);
	char               text[64];

	return v != NULL && v->type == JSON_NUMBER
	               ? strtod(str_cstr(v->raw, text, sizeof text), NULL)
	               : 0;
}

static struct str text_of(struct request *r, const struct json *object, const char *name)
{
	const struct json *v = json_get(object, name);

	return v != NULL && v->type == JSON_STRING ? json_text(v, request_arena(r))
	                                           : (struct str){ 0 };
}

enum { TARGETS_MAX = 200 };

/* One participant, as all see it whose calls to it pause. */
struct target {
	struct str name, breaker;
	struct str since, until; /* times as text: the earliest, the latest */
	unsigned   replicas;
	uint64_t   put_off;
};

static int badness(struct str breaker)
{
	return str_is(breaker, "open") ? 2 : str_is(breaker, "half_open") ? 1 : 0;
}

static void add_target(struct request *r, const struct json *p, struct target *targets, size_t *n)
{
	struct str name = text_of(r, p, "name"), breaker = text_of(r, p, "breaker");
	struct str since = text_of(r, p, "since"), until = text_of(r, p, "throttled_until");
	size_t     i = 0;

	while (i < *n && !str_eq(targets[i].name, name))
		i++;
	if (i == *n) {
		if (*n == TARGETS_MAX)
			return;
		targets[(*n)++] = (struct target){ .name = name, .breaker = breaker };
	}
	struct target *t = &targets[i];
	if (badness(breaker) > badness(t->breaker))
		t->breaker = breaker;
	if (since.n > 0 && (t->since.n == 0 || str_cmp(since, t->since) < 0))
		t->since = since;
	if (until.n > 0 && (t->until.n == 0 || str_cmp(until, t->until) > 0))
		t->until = until;
	t->replicas++;
	t->put_off += (uint64_t)number_of(p, "put_off");
}

static void show_time_text(struct buf *out, const char *name, struct str time)
{
	if (time.n > 0)
		show_text(out, name, time);
	else
		buf_fmt(out, ",\"%s\":null", name);
}

static void show_targets(struct request *r, const struct told_all *all, struct buf *out)
{
	struct target *targets = arena_alloc(request_arena(r), TARGETS_MAX * sizeof *targets);
	size_t         n = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct json *list =
			all->items[i].says ? json_get(all->items[i].says, "participants") : NULL;

		for (const struct json *p = list ? list->first : NULL; p; p = p->next)
			add_target(r, p, targets, &n);
	}
	buf_cstr(out, ",\"participants\":[");
	for (size_t i = 0; i < n; i++) {
		const struct target *t = &targets[i];

		buf_cstr(out, i > 0 ? ",\n{\"name\":" : "{\"name\":");
		buf_json(out, t->name);
		show_text(out, "breaker", t->breaker);
		show_time_text(out, "since", t->since);
		show_time_text(out, "throttled_until", t->until);
		buf_fmt(out, ",\"put_off\":%llu,\"replicas\":%u}", (unsigned long long)t->put_off,
		        t->replicas);
	}
	buf_char(out, ']');
}

static void show_silent(const struct told_all *all, struct buf *out)
{
	char id[UUID_TEXT + 1];
	bool first = true;

	buf_cstr(out, ",\"silent\":[");
	for (size_t i = 0; i < all->n; i++) {
		if (!all->items[i].asked || all->items[i].says != NULL)
			continue;
		buf_fmt(out, "%s\"%s\"", first ? "" : ",", uuid_text(all->items[i].member.id, id));
		first = false;
	}
	buf_char(out, ']');
}

static void show_chaos(const struct told_all *all, struct buf *out)
{
	char id[UUID_TEXT + 1];
	bool first = true;

	buf_cstr(out, ",\"chaos\":[");
	for (size_t i = 0; i < all->n; i++) {
		if (all->items[i].says == NULL || number_of(all->items[i].says, "chaos") <= 0)
			continue;
		buf_fmt(out, "%s\"%s\"", first ? "" : ",", uuid_text(all->items[i].member.id, id));
		first = false;
	}
	buf_char(out, ']');
}

void overview_sum(struct request *r, const struct told_all *all, struct buf *out)
{
	static const char *const RATES[] = { "begun", "ended", "calls" };
	double                   sums[3] = { 0 }, owned = 0;
	unsigned                 answered = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct json *says = all->items[i].says;

		if (says == NULL)
			continue;
		answered++;
		owned += number_of(says, "owned");
		for (int k = 0; k < 3; k++)
			sums[k] += number_of(json_get(says, "rates"), RATES[k]);
	}
	buf_fmt(out, "{\"answered\":%u", answered);
	show_silent(all, out);
	show_chaos(all, out);
	buf_fmt(out, ",\"owned\":%.0f,\"rates\":{", owned);
	for (int k = 0; k < 3; k++)
		buf_fmt(out, "%s\"%s\":%.1f", k > 0 ? "," : "", RATES[k], sums[k]);
	buf_char(out, '}');
	show_targets(r, all, out);
	buf_char(out, '}');
}
