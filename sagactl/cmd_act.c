/* SPDX-License-Identifier: Apache-2.0
 * cmd_act.c - what people do to transactions.
 */
#include "sagactl/ctl.h"
#include "sagactl/verbatim.h"

#include <string.h>

static void act_path(struct buf *path, const char *gid, const char *step, const char *verb)
{
	buf_cstr(path, "/v1/transactions");
	path_add(path, str_of(gid));
	if (step) {
		buf_cstr(path, "/steps");
		path_add(path, str_of(step));
	}
	if (*verb)
		buf_fmt(path, "/%s", verb);
}

static void print_done(struct ctl *c, const char *gid)
{
	struct buf line = { 0 };

	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
		return;
	}
	if (ctl_has(c, FLAG_dry_run)) {
		ctl_show_dry_run(c);
		return;
	}
	buf_fmt(&line, "%s is ", gid);
	show_state(c, c->answer.json, &line);
	buf_fmt(&line, " (version %llu)", (unsigned long long)look_number(c->answer.json, "version"));
	style_add(&c->out, c->color, STYLE_PLAIN, buf_view(&line));
	buf_char(&c->out, '\n');
	buf_fini(&line);
}

/* ---- what harms nothing ---------------------------------------------------------------------- */

static enum exit_status act_on(struct ctl *c, const char *gid, const char *verb, struct str body, int64_t wait_ms)
{
	struct buf       path = { 0 }, own = { 0 };
	char             wait[32];
	enum exit_status status;

	act_path(&path, gid, NULL, verb);
	if (wait_ms > 0)
		query_add(&path, "wait", str_of(text_of_ms(wait_ms, wait)));
	buf_str(&own, body);
	status = ctl_write(c, "POST", &path, &own, wait_ms);
	if (status == EXIT_DONE)
		print_done(c, gid);
	buf_fini(&path);
	buf_fini(&own);
	return status;
}

/* All are tried; the first failure is the exit status. */
static enum exit_status act(struct ctl *c, const char *verb)
{
	struct buf       body = { 0 };
	enum exit_status first;
	int64_t          wait_ms;

	first = ctl_duration(c, FLAG_wait, 0, &wait_ms);
	if (first == EXIT_DONE)
		first = ctl_begin_body(c, &body);
	if (first != EXIT_DONE)
		return first;
	for (size_t i = 0; i < c->args.word_n; i++) {
		enum exit_status status = act_on(c, c->args.words[i], verb, buf_view(&body), wait_ms);

		first = first == EXIT_DONE ? status : first;
		if (status == EXIT_UNREACHABLE)
			break;
	}
	buf_fini(&body);
	return first;
}

enum exit_status run_txn_retry(struct ctl *c)
{
	return act(c, "retry");
}

enum exit_status run_txn_pause(struct ctl *c)
{
	return act(c, "pause");
}

enum exit_status run_txn_resume(struct ctl *c)
{
	return act(c, "resume");
}

enum exit_status run_txn_cancel(struct ctl *c)
{
	return act(c, "cancel");
}

enum exit_status run_txn_release(struct ctl *c)
{
	return act(c, "release");
}

/* ---- what may make a transaction inconsistent -------------------------------------------------- */

struct danger {
	const char *method, *gid, *step, *verb;
	const char *what;     /* the sentence above the question; NULL: it can do no harm, so none is asked and no version compared */
	struct buf  members;  /* ,"name":value … of the body */
	char        version[24];
};

/* What is changed is what was seen: its version goes with the command. */
static enum exit_status look_before(struct ctl *c, struct danger *d)
{
	struct buf       path = { 0 };
	enum exit_status status;

	act_path(&path, d->gid, NULL, "");
	status = ctl_get(c, path.p);
	buf_fini(&path);
	if (status != EXIT_DONE)
		return status;
	str_cstr(look_text(c->answer.json, "version"), d->version, sizeof d->version);
	if (!ctl_has(c, FLAG_if_version))
		c->args.values[FLAG_if_version] = d->version;
	if (c->can_ask && !ctl_has(c, FLAG_json)) {
		show_transaction(c);
		buf_char(&c->out, '\n');
	}
	return EXIT_DONE;
}

static enum exit_status do_danger(struct ctl *c, struct danger *d)
{
	struct buf       path = { 0 }, body = { 0 };
	enum exit_status status = d->what ? look_before(c, d) : EXIT_DONE;

	if (status == EXIT_DONE)
		status = ctl_begin_body(c, &body);
	if (status == EXIT_DONE && d->what)
		status = ctl_confirm_gid(c, d->gid, d->what);
	if (status == EXIT_DONE) {
		act_path(&path, d->gid, d->step, d->verb);
		buf_cstr(&body, d->what ? ",\"gid\":" : "");
		if (d->what)
			buf_json(&body, str_of(d->gid));
		buf_str(&body, buf_view(&d->members));
		status = ctl_write(c, d->method, &path, &body, 0);
	}
	if (status == EXIT_DONE)
		print_done(c, d->gid);
	buf_fini(&path);
	buf_fini(&body);
	buf_fini(&d->members);
	return status;
}

