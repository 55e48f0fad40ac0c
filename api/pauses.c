/* SPDX-License-Identifier: Apache-2.0
 * pauses.c - what people stop until they let it go on: starts of a definition, calls to a participant, a replica.
 */
#include "api/audit.h"
#include "api/show.h"

#include <string.h>

struct wish {
	struct pause_row row;
	struct person    person;
	struct str       name;   /* as it was given */
	bool             pause, dry;
	enum log_result  result;  /* of the write */
	bool             is_known, changed;
};

static const char *const DRY_ONLY[] = { "dry_run", NULL };

void show_pause(struct request *r, struct buf *out, enum pause_kind kind, struct str name)
{
	const struct api_config *c = &r->api->config;
	const struct pause_row  *row = c->pause_of ? c->pause_of(c->ctx, kind, name) : NULL;

	if (!row) {
		buf_cstr(out, ",\"paused\":null");
		return;
	}
	buf_cstr(out, ",\"paused\":{\"by\":");
	buf_json(out, row->actor);
	show_text(out, "reason", row->reason);
	show_time(out, "since", row->since);
	buf_char(out, '}');
}

/* ---- answers ------------------------------------------------------------------------- */

static const char *action_of(const struct wish *w)
{
	if (w->row.kind == PAUSE_REPLICA)
		return "drain";
	return w->pause ? "pause" : "resume";
}

static void show_wish(struct buf *out, const struct wish *w, bool changed)
{
	buf_fmt(out, "{\"action\":\"%s\",\"kind\":\"%s\"", action_of(w), pause_kind_name(w->row.kind));
	show_text(out, "name", w->name);
	buf_fmt(out, ",\"paused\":%s,\"changed\":%s}", w->pause ? "true" : "false", changed ? "true" : "false");
}

static void answer_unknown(struct request *r, const struct wish *w)
{
	switch (w->row.kind) {
	case PAUSE_DEFINITION:
		request_problem(r, PROBLEM_DEFINITION_UNKNOWN, NULL);
		return;
	case PAUSE_PARTICIPANT:
		request_problem(r, PROBLEM_PARTICIPANT_UNKNOWN, NULL);
		return;
	case PAUSE_REPLICA:
		request_problem(r, PROBLEM_REPLICA_UNKNOWN, NULL);
		return;
	}
}

static enum deed_kind deed_of(const struct wish *w)
{
	switch (w->row.kind) {
	case PAUSE_DEFINITION:
		return w->pause ? DEED_DEFINITION_PAUSE : DEED_DEFINITION_RESUME;
	case PAUSE_PARTICIPANT:
		return w->pause ? DEED_PARTICIPANT_PAUSE : DEED_PARTICIPANT_RESUME;
	case PAUSE_REPLICA:
		break;
	}
	return DEED_REPLICA_DRAIN;
}

static void answer(struct request *r, const struct wish *w, bool changed)
{
	struct buf body = { 0 };

	if (changed && !w->dry)
		r->api->counters.deeds[deed_of(w)]++;
	if (w->dry)
		buf_cstr(&body, "{\"dry_run\":true,\"would\":");
	show_wish(&body, w, changed);
	buf_cstr(&body, w->dry ? ",\"calls\":[]}\n" : "\n");
	request_answer(r, 200, &body);
}

static void on_heard(void *arg)
{
	struct request    *r = arg;
	const struct wish *w = r->own;

	if (w->result != LOG_DONE)
		request_away(r, w->result);
	else if (!w->is_known)
		answer_unknown(r, w);
	else
		answer(r, w, w->changed);
}

/* Answered when this replica obeys. Also where the answer was lost: then it may be there. */
static void on_paused(void *arg, enum log_result result, bool is_known, bool changed)
{
	struct request          *r = arg;
	struct wish             *w = r->own;
	const struct api_config *c = &r->api->config;

	w->result = result;
	w->is_known = is_known;
	w->changed = changed;
	if (c->pauses_changed)
		c->pauses_changed(c->ctx, on_heard, r);
	else
		on_heard(r);
}

static void on_looked(void *arg, enum log_result result, bool is_known, bool is_paused)
{
	struct request    *r = arg;
	const struct wish *w = r->own;

	if (result != LOG_DONE)
		request_away(r, result);
	else if (!is_known)
		answer_unknown(r, w);
	else
		answer(r, w, is_paused != w->pause);
}

