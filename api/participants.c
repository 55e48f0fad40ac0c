/* SPDX-License-Identifier: Apache-2.0 */
#include "api/audit.h"
#include "api/places.h"
#include "api/show.h"

#include <stdio.h>

static const char *const NOTHING[] = { NULL };
static const char *const WHO_OR_DRY[] = { "reason", "actor", "dry_run", NULL };

enum { IN_FLIGHT_MAX = 100000, ASK_MS = 1000 };

static void show_participant(struct request *r, struct buf *out, const struct participant_row *p)
{
	struct buf target = { 0 };

	buf_cstr(&target, "participant:");
	buf_str(&target, p->name);
	buf_cstr(out, "{\"name\":");
	buf_json(out, p->name);
	buf_fmt(out, ",\"version\":%llu", (unsigned long long)p->version);
	show_text(out, "base_url", p->base_url);
	if (p->max_in_flight)
		buf_fmt(out, ",\"max_in_flight\":%u", p->max_in_flight);
	if (p->breaker_percent >= 0)
		buf_fmt(out, ",\"breaker_percent\":%d", p->breaker_percent);
	if (p->retry_percent >= 0)
		buf_fmt(out, ",\"retry_percent\":%d", p->retry_percent);
	if (p->secret.n)
		show_text(out, "secret", p->secret);
	show_pause(r, out, PAUSE_PARTICIPANT, buf_view(&target));
	buf_fini(&target);
	buf_char(out, '}');
}

static void on_put(void *arg, enum log_result result, uint64_t version)
{
	struct request          *r = arg;
	struct participant_row  *p = r->own;
	const struct api_config *c = &r->api->config;
	struct buf               body = { 0 };

	/* Also where the answer was lost: then it may be there. */
	if (c->participants_changed)
		c->participants_changed(c->ctx);
	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	if (version == 0) {
		request_problem(r, PROBLEM_VERSION_CONFLICT, NULL);
		return;
	}
	p->version = version;
	r->api->counters.deeds[DEED_PARTICIPANT_REGISTER]++;
	request_etag(r, version);
	show_participant(r, &body, p);
	buf_char(&body, '\n');
	request_answer(r, 200, &body);
}

static void add_change(struct buf *out, const char *name, bool differs)
{
	if (differs)
		buf_fmt(out, "%s\"%s\"", out->p[out->n - 1] == '[' ? "" : ",", name);
}

static void on_known(void *arg, enum log_result result, const struct participant_row *rows, size_t n)
{
	static const struct participant_row NONE = { .breaker_percent = -1, .retry_percent = -1 };
	struct request                     *r = arg;
	const struct participant_row       *p = r->own, *was = &NONE;
	struct buf                          body = { 0 };

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (str_eq(rows[i].name, p->name))
			was = &rows[i];
	if (r->if_match.given && (was == &NONE || !etag_fits(&r->if_match, was->version))) {
		request_problem(r, PROBLEM_VERSION_CONFLICT, NULL);
		return;
	}
	show_registration(&body, "participant", p->name, was->version, was->version + 1);
	buf_cstr(&body, ",\"changes\":[");
	add_change(&body, "base_url", !str_eq(was->base_url, p->base_url));
	add_change(&body, "max_in_flight", was->max_in_flight != p->max_in_flight);
	add_change(&body, "breaker_percent", was->breaker_percent != p->breaker_percent);
	add_change(&body, "retry_percent", was->retry_percent != p->retry_percent);
	add_change(&body, "secret", !str_eq(was->secret, p->secret));
	buf_cstr(&body, "]},\"calls\":[]}\n");
	request_answer(r, 200, &body);
}

static void read_percent(struct request *r, const char *name, int *out)
{
	const struct json *given = json_get(r->body, name);
	char               pointer[64];
	uint64_t           n;

	*out = -1;
	if (!given)
		return;
	if (json_u64(given, &n) && n <= 100) {
		*out = (int)n;
		return;
	}
	snprintf(pointer, sizeof pointer, "/%s", name);
	request_error(r, pointer, "a whole number from 0 to 100 is wanted");
}

