/* SPDX-License-Identifier: Apache-2.0
 * breaker.c - when calls to a service pause, how it is asked whether it is back, and what retries may cost; latencies.
 */
#include "coordinator/base/breaker.h"
#include "coordinator/base/latency.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

static const struct breaker_rules rules = { .percent = 80, .calls = 20, .probe_ms = 1000, .retry_percent = 20, .burst = 10 };

/* ---- the breaker, row by row: what happens, then what is said ------------------------------- */

/*
 * Each word of a row is something that happens:
 *   @N   it is N ms              ok*N no*N   N first calls are made, and teach something or nothing
 *   ask  a call wants to go (its pass is kept)      end+ end- drop  that call taught something, nothing, was given up
 *   slow:N  a call is answered 429, come back in N ms
 * and the last asks: the state, then the word a call gets now, and how long it waits.
 */
static const struct {
	const char *why, *happens;
	const char *state, *word;
	int64_t     wait;
} rows[] = {
	{ "a new one lets calls go", "@0", "closed", "go", 0 },
	{ "19 of 19 prove nothing", "@1000 no*19", "closed", "go", 0 },
	{ "20 of 20 open it, for the time to the next probe", "@1000 no*20", "open", "breaker", 1000 },
	{ "16 of 20 open it", "@1000 ok*4 no*16", "open", "breaker", 1000 },
	{ "15 of 20 do not", "@1000 ok*5 no*15", "closed", "go", 0 },
	{ "what taught something in the last 10 s counts", "@1000 ok*10 @9000 no*20", "closed", "go", 0 },
	{ "what is older than 10 s is forgotten", "@1000 ok*10 @12000 no*20", "open", "breaker", 1000 },
	{ "failures that are old are forgotten, too", "@1000 no*19 @12000 no*19", "closed", "go", 0 },
	{ "a second in line waits behind the first", "@1000 no*20 ask", "open", "breaker", 1010 },
	{ "just before its time nobody goes", "@1000 no*20 @1999", "open", "breaker", 1 },
	{ "at its time one goes", "@1000 no*20 @2000", "open", "probe", 0 },
	{ "and only one", "@1000 no*20 @2000 ask", "half_open", "breaker", 1000 },
	{ "while a probe hangs the next may go a second later", "@1000 no*20 @2000 ask @3000", "half_open", "probe", 0 },
	{ "a probe that taught nothing opens it again", "@1000 no*20 @2000 ask end-", "open", "breaker", 1000 },
	{ "one that taught something closes it", "@1000 no*20 @2000 ask end+", "closed", "go", 0 },
	{ "then 19 failures prove nothing again", "@1000 no*20 @2000 ask end+ no*19", "closed", "go", 0 },
	{ "one that was given up is none", "@1000 no*20 @2000 ask drop", "open", "breaker", 1000 },
	{ "the next may go a second later", "@1000 no*20 @2000 ask drop @3000", "open", "probe", 0 },
	{ "429 asks for a pause", "@1000 slow:700", "closed", "throttled", 700 },
	{ "a shorter one does not end it", "@1000 slow:700 slow:10", "closed", "throttled", 700 },
	{ "after it calls go", "@1000 slow:700 @1700", "closed", "go", 0 },
	{ "of an hour a minute counts", "@1000 slow:3600000", "closed", "throttled", 60000 },
	{ "429s are answers: they do not open it", "@1000 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 "
	  "slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 slow:1 @1001", "closed", "go", 0 },
	{ "a probe that is told 429 closes it, and all wait", "@1000 no*20 @2000 ask slow-:5000", "closed", "throttled", 5000 },
};

struct bench {
	struct breaker      b;
	struct breaker_pass pass;
	int64_t             now, wait;
};

static enum breaker_word ask(struct bench *w, bool retry)
{
	w->wait = 0;
	return breaker_ask(&w->b, &rules, w->now, retry, 0, &w->pass, &w->wait);
}

