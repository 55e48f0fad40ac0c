/* SPDX-License-Identifier: Apache-2.0 */
#include "api/audit.h"
#include "api/places.h"
#include "api/show.h"

#include "coordinator/base/digest.h"
#include "participants/definition.h"

#include <string.h>

static const char *const NOTHING[] = { NULL };
static const char *const WHO_OR_DRY[] = { "reason", "actor", "dry_run", NULL };

struct put {
	struct str name;
	uint8_t    hash[32];
	struct str warnings; /* members of a JSON array */
	struct person person;
	bool       dry;
};

/* ---- registering ------------------------------------------------------------------ */

/* White space does not make another content. text is valid JSON. */
static struct str squeeze(struct str text, struct arena *arena)
{
	char  *to = arena_alloc(arena, text.n + 1);
	size_t n = 0;
	bool   in_string = false;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (!in_string && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
			continue;
		to[n++] = c;
		if (in_string && c == '\\')
			to[n++] = text.p[++i];
		else if (c == '"')
			in_string = !in_string;
	}
	return (struct str){ to, n };
}

static struct str show_findings(const struct findings *f, bool warnings, struct arena *arena)
{
	struct buf members = { 0 };
	struct str copy;

	for (size_t i = 0; i < f->n; i++)
		if (f->items[i].warning == warnings)
			problem_add_error(&members, f->items[i].pointer, f->items[i].detail);
	copy = arena_str(arena, buf_view(&members));
	buf_fini(&members);
	return copy;
}

static void on_put(void *arg, enum log_result result, bool created, uint32_t version)
{
	struct request   *r = arg;
	const struct put *p = r->own;
	struct buf        body = { 0 };

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	r->api->counters.deeds[DEED_DEFINITION_REGISTER] += created;
	request_header(r, "Location", "/v1/definitions/%.*s/versions/%u", (int)p->name.n, p->name.p, version);
	request_etag(r, version);
	buf_cstr(&body, "{\"name\":");
	buf_json(&body, p->name);
	buf_fmt(&body, ",\"version\":%u,\"warnings\":[", version);
	buf_str(&body, p->warnings);
	buf_cstr(&body, "]}\n");
	request_answer(r, created ? 201 : 200, &body);
}

static void put(struct request *r)
{
	const struct put  *p = r->own;
	struct store_port *store = &r->api->store;
	struct deed        deed = person_deed(r, &p->person, "definition", p->name, "register");

	store->definition_put(store->ctx, p->name, buf_view(&r->x->body), p->hash, &deed, on_put, r);
}

static void answer_dry(struct request *r, const struct definition_row *newest)
{
	const struct put *p = r->own;
	uint32_t          before = newest ? newest->version : 0;
	bool              is_same = newest && memcmp(newest->hash, p->hash, sizeof p->hash) == 0;
	struct buf        body = { 0 };

	show_registration(&body, "definition", p->name, before, is_same ? before : before + 1);
	buf_cstr(&body, ",\"warnings\":[");
	buf_str(&body, p->warnings);
	buf_cstr(&body, "]},\"calls\":[]}\n");
	request_answer(r, 200, &body);
}

/* If-Match tells a person that somebody else registered meanwhile. Versions are
 * immutable, so that the moment between looking and writing can lose nothing. */
static void on_newest(void *arg, enum log_result result, const struct definition_row *rows, size_t n)
{
	struct request   *r = arg;
	const struct put *p = r->own;

	if (result != LOG_DONE)
		request_away(r, result);
	else if (r->if_match.given && (n == 0 || !etag_fits(&r->if_match, rows[0].version)))
		request_problem(r, PROBLEM_VERSION_CONFLICT, "The newest version is %u.", n ? rows[0].version : 0);
	else if (p->dry)
		answer_dry(r, n ? &rows[0] : NULL);
	else
		put(r);
}

void handle_definition_put(struct request *r)
{
	struct findings    findings = { .arena = request_arena(r) };
	struct store_port *store = &r->api->store;
	struct put        *p = arena_alloc(request_arena(r), sizeof *p);
	struct str         text;

	p->name = request_param(r, 0);
	r->own = p;
	if (!given_name_is_valid(p->name)) {
		request_problem(r, PROBLEM_BAD_REQUEST,
		                "A definition's name is a letter, then letters, digits, - _ or ., at most %d in all.",
		                NAME_MAX_BYTES);
		return;
	}
	if (!request_only(r, WHO_OR_DRY) || !request_dry_run(r, &p->dry) || !person_read_query(r, &p->person) ||
	    !request_json(r, false))
		return;
	text = buf_view(&r->x->body);
	struct definition *d = definition_compile(text, DEFINITION_NAMED, p->name, &findings);
	if (!d) {
		buf_str(&r->errors, show_findings(&findings, false, request_arena(r)));
		request_problem(r, findings.too_many_steps ? PROBLEM_TOO_MANY_STEPS : PROBLEM_DEFINITION_INVALID, NULL);
		return;
	}
	unsigned refused = places_check(r, d, &r->errors);
	definition_drop(d);
	if (refused > 0) {
		request_problem(r, PROBLEM_DEFINITION_INVALID, NULL);
		return;
	}
	p->warnings = show_findings(&findings, true, request_arena(r));
	digest_sha256(squeeze(text, request_arena(r)), p->hash);
	if (r->if_match.given || p->dry)
		store->definition_rows(store->ctx, p->name, 0, on_newest, r);
	else
		put(r);
}

