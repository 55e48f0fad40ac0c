/* SPDX-License-Identifier: Apache-2.0
 * client.c - transactions as sagad's API has them.
 */
#include "participants/libsaga/client_http.h"

#include <stdio.h>
#include <stdlib.h>

enum { WAIT_MAX_MS = 60000 };

/* ---- what sagad tells of a transaction --------------------------------------------------- */

static bool is_word(struct saga_slice s, const char *word)
{
	return s.n == strlen(word) && !memcmp(s.p, word, s.n);
}

/* Takes the body. */
static bool read_txn(struct http_answer *a, struct saga_transaction *out, struct saga_error *error)
{
	struct saga_slice json = { a->body.p, a->body.n }, value;

	memset(out, 0, sizeof(*out));
	out->replayed = a->replayed;
	if (!saga_json_find(json, "gid", &value) ||
	    !saga_json_text(value, out->gid, sizeof(out->gid)) ||
	    !saga_json_find(json, "phase", &value) ||
	    !saga_json_text(value, out->phase, sizeof(out->phase))) {
		http_answer_fini(a);
		return saga_fail(error, SAGA_E_UNKNOWN, "HTTP %d, but not a transaction of sagad's",
		                 a->status);
	}
	out->ended = !strcmp(out->phase, "confirmed") || !strcmp(out->phase, "cancelled") ||
		     !strcmp(out->phase, "abandoned");
	if (saga_json_find(json, "result", &value))
		saga_json_text(value, out->result, sizeof(out->result));
	if (saga_json_find(json, "version", &value))
		saga_json_integer(value, &out->version);
	if (saga_json_find(json, "deadline_at", &value))
		saga_json_text(value, out->deadline, sizeof(out->deadline));
	out->stuck = saga_json_find(json, "stuck", &value) && !is_word(value, "null") &&
	             !is_word(value, "false");
	out->paused = saga_json_find(json, "paused", &value) && is_word(value, "true");
	if (saga_json_find(json, "output", &value) && !is_word(value, "null"))
		out->output = value;
	out->json = a->body.p;
	out->json_size = a->body.n;
	return true;
}

void saga_transaction_fini(struct saga_transaction *txn)
{
	free(txn->json);
	memset(txn, 0, sizeof(*txn));
}

bool client_ask_txn(struct saga_client *c, struct http_ask *ask, const char *path, int wait_ms,
		    struct saga_transaction *out, struct saga_error *error)
{
	struct http_answer answer;
	struct saga_transaction ignored;
	bool ok;

	if (out)
		memset(out, 0, sizeof(*out));
	if (!client_ask(c, ask, path, wait_ms, &answer, error))
		return false;
	ok = read_txn(&answer, out ? out : &ignored, error);
	if (ok && !out)
		saga_transaction_fini(&ignored);
	return ok;
}

/* RFC 3986: what is not plain in a segment of a path is written with percent signs. */
static void text_segment(struct text *t, const char *segment)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@";

	for (; *segment; segment++)
		if (strchr(plain, *segment))
			text_add(t, segment, 1);
		else
			text_printf(t, "%%%02X", (unsigned char)*segment);
}

void text_txn_path(struct text *t, const char *gid, const char *rest)
{
	text_cstr(t, "/v1/transactions/");
	text_segment(t, gid);
	text_cstr(t, rest);
}

static void text_wait(struct text *t, int wait_ms)
{
	if (wait_ms > 0)
		text_printf(t, "?wait=%dms", wait_ms);
}

static int at_most(int wait_ms)
{
	return wait_ms < 0 ? 0 : wait_ms > WAIT_MAX_MS ? WAIT_MAX_MS : wait_ms;
}

/* ---- definitions ------------------------------------------------------------------------- */

bool saga_define(struct saga_client *c, const char *name, const char *document, int64_t *version,
		 struct saga_error *error)
{
	struct http_ask ask = { .method = "PUT", .body = document };
	struct http_answer answer;
	struct saga_slice value;
	struct text path = { 0 };
	int64_t registered = 0;
	bool ok;

