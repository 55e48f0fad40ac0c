/* SPDX-License-Identifier: Apache-2.0
 * metrics.h - every number this replica shows, listed once, in the Prometheus text format.
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "api/router.h"
#include "coordinator/engine/engine.h"

struct api;

enum { STATUS_CLASSES = 5 }; /* 1xx .. 5xx */

struct counters { /* of requests */
	uint64_t answers[ROUTE_COUNT + 1][STATUS_CLASSES]; /* the last row: no route */
	uint64_t handled_us[ROUTE_COUNT + 1];              /* from complete request to answer, summed */
};

void counters_count(struct counters *c, unsigned route, unsigned status, uint64_t us);
void metrics_write(struct api *api, struct buf *out);

#endif