static void read_participant(struct request *r, struct participant_row *p)
{
	static const char *const MEMBERS[] = { "base_url", "max_in_flight", "breaker_percent", "retry_percent", "secret", NULL };
	struct json             *limit = json_get(r->body, "max_in_flight");
	uint64_t                 n;

	request_members(r, MEMBERS);
	request_text(r, "base_url", &p->base_url);
	if (!base_url_is_valid(p->base_url))
		request_error(r, "/base_url", "http(s)://host[:port][/path] without user, query and fragment is wanted");
	read_percent(r, "breaker_percent", &p->breaker_percent);
	read_percent(r, "retry_percent", &p->retry_percent);
	request_text(r, "secret", &p->secret);
	if (p->secret.n && !given_name_is_valid(p->secret))
		request_error(r, "/secret", "the name of a secret file is wanted: letters, digits, - and _");
	if (!limit)
		return;
	if (json_u64(limit, &n) && n >= 1 && n <= IN_FLIGHT_MAX)
		p->max_in_flight = (uint32_t)n;
	else
		request_error(r, "/max_in_flight", "a whole number from 1 to %d is wanted", IN_FLIGHT_MAX);
}

/* No version is 0, nor the largest. */
static int64_t wanted_version(const struct etag *e)
{
	if (!e->given)
		return PARTICIPANT_PUT_ALWAYS;
	if (e->any)
		return PARTICIPANT_PUT_KNOWN;
	return e->version >= 1 && e->version <= INT64_MAX ? (int64_t)e->version : INT64_MAX;
}

void handle_participant_put(struct request *r)
{
	struct store_port      *store = &r->api->store;
	struct participant_row *p = arena_alloc(request_arena(r), sizeof *p);
	struct person           person = { 0 };
	struct deed             deed;
	bool                    dry;

	r->own = p;
	p->name = request_param(r, 0);
	if (!given_name_is_valid(p->name)) {
		request_problem(r, PROBLEM_BAD_REQUEST,
		                "A participant's name is a letter, then letters, digits, - _ or ., at most %d in all.",
		                NAME_MAX_BYTES);
		return;
	}
	if (!request_only(r, WHO_OR_DRY) || !request_dry_run(r, &dry) || !request_json(r, false) ||
	    !person_read_query(r, &person))
		return;
	read_participant(r, p);
	if (!request_is_clean(r))
		return;
	if (!places_check_url(r, "/base_url", p->base_url)) {
		request_problem(r, PROBLEM_URL_REFUSED, NULL);
		return;
	}
	if (dry) {
		store->participant_list(store->ctx, on_known, r);
		return;
	}
	deed = person_deed(r, &person, "participant", p->name, "register");
	deed.detail = buf_view(&r->x->body);
	store->participant_put(store->ctx, p, wanted_version(&r->if_match), &deed, on_put, r);
}

static void show_breaker(struct buf *out, const struct api_target *t, int64_t now)
{
	buf_fmt(out, ",\"breaker\":\"%s\"", t->breaker);
	show_time(out, "breaker_since", t->breaker_ms > 0 ? now - t->breaker_ms : 0);
	show_time(out, "throttled_until", t->quiet_ms > 0 ? now + t->quiet_ms : 0);
	buf_fmt(out, ",\"recent_calls\":%u,\"recent_unknown\":%u,\"error_rate\":%.3f,\"opened\":%llu,\"put_off\":%llu",
	        t->recent, t->recent_unknown, t->recent ? (double)t->recent_unknown / t->recent : 0.0,
	        (unsigned long long)t->opened, (unsigned long long)t->put_off);
}

struct targets {
	struct request *r;
	struct buf     *out;
};

