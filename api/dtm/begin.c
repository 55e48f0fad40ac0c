/* SPDX-License-Identifier: Apache-2.0
 * begin.c - a document becomes a transaction; and whoever asked for the result waits for its end.
 */
#include "api/dtm/dtm.h"

#include "api/places.h"
#include "api/transactions.h"
#include "coordinator/base/digest.h"

#include <string.h>

enum { NAME_SHOWN_MAX = 64 };

struct beginning {
	dtm_then *begun, *exists;
};

static void on_begun(void *arg, enum begin_result result, const struct view *view)
{
	struct request         *r = arg;
	const struct beginning *b = dtm_of(r)->beginning;

	switch (result) {
	case BEGIN_DONE:
		b->begun(r, view);
		return;
	case BEGIN_EXISTS:
		b->exists(r, view);
		return;
	case BEGIN_BUSY:
		dtm_error(r, "too many transactions are under way");
		return;
	case BEGIN_AWAY:
		dtm_error(r, "the database is away, or this replica is not live: try again");
		return;
	case BEGIN_BARRED:
		dtm_error(r, "somebody else's open database transaction has begun this gid: try again");
		return;
	case BEGIN_LOST:
		dtm_error(r, "it is not known whether it was stored; the same again is safe");
		return;
	case BEGIN_REFUSED:
		dtm_error(r, "the database cannot store this transaction");
		return;
	}
}

/* What of a document of ours comes from which member of the client's. */
static const char *member_of(struct str pointer)
{
	static const struct {
		const char *begins, *member;
	} MEMBERS[] = {
		{ "/defaults/retry/attempts", "retry_limit" },
		{ "/defaults/retry", "retry_interval" },
		{ "/defaults/poll", "retry_interval" },
		{ "/defaults/timeout", "request_timeout" },
		{ "/deadline", "timeout_to_fail" },
		{ "/check", "query_prepared" },
	};

	for (size_t i = 0; i < sizeof MEMBERS / sizeof *MEMBERS; i++)
		if (str_starts(pointer, str_of(MEMBERS[i].begins)))
			return MEMBERS[i].member;
	return "steps";
}

/* "/steps/branch-02/action/url" is the action of branch 02; false: it points to no step. */
static bool write_step(struct str pointer, struct buf *out)
{
	const struct str prefix = STR("/steps/" DTM_BRANCH_PREFIX);
	size_t           id = prefix.n, end, part;

	if (!str_starts(pointer, prefix))
		return false;
	for (end = id; end < pointer.n && pointer.p[end] != '/';)
		end++;
	for (part = end; part + 1 < pointer.n && pointer.p[part + 1] != '/';)
		part++;
	if (part > end) {
		struct str name = { pointer.p + end + 1, part - end };

		buf_str(out, str_is(name, "after") ? STR("orders") : name);
		buf_cstr(out, " of ");
	}
	buf_cstr(out, "branch ");
	buf_str(out, (struct str){ pointer.p + id, end - id });
	return true;
}

/* As it was given, cut to what a message has room for; false: it points to none. */
static bool write_header(struct str pointer, struct buf *out)
{
	const struct str where = STR("/literal_headers/");
	size_t           end;

	if (!str_starts(pointer, where))
		return false;
	buf_cstr(out, "branch_headers \"");
	end = out->n + NAME_SHOWN_MAX;
	for (size_t i = where.n; i < pointer.n && (out->n < end || (pointer.p[i] & 0xc0) == 0x80); i++) {
		if (pointer.p[i] == '~' && i + 1 < pointer.n)
			buf_char(out, pointer.p[++i] == '1' ? '/' : '~');
		else
			buf_char(out, pointer.p[i]);
	}
	buf_char(out, '"');
	return true;
}

/* The first of what is wrong: DTM's answers have one message, in words that their clients know. */
static void refuse_document(struct request *r, const struct findings *f)
{
	struct buf where = { 0 };

	for (size_t i = 0; i < f->n; i++) {
		const struct str pointer = f->items[i].pointer, detail = f->items[i].detail;

		if (f->items[i].warning)
			continue;
		if (dtm_of(r)->subject != NULL)
			buf_cstr(&where, dtm_of(r)->subject);
		else if (!write_step(pointer, &where) && !write_header(pointer, &where))
			buf_cstr(&where, member_of(pointer));
		dtm_error(r, "%.*s: %.*s", (int)where.n, where.p, (int)detail.n, detail.p);
		buf_fini(&where);
		return;
	}
	dtm_error(r, "these steps cannot be run");
}

/* A trace of the request, or one that the client wants its branches to see. */
static struct str traceparent_of(struct request *r)
{
	struct str text = exchange_header(r->x, "traceparent");

	if (!traceparent_is_valid(text))
		text = dtm_text(r, dtm_of(r)->trans.headers, "traceparent");
	return traceparent_is_valid(text) ? text : (struct str){ 0 };
}

static void add_text(struct str text, struct buf *out)
{
	buf_u64(out, text.n);
	buf_char(out, ':');
	buf_str(out, text);
}

/* What is to be done, however it is written: who asks again may want to wait, be more patient, or
 * send another trace with it. */
static void hash_content(struct request *r, uint8_t hash[16])
{
	const struct dtm_trans *t = &dtm_of(r)->trans;
	const size_t            n = dtm_payload_count(t);
	const struct json      *step = n > 0 ? t->steps->first : NULL;
	struct buf              text = { 0 };
	uint8_t                 digest[32];

	buf_reserve(&text, r->x->body.n);
	buf_cstr(&text, t->concurrent ? "concurrent" : "");
	add_text(t->protocol, &text);
	add_text(t->custom_data, &text);
	for (size_t i = 0; i < n; i++, step = step->next) {
		add_text(dtm_text(r, step, "action"), &text);
		add_text(dtm_text(r, step, "compensate"), &text);
		add_text(dtm_payload_text(r, i), &text);
	}
	digest_sha256(buf_view(&text), digest);
	buf_fini(&text);
	memcpy(hash, digest, 16);
}