	text_cstr(&path, "/v1/definitions/");
	text_segment(&path, name);
	ok = !path.failed && *name ? client_ask(c, &ask, path.p, 0, &answer, error)
				   : saga_fail(error, SAGA_E_ARGUMENT, "a definition has a name");
	text_free(&path);
	if (!ok)
		return false;
	ok = saga_json_find((struct saga_slice){ answer.body.p, answer.body.n }, "version",
	                    &value) &&
	     saga_json_integer(value, &registered);
	if (!ok)
		saga_fail(error, SAGA_E_UNKNOWN, "HTTP %d, but not a definition of sagad's",
		          answer.status);
	http_answer_fini(&answer);
	if (version)
		*version = registered;
	return ok;
}

/* ---- start ------------------------------------------------------------------------------- */

static void member(struct text *t, const char *name, const char *json)
{
	if (json)
		text_printf(t, ", \"%s\": %s", name, json);
}

static void member_text(struct text *t, const char *name, const char *value)
{
	if (!value)
		return;
	text_printf(t, ", \"%s\": ", name);
	text_json(t, value);
}

/* The members of a JSON object, without its braces. */
static bool insides(const char *object, struct saga_slice *out)
{
	*out = slice(object);
	while (out->n && strchr(" \t\r\n", out->p[0])) {
		out->p++;
		out->n--;
	}
	while (out->n && strchr(" \t\r\n", out->p[out->n - 1]))
		out->n--;
	if (!saga_json_valid(*out) || out->p[0] != '{')
		return false;
	out->p++;
	out->n -= 2;
	return out->n > 0;
}

static bool start_body(const struct saga_start *s, const char *gid, struct text *body,
                       struct saga_error *error)
{
	struct saga_slice document = { 0 };

	if (!s->definition == !s->document)
		return saga_fail(error, SAGA_E_ARGUMENT, "a start has a definition or a document");
	if (s->document && !insides(s->document, &document))
		return saga_fail(error, SAGA_E_ARGUMENT, "the document is no JSON object");
	if ((s->input && !saga_json_valid(slice(s->input))) ||
	    (s->labels && !saga_json_valid(slice(s->labels))))
		return saga_fail(error, SAGA_E_ARGUMENT, "input and labels are JSON");
	text_cstr(body, "{\"gid\": ");
	text_json(body, gid);
	member_text(body, "definition", s->definition);
	if (s->version)
		text_printf(body, ", \"version\": %u", s->version);
	member(body, "input", s->input ? s->input : "{}");
	member(body, "labels", s->labels);
	member_text(body, "deadline", s->deadline);
	member_text(body, "start_at", s->start_at);
	if (document.n) {
		text_cstr(body, ", ");
		text_add(body, document.p, document.n);
	}
	text_cstr(body, "}");
	if (!body->failed)
		return true;
	return saga_fail(error, SAGA_E_ARGUMENT, "out of memory, or a text that is not UTF-8");
}

bool saga_start(struct saga_client *c, const struct saga_start *start, struct saga_transaction *out,
		struct saga_error *error)
{
	struct text body = { 0 }, path = { 0 }, trace = { 0 };
	struct http_ask ask = { .method = "POST" };
	int wait_ms = at_most(start->wait_ms);
	char made[37];
	const char *gid = start->gid ? start->gid : made;
	bool ok = false;

	memset(out, 0, sizeof(*out));
	if (!start->gid && !uuid_make(made))
		return saga_fail(error, SAGA_E_SYSTEM, "no randomness for a gid");
	if (start_body(start, gid, &body, error)) {
		text_cstr(&path, "/v1/transactions");
		text_wait(&path, wait_ms);
		if (start->traceparent)
			text_printf(&trace, "traceparent: %s", start->traceparent);
		ask.headers[0] = trace.p;
		ask.body = body.p;
		if (path.failed || trace.failed)
			saga_fail(error, SAGA_E_MEMORY, "out of memory");
		else
			ok = client_ask_txn(c, &ask, path.p, wait_ms, out, error);
	}
	if (!ok)
		snprintf(out->gid, sizeof(out->gid), "%s", gid);
	text_free(&body);
	text_free(&path);
	text_free(&trace);
	return ok;
}

/* ---- watch and decide -------------------------------------------------------------------- */

