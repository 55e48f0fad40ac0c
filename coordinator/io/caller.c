/* SPDX-License-Identifier: Apache-2.0
 * caller.c - when calls go: each waits in the queue of its participant, is sent, and ends.
 */
#include "coordinator/io/caller_internal.h"

#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
	QUEUE_FULL_RETRY_MS = 1000,
	JOBS_READY = 512,      /* keep some memory for their next call */
	TURNED_AWAY_MAX = 500, /* of one queue in one turn of the loop, when its breaker opens */
};

#define PARTICIPANT_PREFIX STR("participant:")

/* ---- jobs ----------------------------------------------------------------------------------- */

static void grow_jobs(struct caller *c)
{
	uint32_t n = c->job_count ? 2 * c->job_count : 64;

	c->jobs = mem_grow(c->jobs, n, sizeof(struct job *));
	c->free_jobs = mem_grow(c->free_jobs, n, sizeof c->free_jobs[0]);
	for (uint32_t i = n; i-- > c->job_count;) {
		struct job *j = mem_alloc(sizeof *j);

		j->caller = c;
		j->index = i;
		list_init(&j->link);
		c->jobs[i] = j;
		c->free_jobs[c->free_count++] = i;
	}
	c->job_count = n;
}

static struct job *new_job(struct caller *c)
{
	if (c->free_count == 0)
		grow_jobs(c);
	return c->jobs[c->free_jobs[--c->free_count]];
}

/* A handle outlives its job harmlessly: the generation tells them apart. */
static uint64_t handle_of(const struct job *j)
{
	return (uint64_t)j->generation << 32 | (j->index + 1);
}

static struct job *find_job(const struct caller *c, uint64_t handle)
{
	uint32_t index = (uint32_t)(handle & UINT32_MAX) - 1;

	if (index >= c->job_count || c->jobs[index]->state == JOB_FREE ||
	    c->jobs[index]->generation != handle >> 32)
		return NULL;
	return c->jobs[index];
}

static void free_job(struct job *j)
{
	if (j->index < JOBS_READY)
		arena_clear(&j->arena);
	else
		arena_fini(&j->arena);
	definition_drop(j->def);
	j->def = NULL;
	j->state = JOB_FREE;
	j->generation++;
	j->caller->free_jobs[j->caller->free_count++] = j->index;
}

/* ---- answers without a call ---------------------------------------------------------------- */

static void on_idle(uv_idle_t *idle)
{
	struct caller *c = idle->data;
	struct list    turn, *node;

	/* What is added by the callbacks waits for the next turn. */
	list_init(&turn);
	while ((node = list_pop(&c->ended)) != NULL)
		list_push(&turn, node);
	uv_idle_stop(idle);
	while ((node = list_pop(&turn)) != NULL) {
		struct job *j = list_entry(node, struct job, link);

		j->answer.error = str_of(j->err.text);
		job_tell_unsent(j);
		j->done(j->arg, &j->answer);
		free_job(j);
	}
}

/* j->err says why. */
static void end_unsent(struct job *j, enum outcome outcome, int64_t retry_after_ms)
{
	j->state = JOB_ENDED;
	j->answer = (struct call_answer){ .outcome = outcome, .retry_after_ms = retry_after_ms };
	list_push(&j->caller->ended, &j->link);
	uv_idle_start(&j->caller->idle, on_idle);
}

/* ---- targets: one queue per participant ------------------------------------------------------ */

static void send_job(struct job *j);

static bool may_send(struct caller *c)
{
	if (c->config.may_send == NULL || c->config.may_send(c->config.may_send_ctx))
		return true;
	c->held = true;
	return false;
}

static void end_put_off(struct job *j, int64_t wait_ms, bool failing)
{
	end_unsent(j, OUTCOME_UNKNOWN, 0);
	j->answer.put_off_ms = wait_ms;
	j->answer.failing = failing;
	j->answer.line = j->target->line;
}

/* May this call be made at all now? False: it was put off. */
static bool admit(struct job *j)
{
	struct caller *c = j->caller;
	bool           failing;
	int64_t        wait_ms;

	j->target = targets_get(&c->targets, definition_target(j->def, j->spec.step, j->spec.op));
	wait_ms = target_ask(&c->targets, j->target, j->spec.attempt > 1, &j->pass, &failing);
	if (wait_ms == 0)
		return true;
	end_put_off(j, wait_ms, failing);
	return false;
}

static void turn_away(struct caller *c, struct target *t, struct job *j)
{
	bool    failing;
	int64_t wait_ms;

	breaker_drop(&t->breaker, j->pass);
	wait_ms = target_turn(&c->targets, t, &failing);
	end_put_off(j, wait_ms, failing);
}

/* Sends what waits, first come first served, as far as the limit and the lease allow. A probe needs no place
 * among calls that hang. */
