/* SPDX-License-Identifier: Apache-2.0
 * explain.c - each way of not moving has a row: what is so, then what is said about it.
 */
#include "api/explain.h"
#include "coordinator/base/json.h"
#include "participants/definition.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 3 };
#define NOW 1795000000000

static const struct {
	const char *name, *text;
} documents[] = {
	{ "saga", "{\"mode\":\"saga\",\"steps\":{"
	          "\"hotel\":{\"action\":{\"url\":\"http://hotel:8080/r\"},\"compensate\":{\"url\":\"http://hotel:8080/u\"}},"
	          "\"charge\":{\"after\":[\"hotel\"],\"try\":{\"participant\":\"payment\",\"path\":\"/h\"},"
	          "\"confirm\":{\"participant\":\"payment\",\"path\":\"/c\"},\"cancel\":{\"participant\":\"payment\",\"path\":\"/x\"}},"
	          "\"mail\":{\"after\":[\"charge\"],\"kind\":\"retriable\",\"action\":{\"url\":\"http://mail:80/s\"}}}}" },
	{ "pivot", "{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"kind\":\"pivot\",\"action\":{\"url\":\"http://hotel:8080/r\"}}}}" },
	{ "pair", "{\"mode\":\"saga\",\"max_parallel\":1,\"steps\":{\"hotel\":{\"action\":{\"url\":\"http://hotel:8080/r\"}},"
	          "\"car\":{\"action\":{\"url\":\"http://car:8080/r\"}}}}" },
	{ "open", "{\"mode\":\"tcc\",\"deadline\":\"1h\"}" },
	{ "message", "{\"mode\":\"message\",\"deadline\":\"1h\",\"check\":{\"url\":\"http://shop:80/c\"},\"steps\":{"
	             "\"mail\":{\"kind\":\"retriable\",\"action\":{\"url\":\"http://mail:80/s\"}}}}" },
};

