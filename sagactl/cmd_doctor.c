/* SPDX-License-Identifier: Apache-2.0
 * cmd_doctor.c - what is wrong with the set-up; the checks of the database are sagad's own (GET /v1/doctor).
 */
#include "sagactl/ctl.h"

#include <string.h>
#include <sys/time.h>

enum { SKEW_WARN_MS = 3000 };

static void add_check(struct ctl *c, struct grid *g, const char *state, struct str name, struct str finding,
                      struct str advice)
{
	bool fine = strcmp(state, "ok") == 0, bad = strcmp(state, "bad") == 0;
	struct buf text = { 0 };

	(void)c;
	grid_add(g, fine ? STYLE_GREEN : bad ? STYLE_RED : STYLE_YELLOW, str_of(state));
	grid_add(g, STYLE_BOLD, name);
	buf_str(&text, finding);
	if (!fine && advice.n)
		buf_fmt(&text, " -> %.*s", (int)advice.n, advice.p);
	grid_add(g, STYLE_PLAIN, buf_view(&text));
	buf_fini(&text);
}

static int64_t wall_ms(void)
{
	struct timeval t;

	gettimeofday(&t, NULL);
	return (int64_t)t.tv_sec * 1000 + t.tv_usec / 1000;
}

/* Ours against the replica's, which has whole seconds. */
static bool check_clock(struct ctl *c, struct grid *g, int64_t asked_at)
{
	int64_t    skew = c->answer.date - asked_at;
	bool       fine = skew < SKEW_WARN_MS && skew > -SKEW_WARN_MS - 1000;
	struct buf text = { 0 };

	if (fine) {
		buf_cstr(&text, "this machine and the replica agree");
	} else {
		buf_cstr(&text, "the replica's clock is ");
		span_add(&text, skew > 0 ? skew : -skew);
		buf_cstr(&text, skew > 0 ? " ahead of this machine's" : " behind this machine's");
	}
	add_check(c, g, fine ? "ok" : "warn", STR("client clock"), buf_view(&text),
	          STR("let both keep time by NTP: durations are safe, but times that you type are taken by sagad's clock"));
	buf_fini(&text);
	return fine;
}

enum exit_status run_doctor(struct ctl *c)
{
	struct grid        g = { .heads = { "STATE", "CHECK", "FINDING" } };
	int64_t            asked_at = wall_ms();
	enum exit_status   status = ctl_get(c, "/v1/doctor");
	json_t            *k;
	size_t             i;
	bool               fine;

	if (status != EXIT_DONE)
		return status;
	fine = look_true(c->answer.json, "healthy");
	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
		return fine ? EXIT_DONE : EXIT_NOT_WELL;
	}
	json_array_foreach(look(c->answer.json, "checks"), i, k) {
		char state[16];

		str_cstr(look_text(k, "state"), state, sizeof state);
		add_check(c, &g, state, look_text(k, "name"), look_text(k, "finding"), look_text(k, "advice"));
	}
	fine = check_clock(c, &g, asked_at) && fine;
	grid_write(&g, c->color, &c->out);
	grid_fini(&g);
	return fine ? EXIT_DONE : EXIT_NOT_WELL;
}
