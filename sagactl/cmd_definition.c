/* SPDX-License-Identifier: Apache-2.0
 * cmd_definition.c - register, check and look at definitions.
 */
#include "sagactl/ctl.h"
#include "sagactl/verbatim.h"

#include <string.h>

/* ---- from files ----------------------------------------------------------------------------- */

/* --name, else the document's own, else the file's without its end. */
static bool name_of(struct ctl *c, struct source *s, struct buf *name, struct err *err)
{
	const char *given = c->args.values[FLAG_name], *slash = strrchr(s->name, '/');
	const char *base = slash ? slash + 1 : s->name;

	if (!source_is_object(s))
		return err_set(err, ERR_INVALID, "%s: a definition is an object", s->name);
	if (given)
		buf_cstr(name, given);
	else if (source_text(s, "name", name))
		return name->n > 0 || err_set(err, ERR_INVALID, "%s: the definition's name is empty", s->name);
	else if (strcmp(s->name, "standard input") == 0)
		return err_set(err, ERR_INVALID, "standard input: the definition has no name: give --name");
	else
		buf_add(name, base, strcspn(base, "."));
	return name->n > 0 || err_set(err, ERR_INVALID, "%s: the definition has no name: give --name", s->name);
}

/* "book-trip.yaml:7:5: warning: sentence (/steps/hotel)" */
static void say_findings(struct ctl *c, struct source *s, json_t *list, const char *what)
{
	json_t *f;
	size_t  i;

	json_array_foreach(list, i, f) {
		struct str pointer = look_text(f, "pointer"), detail = look_text(f, "detail");
		unsigned   line = 1, column = 1;

		source_locate(s, pointer, &line, &column);
		ctl_say(c, "%s:%u:%u: %s%.*s%s%.*s%s", s->name, line, column, what, (int)detail.n, detail.p,
		        pointer.n ? " (" : "", (int)pointer.n, pointer.p, pointer.n ? ")" : "");
	}
}

static enum exit_status validate(struct ctl *c, struct source *s)
{
	enum exit_status   status = ctl_send(c, &(struct ask){ .method = "POST", .path = "/v1/definitions/validate",
	                                                       .body = s->json });
	json_t *errors;

	if (status != EXIT_DONE)
		return status;
	errors = look(c->answer.json, "errors");
	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
	} else {
		say_findings(c, s, errors, "");
		say_findings(c, s, look(c->answer.json, "warnings"), "warning: ");
	}
	return look_true(c->answer.json, "valid") ? EXIT_DONE : EXIT_NOT_WELL;
}

static enum exit_status put(struct ctl *c, struct source *s, const char *path)
{
	const char      *version = c->args.values[FLAG_if_version];
	struct buf       if_match = { 0 };
	enum exit_status status;

	if (version)
		buf_fmt(&if_match, "\"%s\"", version);
	status = ctl_try(c, &(struct ask){ .method = "PUT", .path = path, .body = s->json,
	                                   .if_match = buf_view(&if_match) });
	buf_fini(&if_match);
	return status;
}

static enum exit_status get(struct ctl *c, const char *name, const char *accept);

/* What sagad says it would be, and the lines that differ from the newest version. */
static enum exit_status show_foreseen(struct ctl *c, struct source *s, const char *name)
{
	const json_t    *would = look(c->answer.json, "would");
	uint64_t         before = look_number(would, "before"), after = look_number(would, "after");
	struct buf       lines = { 0 };
	struct str       document;
	enum exit_status status = EXIT_DONE;

	say_findings(c, s, look(would, "warnings"), "warning: ");
	style_add(&c->out, c->color, STYLE_BOLD, str_of(name));
	if (before == after) {
		buf_fmt(&c->out, " is there already as version %llu; nothing was stored\n", (unsigned long long)before);
		return EXIT_DONE;
	}
	buf_fmt(&c->out, " would become version %llu; nothing was stored\n", (unsigned long long)after);
	if (before)
		status = get(c, name, NULL);
	if (before && status == EXIT_DONE && verbatim_member(buf_view(&c->answer.body), "document", &document)) {
		source_compare(s, document, &lines);
		buf_str(&c->out, buf_view(&lines));
	}
	buf_fini(&lines);
	return status;
}

static enum exit_status apply(struct ctl *c, struct source *s, const char *name)
{
	struct buf       path = { 0 };
	enum exit_status status;

	buf_cstr(&path, "/v1/definitions");
	path_add(&path, str_of(name));
	ctl_add_person(c, &path);
	if (ctl_has(c, FLAG_dry_run))
		query_add(&path, "dry_run", STR("true"));
	status = put(c, s, path.p);
	buf_fini(&path);
	if (status != EXIT_DONE)
		return status;
	if (c->answer.status == 422 && look(c->answer.json, "errors")) {
		say_findings(c, s, look(c->answer.json, "errors"), "");
		return EXIT_NOT_WELL;
	}
	if (c->answer.status != 200 && c->answer.status != 201)
		return ctl_problem(c);
	if (ctl_has(c, FLAG_json)) {
		ctl_raw(c);
		return EXIT_DONE;
	}
	if (ctl_has(c, FLAG_dry_run))
		return show_foreseen(c, s, name);
	say_findings(c, s, look(c->answer.json, "warnings"), "warning: ");
	style_add(&c->out, c->color, STYLE_BOLD, str_of(name));
	buf_fmt(&c->out, " version %llu %s\n", (unsigned long long)look_number(c->answer.json, "version"),
	        c->answer.status == 201 ? "registered" : "is there already");
	return EXIT_DONE;
}