/* "+N", "-N": so many ms from now. Step names stand for their number: hotel 0, charge or car 1, mail 2. */
static const struct {
	const char *why_row, *is, *why, *says;
	int64_t     until; /* from now; -1: nobody knows */
} rows[] = {
	{ "back-off", "saga me trying 1.attempts=7 1.next=+48000 1.error=-12000 0=tried", "back_off",
	  "Step charge: attempt 7 of try failed 12 s ago at payment (HTTP 503: busy); the next attempt comes in 48 s.", 48000 },
	{ "and who is behind, and who owns it", "saga me trying 1.attempts=7 1.next=+48000 1.error=-12000 0=tried", "back_off",
	  "Behind it wait: mail. It is owned by replica 00000000 (this one), whose lease is 2 s old.", 48000 },
	{ "back-off while the breaker is open, too", "saga me trying 1.attempts=7 1.next=+48000 1.error=-12000 0=tried open=180000",
	  "back_off", "the breaker of payment is open since 3 min", 48000 },
	{ "a first failure of a kind that uses up no attempts", "saga me trying 0.misconfigured=1 0.next=+200 0.error=-100", "back_off",
	  "Step hotel: attempt 1 of try failed 100 ms ago at hotel:8080", 200 },
	{ "ongoing", "saga me trying 0.ongoing 0.next=+5000", "ongoing",
	  "Step hotel: hotel:8080 works on its try; it is asked again in 5 s", 5000 },
	{ "a call under way", "saga me trying 0.open=1 call=3000", "calling", "Step hotel: try is under way to hotel:8080, for 3 s", -1 },
	{ "a full queue", "saga me trying 0.open=1 held", "queue_full", "waits for a place in the queue of calls to hotel:8080", -1 },
	{ "breaker", "saga me trying 0.off=+700 open=60000", "breaker_open",
	  "Step hotel waits with its try: the breaker of hotel:8080 is open since 60 s; it asks again in 700 ms", 700 },
	{ "breaker, parked", "saga nobody trying due=+9000 open=60000", "breaker_open",
	  "No replica drives it until then; any of them takes it up when it is due.", 9000 },
	{ "429", "saga me trying 0.off=+700 quiet=700", "throttled", "hotel:8080 said 429, too many requests; the call comes in 700 ms", 700 },
	{ "retry budget", "saga me trying 0.attempts=2 0.off=+700", "retry_budget",
	  "too many retries to hotel:8080 fail, and it has used up its share", 700 },
	{ "paused transaction", "saga me trying paused", "paused",
	  "A person has paused it while it was trying; the journal says who and why.", -1 },
	{ "paused transaction, and who did it", "saga me trying paused paused-by", "paused",
	  "It was paused 60 s ago by ada (new disks) while it was trying.", -1 },
	{ "paused participant", "saga me trying 0.off=+7000 pause-participant", "participant_paused",
	  "calls to hotel:8080 were paused 60 s ago by ada (new disks)", -1 },
	{ "paused participant, parked", "saga nobody trying due=+7000 pause-participant", "participant_paused",
	  "by ada (new disks). Behind it wait: charge, mail. No replica drives it until it is due in 7 s; any of them takes it up then.", -1 },
	{ "paused participant, parked and due", "saga nobody trying due=-7 pause-participant", "participant_paused",
	  "No replica drives it; it is due, and any of them takes it up.", -1 },
	{ "a participant paused after an attempt failed", "saga me trying 0.attempts=1 0.next=+3000 0.error=-9 pause-participant open=900",
	  "participant_paused", "calls to hotel:8080 were paused 60 s ago by ada (new disks)", -1 },
	{ "a participant paused after an attempt failed, parked",
	  "saga nobody trying 0.attempts=1 0.next=+3000 0.error=-9 due=+3000 pause-participant", "participant_paused", "by ada", -1 },
	{ "a participant paused that works on it", "saga me trying 0.ongoing 0.next=+5000 pause-participant", "participant_paused", "by ada", -1 },
	{ "a call under way to a paused participant", "saga me trying 0.open=1 call=3000 pause-participant", "calling", "under way", -1 },
	{ "a message before its check, its sender paused", "message me prepared deadline=+5000 pause-participant", "decision", "that is in 5 s", 5000 },
	{ "paused definition", "saga me trying 0.open=1 pause-definition", "calling",
	  "New starts of its definition were paused 60 s ago by ada (new disks); those that run go on.", -1 },
	{ "no owner", "saga nobody trying 0.attempts=1 0.next=+30000 0.error=-10 due=+30000", "back_off",
	  "No replica drives it until then; any of them takes it up when it is due.", 30000 },
	{ "no owner, and nothing is known of why", "saga nobody trying due=+30000 unseen", "no_owner",
	  "Step hotel waits with its try; it is taken up in 30 s", 30000 },
	{ "no owner, and due", "saga nobody trying due=-1000", "no_owner", "it is taken up now", -1000 },
	{ "fenced owner", "saga fenced trying", "owner_gone", "Its owner, replica 00000000, is dead and fenced (last heard of 2 s ago)", -1 },
	{ "owner that left", "saga left trying", "owner_gone", "has left", -1 },
	{ "silent owner", "saga live silent trying 0.attempts=1 0.next=+100 0.error=-10", "owner_silent",
	  "Its owner, replica 00000000, does not answer (it reported to the database 2 s ago). As last known: Step hotel: attempt 1", 100 },
	{ "an owner that was not asked", "saga live trying", "about_to_call", "It is owned by replica 00000000, which reported to the database 2 s ago.", -1 },
	{ "deadline near", "saga me trying 0.open=1 deadline=+48000", "calling", "Its deadline in 48 s decides cancel.", -1 },
	{ "deadline far", "saga me trying 0.open=1 deadline=+4800000", "calling", "under way to hotel:8080. Behind it wait: charge, mail. It is owned", -1 },
	{ "deadline passed", "saga me trying 0.open=1 deadline=-3000", "calling", "Its deadline passed 3 s ago and decides cancel as soon as it can.", -1 },
	{ "deadline against a pivot", "pivot me trying 0.open=1 deadline=-3000", "calling", "its outcome decides, not the deadline", -1 },
	{ "an open TCC", "open me prepared deadline=+5000", "decision", "It waits for its caller to confirm or cancel (0 steps have joined)", 5000 },
	{ "a message before its check", "message me prepared deadline=+5000", "decision",
	  "The check of its sender is made when its deadline has passed and the sender has decided nothing; that is in 5 s", 5000 },
	{ "a message whose check fails", "message me prepared deadline=-5000 ?.attempts=2 ?.next=+400 ?.error=-100", "back_off",
	  "The check of its sender: attempt 2 of check failed 100 ms ago at shop:80", 400 },
	{ "max_parallel", "pair me trying 0.open=1", "calling",
	  "Step hotel: try is under way to hotel:8080. For a call to end (max_parallel) wait: car.", -1 },
	{ "of two that back off the sooner one", "pair me trying 0.attempts=1 0.next=+9000 0.error=-9 1.attempts=1 1.next=+2000 1.error=-9",
	  "back_off", "Step car: attempt 1 of try failed", 2000 },
	{ "what goes on by itself before who has to come",
	  "pair me trying 0.misconfigured=3 0.stuck=3 0.error=-9 1.attempts=1 1.next=+2000 1.error=-9", "back_off", "Step car", 2000 },
	{ "not yet begun", "saga me trying start=+3600000", "not_started", "It begins in 60 min, as its start_at says", 3600000 },
	{ "about to be called", "saga me trying", "about_to_call", "Step hotel is about to be called: its try is due", -1 },
	{ "cancel goes in reverse", "saga me cancelling 0=tried 1=tried 2=untried 1.open=3", "calling", "Step charge: cancel is under way to payment", -1 },
	{ "who waits for it", "saga me cancelling 0=tried 1=tried 2=untried 1.open=3", "calling", "Behind it wait: hotel.", -1 },
	{ "confirm backs off", "saga me confirming 0=tried 1=tried 1.attempts=1 1.next=+9 1.error=-1 1.errop=1", "back_off", "attempt 1 of confirm", 9 },
	{ "overdue", "saga me confirming 0=tried 1=tried 1.attempts=9 1.next=+9 1.error=-1 1.errop=1 1.stuck=1 1.first=-3600000", "back_off",
	  "It has had no success for 60 min and is marked stuck (overdue): a person should look.", 9 },
	{ "attempts used up", "pivot me trying 0.attempts=5 0.error=-1000 0.stuck=2", "attempts",
	  "its attempts are used up, and it cannot be cancelled", -1 },
	{ "misconfigured", "saga me trying 0.misconfigured=3 0.error=-1000 0.stuck=3", "misconfigured",
	  "attempt 3 of try failed 1 s ago at hotel:8080 (HTTP 503: busy); the call or its answer is not as the contract wants", -1 },
	{ "gone", "saga me confirming 0=tried 1=tried 1.stuck=4 1.error=-1000 1.errop=1 1.attempts=1", "gone", "no longer has what must be confirmed", -1 },
	{ "poison", "saga nobody trying stuck=5 due=never", "poison", "Replicas died again and again while driving it", -1 },
	{ "a bad row", "saga nobody trying stuck=6 due=never", "bad_row", "No replica drives it until a person does something.", -1 },
	{ "unreadable", "none nobody trying due=never", "unreadable", "This replica cannot read it (format 1)", -1 },
	{ "database away", "saga me trying 0.attempts=1 0.next=+9000 0.error=-10 down", "database_away",
	  "The database cannot be reached, so that nothing can be committed (refused). As last known: Step hotel: attempt 1 of try", 9000 },
	{ "a commit in doubt", "saga me trying doubt", "doubt", "The database connection broke in a commit of it", -1 },
	{ "after a failover", "saga me trying unproven", "failover", "The database failed over", -1 },
	{ "a lease in doubt", "saga me trying suspended", "suspended", "Its owner is not sure of its lease (suspended), and calls nobody", -1 },
	{ "leaving", "saga me trying draining", "draining", "Its owner is leaving", -1 },
	{ "a commit under way", "saga me trying commit", "committing", "A commit of it is under way. As last known: Step hotel is about", -1 },
	{ "nothing that is known", "saga me trying 0=tried 1=tried 2=tried", "nothing",
	  "It is trying, and nothing that sagad knows of keeps it.", -1 },
	{ "ended", "saga nobody confirmed 0=tried 1=confirmed 2=tried ended=-3000", "ended", "It has ended: confirmed, 3 s ago.", -1 },
	{ "ended, cancelled", "saga nobody cancelled 0=cancelled 1=untried 2=untried ended=-3000 cause=3", "ended", "(cause: deadline)", -1 },
};