/* What was prepared counts as it was prepared: DTM does not look at a submit's steps either. */
bool dtm_is_same_content(struct request *r, const struct view *view)
{
	uint8_t hash[sizeof view->row.hash];

	if (definition_plan(view->row.def)->mode == MODE_MESSAGE)
		return true;
	hash_content(r, hash);
	return memcmp(hash, view->row.hash, sizeof hash) == 0;
}

static void begin_with(struct request *r, struct definition *def)
{
	struct dtm *d = dtm_of(r);
	struct buf  input = { 0 }, labels = { 0 };
	struct row  row = { .gid = r->gid,
		            .def = def,
		            .document = definition_document(def),
		            .traceparent = traceparent_of(r),
		            .retention_ms = definition_retention_ms(def) };
	int64_t     limit_ms = definition_deadline_ms(def);
	int64_t     from = d->start_at ? d->start_at : request_now(r);

	dtm_write_input(r, &input);
	buf_fmt(&labels, "{\"dtm\":\"%s\"}", dtm_kind_name(d->trans.kind));
	row.input = buf_view(&input);
	row.labels = buf_view(&labels);
	hash_content(r, row.hash);
	engine_begin(r->api->engine, &row, d->start_at, limit_ms > 0 ? from + limit_ms : 0,
	             on_begun, r);
	buf_fini(&input);
	buf_fini(&labels);
}

/* What may be begun; NULL: answered. */
static struct definition *compile(struct request *r, struct str document)
{
	struct findings    findings; /* the items that there are none of are not cleared */
	struct definition *def;

	findings.arena = request_arena(r);
	findings.n = findings.errors = 0;
	findings.too_many_steps = false;
	def = definition_compile(document, DEFINITION_INLINE, STR(""), &findings);
	if (def == NULL) {
		refuse_document(r, &findings);
	} else if (places_check(r, def, &r->errors) > 0) {
		dtm_refuse_place(r);
		definition_drop(def);
		def = NULL;
	}
	return def;
}

void dtm_begin(struct request *r, dtm_then *begun, dtm_then *exists)
{
	struct dtm        *d = dtm_of(r);
	struct beginning  *b = arena_alloc(request_arena(r), sizeof *b);
	struct definition *def = compile(r, d->document);

	*b = (struct beginning){ begun, exists };
	d->beginning = b;
	if (def != NULL)
		begin_with(r, def);
	definition_drop(def);
}

bool dtm_url_is_sound(struct request *r, struct str url)
{
	const struct dtm_call call = { .url = url,
		                       .branch_id = STR("01"),
		                       .op = STR("action"),
		                       .payload_at = -1 };
	struct buf            text = { 0 };
	struct definition    *def;

	buf_cstr(&text, "{\"mode\":\"saga\",\"steps\":{\"branch-01\":{\"action\":");
	dtm_write_call(r, &call, &text);
	buf_cstr(&text, "}}}");
	dtm_of(r)->subject = "url";
	def = compile(r, request_keep(r, &text));
	definition_drop(def);
	return def != NULL;
}

/* ---- the end ----------------------------------------------------------------------------- */

static void answer_rolled_back(struct request *r, const struct view *view)
{
	struct str why = dtm_rollback_reason(r, view);

	if (why.n == 0)
		why = STR("wait result not return success");
	dtm_failure(r, "%.*s", (int)why.n, why.p);
}

static void answer_end(struct request *r, const struct view *view)
{
	switch (view->row.phase) {
	case PHASE_CONFIRMED:
		dtm_ok(r);
		return;
	case PHASE_CANCELLED:
	case PHASE_ABANDONED:
		dtm_ask_reason(r, view, answer_rolled_back);
		return;
	case PHASE_PREPARED:
	case PHASE_TRYING:
	case PHASE_CONFIRMING:
	case PHASE_CANCELLING:
		dtm_ongoing(r, "the transaction is %s: it goes on, query tells how",
		            dtm_status(view->row.phase));
		return;
	}
}

static void on_end(void *arg, enum log_result result, const struct view *view)
{
	struct request *r = arg;

	(void)result;
	if (view)
		answer_end(r, view);
	else
		dtm_ongoing(r, "it is stored, but this replica leaves, or its database is away: "
		               "the same again waits on, query tells the rest");
}

/* For the end, however long that takes: who has waited enough leaves, and is seen to, or says so
 * before with Prefer: wait=5. */
bool dtm_may_wait(struct request *r)
{
	const char *why;

	if (!dtm_of(r)->trans.wait_result)
		return true;
	r->prefer.wait_ms = r->prefer.wait ? r->prefer.asked_ms : WAIT_ENDLESS;
	r->prefer.wait = true;
	if (request_takes_place(r, &why))
		return true;
	if (dtm_of(r)->rpc_id.n > 0)
		dtm_error(r, "%s", why != NULL ? why : "too many requests wait already: nothing was done");
	else
		request_problem(r, PROBLEM_TOO_MANY_WAITERS, why != NULL ? "%s" : NULL, why);
	return false;
}

void dtm_answer_submitted(struct request *r, const struct view *view)
{
	if (!dtm_of(r)->trans.wait_result) {
		dtm_ok(r);
		return;
	}
	if (phase_is_ended(view->row.phase)) {
		answer_end(r, view);
		return;
	}
	request_wait(r, on_end);
}
