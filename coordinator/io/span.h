/* SPDX-License-Identifier: Apache-2.0
 * span.h - spans as OTLP/HTTP writes them in JSON (opentelemetry-proto, trace/v1). No I/O.
 *
 * Its rules: ids are lower-case hex, 64-bit numbers are decimal strings, enums are numbers, names are camelCase.
 * No payloads, no queries of URLs, no secrets.
 */
#ifndef COORDINATOR_IO_SPAN_H
#define COORDINATOR_IO_SPAN_H

#include "coordinator/engine/port.h"
#include "participants/trace.h"

struct span_attempt { /* one call, answered or given up */
	struct str   gid, definition, step, method, url, error; /* url: empty: it could not be sent */
	enum op      op;
	enum outcome outcome;
	bool         stale;       /* 412: somebody with a newer epoch had called */
	int          status;      /* 0: no answer */
	uint32_t     attempt;
	uint64_t     epoch, span;
	int64_t      end_ms;      /* on the database's clock */
	uint64_t     took_us;
};

void span_write_attempt(struct buf *out, const struct trace *t, const struct span_attempt *a);
/* The whole transaction, at its end. */
void span_write_ended(struct buf *out, const struct trace *t, const struct row *row, const struct txn *txn);
/* It has changed hands; links lead to the calls that the one before may have made. */
void span_write_adopted(struct buf *out, const struct trace *t, const struct row *row, struct uuid from, int64_t now_ms,
                        const struct trace_call *calls, size_t n);

/* A whole request: head, spans separated by commas, tail. */
struct span_resource {
	struct str  instance, host;
	const char *version;
	long        pid;
};
void span_write_head(struct buf *out, const struct span_resource *r);
void span_write_tail(struct buf *out);

#endif
