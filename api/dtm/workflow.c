/* SPDX-License-Identifier: Apache-2.0
 * workflow.c - a workflow runs in its client: we keep what it did and call it until it says how it
 * ended. It is an open transaction whose branches are records; its check is the call that makes
 * the client go on, and no answer to that decides anything.
 */
#include "api/dtm/dtm.h"

#include "api/audit.h"
#include "api/show.h"
#include "coordinator/base/digest.h"

#include <string.h>

/* ---- base64 ------------------------------------------------------------------------------ */

static int value_of(char c)
{
	static const char DIGITS[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char       *at = c != '\0' ? strchr(DIGITS, c) : NULL;

	return at != NULL ? (int)(at - DIGITS) : -1;
}

static bool decode(struct str text, struct buf *out)
{
	unsigned bits = 0, n = 0;

	while (text.n > 0 && text.p[text.n - 1] == '=')
		text.n--;
	for (size_t i = 0; i < text.n; i++) {
		int v = value_of(text.p[i]);

		if (v < 0)
			return false;
		bits = (bits << 6 | (unsigned)v) & 0xffff;
		n += 6;
		if (n >= 8) {
			n -= 8;
			buf_char(out, (char)(bits >> n & 0xff));
		}
	}
	return true;
}

/* ---- prepareWorkflow: what becomes of it ------------------------------------------------- */

struct workflow { /* of custom_data */
	struct str name;
	struct str data; /* decoded */
};

static bool read_workflow(struct request *r, struct workflow *w)
{
	const struct dtm_trans *t = &dtm_of(r)->trans;
	const struct json      *custom;
	struct buf              data = { 0 };
	bool                    fine;

	if (t->query_prepared.n == 0) {
		dtm_error(r, "query_prepared is empty: who is to go on with the workflow?");
		return false;
	}
	if (!dtm_custom(r, &custom))
		return false;
	w->name = dtm_text(r, custom, "name");
	if (w->name.n == 0) {
		dtm_error(r, "custom_data must be {\"name\": …, \"data\": base64}");
		return false;
	}
	fine = decode(dtm_text(r, custom, "data"), &data) && text_is_utf8(buf_view(&data)) &&
	       !memchr(data.n ? data.p : "", '\0', data.n);
	w->data = request_keep(r, &data);
	if (!fine)
		dtm_error(r, "the workflow's data must be the base64 of a text");
	return fine;
}

/* As a string of JSON, as payloads are. */
static const struct json *payload_of(struct request *r, struct str data)
{
	struct json *made = arena_alloc(request_arena(r), sizeof *made);
	struct buf   text = { 0 };

	buf_json(&text, data);
	*made = (struct json){ .type = JSON_STRING, .raw = request_keep(r, &text) };
	return made;
}

static void write_document(struct request *r, const struct workflow *w, struct buf *out)
{
	const struct dtm_trans *t = &dtm_of(r)->trans;
	const struct dtm_call   call = { .url = t->query_prepared,
		                         .branch_id = STR("00"),
		                         .op = w->name,
		                         .payload = payload_of(r, w->data),
		                         .payload_at = -1,
		                         .reads_own = true };

	dtm_write_head(r, "tcc", dtm_interval_ms(r, t), out);
	buf_cstr(out, ",\"check\":");
	dtm_write_call(r, &call, out);
	out->n--; /* its brace */
	buf_cstr(out, ",\"outcomes\":{\"200\":\"ongoing\",\"425\":\"ongoing\",\"*\":\"unknown\"},"
	              "\"words\":{\"ONGOING\":\"ongoing\",\"FAILURE\":\"unknown\"},\"members\":{}}}");
}

/* The same answer whether it was begun now or before: its client goes on from what is there. */
static void answer_progress(struct request *r, const struct view *view)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"transaction\":");
	dtm_show_transaction(r, view, &body);
	buf_cstr(&body, ",\"progresses\":[");
	dtm_show_branches(r, view, &body);
	buf_cstr(&body, "]}");
	dtm_data(r, &body);
}

static void on_begun_before(struct request *r, const struct view *view)
{
	if (dtm_is_same_kind(r, view))
		dtm_ask_reason(r, view, answer_progress);
}

void workflow_prepare(struct request *r, dtm_then *begun, dtm_then *exists)
{
	struct workflow w;
	struct buf      doc = { 0 };

	if (!read_workflow(r, &w))
		return;
	write_document(r, &w, &doc);
	dtm_of(r)->document = request_keep(r, &doc);
	dtm_begin(r, begun, exists);
}

