/* SPDX-License-Identifier: Apache-2.0
 * clock.c - the database's time, whatever this machine's clock says and however slow the answers are.
 */
#include "coordinator/io/clock.h"
#include "tests/lib/tap.h"

#include <stdlib.h>

#define HOUR_MS 3600000

/* Is the clock within a moment of at? */
static bool shows(struct clock *c, int64_t at)
{
	return llabs((long long)(clock_now_ms(c) - at)) < 1000;
}

/* The database says its time is ahead_ms ahead of the boot clock, in an answer that took round_trip. */
static void hear(struct clock *c, int64_t ahead_ms, int64_t round_trip)
{
	int64_t now = clock_boot_ms();

	clock_heard(c, now - round_trip / 2 + ahead_ms, now - round_trip, now);
}

static void first_answer_counts(void)
{
	for (int64_t wrong = -5 * HOUR_MS; wrong <= 5 * HOUR_MS; wrong += 5 * HOUR_MS) {
		struct clock c;
		int64_t      real;

		clock_init(&c);
		real = c.offset_ms;
		c.offset_ms += wrong; /* this machine's clock is set wrong */
		(void)clock_now_ms(&c); /* and somebody looked already */
		hear(&c, real, 4);
		ok(shows(&c, clock_boot_ms() + real), "a machine %lld ms off shows the database's time",
		   (long long)wrong);
	}
}

static void small_steps_do_not_go_back(void)
{
	struct clock c;
	int64_t      before;

	clock_init(&c);
	hear(&c, 1000000, 2);
	before = clock_now_ms(&c);
	hear(&c, 1000000 - 300, 2);
	ok(clock_now_ms(&c) >= before, "300 ms back: it waits until time has caught up");
}

static void a_clock_set_back_is_followed(void)
{
	struct clock c;

	clock_init(&c);
	hear(&c, 2 * HOUR_MS, 2);
	(void)clock_now_ms(&c);
	hear(&c, HOUR_MS, 2);
	ok(shows(&c, clock_boot_ms() + HOUR_MS), "an hour back: retries must not wait for an hour");
	hear(&c, 3 * HOUR_MS, 2);
	ok(shows(&c, clock_boot_ms() + 3 * HOUR_MS), "two hours forward: followed");
}

static void slow_answers_say_little(void)
{
	struct clock c;

	clock_init(&c);
	hear(&c, HOUR_MS, 2);
	hear(&c, HOUR_MS + 900, 4000);
	ok(c.offset_ms == HOUR_MS, "an answer that took 4 s does not move what a quick one said");
	hear(&c, 2 * HOUR_MS, 4000);
	ok(shows(&c, clock_boot_ms() + 2 * HOUR_MS), "unless the clock was set");
}

int main(void)
{
	first_answer_counts();
	small_steps_do_not_go_back();
	a_clock_set_back_is_followed();
	slow_answers_say_little();
	return tap_done();
}
