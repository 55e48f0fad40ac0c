/* SPDX-License-Identifier: Apache-2.0
 * engine.c - one replica on a fake log: what a caller sees of begins, commands, waits and leaving.
 */
#include "tests/unit/engine_world.h"

static void test_saga(struct world *w)
{
	ok(stats(w).state == ENGINE_LIVE, "a replica becomes live by itself");
	begin(w, "a", &saga, 0);
	ok(w->told == 0, "nothing is promised before the log has it");
	engine_wait(w->e, STR("a"), clock_now(w) + 5000, on_view, w);
	run(w, 2);
	ok(w->told == 0 && w->trail[0] == '\0', "and nobody is called");
	run(w, 100);
	ok(w->begins[BEGIN_DONE] == 1, "the begin is done");
	ok(strcmp(w->trail, "0try 1try") == 0, "its steps are tried in order: %s", w->trail);
	ok(w->told == 2 && w->phase == PHASE_CONFIRMED, "who waits hears of the end");
	ok(strcmp(w->output_text, "{\"id\":7}") == 0, "and sees the output");
	ok(row_of(w, "a")->phase == PHASE_CONFIRMED && fake_db_entries(w->db) == 0, "the log has it, without a journal");
	ok(stats(w).owned == 0 && stats(w).open_calls == 0, "and nothing stays in memory");
}

static void test_refused(struct world *w)
{
	w->say[1][OP_TRY] = OUTCOME_REFUSED;
	begin(w, "r", &saga, 0);
	run(w, 100);
	ok(strcmp(w->trail, "0try 1try 1cancel 0cancel") == 0, "a refusal undoes both steps, in reverse: %s", w->trail);
	ok(row_of(w, "r")->phase == PHASE_CANCELLED, "and the log says so");
	ok(fake_db_entries(w->db) == 1, "the refusal stands in the journal");
}

static void test_twice(struct world *w)
{
	begin(w, "t", &saga, 0);
	begin(w, "t", &saga, 0);
	run(w, 100);
	ok(w->begins[BEGIN_DONE] == 1 && w->begins[BEGIN_EXISTS] == 1, "of two begins at once one is done");
	begin(w, "t", &saga, 0);
	run(w, 100);
	ok(w->begins[BEGIN_EXISTS] == 2 && w->phase == PHASE_CONFIRMED, "one after the end is shown the end");
	ok(strcmp(w->trail, "0try 1try") == 0, "and every step was tried once");
}

static void test_park(struct world *w)
{
	w->say[0][OP_TRY] = OUTCOME_UNKNOWN;
	begin(w, "p", &saga, 0);
	run(w, 15000);
	ok(stats(w).parked >= 1 && stats(w).owned == 0, "what waits long is put back into the log");
	ok(uuid_is_nil(row_of(w, "p")->owner) && row_of(w, "p")->due_at > clock_now(w), "with its time");
	w->say[0][OP_TRY] = OUTCOME_OK;
	command(w, "p", COMMAND_RETRY);
	run(w, 300);
	ok(w->result == COMMAND_APPLIED && w->verdict == VERDICT_ACCEPTED, "a command takes it out again");
	ok(row_of(w, "p")->phase == PHASE_CONFIRMED, "and it goes on");
	w->say[0][OP_TRY] = OUTCOME_UNKNOWN;
	begin(w, "q", &saga, 0);
	run(w, 15000);
	w->say[0][OP_TRY] = OUTCOME_OK;
	run(w, 60000);
	ok(stats(w).taken_due >= 1 && row_of(w, "q")->phase == PHASE_CONFIRMED, "another is taken when it is due");
}