static void pump(struct caller *c, struct target *t)
{
	const struct participant *p = targets_participant(&c->targets, t->is.name);
	unsigned                  turned_away = 0;

	t->is.limit = c->config.per_participant;
	if (p != NULL && p->max_in_flight > 0)
		t->is.limit = p->max_in_flight;
	while (t->is.queued > 0 && may_send(c)) {
		struct job *j = list_entry(t->queue.next, struct job, link);
		bool        goes = target_may_go(&c->targets, t, j->pass);

		if (goes && t->is.in_flight >= t->is.limit && !j->pass.probe)
			return;
		if (!goes && turned_away++ == TURNED_AWAY_MAX) {
			c->held = true;
			return;
		}
		list_remove(&j->link);
		t->is.queued--;
		if (goes)
			send_job(j);
		else
			turn_away(c, t, j);
	}
}

static void enqueue(struct job *j)
{
	struct caller *c = j->caller;
	struct target *t = j->target;

	if (t->is.queued >= c->config.queue_max && !j->pass.probe) {
		t->is.rejected++;
		breaker_drop(&t->breaker, j->pass);
		err_set(&j->err, ERR_LIMIT, "queue full: %llu calls wait for this participant",
		        (unsigned long long)t->is.queued);
		end_unsent(j, OUTCOME_UNKNOWN, QUEUE_FULL_RETRY_MS);
		j->answer.unsent = true;
		return;
	}
	j->state = JOB_QUEUED;
	if (j->pass.probe)
		list_push_first(&t->queue, &j->link);
	else
		list_push(&t->queue, &j->link);
	t->is.queued++;
	pump(c, t);
}

/* Started, and then not sent: this process stood still, or the lease ended. It is the first to go when
 * calls may leave again; signed anew then. */
static void send_later(struct job *j)
{
	struct target *t = j->target;

	j->text.header_count = j->header_count;
	j->transfer = NULL;
	j->state = JOB_QUEUED;
	list_push_first(&t->queue, &j->link);
	t->is.in_flight--;
	t->is.queued++;
	j->caller->held = true;
}

/* ---- sending and its end --------------------------------------------------------------------- */

static void on_result(void *arg, const struct http_result *result)
{
	struct job        *j = arg;
	struct caller     *c = j->caller;
	struct target     *t = j->target;
	const uint64_t     line = t->line;
	struct call_lesson lesson;
	bool               room;

	if (result->withheld) {
		send_later(j);
		return;
	}
	job_learn(j, result, &lesson);
	room = target_learn(&c->targets, t, j->pass, result, &lesson);
	t->is.in_flight--;
	j->transfer = NULL;
	j->delayed = NULL;
	j->state = JOB_ENDED;
	pump(c, t);
	j->done(j->arg, &(struct call_answer){
		.outcome = lesson.outcome, .bare_conflict = lesson.bare_conflict,
		.gone = lesson.gone, .stale_epoch = lesson.stale_epoch,
		.status = result->reply.status, .retry_after_ms = lesson.retry_after_ms,
		.output = lesson.output, .error = str_of(lesson.error) });
	free_job(j);
	if (room && c->config.room != NULL)
		c->config.room(c->config.room_ctx, line);
}

static void send_job(struct job *j)
{
	if (job_send(j, on_result))
		return;
	breaker_drop(&j->target->breaker, j->pass);
	end_unsent(j, OUTCOME_MISCONFIGURED, 0);
}

/* ---- starting ------------------------------------------------------------------------------- */

/* Rendered and put into its queue, if its participant takes calls. */
static void go_on(struct job *j)
{
	if (!admit(j))
		return;
	if (job_render(j)) {
		job_send_stranger(j);
		enqueue(j);
		return;
	}
	breaker_drop(&j->target->breaker, j->pass);
	end_unsent(j, OUTCOME_MISCONFIGURED, 0);
}

static void on_names(void *arg, bool fresh)
{
	struct job *j = arg;

	if (fresh) {
		go_on(j);
		return;
	}
	err_set(&j->err, ERR_UNAVAILABLE, "the list of participants cannot be read now");
	end_unsent(j, OUTCOME_UNKNOWN, 0);
}

/* A name registered a moment ago: here, then its call must not go to the address of before; or at
 * another replica, then look again before saying no. */
static void wait_for_name(struct job *j)
{
	const uint16_t n = definition_plan(j->def)->step_count;
	struct scope  *s = &j->spec.scope;
	struct str    *outputs = arena_array(&j->arena, n, sizeof *outputs);

	for (uint16_t i = 0; s->outputs != NULL && i < n; i++)
		if (s->outputs[i].n > 0)
			outputs[i] = arena_str(&j->arena, s->outputs[i]);
	s->outputs = outputs;
	s->input = arena_str(&j->arena, s->input);
	j->spec.traceparent = arena_str(&j->arena, j->spec.traceparent);
	j->state = JOB_NAMING;
	j->wait = (struct participants_wait){ .done = on_names, .arg = j };
	participants_refresh(j->caller->config.participants, &j->wait);
}

