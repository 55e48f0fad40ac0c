/* SPDX-License-Identifier: Apache-2.0
 * wire.h - as much HTTP/1.1 as the benchmark's own ends need: they only ever meet well-formed messages with a length.
 */
#ifndef TESTS_BENCH_WIRE_H
#define TESTS_BENCH_WIRE_H

#include "coordinator/base/text.h"

struct wire_message {
	struct str head, body;
	size_t     size; /* of both */
};

/* False: not whole yet. */
bool       wire_read(struct str bytes, struct wire_message *m);
unsigned   wire_status(struct str head); /* 0: it is no answer */
struct str wire_path(struct str head);
int64_t    wire_now_ns(void);            /* CLOCK_MONOTONIC */
/* One request on a connection of its own, at most ten seconds. False: no answer. Path and body are sent as they are. */
bool       wire_ask(const char *method, uint16_t port, const char *path, struct str body, unsigned *status, struct buf *answer)
	__attribute__((warn_unused_result));

#endif
