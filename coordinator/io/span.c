/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/span.h"

#include <inttypes.h>
#include <string.h>

enum span_kind { SPAN_INTERNAL = 1, SPAN_CLIENT = 3 };
enum span_status { SPAN_UNSET = 0, SPAN_ERROR = 2 };

/* ---- attributes: the first opens the list ----------------------------------------------------- */

static void key(struct buf *out, const char *name)
{
	buf_cstr(out, out->p[out->n - 1] == '[' ? "{\"key\":\"" : ",{\"key\":\"");
	buf_cstr(out, name);
	buf_cstr(out, "\",\"value\":{");
}

static void text(struct buf *out, const char *name, struct str value)
{
	if (value.n == 0)
		return;
	key(out, name);
	buf_cstr(out, "\"stringValue\":");
	buf_json(out, value);
	buf_cstr(out, "}}");
}

static void number(struct buf *out, const char *name, uint64_t value)
{
	key(out, name);
	buf_cstr(out, "\"intValue\":\"");
	buf_u64(out, value);
	buf_cstr(out, "\"}}");
}

/* ---- a span ------------------------------------------------------------------------------------- */

struct head {
	const char    *span;
	struct str     parent;
	enum span_kind kind;
	const char    *verb;   /* the name is "verb what" */
	struct str     what;
	int64_t        start_us, end_us;
};

static void open_span(struct buf *out, const struct trace *t, const struct head *h)
{
	buf_cstr(out, "{\"traceId\":\"");
	buf_cstr(out, t->id);
	buf_cstr(out, "\",\"spanId\":\"");
	buf_cstr(out, h->span);
	if (h->parent.n > 0) {
		buf_cstr(out, "\",\"parentSpanId\":\"");
		buf_str(out, h->parent);
	}
	buf_cstr(out, "\",\"name\":");
	if (h->what.n > 0) {
		struct buf name = { 0 };

		buf_cstr(&name, h->verb);
		buf_char(&name, ' ');
		buf_str(&name, h->what);
		buf_json(out, buf_view(&name));
		buf_fini(&name);
	} else {
		buf_json(out, str_of(h->verb));
	}
	buf_fmt(out, ",\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64 "000\",\"endTimeUnixNano\":\"%" PRId64 "000\","
	             "\"attributes\":[", (int)h->kind, h->start_us, h->end_us);
}

static void close_span(struct buf *out, enum span_status status, struct str message)
{
	if (status == SPAN_UNSET) {
		buf_cstr(out, ",\"status\":{}}");
		return;
	}
	buf_fmt(out, ",\"status\":{\"code\":%d", (int)status);
	if (message.n > 0) {
		buf_cstr(out, ",\"message\":");
		buf_json(out, message);
	}
	buf_cstr(out, "}}");
}

/* ---- attempts ------------------------------------------------------------------------------------- */

struct url {
	struct str bare, host, port; /* bare: without user and query */
};

static struct str until(struct str s, const char *stops)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr(stops, s.p[i]) != NULL)
			return (struct str){ s.p, i };
	return s;
}

/* A URL of a definition. One with a user in it is not shown beyond its host. */
static void read_url(struct str whole, struct url *out)
{
	const size_t scheme = str_starts(whole, STR("https://")) ? 8 : 7;
	struct str   rest, authority;

	*out = (struct url){ 0 };
	if (whole.n <= scheme)
		return;
	rest = (struct str){ whole.p + scheme, whole.n - scheme };
	authority = until(rest, "/?#");
	const char *at = memrchr(authority.p, '@', authority.n);
	out->bare = until(whole, "?#");
	if (at != NULL) {
		authority.n -= (size_t)(at + 1 - authority.p);
		authority.p = at + 1;
		out->bare = (struct str){ 0 };
	}
	out->host = authority;
	const char *colon = memrchr(authority.p, ':', authority.n);
	if (colon != NULL && memchr(colon, ']', (size_t)(authority.p + authority.n - colon)) == NULL) {
		out->host.n = (size_t)(colon - authority.p);
		out->port = (struct str){ colon + 1, authority.n - out->host.n - 1 };
	}
}

static void add_http(struct buf *out, const struct span_attempt *a)
{
	struct url url;
	uint64_t   port = str_starts(a->url, STR("https://")) ? 443 : 80;

	read_url(a->url, &url);
	text(out, "http.request.method", a->method);
	text(out, "url.full", url.bare);
	text(out, "server.address", url.host);
	if (url.port.n == 0 || text_to_u64(url.port, &port))
		number(out, "server.port", port);
	if (a->status > 0)
		number(out, "http.response.status_code", (uint64_t)a->status);
	if (a->attempt > 1)
		number(out, "http.request.resend_count", a->attempt - 1);
}

