/* SPDX-License-Identifier: Apache-2.0
 * engine_late.c - what the log says of commits when it says it late, once more, or as a server that has been replaced.
 */
#include "tests/unit/engine_world.h"

/* A gid of our own making is not expected in the log; if it is there after all, that is no failure of the log's. */
static void test_fresh(struct world *w)
{
	begin_fresh(w, "f");
	run(w, 100);
	ok(w->begins[BEGIN_DONE] == 1 && w->commits[LOG_AGAIN] == 0, "a begin whose gid was made here is done");
	begin_fresh(w, "f");
	run(w, 100);
	ok(w->commits[LOG_AGAIN] == 1, "the log does not expect to have it already: %d", w->commits[LOG_AGAIN]);
	ok(w->begins[BEGIN_EXISTS] == 1 && w->phase == PHASE_CONFIRMED, "if it has, its caller is shown what is there");
	begin_fresh(w, "g");
	begin_fresh(w, "f");
	begin_fresh(w, "h");
	run(w, 200);
	ok(w->begins[BEGIN_DONE] == 3 && w->begins[BEGIN_EXISTS] == 2, "and those in one batch with it are done");
}

static void test_fresh_lost(struct world *w)
{
	begin_fresh(w, "l");
	engine_flush(w->e);
	fake_log_break(w->log, FAKE_COMMITS | FAKE_OTHERS);
	run(w, 500);
	fake_log_restore(w->log, FAKE_COMMITS | FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 500);
	ok(w->begins[BEGIN_DONE] == 1 && w->commits[LOG_AGAIN] == 0, "one whose answer was lost is read, not sent again");
	begin_fresh(w, "a");
	begin_fresh(w, "b");
	w->fate.refuse = LOG_AGAIN;
	run(w, 100);
	ok(w->begins[BEGIN_DONE] == 3 && w->commits[LOG_AGAIN] == 1, "after a deadlock they are sent again, and done");
}

/* Until that commit has landed; its answer is on its way for long. */
static void run_to_answer(struct world *w, const char *gid, uint64_t version)
{
	w->fate.answer_ms = 100;
	for (int i = 0; i < 20 && (row_of(w, gid) == NULL || row_of(w, gid)->version < version); i++)
		run(w, 1);
	ok(row_of(w, gid) != NULL && row_of(w, gid)->version == version, "a commit has landed and is not answered yet");
}

/* Its first try is done, says the log, and has not said so here. */
static void run_to_try(struct world *w, const char *gid)
{
	begin(w, gid, &saga, 0);
	for (int i = 0; i < 20 && w->begins[BEGIN_DONE] == 0; i++)
		run(w, 1);
	run_to_answer(w, gid, 2);
	ok(w->version == 1 && w->told == 1, "that it has begun is known");
}

/* Whoever reads the log knows of a commit before its owner does, and may ask him. */
static void test_read(struct world *w)
{
	run_to_try(w, "r");
	engine_read(w->e, STR("r"), on_view, w);
	run(w, 5);
	ok(w->told == 2 && w->result == LOG_DONE && w->version == 2, "who asks is shown it as the log has it: %llu",
	   (unsigned long long)w->version);
	engine_wait(w->e, STR("r"), clock_now(w) + 10, on_view, w);
	w->version = 0;
	run(w, 20);
	ok(w->result == LOG_DONE && w->version == 2, "and so is who waits in vain: %llu", (unsigned long long)w->version);
	ok(stats(w).calls == 1, "but nothing is done upon it yet: %s", w->trail);
	engine_read(w->e, STR("unheard of"), on_view, w);
	w->told = 0;
	w->version = 0;
	run(w, 5);
	ok(w->told == 1 && w->result == LOG_DONE && w->version == 0, "one that is nowhere is nowhere");
}

static void test_read_behind(struct world *w)
{
	run_to_try(w, "b");
	ok(fake_db_fall_back(w->db, 2) == 2 && row_of(w, "b") == NULL, "a log that has lost two of its versions");
	w->version = 0;
	engine_read(w->e, STR("b"), on_view, w);
	run(w, 5);
	ok(w->result == LOG_DONE && w->version == 1, "says less than is known here: %llu", (unsigned long long)w->version);
}

static void test_read_away(struct world *w)
{
	w->say[1][OP_TRY] = OUTCOME_UNKNOWN;
	run_to_try(w, "a");
	fake_log_break(w->log, FAKE_OTHERS);
	w->told = 0;
	engine_read(w->e, STR("a"), on_view, w);
	run(w, 5);
	ok(w->told == 1 && w->result != LOG_DONE, "while nobody can say how it stands, nobody does");
	run(w, 120);
	engine_read(w->e, STR("a"), on_view, w);
	run(w, 5);
	ok(w->result == LOG_DONE && w->version >= 2, "and once the commit is answered, it is known here");
	fake_log_restore(w->log, FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 100);
}

/* The answer to its last commit is lost: it is not ours any more when it is read, and has ended all the same. */
static void test_lost_end(struct world *w)
{
	begin(w, "e", &saga, 0);
	w->fate.answer_ms = 100;
	for (int i = 0; i < 1000 && (row_of(w, "e") == NULL || !phase_is_ended(row_of(w, "e")->phase)); i++)
		run(w, 1);
	ok(w->ended[PHASE_CONFIRMED] == 0, "its end has landed, and is not answered yet");
	fake_log_break(w->log, FAKE_COMMITS | FAKE_OTHERS);
	run(w, 500);
	w->fate.answer_ms = 0;
	fake_log_restore(w->log, FAKE_COMMITS | FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 1000);
	ok(w->ended[PHASE_CONFIRMED] == 1 && w->ended_right, "its end is told to traces, once: %u", w->ended[PHASE_CONFIRMED]);
	ok(engine_counts(w->e)->ended[PHASE_CONFIRMED] == 1 && row_of(w, "e")->epoch == 1, "and counted");
}

