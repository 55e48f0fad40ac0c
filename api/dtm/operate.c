/* SPDX-License-Identifier: Apache-2.0
 * operate.c - what operators ask for: an end by force, and waiting calls that are to be made now.
 */
#include "api/audit.h"
#include "api/dtm/dtm.h"

enum { RESET_TIMEOUT_S = 105, RESET_EXAMINES = 2000 };

/* What only operators do is journalled and audited; clients have no names but their tokens'. */
static void operate(struct request *r, enum command_kind kind, const char *role,
                    const char *reason, command_done *done)
{
	struct command *c = dtm_command(r, kind);

	c->actor = request_principal(r)->name;
	c->role = str_of(role);
	c->reason = str_of(reason);
	engine_command(r->api->engine, c, done, r);
}

/* ---- one transaction --------------------------------------------------------------------- */

static void operate_on(struct request *r, const struct view *view, enum command_kind kind,
                       const char *role, const char *reason, command_done *done)
{
	if (view != NULL)
		operate(r, kind, role, reason, done);
	else
		dtm_command_failed(r, COMMAND_UNKNOWN, NULL);
}

static void on_stopped(void *arg, enum command_result result, enum verdict verdict,
                       const struct view *view, const struct err *err)
{
	struct request *r = arg;

	if (result != COMMAND_APPLIED)
		dtm_command_failed(r, result, err);
	else if (verdict == VERDICT_ACCEPTED)
		dtm_ok(r);
	else
		dtm_failure(r, "global transaction force stop error. status: %s. error:",
		            dtm_status(view->row.phase));
}

static void force_stop(struct request *r, const struct view *view)
{
	operate_on(r, view, COMMAND_ABANDON, "admin", "forceStop of DTM's protocol", on_stopped);
}

static void on_retried(void *arg, enum command_result result, enum verdict verdict,
                       const struct view *view, const struct err *err)
{
	(void)verdict, (void)view;
	if (result != COMMAND_APPLIED)
		dtm_command_failed(arg, result, err);
	else
		dtm_ok(arg);
}

static void retry_now(struct request *r, const struct view *view)
{
	operate_on(r, view, COMMAND_RETRY, "operator", "resetNextCronTime of DTM's protocol",
	           on_retried);
}

static void find_named(struct request *r, dtm_then *then)
{
	if (dtm_body(r) && dtm_read_gid(r, dtm_text(r, r->body, "gid")))
		dtm_find(r, then);
}

void handle_dtm_force_stop(struct request *r)
{
	find_named(r, force_stop);
}

void handle_dtm_reset_next_cron_time(struct request *r)
{
	find_named(r, retry_now);
}

/* ---- GET /resetCronTime ------------------------------------------------------------------ */

struct reset {
	struct str *gids;
	size_t      n, at, done;
	unsigned    limit;
};

static void reset_next(struct request *r);

static void on_reset(void *arg, enum command_result result, enum verdict verdict,
                     const struct view *view, const struct err *err)
{
	struct request *r = arg;
	struct reset   *s = dtm_of(r)->own;

	(void)view, (void)err;
	s->done += result == COMMAND_APPLIED && verdict == VERDICT_ACCEPTED;
	reset_next(r);
}

/* One after the other: each is a commit of its own, and nobody is in a hurry. Those that wait for
 * nothing but a decision, or for their start, do not count: they would be there again for who asks
 * until nothing remains. */
static void reset_next(struct request *r)
{
	struct reset *s = dtm_of(r)->own;
	struct buf    body = { 0 };

	if (s->at < s->n && s->done < s->limit) {
		r->gid = s->gids[s->at++];
		operate(r, COMMAND_RETRY, "operator", "resetCronTime of DTM's protocol", on_reset);
		return;
	}
	buf_fmt(&body, "{\"has_remaining\":%s,\"succeed_count\":%zu}",
	        s->done == s->limit ? "true" : "false", s->done);
	dtm_data(r, &body);
}

static void on_sleepers(void *arg, enum log_result result, const struct row *rows, size_t n,
                        const struct list_page *page)
{
	struct request *r = arg;
	struct reset   *s = dtm_of(r)->own;

	(void)page;
	if (result != LOG_DONE) {
		dtm_away(r, result);
		return;
	}
	s->gids = arena_array(request_arena(r), n, sizeof *s->gids);
	for (size_t i = 0; i < n; i++)
		s->gids[s->n++] = arena_str(request_arena(r), rows[i].gid);
	reset_next(r);
}

void handle_dtm_reset_cron_time(struct request *r)
{
	struct store_port *store = &r->api->store;
	struct reset      *s = arena_alloc(request_arena(r), sizeof *s);
	struct str         text = dtm_param(r, "timeout");
	uint64_t           seconds = RESET_TIMEOUT_S;

	dtm_of(r)->own = s;
	if (text.n > 0 && (!text_to_u64(text, &seconds) || seconds > 315360000)) {
		dtm_error(r, "timeout must be a number of seconds, at most ten years");
		return;
	}
	if (dtm_read_limit(r, &s->limit))
		store->dtm_sleepers(store->ctx, (int64_t)seconds * r->api->config.dtm_second_ms,
		                    RESET_EXAMINES, on_sleepers, r);
}
