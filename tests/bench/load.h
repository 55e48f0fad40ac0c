/* SPDX-License-Identifier: Apache-2.0
 * load.h - clients that send requests and count what comes back, on one thread and one epoll set.
 */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include "coordinator/base/text.h"
#include "tests/bench/histogram.h"

#include <stdio.h>

enum { LOAD_HOSTS_MAX = 8, LOAD_CALLS_MAX = 16 };

/* In a body: where each operation has a gid of its own, made of the time and its number as newGid
 * of DTM's protocol makes them. */
#define LOAD_GID "GGGGGGGGGGGGGGGGGGGGGG"

struct load_host {
	uint32_t address; /* in host order */
	uint16_t port;
};

/* One operation is `calls` requests one after another on one connection, each to its own path. */
struct load_config {
	struct load_host hosts[LOAD_HOSTS_MAX]; /* client i is with host i modulo host_count */
	unsigned         host_count;
	const char      *paths[LOAD_CALLS_MAX];
	unsigned         calls;
	struct str       body;
	const char      *headers; /* more lines, each with its CR LF */
	unsigned         clients;
	double           seconds; /* how long operations are begun */
	uint64_t         count;   /* at most so many; 0: any number */
	double           rate;    /* operations a second, begun on time or counted from then; 0: each
	                           * client begins when its last one has ended */
	FILE            *accepted; /* or NULL: a line "gid phase" for each 2xx */
};

struct load_result {
	uint64_t         done, failed; /* operations answered with 2xx throughout; the others */
	uint64_t         in_time;      /* of done, those that ended within the seconds */
	double           seconds;
	unsigned         first_failure; /* its status; 0: none, or no answer at all */
	struct histogram latency;      /* of done, in ns. With a rate from the moment each was meant to begin:
	                                * what waits because others are slow counts as slow */
};

/* False: nobody listens there. Ends when all operations that were begun have ended. */
bool load_run(const struct load_config *c, struct load_result *r) __attribute__((warn_unused_result));

#endif
