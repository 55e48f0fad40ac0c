/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/clock.h"

#include "coordinator/base/digest.h"

#include <time.h>

/* After this long even a worse sample beats the old one: crystals drift by some 50 ppm, 3 ms a minute. */
#define SAMPLE_LIVES_MS 60000
/* A database's clock that is further behind than any network explains was set, or is another one's. To stand
 * still until it has caught up would hold every retry and deadline back for as long. */
#define SET_BACK_MS 5000

static int64_t read_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_boot_ms(void)
{
	return read_ms(CLOCK_BOOTTIME);
}

int64_t clock_boot_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void clock_init(struct clock *c)
{
	*c = (struct clock){ .offset_ms = read_ms(CLOCK_REALTIME) - clock_boot_ms(), .slack_ms = INT64_MAX };
}

void clock_heard(struct clock *c, int64_t db_ms, int64_t sent_at, int64_t received_at)
{
	int64_t slack = (received_at - sent_at) / 2;
	int64_t offset = db_ms - sent_at - slack;
	int64_t moved = offset > c->offset_ms ? offset - c->offset_ms : c->offset_ms - offset;

	/* A slow answer says little about the time, unless the clock itself was set or the sample is old. */
	if (c->heard_at != 0 && slack > c->slack_ms && moved <= slack + c->slack_ms &&
	    received_at - c->heard_at < SAMPLE_LIVES_MS)
		return;
	/* What was shown before the first answer was this machine's time, and that may be hours off. */
	if (c->heard_at == 0 || c->last_ms - (received_at + offset) > SET_BACK_MS)
		c->last_ms = 0;
	c->offset_ms = offset;
	c->slack_ms = slack;
	c->heard_at = received_at;
}

int64_t clock_at_ms(struct clock *c, int64_t boot_at)
{
	int64_t now = boot_at + c->offset_ms;

	if (now > c->last_ms)
		c->last_ms = now;
	return c->last_ms;
}

int64_t clock_now_ms(struct clock *c)
{
	return clock_at_ms(c, clock_boot_ms());
}

static int64_t port_now(void *ctx)
{
	return clock_now_ms(ctx);
}

static int64_t port_boot(void *ctx)
{
	(void)ctx;
	return clock_boot_ms();
}

static uint64_t port_random(void *ctx)
{
	uint64_t value;

	(void)ctx;
	digest_random(&value, sizeof value);
	return value;
}

struct clock_port clock_port_of(struct clock *c)
{
	return (struct clock_port){ c, port_now, port_boot, port_random };
}