static void test_folded(struct world *w)
{
	struct engine_inside in = { 0 };

	w->say[1][OP_TRY] = OUTCOME_UNKNOWN;
	begin(w, "f", &saga, 0);
	run(w, 400);
	ok(stats(w).folded == 1 && stats(w).owned == 1, "what sleeps for a second is folded up: %s", w->trail);
	ok(engine_inside(w->e, STR("f"), &in) && str_is(in.view.row.gid, "f") && in.view.row.version == 4 &&
	   in.view.txn->steps[1].attempts == 2, "it shows itself as it was");
	ok(str_is(in.view.notes[0].output, "{\"id\":7}") && in.view.notes[1].status == 503, "with all that it was told");
	run(w, 10);
	ok(stats(w).folded == 2, "and sleeps on");
	w->say[1][OP_TRY] = OUTCOME_OK;
	run(w, 1000);
	ok(row_of(w, "f")->phase == PHASE_CONFIRMED && strcmp(w->trail, "0try 1try 1try 1try") == 0,
	   "at its time it wakes and goes on: %s", w->trail);
	w->say[0][OP_TRY] = OUTCOME_UNKNOWN;
	begin(w, "g", &saga, 0);
	run(w, 400);
	command(w, "g", COMMAND_CANCEL);
	run(w, 100);
	ok(stats(w).folded == 3 && w->verdict == VERDICT_ACCEPTED && row_of(w, "g")->phase == PHASE_CANCELLED,
	   "a command wakes it, too");
	begin(w, "h", &saga, 0);
	run(w, 400);
	ok(stats(w).folded == 4, "one that still sleeps when all ends is freed"); /* the sanitizers tell */
}

static void test_put_off(struct world *w)
{
	w->put_off_ms = 3000;
	begin(w, "o", &saga, 0);
	run(w, 1000);
	ok(stats(w).calls_put_off == 1 && stats(w).calls == 0 && stats(w).open_calls == 0,
	   "a call that was put off was not made");
	ok(fake_db_entries(w->db) == 0 && row_of(w, "o")->version == 2, "it is no attempt, and is told the log once");
	engine_on_room(w->e, 8);
	run(w, 1000);
	ok(strcmp(w->trail, "0try") == 0, "room at another participant wakes nobody: %s", w->trail);
	w->put_off_ms = 0;
	engine_on_room(w->e, 7);
	run(w, 100);
	ok(row_of(w, "o")->phase == PHASE_CONFIRMED, "room at its own wakes it before its time: %s", w->trail);
	w->put_off_ms = 30000;
	begin(w, "l", &saga, 0);
	run(w, 10000);
	ok(stats(w).owned == 0 && row_of(w, "l")->due_at > clock_now(w), "for longer it is parked");
	w->put_off_ms = 0;
	engine_on_room(w->e, 7);
	run(w, 30000);
	ok(row_of(w, "l")->phase == PHASE_CONFIRMED, "and taken up again at its time");
}

static void test_put_off_deadline(struct world *w)
{
	w->put_off_ms = 30000;
	begin(w, "d", &saga, 2000);
	run(w, 3000);
	w->put_off_ms = 0;
	ok(row_of(w, "d")->phase == PHASE_CANCELLING, "its deadline does not wait for the participant");
	engine_on_room(w->e, 7);
	run(w, 40000);
	ok(row_of(w, "d")->phase == PHASE_CANCELLED, "the cancel does: %s", w->trail);
}

static void test_commands(struct world *w)
{
	begin(w, "c", &tcc, 600000);
	run(w, 10);
	command(w, "c", COMMAND_CONFIRM);
	run(w, 10);
	ok(w->result == COMMAND_APPLIED && w->verdict == VERDICT_ACCEPTED && w->phase == PHASE_CONFIRMED,
	   "an open transaction is confirmed by its caller");
	command(w, "c", COMMAND_CANCEL);
	run(w, 10);
	ok(w->verdict == VERDICT_DECIDED, "and cannot be cancelled then");
	command(w, "nobody", COMMAND_CANCEL);
	run(w, 10);
	ok(w->result == COMMAND_UNKNOWN, "there is no such transaction");
	command(w, "c", COMMAND_COMPLETE);
	run(w, 10);
	ok(w->verdict == VERDICT_NO_STEP, "nor such a step");
}

/* A person acts on what he saw at that version. */
static enum verdict match(struct world *w, const char *gid, enum command_kind kind, uint64_t version)
{
	struct command c = { .kind = kind, .gid = str_of(gid), .actor = STR("ada"), .reason = STR("saw it"),
		             .if_version = version };