/* method at /v1/transactions/GID + rest?wait=…, with body. */
static bool ask_about(struct saga_client *c, const char *method, const char *gid, const char *rest,
                      const char *body, int wait_ms, struct saga_transaction *out,
                      struct saga_error *error)
{
	struct http_ask ask = { .method = method, .body = body };
	struct text path = { 0 };
	bool ok;

	if (out)
		memset(out, 0, sizeof(*out));
	if (!*gid)
		return saga_fail(error, SAGA_E_ARGUMENT, "an empty gid");
	text_txn_path(&path, gid, rest);
	text_wait(&path, wait_ms);
	ok = path.failed ? saga_fail(error, SAGA_E_MEMORY, "out of memory")
			 : client_ask_txn(c, &ask, path.p, wait_ms, out, error);
	text_free(&path);
	return ok;
}

bool saga_get(struct saga_client *c, const char *gid, struct saga_transaction *out,
              struct saga_error *error)
{
	return ask_about(c, "GET", gid, "", NULL, 0, out, error);
}

bool saga_wait(struct saga_client *c, const char *gid, int timeout_ms, struct saga_transaction *out,
	       struct saga_error *error)
{
	int64_t until = clock_ms() + timeout_ms;

	for (;;) {
		int64_t left = until - clock_ms();
		int wait_ms = left > WAIT_MAX_MS ? WAIT_MAX_MS : left > 0 ? (int)left : 0;

		if (!ask_about(c, "GET", gid, "", NULL, wait_ms, out, error))
			return false;
		if (out->ended || left <= 0)
			return true;
		saga_transaction_fini(out);
	}
}

bool saga_confirm(struct saga_client *c, const char *gid, int wait_ms, struct saga_transaction *out,
		  struct saga_error *error)
{
	return ask_about(c, "POST", gid, "/confirm", "{}", at_most(wait_ms), out, error);
}

bool saga_cancel(struct saga_client *c, const char *gid, const char *reason, int wait_ms,
		 struct saga_transaction *out, struct saga_error *error)
{
	struct text body = { 0 };
	bool ok;

	text_cstr(&body, "{");
	if (reason) {
		text_cstr(&body, "\"reason\": ");
		text_json(&body, reason);
	}
	text_cstr(&body, "}");
	if (out)
		memset(out, 0, sizeof(*out));
	ok = body.failed
	             ? saga_fail(error, SAGA_E_ARGUMENT, "the reason is not UTF-8")
	             : ask_about(c, "POST", gid, "/cancel", body.p, at_most(wait_ms), out, error);
	text_free(&body);
	return ok;
}

bool saga_join(struct saga_client *c, const char *gid, const char *step,
               struct saga_transaction *out, struct saga_error *error)
{
	return ask_about(c, "POST", gid, "/steps", step, 0, out, error);
}

/* ---- callbacks --------------------------------------------------------------------------- */

/* The URL says /complete?; a failure goes to the same with fail. */
static bool report_url(struct text *url, const char *callback, bool done)
{
	static const char word[] = "/complete?";
	const char *at = strstr(callback, word);

	if (!at)
		return false;
	text_add(url, callback, (size_t)(at - callback));
	text_cstr(url, done ? word : "/fail?");
	text_cstr(url, at + sizeof(word) - 1);
	return !url->failed;
}

bool saga_report(struct saga_client *c, const char *callback, const char *done, const char *reason,
		 struct saga_error *error)
{
	struct http_ask ask = { .method = "POST", .no_token = true };
	struct text url = { 0 }, body = { 0 };
	struct http_answer answer;
	bool ok = false;

	if (done) {
		text_cstr(&body, done);
	} else {
		text_cstr(&body, "{\"error\": ");
		text_json(&body, reason ? reason : "failed");
		text_cstr(&body, "}");
	}
	if (!report_url(&url, callback, done != NULL) || body.failed) {
		saga_fail(error, SAGA_E_ARGUMENT,
		          "that is no URL of a callback, or the reason is not UTF-8");
	} else {
		ask.url = url.p;
		ask.body = body.p;
		ok = client_ask(c, &ask, NULL, 0, &answer, error);
		if (ok)
			http_answer_fini(&answer);
	}
	text_free(&url);
	text_free(&body);
	return ok;
}
