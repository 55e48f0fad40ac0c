/* SPDX-License-Identifier: Apache-2.0
 * replica.h - one replica, wired up: loop, log, lease, caller, engine, API.
 */
#ifndef COORDINATOR_REPLICA_H
#define COORDINATOR_REPLICA_H

#include "coordinator/io/pg.h"
#include "coordinator/options.h"

struct replica_config {
	const struct options *options;
	struct pg_schema      schema;   /* as found at the start */
	int                   api_fd;   /* listening; taken */
	int                   ops_fd;   /* listening; taken */
	const char           *advertise; /* base URL of the API, for callbacks */
	const char           *address;  /* base URL at which exactly this process is reached */
};

/* Runs until SIGTERM or SIGINT, drains, and gives the exit status. */
int replica_run(const struct replica_config *config);

#endif