	engine_command(w->e, &c, on_command, w);
	run(w, 20);
	return w->verdict;
}

static void test_if_match(struct world *w)
{
	w->say[0][OP_TRY] = OUTCOME_UNKNOWN;
	begin(w, "m", &saga, 0);
	run(w, 15000);
	const uint64_t parked = row_of(w, "m")->version;
	ok(uuid_is_nil(row_of(w, "m")->owner) && parked > 2, "it has failed, and is parked");
	ok(match(w, "m", COMMAND_PAUSE, parked - 2) == VERDICT_CHANGED && row_of(w, "m")->version == parked,
	   "who saw it before it failed last looks again, and nobody has taken it for that");
	ok(match(w, "m", COMMAND_PAUSE, parked - 1) == VERDICT_ACCEPTED, "who saw it before it was parked need not");
	const uint64_t paused = row_of(w, "m")->version;
	ok(match(w, "m", COMMAND_UNPAUSE, parked - 1) == VERDICT_CHANGED && match(w, "m", COMMAND_UNPAUSE, parked) == VERDICT_CHANGED,
	   "but a pause is a change");
	for (int i = 0; i < 2; i++) { /* as when one replica after the other has died */
		struct row *row = (struct row *)(uintptr_t)row_of(w, "m");

		run(w, 15000);
		row->due_at = clock_now(w);
		run(w, 3000);
	}
	ok(row_of(w, "m")->version > paused + 2, "parked and taken up more than once");
	ok(match(w, "m", COMMAND_RELEASE, paused) == VERDICT_ACCEPTED, "it still is what he saw");
	ok(match(w, "m", COMMAND_UNPAUSE, paused) == VERDICT_CHANGED, "to be released by a person is a change");
	ok(match(w, "m", COMMAND_UNPAUSE, 1000) == VERDICT_CHANGED, "a version to come is none");
	begin(w, "r", &tcc, 600000);
	engine_flush(w->e);
	fake_log_break(w->log, FAKE_COMMITS | FAKE_OTHERS);
	run(w, 500);
	fake_log_restore(w->log, FAKE_COMMITS | FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 500);
	ok(row_of(w, "r")->version == 2 && match(w, "r", COMMAND_PAUSE, 1) == VERDICT_ACCEPTED,
	   "nor does it change because its owner had to read it again");
}

static void test_away(struct world *w)
{
	begin(w, "w", &saga, 0);
	w->fate.refuse = LOG_AWAY;
	run(w, 4);
	ok(w->begins[BEGIN_AWAY] == 1 && row_of(w, "w") == NULL, "without a log a begin is refused at once");
	begin(w, "w", &saga, 0);
	run(w, 1);
	ok(w->begins[BEGIN_AWAY] == 2, "and so is the next");
	engine_on_log_back(w->e);
	begin(w, "w", &saga, 0);
	run(w, 100);
	ok(w->begins[BEGIN_DONE] == 1, "when it is back, begins are taken");
	w->say[1][OP_TRY] = OUTCOME_REFUSED;
	begin(w, "x", &saga, 0);
	run(w, 4);
	w->fate.refuse = LOG_AWAY;
	run(w, 2000);
	ok(row_of(w, "x")->phase == PHASE_CANCELLED, "and what was decided meanwhile was kept and sent again");
}

static void test_lost(struct world *w)
{
	begin(w, "l", &saga, 0);
	engine_flush(w->e);
	fake_log_break(w->log, FAKE_COMMITS | FAKE_OTHERS);
	run(w, 500);
	ok(w->told == 0 && w->trail[0] == '\0', "a begin whose answer was lost is not answered by a guess");
	fake_log_restore(w->log, FAKE_COMMITS | FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 500);
	ok(w->begins[BEGIN_DONE] == 1, "it had landed, and is told so when it is read again");
	ok(row_of(w, "l")->phase == PHASE_CONFIRMED && row_of(w, "l")->epoch == 2, "and it goes on, one epoch later");
}