static void calls(struct bench *w, int n, bool taught)
{
	for (; n > 0; n--)
		breaker_end(&w->b, &rules, w->now, (struct breaker_pass){ 0 }, taught, 0);
}

static void happen(struct bench *w, const char *word)
{
	if (word[0] == '@')
		w->now = atoll(word + 1);
	else if (strncmp(word, "ok*", 3) == 0 || strncmp(word, "no*", 3) == 0)
		calls(w, atoi(word + 3), word[0] == 'o');
	else if (strcmp(word, "ask") == 0)
		ask(w, false);
	else if (strcmp(word, "end+") == 0 || strcmp(word, "end-") == 0)
		breaker_end(&w->b, &rules, w->now, w->pass, word[3] == '+', 0);
	else if (strcmp(word, "drop") == 0)
		breaker_drop(&w->b, w->pass);
	else if (strncmp(word, "slow:", 5) == 0)
		breaker_end(&w->b, &rules, w->now, (struct breaker_pass){ 0 }, false, atoll(word + 5));
	else if (strncmp(word, "slow-:", 6) == 0)
		breaker_end(&w->b, &rules, w->now, w->pass, false, atoll(word + 6));
	else
		abort();
}

static void check_rows(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bench w = { 0 };
		char         text[400], *at = text;

		strcpy(text, rows[i].happens);
		for (char *word; (word = strsep(&at, " ")) != NULL;)
			happen(&w, word);
		const char       *state = breaker_state_name(w.b.state);
		enum breaker_word said = ask(&w, false);

		if (!ok(strcmp(state, rows[i].state) == 0 && strcmp(breaker_word_name(said), rows[i].word) == 0 &&
		        w.wait == rows[i].wait, "%s", rows[i].why))
			printf("# %s: %s, %s, %lld\n", rows[i].happens, state, breaker_word_name(said), (long long)w.wait);
	}
}

/* ---- those who wait ---------------------------------------------------------------------------- */

static void check_line(void)
{
	struct bench w = { .now = 1000 };
	int64_t      last = 0, longest = 0;
	bool         in_turn = true;

	calls(&w, 20, false);
	for (int i = 0; i < 3000; i++) {
		ask(&w, false);
		in_turn = in_turn && w.wait == 1000 + 10 * i;
		last = w.wait;
	}
	ok(in_turn, "those put off come back one after the other, a hundred a second (the last after %lld ms)", (long long)last);
	for (int i = 0; i < 3000; i++) {
		breaker_ask(&w.b, &rules, w.now, false, (uint32_t)i * 1431655u, &w.pass, &w.wait);
		longest = w.wait > longest ? w.wait : longest;
		in_turn = in_turn && w.wait >= 15000;
	}
	ok(in_turn && longest <= 31000, "and when the line is long, each within half a minute (%lld ms)", (long long)longest);
	ok(w.b.put_off == 6000, "all are counted");
	w.now = 2000;
	ask(&w, false);
	ok(breaker_end(&w.b, &rules, w.now, w.pass, true, 0), "when it closes, there is room");
	ok(!breaker_end(&w.b, &rules, w.now, (struct breaker_pass){ 0 }, true, 0), "which is said once");
}

static void check_off(void)
{
	const struct breaker_rules never = { .percent = 0, .calls = 1, .probe_ms = 1000 };
	struct bench               w = { .now = 1000 };
	unsigned                   gone = 0;

	for (int i = 0; i < 1000; i++) {
		gone += breaker_ask(&w.b, &never, w.now, true, 0, &w.pass, &w.wait) == BREAKER_SAYS_GO;
		breaker_end(&w.b, &never, w.now, w.pass, false, 0);
	}
	ok(gone == 1000, "without percent and burst nothing is ever put off");
}

/* ---- the budget ----------------------------------------------------------------------------------- */

