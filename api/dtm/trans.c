/* SPDX-License-Identifier: Apache-2.0
 * trans.c - reads what DTM's clients send: names in any case, null for absent, numbers of seconds.
 */
#include "api/dtm/dtm.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	LIMIT_DEFAULT = 100,
	LIMIT_MAX = 1000,
	KIND_SHOWN = 64,
	RETRY_LIMIT_MAX = 999999 /* with the first call a million attempts, which a definition may have */
};

/* Ten years, as far as our durations go. */
#define SECONDS_MAX (3650ll * 86400)

const char *dtm_kind_name(enum dtm_kind k)
{
#define X(name, text) [DTM_##name] = text,
	static const char *const names[DTM_KIND_COUNT] = { DTM_KINDS(X) };
#undef X

	return names[k];
}

static bool read_kind(struct str text, enum dtm_kind *out)
{
	for (unsigned i = 0; i < DTM_KIND_COUNT; i++)
		if (str_is(text, dtm_kind_name((enum dtm_kind)i))) {
			*out = (enum dtm_kind)i;
			return true;
		}
	return false;
}

struct dtm *dtm_of(struct request *r)
{
	if (r->own == NULL)
		r->own = arena_alloc(request_arena(r), sizeof(struct dtm));
	return r->own;
}

struct str dtm_param(const struct request *r, const char *name)
{
	const struct str *value = query_get(&r->query, name);

	return value != NULL ? *value : (struct str){ 0 };
}

bool dtm_read_limit(struct request *r, unsigned *limit)
{
	struct str text = dtm_param(r, "limit");
	uint64_t   n = LIMIT_DEFAULT;

	if (text.n > 0 && !text_to_u64(text, &n)) {
		dtm_error(r, "limit must be a whole number");
		return false;
	}
	*limit = n == 0 ? LIMIT_DEFAULT : n > LIMIT_MAX ? LIMIT_MAX : (unsigned)n;
	return true;
}

/* ---- members ----------------------------------------------------------------------------- */

const struct json *dtm_member(const struct json *object, const char *name)
{
	const struct json *found = NULL;
	const size_t       n = strlen(name);

	for (const struct json *m = object ? object->first : NULL; m != NULL; m = m->next)
		if (m->key.n == n && strncasecmp(m->key.p, name, n) == 0)
			found = m;
	return found != NULL && found->type != JSON_NULL ? found : NULL;
}

struct str dtm_text(struct request *r, const struct json *object, const char *name)
{
	const struct json *m = dtm_member(object, name);

	return m != NULL && m->type == JSON_STRING ? json_text(m, request_arena(r))
	                                           : (struct str){ 0 };
}

static bool member_of(struct request *r, const char *name, enum json_type type,
                      const struct json **out)
{
	*out = dtm_member(r->body, name);
	if (*out == NULL || (*out)->type == type)
		return true;
	dtm_error(r, "%s must be %s, not %s", name, json_type_name(type),
	          json_type_name((*out)->type));
	return false;
}

static bool text_of(struct request *r, const char *name, struct str *out)
{
	const struct json *m;

	if (!member_of(r, name, JSON_STRING, &m))
		return false;
	*out = m != NULL ? json_text(m, request_arena(r)) : (struct str){ 0 };
	return true;
}

static bool flag_of(struct request *r, const char *name, bool *out)
{
	const struct json *m = dtm_member(r->body, name);

	*out = m != NULL && m->type == JSON_TRUE;
	if (m == NULL || m->type == JSON_TRUE || m->type == JSON_FALSE)
		return true;
	dtm_error(r, "%s must be true or false", name);
	return false;
}

/* 1e1: some writers of JSON make such numbers of floats. */
static bool read_exponent(struct str text, int64_t unit_ms, int64_t *ms)
{
	char   number[32], *end;
	double seconds;

	if (text.n >= sizeof number)
		return false;
	str_cstr(text, number, sizeof number);
	seconds = strtod(number, &end);
	if (*end != '\0' || !(seconds >= 0 && seconds <= (double)SECONDS_MAX))
		return false;
	*ms = (int64_t)(seconds * (double)unit_ms + 0.5);
	return true;
}

/* Seconds as clients write them: whole ones, and parts of one, which DTM itself does not take. */
static bool read_seconds(struct str text, int64_t unit_ms, int64_t *ms)
{
	int64_t whole = 0, milli = 0, scale = 100;
	size_t  i = 0;

	if (memchr(text.p, 'e', text.n) != NULL || memchr(text.p, 'E', text.n) != NULL)
		return read_exponent(text, unit_ms, ms);
	for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
		if ((whole = whole * 10 + (text.p[i] - '0')) > SECONDS_MAX)
			return false;
	if (i < text.n && text.p[i] == '.')
		for (i++; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++, scale /= 10)
			milli += (text.p[i] - '0') * scale;
	*ms = whole * unit_ms + milli * unit_ms / 1000;
	return i == text.n;
}

