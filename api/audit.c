/* SPDX-License-Identifier: Apache-2.0 */
#include "api/audit.h"
#include "api/show.h"

/* ---- who asks ---------------------------------------------------------------------- */

static struct str highest_role(const struct principal *p)
{
	static const enum role ORDER[] = { ROLE_ADMIN, ROLE_OPERATOR, ROLE_SERVICE, ROLE_READER, ROLE_REPLICA };

	if (!p->is_known)
		return STR("anonymous");
	for (size_t i = 0; i < sizeof ORDER / sizeof ORDER[0]; i++)
		if (p->roles & 1u << ORDER[i])
			return str_of(role_name(ORDER[i]));
	return STR("none");
}

static void settle_actor(struct request *r, struct person *p)
{
	const struct principal *who = request_principal(r);

	p->role = highest_role(who);
	if (who->is_known)
		p->actor = who->name;
	else if (p->actor.n < 1 || p->actor.n > ACTOR_BYTES_MAX)
		request_error(r, "/actor", "a name of at most %d bytes is wanted", ACTOR_BYTES_MAX);
}

void person_read(struct request *r, struct person *p)
{
	p->actor = STR("operator");
	request_text(r, "actor", &p->actor);
	request_text(r, "reason", &p->reason);
	if (p->reason.n < 1 || p->reason.n > REASON_BYTES_MAX)
		request_error(r, "/reason", "say why, in at most %d bytes", REASON_BYTES_MAX);
	settle_actor(r, p);
}

bool person_read_query(struct request *r, struct person *p)
{
	const struct str *actor = query_get(&r->query, "actor"), *reason = query_get(&r->query, "reason");

	p->actor = actor ? *actor : STR("operator");
	p->reason = reason ? *reason : (struct str){ 0 };
	settle_actor(r, p);
	if (p->reason.n <= REASON_BYTES_MAX && r->errors.n == 0)
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST, "actor has at most %d bytes, reason at most %d.", ACTOR_BYTES_MAX,
	                REASON_BYTES_MAX);
	return false;
}

struct deed person_deed(const struct request *r, const struct person *p, const char *kind, struct str target,
                        const char *action)
{
	struct engine_stats stats;

	engine_stats(r->api->engine, &stats);
	return (struct deed){ .actor = p->actor, .role = p->role, .reason = p->reason, .kind = str_of(kind),
		              .target = target, .action = str_of(action), .request_id = r->request_id,
		              .replica = stats.me };
}

bool request_dry_run(struct request *r, bool *dry)
{
	const struct str *text = query_get(&r->query, "dry_run");

	*dry = text && str_is(*text, "true");
	if (!text || *dry || str_is(*text, "false"))
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST, "dry_run is true or false.");
	return false;
}

void show_registration(struct buf *out, const char *kind, struct str name, uint64_t before, uint64_t after)
{
	buf_fmt(out, "{\"dry_run\":true,\"would\":{\"action\":\"register\",\"kind\":\"%s\"", kind);
	show_text(out, "name", name);
	if (before)
		buf_fmt(out, ",\"before\":%llu", (unsigned long long)before);
	else
		buf_cstr(out, ",\"before\":null");
	buf_fmt(out, ",\"after\":%llu", (unsigned long long)after);
}

/* ---- GET /v1/audit -------------------------------------------------------------------- */

struct page {
	struct deed_filter filter;
	uint64_t           filters; /* hash, for the cursor */
	unsigned           limit;
};

static void show_optional(struct buf *out, const char *name, struct str value)
{
	if (value.n)
		show_text(out, name, value);
}

static void show_deed(struct buf *out, const struct deed_row *row)
{
	const struct deed *d = &row->deed;
	char               replica[UUID_TEXT + 1];

	buf_fmt(out, "{\"number\":%llu", (unsigned long long)row->number);
	show_time(out, "at", row->at);
	show_text(out, "actor", d->actor);
	show_text(out, "role", d->role);
	show_text(out, "action", d->action);
	show_text(out, "kind", d->kind);
	show_text(out, "target", d->target);
	show_optional(out, "step", d->step);
	show_optional(out, "op", d->op);
	show_optional(out, "reason", d->reason);
	if (d->before)
		buf_fmt(out, ",\"before\":%llu", (unsigned long long)d->before);
	if (d->after)
		buf_fmt(out, ",\"after\":%llu", (unsigned long long)d->after);
	show_optional(out, "request_id", d->request_id);
	if (!uuid_is_nil(d->replica))
		show_text(out, "replica", str_of(uuid_text(d->replica, replica)));
	if (d->detail.n && json_is_valid(d->detail)) {
		buf_cstr(out, ",\"detail\":");
		buf_str(out, d->detail);
	}
	buf_char(out, '}');
}

