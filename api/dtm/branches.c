/* SPDX-License-Identifier: Apache-2.0
 * branches.c - registerBranch and its older names: a branch joins what was prepared.
 */
#include "api/dtm/dtm.h"
#include "api/places.h"

#include <string.h>

static void refuse_branch(struct request *r)
{
	dtm_failure(r, "no trans with gid: %.*s status: prepared found", (int)r->gid.n, r->gid.p);
}

/* "/confirm/url: …" points into our document: the client sent confirm, or of an xa url. */
static void refuse_content(struct request *r, const char *text)
{
	const char *colon = strstr(text, ": ");
	int         n;

	if (text[0] != '/' || colon == NULL) {
		dtm_error(r, "%s", colon == text ? text + 2 : text);
		return;
	}
	n = (int)strcspn(text + 1, "/:");
	if (dtm_of(r)->trans.kind == DTM_XA)
		dtm_error(r, "url%s", colon);
	else
		dtm_error(r, "%.*s%s", n, text + 1, colon);
}

static void on_joined(void *arg, enum command_result result, enum verdict verdict,
                      const struct view *view, const struct err *err)
{
	struct request *r = arg;

	(void)view;
	if (result == COMMAND_APPLIED &&
	    (verdict == VERDICT_ACCEPTED || verdict == VERDICT_ALREADY))
		dtm_ok(r);
	else if (result == COMMAND_APPLIED && verdict == VERDICT_LIMIT)
		dtm_error(r, "too many branches: %d is the limit", TXN_STEPS_MAX);
	else if (result == COMMAND_APPLIED || result == COMMAND_UNKNOWN)
		refuse_branch(r);
	else if (result == COMMAND_INVALID && err != NULL)
		refuse_content(r, err->text);
	else
		dtm_command_failed(r, result, err);
}

static bool is_flat(struct request *r)
{
	for (const struct json *m = r->body->first; m != NULL; m = m->next)
		if (m->type != JSON_STRING && m->type != JSON_NULL) {
			dtm_error(r,
			          "a branch is registered with strings alone; this is none: %.*s",
			          (int)(m->key.n > 64 ? 64 : m->key.n), m->key.p);
			return false;
		}
	return true;
}

static bool write_branch(struct request *r)
{
	struct dtm *d = dtm_of(r);
	struct buf  doc = { 0 };
	bool        fine = d->trans.kind == DTM_WORKFLOW ? workflow_branch(r, &doc)
	                                                 : branch_document(r, d->trans.kind, &doc);

	d->document = request_keep(r, &doc);
	return fine;
}

/* How its branches are called is said once, where it was prepared. */
static struct str protocol_of(struct request *r, const struct view *view)
{
	struct json_error err;

	return dtm_text(r, json_parse(view->row.input, request_arena(r), &err), "protocol");
}

/* A branch is of the kind that its transaction is. */
static void join(struct request *r, const struct view *view)
{
	struct dtm     *d = dtm_of(r);
	struct command *c;

	if (!dtm_is(view, d->trans.kind)) {
		refuse_branch(r);
		return;
	}
	d->trans.protocol = protocol_of(r, view);
	if (str_is(d->trans.protocol, "json-rpc") && !write_branch(r))
		return;
	c = dtm_command(r, COMMAND_JOIN);
	c->body = d->document;
	engine_command(r->api->engine, c, on_joined, r);
}

/* Old clients name no trans_type: their route does. */
void dtm_register(struct request *r, enum dtm_kind usual)
{
	struct dtm     *d = dtm_of(r);
	struct str      type = dtm_text(r, r->body, "trans_type");
	enum dtm_kind   kind = usual;
	struct json_error err;

	if (!is_flat(r) || !dtm_read_gid(r, dtm_text(r, r->body, "gid")))
		return;
	if (str_is(type, "tcc"))
		kind = DTM_TCC;
	else if (str_is(type, "xa"))
		kind = DTM_XA;
	else if (str_is(type, "workflow"))
		kind = DTM_WORKFLOW;
	if (type.n > 0 && !str_is(type, dtm_kind_name(kind))) {
		dtm_error(r, "unknow trans type: %.*s", (int)(type.n > 64 ? 64 : type.n), type.p);
		return;
	}
	d->trans.kind = kind;
	if (!write_branch(r))
		return;
	if (places_check_step(r, json_parse(d->document, request_arena(r), &err)))
		dtm_find(r, join);
	else
		dtm_refuse_place(r);
}

void handle_dtm_register_branch(struct request *r)
{
	if (dtm_body(r))
		dtm_register(r, DTM_TCC);
}

void handle_dtm_register_tcc_branch(struct request *r)
{
	handle_dtm_register_branch(r);
}

void handle_dtm_register_xa_branch(struct request *r)
{
	if (dtm_body(r))
		dtm_register(r, DTM_XA);
}