static int64_t kept_ms(struct str options, const char *name)
{
	struct str raw;
	int64_t    ms;

	return json_member(options, name, &raw) && read_seconds(raw, 1000, &ms) ? ms : 0;
}

int64_t dtm_interval_s(struct str options)
{
	const int64_t own = kept_ms(options, "retry_interval");
	const int64_t limit = kept_ms(options, "timeout_to_fail");

	if (own > 0)
		return (own + 999) / 1000;
	return limit > 0 && limit < DTM_RETRY_INTERVAL_S * 1000 ? (limit + 999) / 1000
	                                                        : DTM_RETRY_INTERVAL_S;
}

static bool seconds_of(struct request *r, const char *name, int64_t *ms)
{
	const struct json *m = dtm_member(r->body, name);

	*ms = 0;
	if (m == NULL ||
	    (m->type == JSON_NUMBER && read_seconds(m->raw, r->api->config.dtm_second_ms, ms)))
		return true;
	dtm_error(r, "%s must be a number of seconds, at most ten years", name);
	return false;
}

static bool count_of(struct request *r, const char *name, uint64_t *out)
{
	const struct json *m = dtm_member(r->body, name);

	*out = 0;
	if (m == NULL || (json_u64(m, out) && *out <= RETRY_LIMIT_MAX))
		return true;
	dtm_error(r, "%s must be a whole number up to %d", name, RETRY_LIMIT_MAX);
	return false;
}

/* ---- gid and branch ---------------------------------------------------------------------- */

bool dtm_read_gid(struct request *r, struct str gid)
{
	char  *clean = arena_alloc(request_arena(r), gid.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < gid.n; i++)
		if (gid.p[i] != '\n' && gid.p[i] != '\r' && gid.p[i] != ';')
			clean[n++] = gid.p[i];
	gid = (struct str){ clean, n };
	if (n == 0) {
		dtm_error(r, "no gid specified");
		return false;
	}
	if (!gid_is_valid(gid)) {
		dtm_error(r, "a gid is 1 to 128 printable ASCII characters without space, quotes "
		             "and backslash");
		return false;
	}
	r->gid = gid;
	return true;
}

/* As a part of a step's name; DTM's clients make two digits for each level, some add letters. */
bool dtm_branch_is_valid(struct str id)
{
	for (size_t i = 0; i < id.n; i++)
		if ((id.p[i] < '0' || id.p[i] > '9') && (id.p[i] < 'a' || id.p[i] > 'z') &&
		    (id.p[i] < 'A' || id.p[i] > 'Z') && id.p[i] != '-' && id.p[i] != '_')
			return false;
	return id.n > 0 && id.n <= DTM_BRANCH_MAX;
}

/* ---- the object -------------------------------------------------------------------------- */

bool dtm_body(struct request *r)
{
	struct json_error err;

	r->body = json_parse_loose(buf_view(&r->x->body), request_arena(r), &err);
	if (r->body != NULL && r->body->type == JSON_OBJECT)
		return true;
	if (r->body == NULL)
		dtm_error(r, "%s (at byte %zu)", err.text, err.at);
	else
		dtm_error(r, "an object is wanted, not %s", json_type_name(r->body->type));
	return false;
}

static bool read_options(struct request *r, struct dtm_trans *t)
{
	return flag_of(r, "wait_result", &t->wait_result) &&
	       flag_of(r, "concurrent", &t->concurrent) &&
	       seconds_of(r, "timeout_to_fail", &t->timeout_to_fail) &&
	       seconds_of(r, "request_timeout", &t->request_timeout) &&
	       seconds_of(r, "retry_interval", &t->retry_interval) &&
	       count_of(r, "retry_limit", &t->retry_limit) &&
	       member_of(r, "branch_headers", JSON_OBJECT, &t->headers);
}

/* An address that is no text would pass for one that is empty, and its branch for done. */
static bool is_step(struct request *r, const struct json *step)
{
	static const char *const TEXTS[] = { "action", "compensate" };

	if (step->type != JSON_OBJECT) {
		dtm_error(r, "a step is an object");
		return false;
	}
	for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
		const struct json *m = dtm_member(step, TEXTS[i]);

		if (m != NULL && m->type != JSON_STRING) {
			dtm_error(r, "%s of a step is a string", TEXTS[i]);
			return false;
		}
	}
	return true;
}

bool dtm_is_http(struct str url)
{
	return (url.n >= 7 && strncasecmp(url.p, "http://", 7) == 0) ||
	       (url.n >= 8 && strncasecmp(url.p, "https://", 8) == 0);
}

static bool is_http(struct str url)
{
	return url.n == 0 || dtm_is_http(url) || str_starts(url, STR("topic://"));
}

