/* SPDX-License-Identifier: Apache-2.0
 * caller_world.h - a caller with all it needs: loop, two servers, a store with one participant, a fixed clock.
 */
#ifndef TESTS_CONFORMANCE_CALLER_WORLD_H
#define TESTS_CONFORMANCE_CALLER_WORLD_H

#include "coordinator/io/caller.h"
#include "coordinator/io/poke.h"
#include "tests/lib/http_stub.h"

enum { IN_FLIGHT = 4, QUEUE = 100 };

struct world;

struct got {
	struct world *world;
	bool         done;
	unsigned     turn;  /* order of answers */
	enum outcome outcome;
	int          status;
	int64_t      retry_after_ms;
	bool         unsent;
	int64_t      put_off_ms;
	uint64_t     line;
	char         error[256], output[64];
};

struct world {
	uv_loop_t              *loop;
	enum http_client        client;
	struct http            *http;
	struct participants    *participants;
	struct caller          *caller;
	struct caller_port      port;
	struct stub             stub, other;
	struct buf              path, head, body; /* of the last request at a stub */
	const char             *input;
	struct str              traceparent;
	char                    secrets[64];
	/* the store */
	enum log_result         store_result;
	bool                    registered;
	struct participant_row  row;
	char                    base_url[64];
	uv_timer_t              store_timer;
	participants_done      *asked;
	void                   *asked_arg;
	unsigned                closed, answered;
	bool                    held; /* nothing may be sent */
	int64_t                 later; /* on the boot clock */
	unsigned                rooms; /* how often it was said that there is room again, */
	uint64_t                line;  /* and where last */
};


void world_open(struct world *w, uv_loop_t *loop, enum http_client client, const char *deny, const char *secrets);
/* The same, with a breaker; elsewhere there is none. */
void world_open_breaking(struct world *w, uv_loop_t *loop, enum http_client client, const struct breaker_rules *rules);
void world_close(struct world *w);

struct definition *world_document(const char *text);
/* A saga with one step "hotel", whose action and compensation are at that path of the stub. */
struct definition *world_definition(struct world *w, const struct stub *stub, const char *path, const char *timeout);
uint64_t world_call(struct world *w, struct definition *d, enum op op, struct got *got);
bool     world_until(struct world *w, const struct got *got, unsigned ms); /* turns the loop until it is done */
void     world_turns(struct world *w, unsigned ms);
int64_t  world_now(const struct world *w);

struct caller_target world_target(const struct world *w, const struct stub *stub);
struct caller_target world_target_named(const struct world *w, const char *name);
void world_participant(struct world *w, const char *name, const char *secret, uint32_t max_in_flight);
void world_refresh(struct world *w);

#endif
