/* SPDX-License-Identifier: Apache-2.0
 * gid.c - what needs no transaction: a new gid, the version, a ping.
 */
#include "api/dtm/dtm.h"
#include "coordinator/base/uuid.h"

#define DTM_VERSION "v1.19.0" /* the last whose protocol this is */

void handle_dtm_version(struct request *r)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"version\":\"" DTM_VERSION "\"}");
	dtm_data(r, &body);
}

static void answer_ping(struct request *r)
{
	struct buf body = { 0 };

	buf_cstr(&body, "{\"msg\":\"pong\"}");
	dtm_data(r, &body);
}

void handle_dtm_ping(struct request *r)
{
	answer_ping(r);
}

void handle_dtm_ping_post(struct request *r)
{
	answer_ping(r);
}

/* 22 digits of base 57 hold 128 bits, as in the ids that DTM makes. In the order of the bytes of
 * their digits, so that ids made one after another stand side by side in the log's index. */
static void short_id(struct uuid id, char out[23])
{
	static const char DIGITS[] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
	const unsigned    base = sizeof DIGITS - 1;

	for (int at = 21; at >= 0; at--) {
		unsigned rest = 0;

		for (unsigned i = 0; i < sizeof id.b; i++) {
			rest = rest << 8 | id.b[i];
			id.b[i] = (uint8_t)(rest / base);
			rest %= base;
		}
		out[at] = DIGITS[rest];
	}
	out[22] = '\0';
}

void dtm_new_gid(struct request *r)
{
	const struct clock_port *clock = &r->api->ports.clock;
	uint64_t                 random = clock->random(clock->ctx);
	struct buf               body = { 0 };
	char                     text[23];

	short_id(uuid_v7(request_now(r), random, clock->random(clock->ctx)), text);
	buf_fmt(&body, "{\"dtm_result\":\"SUCCESS\",\"gid\":\"%s\"}", text);
	dtm_data(r, &body);
}

void handle_dtm_new_gid(struct request *r)
{
	dtm_new_gid(r);
}