static void test_bad_row(struct world *w)
{
	w->output = STR("\"poison\"");
	for (int i = 0; i < 6; i++) {
		char gid[16];

		snprintf(gid, sizeof gid, "b%d", i);
		begin(w, gid, &tcc, 600000);
	}
	begin(w, "bad", &saga, 0);
	run(w, 3000);
	ok(w->begins[BEGIN_DONE] == 7, "a row that cannot be stored leaves the others alone");
	ok(row_of(w, "bad")->stuck == STUCK_BAD_ROW, "and is stuck until a person looks");
	w->output = STR("1");
	command(w, "bad", COMMAND_RETRY);
	run(w, 500);
	ok(row_of(w, "bad")->phase == PHASE_CONFIRMED, "who has it called again");
	struct row row = { .gid = STR("poison"), .def = &saga, .definition = STR("saga"), .input = STR("\"poison\"") };
	engine_begin(w->e, &row, 0, 0, on_begin, w);
	run(w, 500);
	ok(w->begins[BEGIN_REFUSED] == 1, "a begin that cannot be stored is refused for good");
}

/* Somebody forgot an open transaction in which he locked a row. */
static void test_blocked(struct world *w)
{
	for (int i = 0; i < 6; i++) {
		char gid[16];

		snprintf(gid, sizeof gid, "k%d", i);
		begin(w, gid, &saga, 600000);
	}
	begin(w, "blocked", &saga, 0);
	run(w, 3);
	w->blocked = STR("blocked");
	run(w, 1000);
	int confirmed = 0;
	for (int i = 0; i < 6; i++) {
		char gid[16];

		snprintf(gid, sizeof gid, "k%d", i);
		confirmed += row_of(w, gid)->phase == PHASE_CONFIRMED;
	}
	ok(confirmed == 6, "a row that somebody holds locked leaves the others alone");
	run(w, 10000);
	ok(stats(w).state == ENGINE_LIVE && row_of(w, "blocked")->phase == PHASE_TRYING,
	   "it waits for hours, and that is no dead log");
	w->blocked = (struct str){ 0 };
	run(w, 1500);
	ok(row_of(w, "blocked")->phase == PHASE_CONFIRMED, "and goes on when it is let go");
}

/* Somebody's open transaction has begun that gid, with others in the same batch and after it. */
static void test_barred(struct world *w)
{
	char gid[16];

	w->blocked = STR("barred");
	for (int i = 0; i < 6; i++) {
		snprintf(gid, sizeof gid, "n%d", i);
		begin(w, gid, &saga, 600000);
		if (i == 3)
			begin(w, "barred", &saga, 600000);
	}
	run(w, 500);
	ok(w->begins[BEGIN_DONE] == 6 && w->begins[BEGIN_BARRED] == 1, "a gid that is barred leaves the other begins alone");
	int tried = w->commits[LOG_AGAIN];
	for (int i = 0; i < 5; i++) {
		begin(w, "barred", &saga, 600000);
		run(w, 10);
	}
	ok(w->begins[BEGIN_BARRED] == 6 && w->commits[LOG_AGAIN] == tried, "asked for again, it is turned away untried");
	run(w, 1000);
	begin(w, "n6", &saga, 600000);
	begin(w, "barred", &saga, 600000);
	begin(w, "n7", &saga, 600000);
	run(w, 100);
	ok(w->begins[BEGIN_BARRED] == 7 && w->commits[LOG_AGAIN] == tried + 1, "a second later it is tried, once");
	ok(w->begins[BEGIN_DONE] == 8, "and apart from the others");
	ok(fake_db_long_waits(w->db) == 1, "of all those tries one was a long wait");
	w->blocked = (struct str){ 0 };
	run(w, 1000);
	begin(w, "barred", &saga, 600000);
	run(w, 500);
	ok(w->begins[BEGIN_DONE] == 9 && row_of(w, "barred")->phase == PHASE_CONFIRMED, "let go, it begins");
	w->blocked = STR("other");
	begin(w, "other", &saga, 600000);
	run(w, 500);
	ok(w->begins[BEGIN_BARRED] == 8, "alone in its batch it is turned away too");
}

