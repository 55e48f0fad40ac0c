/* SPDX-License-Identifier: Apache-2.0
 * ops.c - health and numbers, on their own listener. Nothing here asks the database.
 */
#include "api/request.h"

static const char *const NOTHING[] = { NULL };

/* Alive is whoever can answer; to be restarted for a database that is away would help nobody. */
void handle_ops_livez(struct request *r)
{
	struct buf body = { 0 };

	if (!request_only(r, NOTHING))
		return;
	buf_cstr(&body, "{\"alive\":true}\n");
	request_answer(r, 200, &body);
}

static const char *why_not(const struct api *a, enum engine_state state)
{
	struct api_database db = api_database(a);

	if (a->draining)
		return "it is leaving: it finishes or releases what it owns";
	switch (state) {
	case ENGINE_LIVE: return db.up ? NULL : "the database cannot be reached";
	case ENGINE_STARTING: return "it has no lease yet: the database is away, or its lease is still being taken";
	case ENGINE_SUSPENDED: return "its lease is in doubt: heartbeats are not answered";
	case ENGINE_DRAINING: return "it is leaving: it finishes or releases what it owns";
	case ENGINE_GONE: return "it has left";
	}
	return "unknown";
}

void handle_ops_readyz(struct request *r)
{
	struct engine_stats stats;
	struct buf          body = { 0 };
	const char         *why;
	char                id[UUID_TEXT + 1];

	if (!request_only(r, NOTHING))
		return;
	engine_stats(r->api->engine, &stats);
	why = why_not(r->api, stats.state);
	buf_fmt(&body, "{\"ready\":%s,\"state\":\"%s\",\"replica\":\"%s\",\"lease_age_ms\":%lld",
	        why ? "false" : "true", engine_state_name(stats.state), uuid_text(stats.me, id),
	        (long long)stats.lease_age_ms);
	if (api_database(r->api).unsafe_standby)
		buf_cstr(&body, ",\"warning\":\"no standby is synchronous: a failover can lose decisions\"");
	if (why)
		buf_fmt(&body, ",\"reason\":\"%s\"", why);
	buf_cstr(&body, "}\n");
	request_answer(r, why ? 503 : 200, &body);
}

/* Where DTM has them. */
void handle_dtm_metrics(struct request *r)
{
	handle_ops_metrics(r);
}

void handle_ops_metrics(struct request *r)
{
	struct buf body = { 0 };

	enum exposition_form form = EXPOSITION_TEXT;

	if (!request_only(r, NOTHING))
		return;
	if (accept_prefers(exchange_header_list(r->x, "Accept"), "application/openmetrics-text", "text/plain"))
		form = EXPOSITION_OPENMETRICS;
	metrics_write(r->api, form, &body);
	request_header(r, "Vary", "Accept");
	request_answer_as(r, 200, exposition_content_type(form), &body);
}