void handle_dtm_prepare_workflow(struct request *r)
{
	if (!dtm_body(r) || !dtm_read_trans(r))
		return;
	if (dtm_of(r)->trans.kind == DTM_WORKFLOW)
		workflow_prepare(r, answer_progress, on_begun_before);
	else
		dtm_error(r, "trans_type must be workflow");
}

/* ---- registerBranch ---------------------------------------------------------------------- */

static bool is_word(struct str text)
{
	return dtm_branch_is_valid(text) && text.n <= 20;
}

/* {"name": "branch-01_action", "data": {…}} */
bool workflow_branch(struct request *r, struct buf *out)
{
	static const char *const KEPT[] = { "branch_id", "op", "status", "data", "url" };
	struct str               id = dtm_text(r, r->body, "branch_id");
	struct str               op = dtm_text(r, r->body, "op");
	const char              *comma = "";

	if (!dtm_branch_is_valid(id) || id.n + op.n >= DTM_BRANCH_MAX || !is_word(op)) {
		dtm_error(r,
		          "a branch_id and an op are letters, digits, - and _, at most %d together",
		          DTM_BRANCH_MAX - 1);
		return false;
	}
	buf_fmt(out, "{\"name\":\"" DTM_BRANCH_PREFIX "%.*s_%.*s\",\"data\":{", (int)id.n, id.p,
	        (int)op.n, op.p);
	for (size_t i = 0; i < sizeof KEPT / sizeof *KEPT; i++) {
		const struct json *m = dtm_member(r->body, KEPT[i]);

		if (m == NULL)
			continue;
		buf_fmt(out, "%s\"%s\":", comma, KEPT[i]);
		buf_str(out, m->raw);
		comma = ",";
	}
	buf_cstr(out, "}}");
	return true;
}

/* ---- submit ------------------------------------------------------------------------------ */

static bool says_success(struct request *r)
{
	return str_is(dtm_text(r, dtm_of(r)->trans.req_extra, "status"), "succeed");
}

static void on_ended(void *arg, enum command_result result, enum verdict verdict,
                     const struct view *view, const struct err *err)
{
	struct request *r = arg;

	(void)view;
	/* Already: whoever has lost the answer says once more how it ended, and not otherwise. */
	if (result == COMMAND_APPLIED &&
	    (verdict == VERDICT_ACCEPTED || verdict == VERDICT_ALREADY))
		dtm_ok(r);
	else if (result == COMMAND_APPLIED || result == COMMAND_UNKNOWN)
		dtm_error(r, "storage: NotFound");
	else
		dtm_command_failed(r, result, err);
}

/* Its result, or why it failed, is the reason of the decision: the same commit journals it. */
static void end_workflow(struct request *r, const struct view *view)
{
	struct dtm     *d = dtm_of(r);
	bool            succeeded = says_success(r);
	struct command *c;

	if (!dtm_is(view, DTM_WORKFLOW)) {
		dtm_error(r, "storage: NotFound");
		return;
	}
	c = dtm_command(r, succeeded ? COMMAND_CONFIRM : COMMAND_CANCEL);
	c->reason = dtm_text(r, d->trans.req_extra, succeeded ? "result" : "rollback_reason");
	engine_command(r->api->engine, c, on_ended, r);
}

void workflow_submit(struct request *r)
{
	struct str status = dtm_text(r, dtm_of(r)->trans.req_extra, "status");

	if (str_is(status, "succeed") || str_is(status, "failed"))
		dtm_find(r, end_workflow);
	else
		dtm_error(r, "req_extra.status must be succeed or failed");
}

/* ---- showing ----------------------------------------------------------------------------- */

static void show_record(struct request *r, const struct view *v, const struct json *data,
                        uint16_t i, uint64_t id, struct buf *out)
{
	struct str bytes = dtm_text(r, data, "data");

	dtm_show_branch_times(out, id, v, i, 0);
	if (dtm_text(r, data, "url").n > 0)
		show_text(out, "url", dtm_text(r, data, "url"));
	dtm_show_data(out, bytes);
	show_text(out, "branch_id", dtm_text(r, data, "branch_id"));
	show_text(out, "op", dtm_text(r, data, "op"));
	show_text(out, "status", dtm_text(r, data, "status"));
	buf_char(out, '}');
}

void workflow_show_branches(struct request *r, const struct view *v, uint64_t id, struct buf *out)
{
	struct json_error  err;
	const struct json *root =
		json_parse(definition_document(v->row.def), request_arena(r), &err);
	const struct json *joined = dtm_member(root, "joined");

	uint16_t i = 0;

	for (const struct json *it = joined ? joined->first : NULL; it != NULL; it = it->next) {
		if (it != joined->first)
			buf_char(out, ',');
		show_record(r, v, dtm_member(it, "data"), i++, ++id, out);
	}
}
