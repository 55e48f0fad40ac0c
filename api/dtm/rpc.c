/* SPDX-License-Identifier: Apache-2.0
 * rpc.c - the same as JSON-RPC 2.0: the status is always 200, the body tells.
 */
#include "api/dtm/dtm.h"

enum { RPC_PARSE = -32700, RPC_REQUEST = -32600, RPC_METHOD = -32601 };

static void call_method(struct request *r, struct str method, struct str id)
{
	if (str_is(method, "newGid"))
		dtm_new_gid(r);
	else if (str_is(method, "prepare"))
		dtm_prepare(r);
	else if (str_is(method, "submit"))
		dtm_submit(r);
	else if (str_is(method, "abort"))
		dtm_abort(r);
	else if (str_is(method, "registerBranch"))
		dtm_register(r, DTM_TCC);
	else
		dtm_rpc_error(r, id, RPC_METHOD,
		              STR("known are newGid, prepare, submit, abort and registerBranch"));
}

void handle_dtm_json_rpc(struct request *r)
{
	static const char  EMPTY[] = "{}";
	struct json_error  err;
	struct json       *root = json_parse(buf_view(&r->x->body), request_arena(r), &err);
	const struct json *id = dtm_member(root, "id"), *version = dtm_member(root, "jsonrpc");
	const struct json *params = dtm_member(root, "params");

	if (root == NULL) {
		dtm_rpc_error(r, (struct str){ 0 }, RPC_PARSE, STR("the body is not JSON"));
		return;
	}
	if (id == NULL || id->type != JSON_STRING || id->raw.n <= 2 || version == NULL ||
	    !str_is(version->raw, "\"2.0\"")) {
		dtm_rpc_error(r, id && id->type == JSON_STRING ? id->raw : (struct str){ 0 },
		              RPC_REQUEST,
		              STR("jsonrpc is 2.0 and id a string that is not empty"));
		return;
	}
	if (params != NULL && params->type != JSON_OBJECT) {
		dtm_rpc_error(r, id->raw, RPC_REQUEST, STR("params is an object"));
		return;
	}
	dtm_of(r)->rpc_id = id->raw;
	r->body =
		params ? (struct json *)params : json_parse(str_of(EMPTY), request_arena(r), &err);
	call_method(r, dtm_text(r, root, "method"), id->raw);
}