static bool is_word(const char *given, const char *const *words)
{
	for (; given && *words; words++)
		if (strcmp(given, *words) == 0)
			return true;
	return false;
}

static const char *const OPS[] = { "try", "confirm", "cancel", NULL };

enum exit_status run_txn_resolve(struct ctl *c)
{
	static const char *const OUTCOMES[] = { "ok", "refused", NULL };
	const char              *op = c->args.values[FLAG_op], *outcome = c->args.values[FLAG_outcome];
	struct danger            d = { .method = "POST", .gid = c->args.words[0], .step = c->args.words[1],
		                       .verb = "resolve",
		                       .what = "If that is not what happened, the transaction becomes inconsistent." };
	struct source            output = { 0 };
	struct err               err;

	if (!is_word(op, OPS) || !is_word(outcome, OUTCOMES)) {
		err_set(&err, ERR_INVALID, "say what happened: --op try|confirm|cancel --outcome ok|refused");
		return ctl_usage(&err);
	}
	buf_fmt(&d.members, ",\"op\":\"%s\",\"outcome\":\"%s\"", op, outcome);
	if (ctl_has(c, FLAG_output)) {
		if (!source_value(&output, c->args.values[FLAG_output], &err)) {
			source_fini(&output);
			buf_fini(&d.members);
			return ctl_usage(&err);
		}
		buf_cstr(&d.members, ",\"output\":");
		buf_str(&d.members, output.json);
	}
	source_fini(&output);
	return do_danger(c, &d);
}

enum exit_status run_txn_skip(struct ctl *c)
{
	struct danger d = { .method = "POST", .gid = c->args.words[0], .step = c->args.words[1], .verb = "skip",
		            .what = "The step will count as done although it may not be." };
	struct err    err;

	if (!is_word(c->args.values[FLAG_op], OPS)) {
		err_set(&err, ERR_INVALID, "say what is skipped: --op try|confirm|cancel");
		return ctl_usage(&err);
	}
	buf_fmt(&d.members, ",\"op\":\"%s\"", c->args.values[FLAG_op]);
	return do_danger(c, &d);
}

enum exit_status run_txn_abandon(struct ctl *c)
{
	struct danger d = { .method = "POST", .gid = c->args.words[0], .verb = "abandon",
		            .what = "Nothing will be undone: what was done stays as it is, for you to put right." };

	return do_danger(c, &d);
}

/* ---- patch ----------------------------------------------------------------------------------------- */

/* Numbers stay numbers; all else is text: timeout=30s, retry.attempts=5, retry.max=10s. */
static void add_setting(struct buf *out, struct str name, struct str value)
{
	buf_json(out, name);
	buf_char(out, ':');
	if (verbatim_is_number(value))
		buf_str(out, value);
	else
		buf_json(out, value);
}

/* Settings with a dot stand together in an object: retry.max=5s retry.factor=2. */
static bool add_settings(const struct args *a, struct buf *members, struct err *err)
{
	static const struct str RETRY = { "retry.", 6 };
	struct buf              retry = { 0 };

	for (size_t i = 2; i < a->word_n; i++) {
		const char *equals = strchr(a->words[i], '=');
		struct str  name = { a->words[i], equals ? (size_t)(equals - a->words[i]) : 0 };

		if (name.n == 0) {
			buf_fini(&retry);
			return err_set(err, ERR_INVALID, "SETTING=VALUE is wanted, not `%s`", a->words[i]);
		}
		if (str_starts(name, RETRY)) {
			buf_cstr(&retry, retry.n ? "," : "");
			add_setting(&retry, (struct str){ name.p + RETRY.n, name.n - RETRY.n }, str_of(equals + 1));
		} else {
			buf_char(members, ',');
			add_setting(members, name, str_of(equals + 1));
		}
	}
	if (retry.n)
		buf_fmt(members, ",\"retry\":{%s}", retry.p);
	buf_fini(&retry);
	return true;
}

/* Only another url can lead a call to where it does harm. */
static bool changes_url(const struct args *a)
{
	for (size_t i = 2; i < a->word_n; i++)
		if (strncmp(a->words[i], "url=", 4) == 0)
			return true;
	return false;
}

enum exit_status run_txn_patch(struct ctl *c)
{
	struct danger d = { .method = "PATCH", .gid = c->args.words[0], .step = c->args.words[1], .verb = "" };
	struct err    err;

	if (changes_url(&c->args))
		d.what = "The step's next calls will go to another place.";
	if (ctl_has(c, FLAG_op)) {
		buf_cstr(&d.members, ",\"op\":");
		buf_json(&d.members, str_of(c->args.values[FLAG_op]));
	}
	if (!add_settings(&c->args, &d.members, &err)) {
		buf_fini(&d.members);
		return ctl_usage(&err);
	}
	return do_danger(c, &d);
}
