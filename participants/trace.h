/* SPDX-License-Identifier: Apache-2.0
 * trace.h - the trace of a transaction (W3C Trace Context): its id, and the ids of its spans.
 *
 * Ids are made of what the transaction is, never drawn: whoever drives it after a crash goes on with the same
 * trace, and knows the span of a call that the one before him may have made.
 */
#ifndef PARTICIPANTS_TRACE_H
#define PARTICIPANTS_TRACE_H

#include "coordinator/base/text.h"
#include "coordinator/core/txn.h"

enum { TRACE_HEX = 32, SPAN_HEX = 16 };

struct trace_rules { /* which traces are recorded */
	bool     parent_based; /* a starter's flag decides, if there is a starter with one */
	uint64_t threshold;    /* of the id's last 56 bits; TRACE_ALL: every one */
};
#define TRACE_ALL (1ull << 56)

struct trace {
	char       id[TRACE_HEX + 1];
	char       root[SPAN_HEX + 1]; /* the span of the whole transaction */
	struct str parent;             /* the starter's span, a slice of traceparent; empty: none */
	bool       sampled;            /* the starter's flag; true where there is none */
};

/* Of level 1, or of a later version that begins like it. */
bool traceparent_is_good(struct str traceparent);
/* traceparent: the starter's, or empty. Without one all calls of a transaction still share a trace. */
void trace_of(struct str gid, struct str traceparent, struct trace *out);
/* The same but for the root's span, which is empty: for each call, whose parent it is not told. */
void trace_id_of(struct str gid, struct str traceparent, struct trace *out);
/* Is it recorded? Ratio sampling of the id's random part, so that all replicas agree. */
bool trace_is_recorded(const struct trace *t, const struct trace_rules *rules);
/* "0.25" of all; false: it is no number from 0 to 1. */
bool trace_threshold(struct str ratio, uint64_t *out);

/* Never 0. call: how many calls of this op the same owner has seen end before it, since questions after `ongoing`
 * use up no attempt. */
uint64_t trace_attempt_span(struct str gid, uint16_t step, enum op op, uint32_t attempt, uint32_t call, uint64_t epoch);
uint64_t trace_takeover_span(struct str gid, uint64_t epoch);
const char *trace_span_hex(uint64_t span, char out[SPAN_HEX + 1]);

#endif