/* Whatever the protocol is, a URL of HTTP is called over HTTP. */
static bool wants_grpc(struct request *r, const struct dtm_trans *t)
{
	if (!str_is(t->protocol, "grpc"))
		return false;
	for (const struct json *s = t->steps != NULL ? t->steps->first : NULL; s != NULL;
	     s = s->next)
		if (!is_http(dtm_text(r, s, "action")) || !is_http(dtm_text(r, s, "compensate")))
			return true;
	return !is_http(t->query_prepared);
}

/* What must be so whatever the kind is. */
static bool is_sound(struct request *r, const struct dtm_trans *t)
{
	for (const struct json *s = t->steps != NULL ? t->steps->first : NULL; s != NULL;
	     s = s->next)
		if (!is_step(r, s))
			return false;
	for (const struct json *h = t->headers != NULL ? t->headers->first : NULL; h != NULL;
	     h = h->next)
		if (h->type != JSON_STRING && h->type != JSON_NULL) {
			dtm_error(r, "a value of branch_headers is a string");
			return false;
		}
	for (const struct json *p = t->payloads != NULL ? t->payloads->first : NULL; p != NULL;
	     p = p->next)
		if (p->type != JSON_STRING && p->type != JSON_NULL) {
			dtm_error(r, "a payload is a string");
			return false;
		}
	if (wants_grpc(r, t)) {
		dtm_error(r, "gRPC is not spoken here: branches are called over HTTP");
		return false;
	}
	if (t->payloads != NULL && t->steps != NULL && t->payloads->n < t->steps->n) {
		dtm_error(r, "there are %u steps and %u payloads", (unsigned)t->steps->n,
		          (unsigned)t->payloads->n);
		return false;
	}
	return true;
}

static bool read_who(struct request *r, struct dtm_trans *t)
{
	if (!dtm_read_gid(r, dtm_text(r, r->body, "gid")) ||
	    !text_of(r, "trans_type", &t->kind_text))
		return false;
	t->gid = r->gid;
	if (t->kind_text.n > KIND_SHOWN)
		t->kind_text.n = KIND_SHOWN;
	return true;
}

bool dtm_read_abort(struct request *r)
{
	struct dtm_trans *t = &dtm_of(r)->trans;

	return read_who(r, t) && text_of(r, "rollback_reason", &t->rollback_reason);
}

bool dtm_read_trans(struct request *r)
{
	struct dtm_trans *t = &dtm_of(r)->trans;

	if (!read_who(r, t))
		return false;
	if (!read_kind(t->kind_text, &t->kind)) {
		dtm_error(r, "unknown trans_type: \"%.*s\"", (int)t->kind_text.n, t->kind_text.p);
		return false;
	}
	return text_of(r, "query_prepared", &t->query_prepared) &&
	       text_of(r, "custom_data", &t->custom_data) && text_of(r, "protocol", &t->protocol) &&
	       text_of(r, "rollback_reason", &t->rollback_reason) &&
	       member_of(r, "steps", JSON_ARRAY, &t->steps) &&
	       member_of(r, "payloads", JSON_ARRAY, &t->payloads) &&
	       member_of(r, "req_extra", JSON_OBJECT, &t->req_extra) && read_options(r, t) &&
	       is_sound(r, t);
}

bool dtm_custom(struct request *r, const struct json **custom)
{
	const struct str  text = dtm_of(r)->trans.custom_data;
	struct json_error err;

	*custom = text.n > 0 ? json_parse(text, request_arena(r), &err) : NULL;
	if (text.n == 0 || *custom != NULL)
		return true;
	dtm_error(r, "custom_data is not JSON: %s (at byte %zu)", err.text, err.at);
	return false;
}

/* ---- what the log keeps ------------------------------------------------------------------ */

bool dtm_kind_of(const struct row *row, enum dtm_kind *kind)
{
	struct str raw;

	return row->labels.n > 0 && json_member(row->labels, "dtm", &raw) && raw.n > 2 &&
	       raw.p[0] == '"' && read_kind((struct str){ raw.p + 1, raw.n - 2 }, kind);
}

bool dtm_is(const struct view *view, enum dtm_kind kind)
{
	enum dtm_kind found;

	return view != NULL && dtm_kind_of(&view->row, &found) && found == kind;
}

const char *dtm_status(enum phase phase)
{
	switch (phase) {
	case PHASE_PREPARED:
		return "prepared";
	case PHASE_TRYING:
	case PHASE_CONFIRMING:
		return "submitted";
	case PHASE_CONFIRMED:
		return "succeed";
	case PHASE_CANCELLING:
		return "aborting";
	case PHASE_CANCELLED:
	case PHASE_ABANDONED:
		return "failed";
	}
	return "";
}