/* How many of n retries go, each of which teaches something or not. */
static int retries(struct bench *w, int n, bool taught)
{
	int gone = 0;

	for (; n > 0; n--) {
		if (ask(w, true) != BREAKER_SAYS_GO)
			continue;
		gone++;
		breaker_end(&w->b, &(struct breaker_rules){ .percent = 0, .retry_percent = 20, .burst = 10 }, w->now, w->pass,
		            taught, 0);
	}
	return gone;
}

static void check_budget(void)
{
	struct bench w = { .now = 1000 };
	int          n;

	ok(retries(&w, 1000, true) == 1000, "retries that go well cost nothing");
	n = retries(&w, 1000, false);
	ok(n == 10, "of those that fail the burst goes (%d)", n);
	ok(ask(&w, true) == BREAKER_SAYS_BUDGET && w.wait >= 100, "and then they are put off");
	ok(ask(&w, false) == BREAKER_SAYS_GO, "first calls are not");
	w.now += 500;
	n = retries(&w, 1000, false);
	ok(n == 5, "in half a second five more go (%d)", n);
	for (int i = 0; i < 100; i++)
		ask(&w, false);
	n = retries(&w, 1000, false);
	ok(n == 10, "a hundred first calls pay for twenty, ten of which can be saved up (%d)", n);
	for (int i = 0; i < 10; i++)
		ask(&w, false);
	n = retries(&w, 1000, false);
	ok(n == 2, "ten first calls pay for two (%d)", n);
	w.now += 7200 * 1000;
	n = retries(&w, 1000, false);
	ok(n == 10, "however long it was quiet, a burst is a burst (%d)", n);
	ask(&w, true);
	w.now += 1000;
	ask(&w, false);
	ok(breaker_end(&w.b, &rules, w.now, w.pass, true, 0), "when the budget has grown again, there is room");
}

/* ---- latencies -------------------------------------------------------------------------------------- */

static bool is_near(uint64_t us, uint64_t wanted)
{
	return us * 8 >= wanted * 7 && us * 8 <= wanted * 9;
}

static void check_latency(void)
{
	static const uint64_t times[] = { 100, 999, 1000, 12345, 131072, 999999, 3000000, 60000000 };
	struct latency        l = { 0 };

	ok(latency_at(&l, 5, 50) == 0, "without calls there is no latency");
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		struct latency one = { 0 };

		latency_add(&one, 5, times[i]);
		ok(is_near(latency_at(&one, 5, 50), times[i]), "%llu us are told as %llu", (unsigned long long)times[i],
		   (unsigned long long)latency_at(&one, 5, 50));
	}
	for (int i = 0; i < 98; i++)
		latency_add(&l, 5, 1000);
	latency_add(&l, 5, 50000);
	latency_add(&l, 5, 50000);
	ok(is_near(latency_at(&l, 5, 50), 1000) && is_near(latency_at(&l, 5, 98), 1000) &&
	   is_near(latency_at(&l, 5, 99), 50000), "p50 and p99 tell the many from the few");
	ok(is_near(latency_at(&l, 5 + LATENCY_WINDOW_MS, 50), 1000), "the window before counts");
	ok(latency_at(&l, 5 + 2 * LATENCY_WINDOW_MS, 50) == 0, "the one before that does not");
	latency_add(&l, 5 + LATENCY_WINDOW_MS, 9000);
	latency_add(&l, 5 + 2 * LATENCY_WINDOW_MS, 9000);
	ok(is_near(latency_at(&l, 5 + 2 * LATENCY_WINDOW_MS, 1), 9000), "and its place is used again");
	latency_add(&l, 5, 0);
	latency_add(&l, 5, UINT64_MAX);
	ok(latency_at(&l, 5, 1) < 100 && latency_at(&l, 5, 100) > 100000000, "the shortest and the longest have a place");
}

int main(void)
{
	check_rows();
	check_line();
	check_off();
	check_budget();
	check_latency();
	return tap_done();
}