struct bench {
	struct arena         arena;
	struct explain_facts f;
	struct definition   *def;
	struct txn           txn;
	struct step          steps[STEPS_MAX];
	struct note          notes[STEPS_MAX], check;
	int64_t              call, open, quiet;
	bool                 unseen, pause_participant, pause_definition;
};

static const struct uuid US = { { 0 } };

static const struct pause_row PAUSE = { .since = NOW - 60000, .actor = { "ada", 3 }, .reason = { "new disks", 9 } };

static bool find_target(void *ctx, struct str name, struct api_target *out)
{
	const struct bench *b = ctx;

	(void)name;
	if (b->unseen)
		return false;
	*out = (struct api_target){ .name = name, .breaker = b->open ? "open" : "closed", .breaker_ms = b->open, .quiet_ms = b->quiet };
	return true;
}

static const struct pause_row *find_pause(void *ctx, enum pause_kind kind, struct str name)
{
	const struct bench *b = ctx;

	(void)name;
	if (kind == PAUSE_PARTICIPANT ? b->pause_participant : b->pause_definition)
		return &PAUSE;
	return NULL;
}

static int64_t call_ms(void *ctx, uint16_t step)
{
	const struct bench *b = ctx;

	return b->txn.steps[step == TXN_CHECK ? 0 : step].open_op ? b->call : -1;
}