static void on_deeds(void *arg, enum log_result result, const struct deed_row *rows, size_t n, uint64_t next)
{
	struct request    *r = arg;
	const struct page *p = r->own;
	struct buf         body = { 0 }, after = { 0 };

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		request_item(&body);
		show_deed(&body, &rows[i]);
	}
	if (next)
		buf_u64(&after, next);
	request_answer_page(r, &body, p->filters, buf_view(&after));
	buf_fini(&after);
}

/* gid, definition and participant are targets by their kind. */
static bool read_target(struct request *r, struct deed_filter *f)
{
	static const char *const KINDS[] = { "definition", "participant", "replica", "bulk" };
	const struct str        *gid = query_get(&r->query, "gid");
	unsigned                 n = gid != NULL;

	if (gid)
		f->kind = STR("transaction"), f->target = *gid;
	for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
		const struct str *name = query_get(&r->query, KINDS[i]);

		if (!name)
			continue;
		n++;
		f->kind = str_of(KINDS[i]);
		f->target = *name;
	}
	if (n == 0 || (n == 1 && f->target.n > 0))
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST, "At most one of gid, definition, participant, replica and bulk, not empty.");
	return false;
}

static bool read_time(struct request *r, const char *name, int64_t *at)
{
	const struct str *text = query_get(&r->query, name);
	int64_t           ms;

	if (!text || text_to_time(*text, at))
		return true;
	if (text_to_ms(*text, &ms)) {
		*at = request_now(r) - ms;
		return true;
	}
	request_problem(r, PROBLEM_BAD_REQUEST, "%s is a time like 2026-01-31T12:00:00Z, or a duration like 2h: so long ago.",
	                name);
	return false;
}

/* What the engine writes is named as its commands are, the rest as the metrics have it; a bulk
 * action is started under the name of what it does. */
static bool is_action(struct str text)
{
#define X(name, kind, action) action,
	static const char *const DEEDS_HERE[] = { DEEDS(X) };
#undef X

	for (int i = 0; i < COMMAND_COUNT; i++)
		if (str_is(text, command_name((enum command_kind)i)))
			return true;
	for (size_t i = 0; i < sizeof DEEDS_HERE / sizeof DEEDS_HERE[0]; i++)
		if (i != DEED_BULK_START && str_is(text, DEEDS_HERE[i]))
			return true;
	return false;
}

static bool read_action(struct request *r, struct deed_filter *f)
{
	const struct str *action = query_get(&r->query, "action");

	if (action == NULL)
		return true;
	f->action = *action;
	if (is_action(*action))
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST, "action is one that the audit has, like pause, retry or register.");
	return false;
}

static bool read_filter(struct request *r, struct page *p)
{
	const struct str *actor = query_get(&r->query, "actor");
	const struct str *cursor = query_get(&r->query, "cursor");
	struct str        below;

	if (actor)
		p->filter.actor = *actor;
	if (!read_target(r, &p->filter) || !read_action(r, &p->filter) || !read_time(r, "since", &p->filter.since) ||
	    !read_time(r, "until", &p->filter.until))
		return false;
	for (size_t i = 0; i < r->query.n; i++)
		if (!str_is(r->query.name[i], "cursor") && !str_is(r->query.name[i], "limit"))
			p->filters += str_hash(r->query.value[i], str_hash(r->query.name[i], 1));
	if (!cursor || (cursor_read(*cursor, p->filters, request_arena(r), &below) &&
	                text_to_u64(below, &p->filter.below)))
		return true;
	request_problem(r, PROBLEM_BAD_REQUEST,
	                "The cursor is not one of ours, or was made for other filters; start without it.");
	return false;
}

void handle_audit_list(struct request *r)
{
	static const char *const KNOWN[] = { "gid", "definition", "participant", "replica", "bulk", "actor", "action",
		                             "since", "until", "limit", "cursor", NULL };
	struct store_port       *store = &r->api->store;
	struct page             *p = arena_alloc(request_arena(r), sizeof *p);

	r->own = p;
	if (request_only(r, KNOWN) && request_limit(r, &p->limit) && read_filter(r, p))
		store->audit(store->ctx, &p->filter, p->limit, on_deeds, r);
}