/* The old server's last words: a standby is promoted that lacks what it has done, and then its answer comes. */
static void test_late_answer(struct world *w)
{
	begin(w, "n", &saga, 0);
	run_to_answer(w, "n", 1);
	ok(fake_db_fall_back(w->db, 1) == 1 && row_of(w, "n") == NULL, "the new server lacks it");
	engine_on_failover(w->e, 0, true);
	run(w, 5000);
	ok(w->begins[BEGIN_DONE] == 1 && row_of(w, "n") != NULL && row_of(w, "n")->phase == PHASE_CONFIRMED,
	   "what the old server said was begun is there again");
	ok(strcmp(w->trail, "0try 1try") == 0 && stats(w).restored == 1, "and was called for the first time then: %s",
	   w->trail);
	w->trail[0] = '\0';
	begin(w, "c", &saga, 0);
	while (w->begins[BEGIN_DONE] < 2)
		run(w, 1);
	run_to_answer(w, "c", 2);
	ok(fake_db_fall_back(w->db, 1) == 1 && row_of(w, "c")->version == 1, "the next new server lacks a step");
	engine_on_failover(w->e, 0, true);
	run(w, 5000);
	ok(strcmp(w->trail, "0try 1try") == 0 && row_of(w, "c")->phase == PHASE_CONFIRMED,
	   "what the old server said was done is not done again: %s", w->trail);
	ok(stats(w).restored == 2 && stats(w).diverged == 0 && stats(w).missed_rows == 0, "since it was brought back first");
}

static void on_fence(void *arg, enum log_result result)
{
	(void)arg;
	ok(result == LOG_DONE, "another replica fences it");
}

/* Another replica fences this one, which loses its lease and begins a new life. */
static void lose_life(struct world *w)
{
	struct fake_log_config config = { .db = w->db, .end = &w->end, .ctx = w, .fate = fate, .survives = survives };
	const struct uuid      me = stats(w).me, other = { { 7 } };
	struct log_port        port;
	struct fake_log       *log = fake_log_open(&config, &port);

	w->unheld = true;
	port.fence(port.ctx, other, me, fake_db_member(w->db, me)->lock_key, 0, on_fence, w);
	run(w, 4);
	w->unheld = false;
	fake_lease_drop(w->lease, false);
	run(w, 20);
	ok(stats(w).incarnations == 2 && stats(w).owned == 0, "and its replica begins a new life with nothing");
	fake_log_close(log);
}

/* The old server refuses a commit of a row that is not driven any more, and says so when the new one is there. What
 * that row was before, it remembers: the new server lacks it. */
static void refused_of_former_life(struct world *w, enum log_result refusal)
{
	begin(w, "r", &saga, 0);
	while (w->begins[BEGIN_DONE] < 1)
		run(w, 1);
	w->fate = (struct fake_fate){ .refuse = refusal, .answer_ms = 200 };
	run(w, 10);
	ok(w->commits[refusal] == 1 && row_of(w, "r")->version == 1, "a commit is refused, and its answer under way");
	lose_life(w);
	ok(fake_db_fall_back(w->db, 3) == 3 && row_of(w, "r") == NULL, "the new server lacks the row");
	engine_on_failover(w->e, 0, true);
	run(w, 10000);
	ok(row_of(w, "r") != NULL && row_of(w, "r")->phase == PHASE_CONFIRMED,
	   "what it had said was begun is brought back all the same: %s", w->trail);
}

static void test_refused_as_bad(struct world *w)
{
	refused_of_former_life(w, LOG_BAD_DATA);
}

static void test_refused_again(struct world *w)
{
	refused_of_former_life(w, LOG_AGAIN);
}

/* As above, and the replica has lost its life meanwhile: nothing drives the row, and it still remembers it.
 * lost: the answer never comes, and the new server lacks what was answered before as well. */
static void former_life(struct world *w, bool lost)
{
	const struct uuid me = stats(w).me;

	begin(w, "g", &saga, 0);
	while (w->begins[BEGIN_DONE] < 1)
		run(w, 1);
	run_to_answer(w, "g", 2);
	lose_life(w);
	ok(fake_db_fall_back(w->db, lost ? 4 : 3) == (lost ? 4 : 3) && (row_of(w, "g") != NULL) == !lost &&
	   fake_db_member(w->db, me)->state == MEMBER_LIVE,
	   "the new server lacks the new life, the fence, and what came before");
	engine_on_failover(w->e, 0, true);
	if (lost)
		fake_log_break(w->log, FAKE_COMMITS);
	fake_log_restore(w->log, FAKE_COMMITS);
	engine_on_log_back(w->e);
	run(w, 10000);
	ok(strcmp(w->trail, lost ? "0try 0try 1try" : "0try 1try") == 0 && row_of(w, "g") != NULL &&
	   row_of(w, "g")->phase == PHASE_CONFIRMED,
	   "what its former life knew is brought back, and no more is done: %s", w->trail);
}

static void test_late_answer_of_a_former_life(struct world *w)
{
	former_life(w, false);
}

static void test_lost_answer_of_a_former_life(struct world *w)
{
	former_life(w, true);
}

int main(void)
{
	static void (*const tests[])(struct world *w) = {
		test_fresh, test_fresh_lost, test_read, test_read_behind, test_read_away, test_late_answer,
		test_late_answer_of_a_former_life, test_lost_answer_of_a_former_life, test_refused_as_bad, test_refused_again,
		test_lost_end };

	return play(tests, sizeof tests / sizeof tests[0]);
}
