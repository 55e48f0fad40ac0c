/* SPDX-License-Identifier: Apache-2.0
 * http_world.h - an HTTP client and a server that closes, resets, hangs or lies, as its path says.
 */
#ifndef TESTS_CONFORMANCE_HTTP_WORLD_H
#define TESTS_CONFORMANCE_HTTP_WORLD_H

#include "coordinator/io/http.h"
#include "tests/lib/http_stub.h"
#include "tests/lib/tls_relay.h"

enum { RESPONSE_MAX = 100000 };

struct world {
	uv_loop_t   *loop;
	struct http *http;
	struct stub  stub;
	struct tls_relay relay; /* before it; its port is 0 without TLS */
	struct buf   seen;      /* the last request: line, head and body */
	unsigned     failing;   /* so many requests to come fail, whatever their path; the last closes, those before reset in turn */
	bool         held;      /* nothing may be sent */
	bool         holding;   /* from the next request on */
	unsigned     closed;
};

struct got {
	bool       done;
	int        status;
	bool       unsendable, too_big, withheld;
	struct buf body;
	char       failure[256], outcome[64];
};

void world_done(void *arg, const struct http_result *r);
/* Until it is done, or for so long; NULL: for so long. What a timer tells in a turn is seen before the loop sleeps again. */
void world_turns(struct world *w, const struct got *got, unsigned ms);
/* All that there are, and the client can know it: a relay takes a while to hand it on. */
void world_drop_connections(struct world *w);
/* In a buffer that the next call uses again. */
const char *world_url(const struct world *w, const char *host, const char *path);
/* Tells what came of it, or that nothing did in timeout_ms and 3 s more. */
struct got world_ask(struct world *w, const char *method, const char *url, struct str body, unsigned timeout_ms);
struct got world_get(struct world *w, const char *path);
/* 200 and "hi"; frees its body. */
bool got_is_hi(struct got got);
bool got_is_failure(const struct got *got);
/* deny: as http_config has it. */
void world_open(struct world *w, uv_loop_t *loop, enum http_client client, const char *deny);
void world_close(struct world *w);

#endif
