/* SPDX-License-Identifier: Apache-2.0
 * reply.c - answers in DTM's words: by status and body, or as JSON-RPC, whose status is always 200.
 */
#include "api/dtm/dtm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The longest is the reason of a rollback, of at most 1,000 bytes, with what stands around it. */
enum { TEXT_MAX = 1200 };
enum { RPC_INTERNAL = -32603, RPC_FAILURE = -32901, RPC_ONGOING = -32902 };

static void answer(struct request *r, unsigned status, struct buf *body)
{
	request_answer_as(r, status, "application/json; charset=utf-8", body);
}

static void answer_rpc(struct request *r, struct str result)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"jsonrpc\":\"2.0\",\"id\":");
	buf_str(&body, dtm_of(r)->rpc_id);
	buf_cstr(&body, ",\"error\":null,\"result\":");
	buf_str(&body, result);
	buf_char(&body, '}');
	answer(r, 200, &body);
}

void dtm_rpc_error(struct request *r, struct str id, int code, struct str message)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"jsonrpc\":\"2.0\",\"id\":");
	buf_str(&body, id.n > 0 ? id : STR("null"));
	buf_fmt(&body, ",\"error\":{\"code\":%d,\"message\":", code);
	buf_json(&body, message);
	buf_cstr(&body, "},\"result\":null}");
	answer(r, 200, &body);
}

void dtm_data(struct request *r, struct buf *body)
{
	if (dtm_of(r)->rpc_id.n == 0) {
		answer(r, 200, body);
		return;
	}
	answer_rpc(r, buf_view(body));
	buf_fini(body);
}

void dtm_ok(struct request *r)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"dtm_result\":\"SUCCESS\"}");
	dtm_data(r, &body);
}

static void answer_no(struct request *r, unsigned status, const char *result, int code,
                      struct str message)
{
	struct buf body = { 0 };

	if (dtm_of(r)->rpc_id.n > 0) {
		dtm_rpc_error(r, dtm_of(r)->rpc_id, code, message);
		return;
	}
	buf_char(&body, '{');
	if (result)
		buf_fmt(&body, "\"dtm_result\":\"%s\",", result);
	buf_cstr(&body, "\"message\":");
	buf_json(&body, message);
	buf_char(&body, '}');
	answer(r, status, &body);
}

#define FORMAT(text)                                      \
	char    text[TEXT_MAX];                           \
	va_list ap;                                       \
	va_start(ap, fmt);                                \
	vsnprintf(text, sizeof text, fmt, ap);            \
	va_end(ap)

static bool ends_with(const char *text, const char *word)
{
	const size_t n = strlen(text), w = strlen(word);

	return n >= w && strcmp(text + n - w, word) == 0;
}

/* Clients look for the word in the body; what a branch answered may have it. */
void dtm_failure(struct request *r, const char *fmt, ...)
{
	char whole[TEXT_MAX + 8];

	FORMAT(text);
	snprintf(whole, sizeof whole, "%s%s", text, ends_with(text, "FAILURE") ? "" : " FAILURE");
	answer_no(r, 409, "FAILURE", RPC_FAILURE, str_of(whole));
}

void dtm_ongoing(struct request *r, const char *fmt, ...)
{
	FORMAT(text);
	answer_no(r, 425, "ONGOING", RPC_ONGOING, str_of(text));
}

void dtm_error(struct request *r, const char *fmt, ...)
{
	FORMAT(text);
	answer_no(r, 500, NULL, RPC_INTERNAL, str_of(text));
}

void dtm_refuse_gid(struct request *r)
{
	dtm_error(r, "the gid is that of another transaction: UniqueKeyConflict");
}

void dtm_refuse_place(struct request *r)
{
	dtm_error(r, "a branch is where calls are refused (calls.deny, calls.allow)");
}

void dtm_away(struct request *r, enum log_result result)
{
	switch (result) {
	case LOG_BAD_DATA:
		dtm_error(r, "the database cannot store this text");
		return;
	case LOG_LOST:
		dtm_error(r, "the database connection broke; the same again is safe");
		return;
	case LOG_DONE:
	case LOG_FENCED:
	case LOG_AGAIN:
	case LOG_AWAY:
		dtm_error(r, "the database is away; the same again is safe");
		return;
	}
}
