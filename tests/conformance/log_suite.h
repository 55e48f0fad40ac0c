/* SPDX-License-Identifier: Apache-2.0
 * log_suite.h - what every log_port must do, whatever stands behind it.
 */
#ifndef TESTS_CONFORMANCE_LOG_SUITE_H
#define TESTS_CONFORMANCE_LOG_SUITE_H

#include "coordinator/engine/port.h"

/* Given by the harness. The log may hold rows of others: the suite names its
 * own by prefix, and its replicas by random ids. */
struct log_suite {
	const struct log_port *a, *b;     /* two replicas' connections to one log */
	void                  *ctx;
	bool                 (*pump)(void *ctx, const bool *done); /* runs the loop until *done; false: it takes too long */
	void                 (*sleep)(void *ctx, int64_t ms);      /* lets the database's clock go on */
	int64_t              (*now_ms)(void *ctx);                 /* the database's clock, within a second */
	uint64_t             (*random)(void *ctx);
	void                 (*lock)(void *ctx, int64_t key, bool held); /* some session takes or frees the advisory lock */
	void                 (*failover)(void *ctx, bool on); /* as if the server had been promoted; then no more */
	void                 (*ok)(void *ctx, bool pass, const char *what);
	struct str             prefix;    /* at most 20 characters */
	bool                   used;      /* the suite has run in this database before */
	struct str             document;  /* inline steps that compile */
	struct str             grown;     /* others that compile */
	struct str             broken;    /* does not compile; empty: skip that */
	struct str             name;      /* of a registered definition; empty: skip that */
	uint32_t               version;
};

void log_suite_run(const struct log_suite *s);

#endif