void span_write_attempt(struct buf *out, const struct trace *t, const struct span_attempt *a)
{
	const int64_t end_us = a->end_ms * 1000;
	const bool    sent = a->url.n > 0;
	const bool    failed = a->outcome == OUTCOME_UNKNOWN || a->outcome == OUTCOME_MISCONFIGURED;
	char          span[SPAN_HEX + 1];
	struct head   h = { trace_span_hex(a->span, span), { t->root, SPAN_HEX }, sent ? SPAN_CLIENT : SPAN_INTERNAL, op_name(a->op), a->step,
		            end_us - (int64_t)a->took_us, end_us };

	open_span(out, t, &h);
	if (sent)
		add_http(out, a);
	text(out, "sagad.gid", a->gid);
	text(out, "sagad.definition", a->definition);
	text(out, "sagad.step", a->step);
	text(out, "sagad.op", str_of(op_name(a->op)));
	text(out, "sagad.outcome", a->stale ? STR("stale_epoch") : str_of(outcome_name(a->outcome)));
	number(out, "sagad.attempt", a->attempt);
	number(out, "sagad.epoch", a->epoch);
	if (failed)
		text(out, "error.type", str_of(outcome_name(a->outcome)));
	buf_char(out, ']');
	close_span(out, failed ? SPAN_ERROR : SPAN_UNSET, a->error);
}

/* ---- transactions ------------------------------------------------------------------------------------- */

static void add_txn(struct buf *out, const struct row *row)
{
	text(out, "sagad.gid", row->gid);
	text(out, "sagad.definition", row->definition);
	if (row->definition.n > 0)
		number(out, "sagad.definition.version", row->definition_version);
	number(out, "sagad.epoch", row->epoch);
}

void span_write_ended(struct buf *out, const struct trace *t, const struct row *row, const struct txn *txn)
{
	const bool  failed = txn->phase != PHASE_CONFIRMED;
	struct head h = { t->root, t->parent, SPAN_INTERNAL, mode_name(txn->plan->mode), row->definition,
		          row->created_at * 1000, row->ended_at * 1000 };

	open_span(out, t, &h);
	add_txn(out, row);
	text(out, "sagad.mode", str_of(mode_name(txn->plan->mode)));
	text(out, "sagad.phase", str_of(phase_name(txn->phase)));
	if (txn->cause != CAUSE_NONE)
		text(out, "sagad.cause", str_of(cause_name(txn->cause)));
	number(out, "sagad.version", row->version);
	if (failed)
		text(out, "error.type", str_of(phase_name(txn->phase)));
	buf_char(out, ']');
	close_span(out, failed ? SPAN_ERROR : SPAN_UNSET, failed ? str_of(cause_name(txn->cause)) : (struct str){ 0 });
}

static void add_link(struct buf *out, const struct trace *t, const struct row *row, const struct trace_call *c)
{
	char     span[SPAN_HEX + 1];
	uint64_t id = trace_attempt_span(row->gid, c->step, c->op, c->attempt, c->call, row->epoch - 1);

	buf_cstr(out, out->p[out->n - 1] == '[' ? "{\"traceId\":\"" : ",{\"traceId\":\"");
	buf_cstr(out, t->id);
	buf_cstr(out, "\",\"spanId\":\"");
	buf_cstr(out, trace_span_hex(id, span));
	buf_cstr(out, "\",\"attributes\":[");
	text(out, "sagad.op", str_of(op_name(c->op)));
	number(out, "sagad.attempt", c->attempt);
	buf_cstr(out, "]}");
}

void span_write_adopted(struct buf *out, const struct trace *t, const struct row *row, struct uuid from, int64_t now_ms,
                        const struct trace_call *calls, size_t n)
{
	char        span[SPAN_HEX + 1], id[UUID_TEXT + 1];
	struct head h = { trace_span_hex(trace_takeover_span(row->gid, row->epoch), span), { t->root, SPAN_HEX },
		          SPAN_INTERNAL, "take over", { 0 }, now_ms * 1000, now_ms * 1000 };

	open_span(out, t, &h);
	add_txn(out, row);
	text(out, "sagad.from", str_of(uuid_text(from, id)));
	buf_cstr(out, "],\"links\":[");
	for (size_t i = 0; i < n; i++)
		add_link(out, t, row, &calls[i]);
	buf_char(out, ']');
	close_span(out, SPAN_UNSET, (struct str){ 0 });
}

/* ---- a request --------------------------------------------------------------------------------------------- */

void span_write_head(struct buf *out, const struct span_resource *r)
{
	buf_cstr(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
	text(out, "service.name", STR("sagad"));
	text(out, "service.version", str_of(r->version));
	text(out, "service.instance.id", r->instance);
	text(out, "host.name", r->host);
	number(out, "process.pid", (uint64_t)r->pid);
	buf_cstr(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"sagad\",\"version\":");
	buf_json(out, str_of(r->version));
	buf_cstr(out, "},\"spans\":[");
}

void span_write_tail(struct buf *out)
{
	buf_cstr(out, "]}]}]}");
}
