/* SPDX-License-Identifier: Apache-2.0
 * engine_abreast.c - two batches under way at once, and what becomes of the second when the first does not succeed.
 */
#include "tests/unit/engine_world.h"

enum { SLOW_MS = 50 };

/* So many begins in a batch of their own, whose answer takes so long. */
static void send_begins(struct world *w, char first, int n, struct fake_fate fate)
{
	char gid[3] = { first, '0', '\0' };

	for (int i = 0; i < n; i++, gid[1]++)
		begin(w, gid, &saga, 600000);
	w->fate = fate;
	engine_flush(w->e);
}

static void test_follows(struct world *w)
{
	send_begins(w, 'a', 1, (struct fake_fate){ .answer_ms = SLOW_MS });
	send_begins(w, 'b', 1, (struct fake_fate){ 0 });
	ok(fake_db_abreast(w->db) == 0, "one row is not worth a second batch");
	send_begins(w, 'c', 1, (struct fake_fate){ 0 });
	ok(fake_db_abreast(w->db) == 1, "two are");
	send_begins(w, 'd', 3, (struct fake_fate){ 0 });
	ok(fake_db_abreast(w->db) == 1, "there is no third");
	run(w, SLOW_MS / 2);
	ok(w->begins[BEGIN_DONE] == 5 && row_of(w, "b0")->phase == PHASE_CONFIRMED,
	   "those behind it go their way while the first is not answered: %d", w->begins[BEGIN_DONE]);
	run(w, SLOW_MS);
	ok(w->begins[BEGIN_DONE] == 6 && row_of(w, "a0")->phase == PHASE_CONFIRMED, "and so does that one when it is");
}

/* The fate of one says nothing of the other's. */
static void test_first_refused(struct world *w, enum log_result refuse)
{
	send_begins(w, 'a', 2, (struct fake_fate){ .refuse = refuse });
	send_begins(w, 'b', 2, (struct fake_fate){ .answer_ms = SLOW_MS });
	ok(fake_db_abreast(w->db) == 1, "two are under way");
	run(w, 3000);
	ok(w->commits[refuse] == 1 && w->begins[BEGIN_DONE] == 4 - w->begins[BEGIN_AWAY], "what was refused with the first is sent again");
	ok(w->begins[BEGIN_AWAY] == (refuse == LOG_AWAY ? 2 : 0), "or its callers know that it is not");
	ok(row_of(w, "b0")->phase == PHASE_CONFIRMED && row_of(w, "b1")->phase == PHASE_CONFIRMED && row_of(w, "b0")->version == 3,
	   "the second is done, once");
}

static void test_first_again(struct world *w)
{
	test_first_refused(w, LOG_AGAIN);
}

static void test_first_away(struct world *w)
{
	test_first_refused(w, LOG_AWAY);
}

static void test_first_bad(struct world *w)
{
	w->output = STR("\"poison\"");
	send_begins(w, 'a', 2, (struct fake_fate){ 0 });
	run(w, 3);
	w->fate.answer_ms = SLOW_MS;
	run(w, 3000);
	ok(row_of(w, "a0")->stuck == STUCK_BAD_ROW && row_of(w, "a1")->stuck == STUCK_BAD_ROW, "rows that cannot be stored are found");
	w->output = STR("{}");
	send_begins(w, 'b', 4, (struct fake_fate){ 0 });
	run(w, 500);
	ok(w->begins[BEGIN_DONE] == 6 && row_of(w, "b3")->phase == PHASE_CONFIRMED, "others are done behind them");
}

/* While a row is looked for, one batch at a time says more. */
static void test_alone_while_halving(struct world *w)
{
	w->blocked = STR("a1");
	send_begins(w, 'a', 4, (struct fake_fate){ 0 });
	run(w, 4);
	ok(w->commits[LOG_AGAIN] == 1, "the first is to be sent again, in halves");
	size_t before = fake_db_abreast(w->db);
	send_begins(w, 'b', 4, (struct fake_fate){ 0 });
	run(w, 12);
	ok(fake_db_abreast(w->db) == before, "none is sent beside a half");
	run(w, 500);
	ok(w->begins[BEGIN_BARRED] == 1 && w->begins[BEGIN_DONE] == 7, "the row is found, the others are done");
}

static void test_both_lost(struct world *w)
{
	send_begins(w, 'a', 2, (struct fake_fate){ .answer_ms = SLOW_MS });
	send_begins(w, 'b', 2, (struct fake_fate){ .answer_ms = SLOW_MS });
	ok(fake_db_abreast(w->db) == 1, "two are under way");
	run(w, 5);
	fake_log_break(w->log, FAKE_COMMITS | FAKE_OTHERS);
	run(w, 300);
	fake_log_restore(w->log, FAKE_COMMITS | FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 3000);
	ok(w->begins[BEGIN_DONE] == 4, "what was in either is read, and its callers are told: %d", w->begins[BEGIN_DONE]);
	ok(row_of(w, "a1")->phase == PHASE_CONFIRMED && row_of(w, "b1")->phase == PHASE_CONFIRMED, "and it goes on");
}

/* Nobody hangs because the database does: a TTL behind each batch its callers are told. */
static void test_both_late(struct world *w)
{
	send_begins(w, 'a', 2, (struct fake_fate){ .answer_ms = 4000 });
	run(w, 500);
	send_begins(w, 'b', 2, (struct fake_fate){ .answer_ms = 4000 });
	run(w, 1600);
	ok(w->begins[BEGIN_LOST] == 2, "a TTL behind the first its callers know that nobody knows: %d", w->begins[BEGIN_LOST]);
	run(w, 500);
	ok(w->begins[BEGIN_LOST] == 4, "and those of the second behind theirs: %d", w->begins[BEGIN_LOST]);
	run(w, 4000);
	ok(row_of(w, "a1")->phase == PHASE_CONFIRMED && row_of(w, "b1")->phase == PHASE_CONFIRMED, "the rows go their way");
}

static void on_drained(void *arg)
{
	((struct world *)arg)->drained = true;
}

static void test_drains_behind_both(struct world *w)
{
	send_begins(w, 'a', 2, (struct fake_fate){ .answer_ms = SLOW_MS });
	send_begins(w, 'b', 2, (struct fake_fate){ .answer_ms = 3 * SLOW_MS });
	engine_drain(w->e, 1000, on_drained, w);
	run(w, 2 * SLOW_MS);
	ok(!w->drained, "a replica does not leave while a batch of its is under way");
	run(w, 5000);
	ok(w->drained && w->begins[BEGIN_DONE] == 4, "and does behind both");
}

int main(void)
{
	static void (*const tests[])(struct world *w) = {
		test_follows, test_first_again, test_first_away, test_first_bad, test_alone_while_halving, test_both_lost,
		test_both_late, test_drains_behind_both };

	return play(tests, sizeof tests / sizeof tests[0]);
}
