/* SPDX-License-Identifier: Apache-2.0
 * gid.c - what needs no transaction: a new gid, the version, a ping.
 */
#include "api/dtm/dtm.h"
#include "coordinator/base/uuid.h"

#include <string.h>

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

enum { TIME_LETTERS = 13, GID_LETTERS = 22 };

/* As long as DTM's. The time stands in front as in the UUIDs that we make, so that these are born
 * in the nursery like those (ARCHITECTURE.md); nine letters of 57 behind it are 52 bits of chance
 * in each millisecond. */
static void short_gid(struct uuid id, uint64_t random, char out[GID_LETTERS + 1])
{
	static const char LETTERS[] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
	char              text[UUID_TEXT + 1];

	memcpy(out, uuid_text(id, text), TIME_LETTERS);
	for (size_t i = TIME_LETTERS; i < GID_LETTERS; i++, random /= sizeof LETTERS - 1)
		out[i] = LETTERS[random % (sizeof LETTERS - 1)];
	out[GID_LETTERS] = '\0';
}

void dtm_new_gid(struct request *r)
{
	const struct clock_port *clock = &r->api->ports.clock;
	const uint64_t           random = clock->random(clock->ctx);
	struct buf               body = { 0 };
	char                     text[GID_LETTERS + 1];

	short_gid(uuid_v7(request_now(r), random, random), random, text);
	buf_fmt(&body, "{\"dtm_result\":\"SUCCESS\",\"gid\":\"%s\"}", text);
	dtm_data(r, &body);
}

void handle_dtm_new_gid(struct request *r)
{
	dtm_new_gid(r);
}