void handle_definition_validate(struct request *r)
{
	struct findings findings = { .arena = request_arena(r) };
	struct buf      body = { 0 };
	struct json    *name;

	if (!request_only(r, NOTHING) || !request_json(r, false))
		return;
	name = json_get(r->body, "name");
	struct definition *d = definition_compile(
		buf_view(&r->x->body), DEFINITION_NAMED,
		name && name->type == JSON_STRING ? json_text(name, request_arena(r)) : STR("unnamed"), &findings);
	bool valid = d && places_check(r, d, &r->errors) == 0;
	definition_drop(d);
	buf_cstr(&body, valid ? "{\"valid\":true" : "{\"valid\":false");
	buf_cstr(&body, ",\"errors\":[");
	buf_str(&body, d ? buf_view(&r->errors) : show_findings(&findings, false, request_arena(r)));
	buf_cstr(&body, "],\"warnings\":[");
	buf_str(&body, show_findings(&findings, true, request_arena(r)));
	buf_cstr(&body, "]}\n");
	request_answer(r, 200, &body);
}

/* ---- reading ---------------------------------------------------------------------- */

static void show_definition(struct request *r, struct buf *out, const struct definition_row *row, bool whole)
{
	char hash[65];

	buf_cstr(out, "{\"name\":");
	buf_json(out, row->name);
	buf_fmt(out, ",\"version\":%u", row->version);
	show_time(out, "created_at", row->created_at);
	digest_hex(row->hash, sizeof row->hash, hash);
	show_text(out, "sha256", str_of(hash));
	show_pause(r, out, PAUSE_DEFINITION, row->name);
	if (whole) {
		buf_cstr(out, ",\"document\":");
		buf_str(out, row->document);
	}
	buf_char(out, '}');
}

static void draw(struct request *r, const struct definition_row *row)
{
	struct findings    findings = { .arena = request_arena(r) };
	struct definition *d = definition_compile(row->document, DEFINITION_NAMED, row->name, &findings);
	struct buf         body = { 0 };

	if (!d) { /* registered by a newer sagad */
		request_problem(r, PROBLEM_INTERNAL, "This version of sagad cannot compile the definition.");
		return;
	}
	definition_mermaid(d, &body);
	definition_drop(d);
	request_answer_as(r, 200, "text/vnd.mermaid; charset=utf-8", &body);
}

static void on_one(void *arg, enum log_result result, const struct definition_row *rows, size_t n)
{
	struct request *r = arg;
	struct buf      body = { 0 };

	if (!request_found(r, result, n, PROBLEM_DEFINITION_UNKNOWN))
		return;
	request_etag(r, rows[0].version);
	request_header(r, "Vary", "Accept");
	if (accept_prefers(exchange_header_list(r->x, "Accept"), "text/vnd.mermaid", "application/json")) {
		draw(r, &rows[0]);
		return;
	}
	show_definition(r, &body, &rows[0], true);
	buf_char(&body, '\n');
	request_answer(r, 200, &body);
}

static void read_one(struct request *r, uint32_t version)
{
	struct store_port *store = &r->api->store;
	struct str         name = request_param(r, 0);

	if (given_name_is_valid(name))
		store->definition_rows(store->ctx, name, version, on_one, r);
	else
		request_problem(r, PROBLEM_DEFINITION_UNKNOWN, NULL);
}

void handle_definition_get(struct request *r)
{
	if (request_only(r, NOTHING))
		read_one(r, 0);
}

void handle_definition_version(struct request *r)
{
	uint64_t version;

	if (!request_only(r, NOTHING))
		return;
	if (text_to_u64(request_param(r, 1), &version) && version >= 1 && version <= UINT32_MAX)
		read_one(r, (uint32_t)version);
	else
		request_problem(r, PROBLEM_DEFINITION_UNKNOWN, NULL);
}

static void on_list(void *arg, enum log_result result, const struct definition_row *rows, size_t n)
{
	struct request *r = arg;
	const unsigned *limit = r->own;
	struct buf      body = { 0 };

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		request_item(&body);
		show_definition(r, &body, &rows[i], false);
	}
	request_answer_page(r, &body, 0, n == *limit ? rows[n - 1].name : (struct str){ 0 });
}

void handle_definition_list(struct request *r)
{
	static const char *const KNOWN[] = { "limit", "cursor", NULL };
	struct store_port       *store = &r->api->store;
	unsigned                *limit = arena_alloc(request_arena(r), sizeof *limit);
	const struct str        *cursor = query_get(&r->query, "cursor");
	struct str               after = STR("");

	r->own = limit;
	if (!request_only(r, KNOWN) || !request_limit(r, limit))
		return;
	if (cursor && !cursor_read(*cursor, 0, request_arena(r), &after)) {
		request_problem(r, PROBLEM_BAD_REQUEST, "The cursor is not one of ours; start without it.");
		return;
	}
	store->definition_list(store->ctx, after, *limit, on_list, r);
}
