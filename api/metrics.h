/* SPDX-License-Identifier: Apache-2.0
 * metrics.h - the numbers of this replica. They are counted where things happen; here they are only shown.
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "api/exposition.h"
#include "api/process.h"
#include "api/router.h"
#include "coordinator/engine/engine.h"

struct api;

enum { STATUS_CLASSES = 5 }; /* 1xx .. 5xx */

/* Lines of the audit that the engine does not write: what they are about, and the action. */
#define DEEDS(X)                                       \
	X(DEFINITION_REGISTER,  "definition",  "register") \
	X(DEFINITION_PAUSE,     "definition",  "pause")    \
	X(DEFINITION_RESUME,    "definition",  "resume")   \
	X(PARTICIPANT_REGISTER, "participant", "register") \
	X(PARTICIPANT_PAUSE,    "participant", "pause")    \
	X(PARTICIPANT_RESUME,   "participant", "resume")   \
	X(REPLICA_DRAIN,        "replica",     "drain")    \
	X(BULK_START,           "bulk",        "start")    \
	X(BULK_CANCEL,          "bulk",        "cancel")

#define X(name, ...) DEED_##name,
enum deed_kind { DEEDS(X) };
#undef X
#define X(...) + 1
enum { DEED_COUNT = 0 DEEDS(X) };
#undef X

struct counters { /* of requests */
	uint64_t     answers[ROUTE_COUNT + 1][STATUS_CLASSES]; /* the last row: no route */
	struct tally handled_us[ROUTE_COUNT + 1];              /* TALLY_CALL_US; from complete request to answer */
	uint64_t     deeds[DEED_COUNT];
};

void counters_count(struct counters *c, unsigned route, unsigned status, uint64_t us);

/* Of all replicas, by the database: asked for beside the scrape, which shows what came last. */
struct tide {
	struct counts counts;
	bool          known, asking;
	int64_t       asked_at, known_at; /* boot_ms */
};

void metrics_write(struct api *api, enum exposition_form form, struct buf *out);
const struct metric_fact *metrics_facts(size_t *n);
void metrics_markdown(struct buf *out); /* the tables of docs/metrics.md */

#endif