static void compile(struct bench *b, const char *name)
{
	static struct findings findings;

	findings = (struct findings){ .arena = &b->arena };
	for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++)
		if (strcmp(documents[i].name, name) == 0)
			b->def = definition_compile(str_of(documents[i].text), DEFINITION_INLINE, STR(""), &findings);
	if (b->def == NULL && strcmp(name, "none") != 0) {
		printf("# %s: %.*s\n", name, (int)findings.items[0].detail.n, findings.items[0].detail.p);
		abort();
	}
}

static int64_t time_of(const char *text)
{
	return strcmp(text, "never") == 0 ? AT_NEVER : NOW + atoll(text);
}

static bool name_in(const char *word, const char *(*name)(int v), int count, int *out)
{
	for (*out = 0; *out < count; ++*out)
		if (strcmp(word, name(*out)) == 0)
			return true;
	return false;
}

static const char *phase_of(int v)
{
	return phase_name((enum phase)v);
}

static const char *state_of(int v)
{
	return step_state_name((enum step_state)v);
}

static void set_step(struct bench *b, const char *word)
{
	struct step *s = word[0] == '?' ? &b->txn.check : &b->steps[word[0] - '0'];
	struct note *n = word[0] == '?' ? &b->check : &b->notes[word[0] - '0'];
	const char  *what = word + 2, *value = strchr(word, '=') ? strchr(word, '=') + 1 : "";
	int          state;

	if (word[1] == '=') {
		if (!name_in(what, state_of, STEP_STATE_COUNT, &state))
			abort();
		s->state = (enum step_state)state;
	} else if (strncmp(what, "attempts", 8) == 0) {
		s->attempts = (uint32_t)atoi(value);
	} else if (strncmp(what, "misconfigured", 13) == 0) {
		s->misconfigured = (uint16_t)atoi(value);
	} else if (strncmp(what, "next", 4) == 0) {
		s->next_at = time_of(value);
	} else if (strncmp(what, "off", 3) == 0) {
		s->put_off_until = time_of(value);
	} else if (strncmp(what, "first", 5) == 0) {
		s->first_at = time_of(value);
	} else if (strncmp(what, "stuck", 5) == 0) {
		s->stuck = (enum stuck)atoi(value);
	} else if (strncmp(what, "open", 4) == 0) {
		s->open_op = (uint8_t)atoi(value);
	} else if (strcmp(what, "ongoing") == 0) {
		s->flags |= STEP_IS_ONGOING;
	} else if (strncmp(what, "errop", 5) == 0) {
		n->op = (enum op)atoi(value);
	} else if (strncmp(what, "error", 5) == 0) {
		*n = (struct note){ .at = time_of(value), .answered_at = time_of(value), .status = 503, .calls = 1,
			            .error = STR("HTTP 503: busy"), .op = word[0] == '?' ? OP_CHECK : OP_TRY };
	} else {
		abort();
	}
}