/* More of them than are remembered: the oldest are forgotten, and tried as any other. */
static void test_barred_many(struct world *w)
{
	char gid[16];

	for (int i = 0; i < 300; i++) {
		snprintf(gid, sizeof gid, "m%d", i);
		w->blocked = str_of(gid);
		begin(w, gid, &saga, 600000);
		run(w, 100);
	}
	ok(w->begins[BEGIN_BARRED] == 300, "each is turned away");
	int tried = w->commits[LOG_AGAIN];
	w->blocked = STR("m0");
	begin(w, "m0", &saga, 600000);
	run(w, 100);
	ok(w->commits[LOG_AGAIN] == tried + 2, "the first is forgotten: in a batch with others, then alone");
}

/* Of some that are in doubt together one cannot be read: a damaged block. */
static void test_unreadable(struct world *w)
{
	char gid[16];
	int  confirmed = 0;

	for (int i = 0; i < 7; i++) {
		snprintf(gid, sizeof gid, "u%d", i);
		begin(w, gid, &saga, 600000);
		if (i == 3)
			begin(w, "unreadable", &saga, 600000);
	}
	w->unreadable = STR("unreadable");
	engine_flush(w->e);
	fake_log_break(w->log, FAKE_COMMITS | FAKE_OTHERS);
	run(w, 100);
	fake_log_restore(w->log, FAKE_COMMITS | FAKE_OTHERS);
	engine_on_log_back(w->e);
	run(w, 1000);
	for (int i = 0; i < 7; i++) {
		snprintf(gid, sizeof gid, "u%d", i);
		confirmed += row_of(w, gid)->phase == PHASE_CONFIRMED;
	}
	ok(confirmed == 7, "a row that cannot be read again leaves the others alone: %d of 7 go on", confirmed);
	run(w, 10000);
	ok(row_of(w, "unreadable")->version == 1 && w->refusals < 20, "it is asked for again, not without end: %d times", w->refusals);
	w->unreadable = (struct str){ 0 };
	run(w, 1500);
	ok(row_of(w, "unreadable")->phase == PHASE_CONFIRMED, "and goes on when it can be read");
}

static void test_suspended(struct world *w)
{
	fake_lease_cut(w->lease, true);
	run(w, 1800);
	ok(stats(w).state == ENGINE_SUSPENDED, "without heartbeats it stops before the server lets the lease go");
	begin(w, "s", &saga, 0);
	run(w, 10);
	ok(w->begins[BEGIN_AWAY] == 1, "and takes nothing");
	fake_lease_cut(w->lease, false);
	run(w, 5000);
	ok(stats(w).state == ENGINE_LIVE && stats(w).incarnations == 1, "then it goes on as the same, since nobody fenced it");
}

static void on_drained(void *arg)
{
	((struct world *)arg)->drained = true;
}

static void test_drain(struct world *w)
{
	begin(w, "d", &tcc, 600000);
	run(w, 10);
	engine_drain(w->e, 1000, on_drained, w);
	begin(w, "e", &saga, 0);
	run(w, 200);
	ok(w->begins[BEGIN_AWAY] == 1, "who leaves takes nothing new");
	ok(w->drained && stats(w).state == ENGINE_GONE, "and is gone soon");
	ok(uuid_is_nil(row_of(w, "d")->owner), "what it had is free for others");
	ok(fake_db_member(w->db, stats(w).me)->state == MEMBER_DRAINED, "and nobody needs to fence it");
}

int main(void)
{
	static void (*const tests[])(struct world *w) = {
		test_saga, test_refused, test_twice, test_park, test_folded, test_put_off, test_put_off_deadline, test_commands,
		test_if_match, test_away, test_lost, test_bad_row, test_blocked, test_barred,
		test_barred_many, test_unreadable, test_suspended, test_drain };

	return play(tests, sizeof tests / sizeof tests[0]);
}
