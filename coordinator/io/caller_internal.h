/* SPDX-License-Identifier: Apache-2.0
 * caller_internal.h - the caller's parts: when calls go (caller.c), and what one call is (caller_call.c).
 */
#ifndef COORDINATOR_IO_CALLER_INTERNAL_H
#define COORDINATOR_IO_CALLER_INTERNAL_H

#include "coordinator/base/list.h"
#include "coordinator/io/caller.h"
#include "coordinator/io/targets.h"
#include "participants/definition_call.h"

enum job_state {
	JOB_FREE,
	JOB_NAMING, /* waits for a newer list of participants; its request is copied */
	JOB_QUEUED, /* on its target's queue */
	JOB_SENT,
	JOB_ENDED   /* on caller.ended: answered in the next turn, nothing was sent */
};

struct job {
	struct list              link;
	struct caller           *caller;
	uint32_t                 index, generation;
	enum job_state           state;
	struct arena             arena;
	struct call_spec         spec;  /* slices are valid while NAMING and in start */
	struct definition       *def;   /* held */
	struct call_text         text;
	size_t                   header_count; /* of text, without a signature */
	struct target           *target;
	struct breaker_pass      pass;
	struct transfer         *transfer;
	struct copy             *delayed; /* by chaos: instead of transfer */
	struct participants_wait wait;
	call_done               *done;
	void                    *arg;
	struct call_answer       answer; /* ENDED */
	struct err               err;    /* text of answer.error */
};

struct caller {
	struct caller_config config;
	uv_idle_t            idle;
	struct list          ended;
	struct targets       targets;
	struct job         **jobs;
	uint32_t            *free_jobs;
	uint32_t             job_count, free_count;
	bool                 held;   /* something waits because it may not be sent */
	void               (*closed)(void *arg);
	void                *closed_arg;
};

/* ---- one call, caller_call.c: nothing here changes a queue ------------------------------------- */

/* From the definition's templates. False: j->err says why. */
bool job_render(struct job *j);
/* With chaos, now and then: the same call and its try, of a gid that no transaction has. */
void job_send_stranger(struct job *j);
/* False: nothing is sent, j->err says why. done is called in a later turn of the loop. */
bool job_send(struct job *j, http_done *done);
/* What the end of the call means, which traces are told. */
void job_learn(const struct job *j, const struct http_result *result, struct call_lesson *out);
/* An end without a call: traces are told of what counts as an attempt. */
void job_tell_unsent(const struct job *j);

#endif