static void show_target(void *arg, const struct api_target *t)
{
	const struct targets *to = arg;
	struct buf           *out = to->out;

	if (t->name.n == 0)
		return;
	if (out->p[out->n - 1] != '[')
		buf_cstr(out, ",\n");
	buf_cstr(out, "{\"name\":");
	buf_json(out, t->name);
	show_breaker(out, t, request_now(to->r));
	buf_fmt(out, ",\"p50_ms\":%.3f,\"p99_ms\":%.3f", (double)t->p50_us / 1000.0, (double)t->p99_us / 1000.0);
	buf_fmt(out, ",\"in_flight\":%u,\"limit\":%u,\"queued\":%llu,\"calls\":%llu,\"failures\":%llu,"
	             "\"rejected\":%llu,\"mean_latency_ms\":%.3f",
	        t->in_flight, t->limit, (unsigned long long)t->queued, (unsigned long long)t->calls,
	        (unsigned long long)t->failures, (unsigned long long)t->rejected,
	        t->calls ? (double)t->latency_us->sum / 1000.0 / (double)t->calls : 0.0);
	show_pause(to->r, out, PAUSE_PARTICIPANT, t->name);
	buf_char(out, '}');
}

static void on_list(void *arg, enum log_result result, const struct participant_row *rows, size_t n)
{
	struct request          *r = arg;
	const struct api_config *c = &r->api->config;
	struct buf               body = { 0 };
	struct engine_stats      me;
	char                     id[UUID_TEXT + 1];

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	buf_cstr(&body, "{\"items\":[");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_cstr(&body, ",\n");
		show_participant(r, &body, &rows[i]);
	}
	/* What this replica calls, by name or by host and port. */
	buf_cstr(&body, "],\n\"targets\":[");
	if (c->targets)
		c->targets(c->ctx, show_target, &(struct targets){ r, &body });
	engine_stats(r->api->engine, &me);
	buf_fmt(&body, "],\n\"replica\":\"%s\",\"next_cursor\":null}\n", uuid_text(me.me, id));
	request_answer(r, 200, &body);
}

static void list_here(struct request *r)
{
	struct store_port *store = &r->api->store;

	store->participant_list(store->ctx, on_list, r);
}

/* ---- as another replica sees them --------------------------------------------------------------- */

static void on_asked(void *arg, int status, struct str body)
{
	struct request *r = arg;
	struct buf      copy = { 0 };

	if (status == 200) {
		buf_str(&copy, body);
		request_answer(r, 200, &copy);
		return;
	}
	request_problem(r, PROBLEM_NOT_LIVE, "That replica does not answer.");
}

static void on_members(void *arg, enum log_result result, const struct member *members, size_t n)
{
	struct request          *r = arg;
	const struct api_config *c = &r->api->config;
	const struct str         wanted = *query_get(&r->query, "replica");
	char                     id[UUID_TEXT + 1];

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (members[i].state == MEMBER_LIVE && str_is(wanted, uuid_text(members[i].id, id)) && c->ask != NULL) {
			c->ask(c->ctx, members[i].address, "/internal/participants/", wanted, ASK_MS, on_asked, r);
			return;
		}
	request_problem(r, PROBLEM_REPLICA_UNKNOWN, NULL);
}

void handle_participant_list(struct request *r)
{
	static const char *const KNOWN[] = { "replica", NULL };
	struct log_port         *log = &r->api->ports.log;
	const struct str        *replica;

	if (!request_only(r, KNOWN))
		return;
	replica = query_get(&r->query, "replica");
	if (replica == NULL || request_is_me(r, *replica))
		list_here(r);
	else
		log->members(log->ctx, on_members, r);
}

void handle_replica_participants(struct request *r)
{
	if (!request_only(r, NOTHING))
		return;
	if (request_is_me(r, request_param(r, 0)))
		list_here(r);
	else
		request_problem(r, PROBLEM_REPLICA_UNKNOWN, "That life of this replica is over.");
}
