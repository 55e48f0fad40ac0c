/* SPDX-License-Identifier: Apache-2.0
 * caller.h - the caller port: calls to participants, each participant behind a queue of its own.
 */
#ifndef COORDINATOR_IO_CALLER_H
#define COORDINATOR_IO_CALLER_H

#include "coordinator/base/breaker.h"
#include "coordinator/base/tally.h"
#include "coordinator/engine/port.h"
#include "coordinator/io/chaos.h"
#include "coordinator/io/http.h"
#include "coordinator/io/participants.h"
#include "coordinator/io/span.h"
#include "coordinator/io/pauses.h"

struct caller;

struct caller_config {
	struct http         *http;
	struct chaos        *chaos;           /* NULL: calls are made as they should be */
	struct participants *participants;    /* NULL: calls by name cannot be made */
	struct pauses       *pauses;          /* NULL: nothing is ever paused */
	struct clock_port    clock;
	/* May a call leave the process at this moment? Calls wait in our queues, and the lease they were started
	 * under may have ended since. NULL: always. */
	bool               (*may_send)(void *ctx);
	void                *may_send_ctx;
	struct call_rules    rules;           /* its slices live as long as the caller */
	/* Each call that ended, for traces; all borrowed. NULL: nobody wants to know. */
	void               (*attempted)(void *ctx, struct str traceparent, const struct span_attempt *a);
	void                *attempted_ctx;
	uint32_t             per_participant; /* calls in flight to one, unless it says otherwise */
	uint32_t             queue_max;       /* calls waiting for one; beyond it `unknown` */
	struct breaker_rules breaker;         /* of each participant, unless it says otherwise */
	/* The participant of these calls put off (call_answer.line) takes calls again; may be NULL. */
	void               (*room)(void *ctx, uint64_t line);
	void                *room_ctx;
	struct trace_port    trace;           /* line may be NULL */
};

struct caller *caller_open(uv_loop_t *loop, const struct caller_config *config);
void           caller_ports(struct caller *c, struct caller_port *out);
/* In every turn of the loop: sends what was held back, once it may be sent again. */
void           caller_flush(struct caller *c);

struct caller_target { /* borrowed */
	struct str name;            /* host:port or participant:NAME */
	uint32_t   in_flight, limit;
	uint64_t   queued;
	uint64_t   calls, failures; /* answered since start; failures: unknown or misconfigured */
	uint64_t   rejected;        /* turned away because the queue was full */
	struct tally latency_us;    /* TALLY_CALL_US */
	struct tally_example *examples; /* of its buckets; NULL: none was recorded */
	bool       shown;           /* one of the first: it may have figures of its own where space is short */
	uint64_t   p50_us, p99_us;  /* of the last half minute or whole one; 0: there were none */
	enum breaker_state breaker;
	int64_t    breaker_ms;      /* since it opened; 0 while closed */
	int64_t    quiet_ms;        /* left of what a 429 asked for */
	uint32_t   recent, recent_unknown; /* calls of the last 10 s that ended while it was closed, and taught nothing */
	uint64_t   opened, put_off; /* how often it did, and calls not made, since start */
};
/* In no order. The one without a name is the sum of those that were forgotten. */
typedef void caller_each(void *arg, const struct caller_target *t);
void caller_each_target(const struct caller *c, caller_each *each, void *arg);

/* Open calls are dropped. Close it before its http and participants. closed (may
 * be NULL) comes later. */
void caller_close(struct caller *c, void (*closed)(void *arg), void *arg);

#endif
