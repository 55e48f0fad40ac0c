/* SPDX-License-Identifier: Apache-2.0
 * otlp.h - sends spans to an OpenTelemetry collector (OTLP/HTTP, JSON). Never in the way: what cannot be sent
 * in time is dropped and counted.
 */
#ifndef COORDINATOR_IO_OTLP_H
#define COORDINATOR_IO_OTLP_H

#include "coordinator/io/http.h"
#include "coordinator/io/span.h"

struct otlp;

struct otlp_config {
	const char        *endpoint;     /* http(s)://host:port of the collector; /v1/traces is appended */
	const char        *headers;      /* "Name: value" lines for the collector, or empty; copied */
	const char        *ca_file;      /* as in http.h */
	struct trace_rules rules;
	struct clock_port  clock;
	struct trace_port  trace;        /* for log lines */
	const char        *instance;     /* the incarnation of the moment; "" before the first */
	const char        *version;
};

struct otlp_stats {
	uint64_t sent, dropped, refused; /* spans; dropped: no room; refused: by the collector, or given up */
	uint64_t queued, requests, failures;
};

/* NULL with a sentence: the endpoint is no http(s) URL. */
struct otlp *otlp_open(uv_loop_t *loop, const struct otlp_config *config, struct err *err);
const struct trace_rules *otlp_rules(const struct otlp *o);
void otlp_attempt(struct otlp *o, struct str traceparent, const struct span_attempt *a);
void otlp_ended(struct otlp *o, const struct row *row, const struct txn *txn);
void otlp_adopted(struct otlp *o, const struct row *row, struct uuid from, const struct trace_call *calls, size_t n);
void otlp_stats(const struct otlp *o, struct otlp_stats *out);
/* Sends what waits now. */
void otlp_flush(struct otlp *o);
bool otlp_is_idle(const struct otlp *o); /* nothing waits, or nothing can be sent for a while */
void otlp_close(struct otlp *o);

#endif