/* ---- asking --------------------------------------------------------------------------- */

static void write(struct request *r)
{
	struct store_port *store = &r->api->store;
	struct wish       *w = r->own;
	struct deed        deed = person_deed(r, &w->person, pause_kind_name(w->row.kind), w->name, action_of(w));

	w->row.actor = w->person.actor;
	w->row.reason = w->person.reason;
	if (w->dry)
		store->pause_look(store->ctx, &w->row, on_looked, r);
	else if (w->pause)
		store->pause(store->ctx, &w->row, &deed, on_paused, r);
	else
		store->unpause(store->ctx, &w->row, &deed, on_paused, r);
}

/* What a definition is like may be looked at before it is paused; nothing else here has a version. */
static void on_newest(void *arg, enum log_result result, const struct definition_row *rows, size_t n)
{
	struct request *r = arg;

	if (result != LOG_DONE)
		request_away(r, result);
	else if (n > 0 && !etag_fits(&r->if_match, rows[0].version))
		request_problem(r, PROBLEM_VERSION_CONFLICT, "The newest version is %u.", rows[0].version);
	else
		write(r);
}

static void ask(struct request *r, enum pause_kind kind, struct str name, bool pause)
{
	static const char *const MEMBERS[] = { "reason", "actor", NULL };
	struct store_port       *store = &r->api->store;
	struct wish             *w = arena_alloc(request_arena(r), sizeof *w);

	r->own = w;
	*w = (struct wish){ .row = { .kind = kind, .name = name }, .name = request_param(r, 0), .pause = pause };
	if (!request_only(r, DRY_ONLY) || !request_dry_run(r, &w->dry) || !request_json(r, true))
		return;
	request_members(r, MEMBERS);
	person_read(r, &w->person);
	if (!request_is_clean(r))
		return;
	if (r->if_match.given && kind == PAUSE_DEFINITION)
		store->definition_rows(store->ctx, name, 0, on_newest, r);
	else if (r->if_match.given && !r->if_match.any)
		request_problem(r, PROBLEM_BAD_REQUEST, "This has no version: send no If-Match.");
	else
		write(r);
}

static void ask_definition(struct request *r, bool pause)
{
	if (given_name_is_valid(request_param(r, 0)))
		ask(r, PAUSE_DEFINITION, request_param(r, 0), pause);
	else
		request_problem(r, PROBLEM_DEFINITION_UNKNOWN, NULL);
}

void handle_definition_pause(struct request *r)
{
	ask_definition(r, true);
}

void handle_definition_resume(struct request *r)
{
	ask_definition(r, false);
}

/* A host is named with its port, as GET /v1/participants names targets. */
static bool host_is_valid(struct str text)
{
	const char *colon = text.p != NULL ? memrchr(text.p, ':', text.n) : NULL;
	uint64_t    port;

	if (!colon || colon == text.p || text.n > 280)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == '/' || (text.p[i] >= 'A' && text.p[i] <= 'Z'))
			return false;
	return text_to_u64((struct str){ colon + 1, text.n - (size_t)(colon + 1 - text.p) }, &port) && port >= 1 &&
	       port <= 65535;
}

static void ask_participant(struct request *r, bool pause)
{
	struct str name = request_param(r, 0);
	struct buf target = { 0 };

	if (given_name_is_valid(name)) {
		buf_cstr(&target, "participant:");
		buf_str(&target, name);
		name = request_keep(r, &target);
		ask(r, PAUSE_PARTICIPANT, name, pause);
	} else if (host_is_valid(name)) {
		ask(r, PAUSE_PARTICIPANT, name, pause);
	} else {
		request_problem(r, PROBLEM_PARTICIPANT_UNKNOWN, NULL);
	}
}

void handle_participant_pause(struct request *r)
{
	ask_participant(r, true);
}

void handle_participant_resume(struct request *r)
{
	ask_participant(r, false);
}

/* It finds its own name among the pauses, and leaves. */
void handle_replica_drain(struct request *r)
{
	struct uuid id;
	char       *text = arena_alloc(request_arena(r), UUID_TEXT + 1);

	if (uuid_parse(request_param(r, 0), &id))
		ask(r, PAUSE_REPLICA, str_of(uuid_text(id, text)), true);
	else
		request_problem(r, PROBLEM_REPLICA_UNKNOWN, NULL);
}
