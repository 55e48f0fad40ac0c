/* SPDX-License-Identifier: Apache-2.0
 * tcc.c - tcc and xa: an open transaction, and the branches that join it.
 */
#include "api/dtm/dtm.h"

void open_document(struct request *r, struct buf *out)
{
	dtm_write_head(r, "tcc", dtm_patience_ms(r, &dtm_of(r)->trans), out);
	buf_char(out, '}');
}

static void write_second(struct request *r, const char *member, struct str url, const char *op,
                         bool is_xa, struct buf *out)
{
	const struct dtm_call call = { .url = url,
		                       .branch_id = dtm_text(r, r->body, "branch_id"),
		                       .op = str_of(op),
		                       .payload = is_xa ? NULL : dtm_member(r->body, "data"),
		                       .payload_at = -1,
		                       .post = is_xa };

	buf_fmt(out, ",\"%s\":", member);
	dtm_write_call(r, &call, out);
}

bool branch_document(struct request *r, enum dtm_kind kind, struct buf *out)
{
	const bool is_xa = kind == DTM_XA;
	struct str id = dtm_text(r, r->body, "branch_id");

	dtm_of(r)->trans.kind = kind;
	if (!dtm_branch_is_valid(id)) {
		dtm_error(r, "a branch_id is 1 to %d letters, digits, - and _", DTM_BRANCH_MAX);
		return false;
	}
	buf_fmt(out, "{\"name\":\"branch-%.*s\"", (int)id.n, id.p);
	write_second(r, "confirm", dtm_text(r, r->body, is_xa ? "url" : "confirm"),
	             is_xa ? "commit" : "confirm", is_xa, out);
	write_second(r, "cancel", dtm_text(r, r->body, is_xa ? "url" : "cancel"),
	             is_xa ? "rollback" : "cancel", is_xa, out);
	buf_char(out, '}');
	return true;
}