static bool set_owner(struct explain_facts *f, const char *word)
{
	if (strcmp(word, "nobody") == 0)
		return true;
	f->owner_age_ms = 2000;
	f->view.row.owner = (struct uuid){ { [15] = 1 } };
	f->is_owner = strcmp(word, "me") == 0;
	if (f->is_owner)
		f->owner = OWNER_US;
	else if (strcmp(word, "live") == 0)
		f->owner = OWNER_LIVE;
	else if (strcmp(word, "fenced") == 0)
		f->owner = OWNER_FENCED;
	else if (strcmp(word, "left") == 0)
		f->owner = OWNER_LEFT;
	else
		return false;
	return true;
}

static void set_flag(struct bench *b, const char *word)
{
	struct explain_facts *f = &b->f;

	if (strcmp(word, "paused") == 0)
		f->view.row.paused = b->txn.paused = true;
	else if (strcmp(word, "paused-by") == 0)
		f->paused = &PAUSE;
	else if (strcmp(word, "silent") == 0)
		f->owner_silent = true;
	else if (strcmp(word, "held") == 0)
		f->inside.held = true;
	else if (strcmp(word, "doubt") == 0)
		f->inside.doubt = true;
	else if (strcmp(word, "unproven") == 0)
		f->inside.unproven = true;
	else if (strcmp(word, "commit") == 0)
		f->inside.committing = true;
	else if (strcmp(word, "suspended") == 0)
		f->state = ENGINE_SUSPENDED;
	else if (strcmp(word, "draining") == 0)
		f->state = ENGINE_DRAINING;
	else if (strcmp(word, "down") == 0)
		f->database = (struct api_database){ .up = false, .last_error = "refused" };
	else if (strcmp(word, "unseen") == 0)
		b->unseen = true;
	else if (strcmp(word, "pause-participant") == 0)
		b->pause_participant = true;
	else if (strcmp(word, "pause-definition") == 0)
		b->pause_definition = true;
	else
		abort();
}

static void set_value(struct bench *b, const char *word, const char *value)
{
	struct row *row = &b->f.view.row;

	if (strncmp(word, "due", 3) == 0)
		row->due_at = time_of(value);
	else if (strncmp(word, "ended", 5) == 0)
		row->ended_at = time_of(value);
	else if (strncmp(word, "deadline", 8) == 0)
		row->deadline_at = b->txn.deadline_at = time_of(value);
	else if (strncmp(word, "start", 5) == 0)
		b->txn.start_at = time_of(value);
	else if (strncmp(word, "stuck", 5) == 0)
		row->stuck = b->txn.stuck = (enum stuck)atoi(value);
	else if (strncmp(word, "cause", 5) == 0)
		b->txn.cause = (enum cause)atoi(value);
	else if (strncmp(word, "call", 4) == 0)
		b->call = atoll(value);
	else if (strncmp(word, "open", 4) == 0)
		b->open = atoll(value);
	else if (strncmp(word, "quiet", 5) == 0)
		b->quiet = atoll(value);
	else
		abort();
}

