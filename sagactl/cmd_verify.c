/* SPDX-License-Identifier: Apache-2.0
 * cmd_verify.c - does a service follow the contract? Asks it, not sagad.
 */
#include "coordinator/base/digest.h"
#include "sagactl/ctl.h"
#include "sagactl/probes.h"

#include <stdio.h>
#include <string.h>

enum { TIMEOUT_MS = 5000, TIMEOUT_MAX_MS = 600000, REMEMBER_MS = 3000 };

/* ---- what is asked ----------------------------------------------------------------------- */

static bool read_json(struct source *s, const char *value, const char **out, struct err *err)
{
	if (!source_value(s, value, err))
		return false;
	*out = arena_str(&s->arena, s->json).p;
	return true;
}

static struct verify *set_up(struct ctl *c, int64_t remember_ms, struct source *input,
                             struct source *refused, struct err *err)
{
	const char          **values = c->args.values;
	const int64_t         timeout_ms = c->client.timeout_ms;
	struct verify_options o = { .try_url = c->args.words[0],
		                    .cancel_url = values[FLAG_cancel_url],
		                    .confirm_url = values[FLAG_confirm_url],
		                    .state_url = values[FLAG_state_url],
		                    .secret_file = values[FLAG_secret_file],
		                    .cacert = c->client.cacert,
		                    .remember_ms = remember_ms,
		                    .input = "{}" };

	o.timeout_ms = values[FLAG_timeout] == NULL  ? TIMEOUT_MS
	               : timeout_ms > TIMEOUT_MAX_MS ? TIMEOUT_MAX_MS
	                                             : (uint32_t)timeout_ms;
	if (values[FLAG_input] != NULL && !read_json(input, values[FLAG_input], &o.input, err))
		return NULL;
	if (values[FLAG_refused] != NULL &&
	    !read_json(refused, values[FLAG_refused], &o.refused, err))
		return NULL;
	return verify_open(&o, err);
}

/* ---- what is told ------------------------------------------------------------------------ */

static enum style style_of(enum probe_state s)
{
	switch (s) {
	case PROBE_STATE_OK: return STYLE_GREEN;
	case PROBE_STATE_WRONG: return STYLE_RED;
	case PROBE_STATE_HINT: return STYLE_YELLOW;
	case PROBE_STATE_SKIPPED: return STYLE_DIM;
	}
	return STYLE_PLAIN;
}

static void tell(struct ctl *c, enum probe p, const struct probe_result *r)
{
	struct buf text = { 0 };

	style_add(&c->out, c->color, style_of(r->state), str_of(probe_state_name(r->state)));
	buf_fmt(&c->out, "%*s", (int)(9 - strlen(probe_state_name(r->state))), "");
	text_clean(&text, str_of(probe_says(p)));
	if (r->finding[0] != '\0') {
		buf_cstr(&text, "\n         ");
		text_clean(&text, str_of(r->finding));
	}
	if (r->advice != NULL)
		buf_fmt(&text, "\n         -> %s", r->advice);
	buf_fmt(&c->out, "%s\n", text.p);
	buf_fini(&text);
	ctl_flush(c);
}

static void add_text(struct buf *out, const char *name, const char *value)
{
	buf_fmt(out, ",\"%s\":", name);
	if (value != NULL && *value != '\0')
		buf_json(out, str_of(value));
	else
		buf_cstr(out, "null");
}

static void tell_json(struct ctl *c, enum probe p, const struct probe_result *r)
{
	buf_fmt(&c->out, "%s{\"name\":\"%s\",\"state\":\"%s\"", p > 0 ? "," : "", probe_name(p),
	        probe_state_name(r->state));
	add_text(&c->out, "says", probe_says(p));
	add_text(&c->out, "finding", r->finding);
	add_text(&c->out, "advice", r->advice);
	buf_char(&c->out, '}');
}

static enum exit_status end(struct ctl *c, const unsigned counts[], uint64_t calls)
{
	bool fine = counts[PROBE_STATE_WRONG] == 0;

	if (ctl_has(c, FLAG_json))
		buf_fmt(&c->out, "],\"calls\":%llu,\"well\":%s}\n", (unsigned long long)calls,
		        fine ? "true" : "false");
	else
		buf_fmt(&c->out, "\n%u ok, %u wrong, %u hints, %u skipped; %llu calls\n",
		        counts[PROBE_STATE_OK], counts[PROBE_STATE_WRONG], counts[PROBE_STATE_HINT],
		        counts[PROBE_STATE_SKIPPED], (unsigned long long)calls);
	return fine ? EXIT_DONE : EXIT_NOT_WELL;
}

/* Without a try that is done and undone no other answer would mean anything. */
static enum exit_status make_all(struct ctl *c, struct verify *v)
{
	enum probe_state first = PROBE_STATE_OK;
	unsigned counts[4] = { 0 };
	char     run[32] = "verify-", bytes[8];

	digest_random(bytes, sizeof bytes);
	digest_hex((const uint8_t *)bytes, sizeof bytes, run + strlen(run));
	if (ctl_has(c, FLAG_json)) {
		buf_cstr(&c->out, "{\"url\":");
		buf_json(&c->out, str_of(c->args.words[0]));
		buf_fmt(&c->out, ",\"run\":\"%s\",\"probes\":[", run);
	}
	for (unsigned p = 0; p < PROBE_COUNT; p++) {
		struct probe_result r;

		if (p > 0 && first != PROBE_STATE_OK) {
			r = (struct probe_result){
				.state = PROBE_STATE_SKIPPED,
				.finding = "the first try and its cancel have to work"
			};
		} else {
			probe_make(v, (enum probe)p, run, &r);
			if (p == PROBE_first_try)
				first = r.state;
			if (p == PROBE_first_try && *verify_failure(v) != '\0') {
				buf_clear(&c->out);
				ctl_say(c, "%s", verify_failure(v));
				return EXIT_UNREACHABLE;
			}
		}
		counts[r.state]++;
		if (ctl_has(c, FLAG_json))
			tell_json(c, (enum probe)p, &r);
		else if (p == 0 || first == PROBE_STATE_OK)
			tell(c, (enum probe)p, &r);
	}
	if (first != PROBE_STATE_OK && !ctl_has(c, FLAG_json))
		buf_cstr(&c->out, "skipped  all others: the first try and its cancel have to work\n");
	return end(c, counts, verify_calls(v));
}

enum exit_status run_verify(struct ctl *c)
{
	struct source    input = { 0 }, refused = { 0 };
	struct err       err = { 0 };
	int64_t          remember_ms;
	enum exit_status status = ctl_duration(c, FLAG_remember, REMEMBER_MS, &remember_ms);

	if (status != EXIT_DONE)
		return status;
	struct verify *v = set_up(c, remember_ms, &input, &refused, &err);

	status = v != NULL ? make_all(c, v) : ctl_usage(&err);

	verify_close(v);
	source_fini(&input);
	source_fini(&refused);
	return status;
}