static bool is_named(const struct job *j)
{
	return j->caller->config.participants != NULL &&
	       str_starts(definition_target(j->def, j->spec.step, j->spec.op), PARTICIPANT_PREFIX);
}

static bool is_changing(const struct job *j)
{
	return is_named(j) && participants_are_changing(j->caller->config.participants);
}

static bool is_unknown(const struct job *j)
{
	return is_named(j) && targets_participant(&j->caller->targets, definition_target(j->def, j->spec.step, j->spec.op)) == NULL;
}

static uint64_t start(void *ctx, const struct call_request *r, call_done *done, void *arg)
{
	struct caller *c = ctx;
	struct job    *j = new_job(c);

	j->done = done;
	j->arg = arg;
	j->def = definition_hold(r->def);
	j->err.text[0] = '\0';
	j->spec = (struct call_spec){
		.scope = { .def = j->def, .gid = arena_str(&j->arena, r->gid), .now = r->created_at,
		           .input = r->input, .outputs = r->outputs },
		.step = r->step, .op = r->op, .attempt = r->attempt, .epoch = r->epoch,
		.deadline_at = r->deadline_at, .traceparent = c->config.attempted != NULL ? arena_str(&j->arena, r->traceparent)
		                                           : r->traceparent,
		.span = trace_attempt_span(r->gid, r->step, r->op, r->attempt, r->call, r->epoch)
	};
	if (definition_calls_nothing(j->def, r->step, r->op))
		end_unsent(j, OUTCOME_OK, 0);
	else if (is_changing(j) || is_unknown(j))
		wait_for_name(j);
	else
		go_on(j);
	return handle_of(j);
}

static void drop_job(struct job *j)
{
	struct target *t = j->target;

	switch (j->state) {
	case JOB_FREE:
		return;
	case JOB_NAMING:
		participants_unwait(j->caller->config.participants, &j->wait);
		break;
	case JOB_QUEUED:
		breaker_drop(&t->breaker, j->pass);
		t->is.queued--;
		break;
	case JOB_SENT:
		breaker_drop(&t->breaker, j->pass);
		if (j->delayed != NULL)
			chaos_forget(j->delayed);
		else
			http_abort(j->caller->config.http, j->transfer);
		t->is.in_flight--;
		break;
	case JOB_ENDED:
		break;
	}
	list_remove(&j->link);
	free_job(j);
}

static void abort_call(void *ctx, uint64_t handle)
{
	struct caller *c = ctx;
	struct job    *j = find_job(c, handle);
	struct target *t;

	/* One that is being answered at this moment is on no list any more. */
	if (j == NULL || (j->state == JOB_ENDED && list_is_empty(&j->link)))
		return;
	t = j->state == JOB_SENT ? j->target : NULL;
	drop_job(j);
	if (t != NULL)
		pump(c, t);
}

/* ---- opening and closing ------------------------------------------------------------------- */

struct caller *caller_open(uv_loop_t *loop, const struct caller_config *config)
{
	struct caller *c = mem_alloc(sizeof *c);

	c->config = *config;
	if (config->rules.callback_key.n > 0)
		c->config.rules.callback_ready = digest_key_open(config->rules.callback_key);
	targets_init(&c->targets, &c->config);
	list_init(&c->ended);
	uv_idle_init(loop, &c->idle);
	c->idle.data = c;
	return c;
}

void caller_ports(struct caller *c, struct caller_port *out)
{
	*out = (struct caller_port){ .ctx = c, .start = start, .abort = abort_call };
}

void caller_each_target(const struct caller *c, caller_each *each, void *arg)
{
	targets_each(&c->targets, each, arg);
}

void caller_flush(struct caller *c)
{
	if (!c->held || !may_send(c))
		return;
	c->held = false;
	for (struct target *t = targets_next(&c->targets, NULL); t != NULL; t = targets_next(&c->targets, t))
		pump(c, t);
}

static void on_closed(uv_handle_t *handle)
{
	struct caller *c = handle->data;

	if (c->closed != NULL)
		c->closed(c->closed_arg);
	free(c);
}

void caller_close(struct caller *c, void (*closed)(void *arg), void *arg)
{
	for (uint32_t i = 0; i < c->job_count; i++) {
		drop_job(c->jobs[i]);
		arena_fini(&c->jobs[i]->arena);
		free(c->jobs[i]);
	}
	targets_fini(&c->targets);
	free(c->jobs);
	free(c->free_jobs);
	digest_key_close(c->config.rules.callback_ready);
	c->closed = closed;
	c->closed_arg = arg;
	uv_close((uv_handle_t *)&c->idle, on_closed);
}
