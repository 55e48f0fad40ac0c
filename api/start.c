/* SPDX-License-Identifier: Apache-2.0 */
#include "api/start.h"

#include "api/problem.h"
#include "api/query.h"

#include <stdarg.h>
#include <stdio.h>

/* As far as durations go: a deadline becomes one. */
#define AHEAD_MAX_MS (3650ll * 86400 * 1000)

struct reading {
	const struct json *body;
	struct arena      *arena;
	struct buf        *errors;
	int64_t            now_ms;
};

__attribute__((format(printf, 3, 4)))
static void wrong(struct reading *r, const struct json *at, const char *fmt, ...)
{
	struct buf pointer = { 0 };
	char       detail[200];
	va_list    ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof detail, fmt, ap);
	va_end(ap);
	json_pointer(at, &pointer);
	problem_add_error(r->errors, buf_view(&pointer), str_of(detail));
	buf_fini(&pointer);
}

/* NULL if absent or, with an error noted, of another type. */
static struct json *member(struct reading *r, const char *name, enum json_type type)
{
	struct json *m = json_get(r->body, name);

	if (!m || m->type == type)
		return m;
	wrong(r, m, "%s is wanted here, not %s", json_type_name(type), json_type_name(m->type));
	return NULL;
}

static void read_gid(struct reading *r, struct start *out)
{
	struct json *m = member(r, "gid", JSON_STRING);

	if (!m)
		return;
	out->gid = json_text(m, r->arena);
	if (!gid_is_valid(out->gid))
		wrong(r, m, "a gid is 1 to 128 printable ASCII characters without space, quotes and backslash");
}

static void read_definition(struct reading *r, struct start *out)
{
	struct json *name = member(r, "definition", JSON_STRING);
	struct json *version = member(r, "version", JSON_NUMBER);
	uint64_t     n;

	if (name) {
		out->definition = json_text(name, r->arena);
		if (!given_name_is_valid(out->definition))
			wrong(r, name, "a definition's name is a letter, then letters, digits, - _ or ., at most %d "
			               "in all", NAME_MAX_BYTES);
	}
	if (!version)
		return;
	if (!json_get(r->body, "definition"))
		wrong(r, version, "a version needs a definition");
	else if (!json_u64(version, &n) || n < 1 || n > UINT32_MAX)
		wrong(r, version, "a version is a whole number from 1");
	else
		out->version = (uint32_t)n;
}

static void read_labels(struct reading *r, struct start *out)
{
	struct json *labels = member(r, "labels", JSON_OBJECT);

	if (!labels)
		return;
	out->labels = labels->raw;
	if (labels->n > START_LABELS_MAX)
		wrong(r, labels, "%d labels are the limit", START_LABELS_MAX);
	for (struct json *l = labels->first; l; l = l->next) {
		if (str_is(l->key, "dtm")) /* api/dtm reads by it what it wrote itself */
			wrong(r, l, "the label dtm is for what comes by /api/dtmsvr");
		else if (l->type != JSON_STRING)
			wrong(r, l, "a label is a string, not %s", json_type_name(l->type));
		else if (l->key.n < 1 || l->key.n > START_LABEL_BYTES_MAX ||
		         json_text(l, r->arena).n > START_LABEL_BYTES_MAX)
			wrong(r, l, "a label's name and value are at most %d bytes each", START_LABEL_BYTES_MAX);
		if (r->errors->n > 8192) /* enough to see what is wrong */
			return;
	}
}

/* A moment as people give it: RFC 3339, or a duration from `base` on. False: an error was noted. */
static bool read_moment(struct reading *r, const struct json *m, int64_t base, int64_t *at)
{
	struct str text = json_text(m, r->arena);
	int64_t    ms, time;

	if (text_to_ms(text, &ms)) {
		*at = base + ms;
		return true;
	}
	if (!text_to_time(text, &time)) {
		wrong(r, m, "a duration like 10m, or a time like 2026-01-31T12:00:00Z, is wanted");
		return false;
	}
	if (time - base > AHEAD_MAX_MS) {
		wrong(r, m, "this is more than ten years ahead");
		return false;
	}
	*at = time;
	return true;
}

static void read_times(struct reading *r, struct start *out)
{
	struct json *start = member(r, "start_at", JSON_STRING);
	struct json *deadline = member(r, "deadline", JSON_STRING);
	int64_t      base = r->now_ms;

	if (start && read_moment(r, start, r->now_ms, &out->start_at)) {
		if (out->start_at <= r->now_ms)
			out->start_at = 0; /* as good as now */
		else
			base = out->start_at;
	}
	if (deadline && read_moment(r, deadline, base, &out->deadline_at))
		out->is_too_late = out->deadline_at <= base;
}

static bool is_envelope(struct str name)
{
	static const char *const NAMES[] = { "gid", "definition", "version", "input", "labels", "start_at" };

	for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
		if (str_is(name, NAMES[i]))
			return true;
	return false;
}

/* Of documents that were stored, or that a façade writes. */
static bool is_inner(struct str name)
{
	return str_is(name, "joined") || str_is(name, "literal_headers");
}

/* What is no envelope makes a document, compiled like a registered one. Its
 * deadline is a duration even where the caller named a time. */
static void make_document(struct reading *r, struct start *out)
{
	struct buf doc = { 0 };
	char       text[32];

	for (struct json *m = r->body->first; m; m = m->next) {
		if (is_inner(m->key))
			wrong(r, m, "this member is not for requests: %.*s", (int)m->key.n, m->key.p);
		if (is_envelope(m->key) || (out->is_too_late && str_is(m->key, "deadline")))
			continue;
		buf_char(&doc, doc.n ? ',' : '{');
		buf_json(&doc, m->key);
		buf_char(&doc, ':');
		if (str_is(m->key, "deadline") && out->deadline_at) {
			int64_t base = out->start_at ? out->start_at : r->now_ms;

			buf_json(&doc, str_of(text_of_ms(out->deadline_at - base, text)));
		} else {
			buf_str(&doc, m->raw);
		}
	}
	buf_cstr(&doc, doc.n ? "}" : "{}");
	out->document = arena_str(r->arena, buf_view(&doc));
	buf_fini(&doc);
}

static void refuse_document(struct reading *r)
{
	if (json_get(r->body, "steps") || json_get(r->body, "mode"))
		wrong(r, json_get(r->body, "definition"), "give the name of a definition, or steps of your own, not both");
	for (struct json *m = r->body->first; m; m = m->next)
		if (!is_envelope(m->key) && !str_is(m->key, "deadline") && r->errors->n < 8192)
			wrong(r, m, "this member is not known beside `definition`");
}

void start_read(const struct json *body, int64_t now_ms, struct arena *arena, struct buf *errors,
                struct start *out)
{
	struct reading r = { body, arena, errors, now_ms };
	struct json   *input = json_get(body, "input");

	*out = (struct start){ 0 };
	read_gid(&r, out);
	read_definition(&r, out);
	read_labels(&r, out);
	read_times(&r, out);
	if (input)
		out->input = input->raw;
	if (json_get(body, "definition"))
		refuse_document(&r);
	else if (json_get(body, "steps") || json_get(body, "mode"))
		make_document(&r, out);
	else
		wrong(&r, body, "give the name of a definition, or steps of your own (an open TCC: only its mode)");
}