static void set(struct bench *b, const char *word, int place)
{
	const char *value = strchr(word, '=');
	int         phase;

	if (place == 0) {
		compile(b, word);
	} else if (place == 1) {
		if (!set_owner(&b->f, word))
			abort();
	} else if ((word[0] >= '0' && word[0] <= '9') || word[0] == '?') {
		set_step(b, word);
	} else if (name_in(word, phase_of, PHASE_COUNT, &phase)) {
		b->f.view.row.phase = b->txn.phase = (enum phase)phase;
	} else if (value != NULL) {
		set_value(b, word, value + 1);
	} else {
		set_flag(b, word);
	}
}

static void finish(struct bench *b)
{
	struct view *v = &b->f.view;

	v->row.def = b->def;
	v->row.gid = STR("order-1");
	v->row.definition = STR("book");
	v->row.version = b->txn.version = 3;
	v->row.format = 1;
	if (b->def == NULL)
		return;
	b->txn.plan = definition_plan(b->def);
	b->txn.step_count = b->txn.plan->step_count;
	b->txn.steps = b->steps;
	v->txn = &b->txn;
	v->notes = b->notes;
	v->check = &b->check;
	b->f.inside.view = *v;
}

static void check_json(const struct bench *b, const struct explanation *x, const char *row)
{
	struct arena      arena = { 0 };
	struct buf        out = { 0 };
	struct json_error err;
	struct json      *root;

	explain_show(&b->f, x, &out);
	root = json_parse(buf_view(&out), &arena, &err);
	ok(root != NULL && str_is(json_text(json_get(root, "why"), &arena), why_name(x->why)) &&
	   str_eq(json_text(json_get(root, "sentence"), &arena), buf_view(&x->sentence)), "%s: as JSON, too", row);
	if (root == NULL)
		printf("# %s\n", out.p);
	arena_fini(&arena);
	buf_fini(&out);
}

int main(void)
{
	bool seen[64] = { false };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bench       b = { .call = -1 };
		struct explanation x;
		char               text[400], *at = text;
		int                place = 0;

		b.f = (struct explain_facts){ .now = NOW, .me = US, .state = ENGINE_LIVE, .database = { .up = true },
			                      .owner_age_ms = -1, .call_ms = call_ms, .target = find_target,
			                      .pause = find_pause, .ctx = &b };
		strcpy(text, rows[i].is);
		for (char *word; (word = strsep(&at, " ")) != NULL; place++)
			set(&b, word, place);
		finish(&b);
		explain(&b.f, &x);
		seen[x.why] = true;
		if (!ok(strcmp(why_name(x.why), rows[i].why) == 0 && strstr(x.sentence.p, rows[i].says) != NULL &&
		        x.until == (rows[i].until == -1 ? 0 : NOW + rows[i].until), "%s", rows[i].why_row))
			printf("# %s, until %+lld: %s\n", why_name(x.why), x.until ? (long long)(x.until - NOW) : 0, x.sentence.p);
		else if (getenv("SAY") != NULL)
			printf("# %s\n", x.sentence.p);
		check_json(&b, &x, rows[i].why_row);
		buf_fini(&x.sentence);
		definition_drop(b.def);
		arena_fini(&b.arena);
	}
/* max_parallel is the reason of a step: the calls that it waits for come first in what is said of all. */
#define X(name, text, hint) \
	ok(seen[WHY_##name] || WHY_##name == WHY_NOTHING || WHY_##name == WHY_PARALLEL, "%s has a row", text);
	WHYS(X)
#undef X
	return tap_done();
}