static enum exit_status take_file(struct ctl *c, const char *path, bool only_look)
{
	struct source    s = { 0 };
	struct buf       name = { 0 };
	struct err       err;
	enum exit_status status;

	if (!source_read(&s, path, &err) || !name_of(c, &s, &name, &err))
		status = ctl_usage(&err);
	else if (!only_look)
		status = apply(c, &s, name.p);
	else if ((status = validate(c, &s)) == EXIT_DONE && !ctl_has(c, FLAG_json))
		buf_fmt(&c->out, "%s is valid; nothing was stored\n", name.p);
	source_fini(&s);
	buf_fini(&name);
	return status;
}

/* All are tried; the first failure is the exit status. */
static enum exit_status take_files(struct ctl *c, bool only_look)
{
	enum exit_status first = EXIT_DONE;
	struct err       err;

	if (c->args.word_n > 1 && ctl_has(c, FLAG_name)) {
		err_set(&err, ERR_INVALID, "--name is for one file");
		return ctl_usage(&err);
	}
	for (size_t i = 0; i < c->args.word_n; i++) {
		enum exit_status status = take_file(c, c->args.words[i], only_look);

		if (first == EXIT_DONE)
			first = status;
		if (status == EXIT_UNREACHABLE)
			break;
	}
	return first;
}

enum exit_status run_definition_apply(struct ctl *c)
{
	return take_files(c, false);
}

enum exit_status run_definition_validate(struct ctl *c)
{
	return take_files(c, true);
}

/* ---- from sagad --------------------------------------------------------------------------------- */

static void add_item(struct ctl *c, void *arg, json_t *item)
{
	struct grid *g = arg;
	struct buf   age = { 0 };

	grid_add(g, STYLE_BOLD, look_text(item, "name"));
	grid_add(g, STYLE_PLAIN, look_text(item, "version"));
	look_ago(c, item, "created_at", &age);
	grid_add(g, STYLE_PLAIN, buf_view(&age));
	grid_add(g, STYLE_DIM, look_text(item, "sha256"));
	grid_add(g, STYLE_YELLOW, look_paused(item) ? STR("paused") : STR(""));
	buf_fini(&age);
}

enum exit_status run_definition_list(struct ctl *c)
{
	struct grid      g = { .heads = { "NAME", "VERSION", "SINCE", "SHA256", "" } };
	struct buf       path = { 0 };
	enum exit_status status;

	buf_cstr(&path, "/v1/definitions");
	status = ctl_list(c, &path, add_item, &g);
	if (status == EXIT_DONE && !ctl_has(c, FLAG_json))
		grid_write(&g, c->color, &c->out);
	grid_fini(&g);
	buf_fini(&path);
	return status;
}

/* NAME or NAME@VERSION */
static void add_path(struct buf *path, const char *word)
{
	const char *at = strrchr(word, '@');
	struct str  name = { word, at ? (size_t)(at - word) : strlen(word) };

	buf_cstr(path, "/v1/definitions");
	path_add(path, name);
	if (!at)
		return;
	buf_cstr(path, "/versions");
	path_add(path, str_of(at + 1));
}

static enum exit_status get(struct ctl *c, const char *word, const char *accept)
{
	struct buf       path = { 0 };
	enum exit_status status;

	add_path(&path, word);
	status = ctl_send(c, &(struct ask){ .method = "GET", .path = path.p, .accept = accept });
	buf_fini(&path);
	return status;
}

enum exit_status run_definition_show(struct ctl *c)
{
	enum exit_status status = get(c, c->args.words[0], NULL);
	struct str       document;

	if (status != EXIT_DONE)
		return status;
	if (ctl_has(c, FLAG_json) || !verbatim_member(buf_view(&c->answer.body), "document", &document)) {
		ctl_raw(c);
	} else {
		buf_str(&c->out, document);
		buf_char(&c->out, '\n');
	}
	return EXIT_DONE;
}

enum exit_status run_definition_graph(struct ctl *c)
{
	enum exit_status status = get(c, c->args.words[0], ctl_has(c, FLAG_json) ? NULL : "text/vnd.mermaid");

	if (status == EXIT_DONE)
		ctl_raw(c);
	return status;
}

enum exit_status run_definition_pause(struct ctl *c)
{
	return ctl_operate(c, "definitions", "pause", "takes no new starts; what runs goes on");
}

enum exit_status run_definition_resume(struct ctl *c)
{
	return ctl_operate(c, "definitions", "resume", "takes new starts again");
}
