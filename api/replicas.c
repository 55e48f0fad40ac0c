/* SPDX-License-Identifier: Apache-2.0 */
#include "api/request.h"
#include "api/show.h"
#include "coordinator/base/mem.h"

#include <stdlib.h>

static const char *const NOTHING[] = { NULL };

static const char *member_state_name(enum member_state s)
{
	switch (s) {
	case MEMBER_LIVE: return "live";
	case MEMBER_DRAINED: return "drained";
	case MEMBER_FENCED: return "fenced";
	}
	return "unknown";
}

static void show_member(struct buf *out, const struct member *m, double share, const struct engine_stats *me)
{
	char text[UUID_TEXT + 1];

	buf_fmt(out, "{\"id\":\"%s\",\"state\":\"%s\"", uuid_text(m->id, text), member_state_name(m->state));
	show_text(out, "address", m->address);
	buf_fmt(out, ",\"weight\":%u,\"speed\":%.1f,\"load\":%.3f,\"share\":%.3f,\"owns\":%s", m->weight, m->speed,
	        m->load, share, m->owns ? "true" : "false");
	if (m->state == MEMBER_LIVE)
		show_text(out, "lease", m->lease.mark != 0 ? STR("row") : STR("lock"));
	show_time(out, "started_at", m->started_at);
	show_time(out, "seen_at", m->seen_at);
	if (!uuid_is_nil(m->fenced_by))
		show_text(out, "fenced_by", str_of(uuid_text(m->fenced_by, text)));
	/* What only the replica itself knows. */
	if (uuid_eq(m->id, me->me))
		buf_fmt(out, ",\"answering\":true,\"lease_age_ms\":%lld,\"owned\":%llu,\"adopted\":%llu",
		        (long long)me->lease_age_ms, (unsigned long long)me->owned,
		        (unsigned long long)me->adopted);
	buf_char(out, '}');
}

static void on_members(void *arg, enum log_result result, const struct member *members, size_t n)
{
	struct request     *r = arg;
	struct buf          body = { 0 };
	struct engine_stats me;
	double             *shares;

	if (result != LOG_DONE) {
		request_away(r, result);
		return;
	}
	engine_stats(r->api->engine, &me);
	shares = mem_array(n, sizeof *shares);
	engine_shares(members, n, shares);
	for (size_t i = 0; i < n; i++) {
		request_item(&body);
		show_member(&body, &members[i], shares[i], &me);
	}
	free(shares);
	request_answer_page(r, &body, 0, (struct str){ 0 });
}

void handle_replica_list(struct request *r)
{
	struct log_port *log = &r->api->ports.log;

	if (request_only(r, NOTHING))
		log->members(log->ctx, on_members, r);
}
