/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/definition_internal.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_MS 1000ll
#define DAY_MS    (24 * 3600 * SECOND_MS)

static const char *const named_fields[] = {
	"name",         "description", "mode",  "strict", "deadline", "retention", "stuck_after",
	"max_parallel", "defaults",    "steps", "check",  "output",   NULL
};
static const char *const inline_fields[] = {
	"description", "mode",  "strict", "deadline", "retention", "stuck_after", "max_parallel",
	"defaults",    "steps", "check",  "output",   "joined",    "literal_headers", NULL
};

static const struct call_defaults builtin_defaults = { .timeout_ms = 3000,
						       .poll_ms = 1000,
						       .retry = { .initial_ms = 200,
								  .max_ms = 60000,
								  .factor_milli = 2000,
								  .attempts = 0,
								  .jitter = true },
						       .answers = { .other = -1 } };

/* ---- the document's head ---------------------------------------------------------- */

static const char *mode_word(int i)
{
	return mode_name((enum mode)i);
}

static void parse_name(struct compiler *c, const struct json *node)
{
	struct str name;

	if (c->d->name.n == 0 && node != NULL && node->type == JSON_STRING)
		c->d->name = json_text(node, &c->d->arena);
	name = c->d->name;
	if (!name_is_valid(name, NAME_MAX_LEN, true))
		finding_add(
		    c, node != NULL ? node : c->nodes[0],
		    "a definition's name is a letter, then letters, digits, - _ or . (at most %d)",
		    NAME_MAX_LEN);
	else if (node != NULL && field_is(c, node, JSON_STRING) &&
		 !str_eq(json_text(node, &c->scratch), name))
		finding_add(c, node, "must be the name it is registered under: %.*s", (int)name.n,
			    name.p);
}

static void parse_defaults(struct compiler *c, const struct json *node)
{
	static const char *const fields[] = { "timeout",  "retry", "poll",    "headers",
		                              "outcomes", "words", "members", NULL };

	c->defaults = builtin_defaults;
	if (node == NULL || !fields_known(c, node, fields))
		return;
	field_duration32(c, json_get(node, "timeout"), 10, 600 * SECOND_MS,
			 &c->defaults.timeout_ms);
	field_duration32(c, json_get(node, "poll"), 10, DAY_MS, &c->defaults.poll_ms);
	field_retry(c, json_get(node, "retry"), &c->defaults.retry);
	/* Of all calls: what a try means by "no" tells nothing of a confirm or cancel, where there is none. */
	parse_outcomes(c, json_get(node, "outcomes"), OP_TRY, &c->defaults.answers);
	parse_words(c, json_get(node, "words"), OP_TRY, &c->defaults.answers);
	parse_members(c, json_get(node, "members"), OP_TRY, &c->defaults.answers);
	if (check_headers(c, json_get(node, "headers")))
		c->defaults.headers = json_get(node, "headers");
}

static void parse_head(struct compiler *c, const struct json *root)
{
	struct definition *d = c->d;
	uint32_t           parallel = 16;
	int                mode = MODE_SAGA;

	d->retention_ms = 7 * DAY_MS;
	d->plan.stuck_after_ms = 15 * 60 * SECOND_MS;
	if (c->use == DEFINITION_NAMED)
		parse_name(c, json_get(root, "name"));
	field_text(c, json_get(root, "description"));
	field_word(c, json_get(root, "mode"), mode_word, MODE_COUNT, &mode);
	field_bool(c, json_get(root, "strict"), &c->strict);
	field_duration(c, json_get(root, "deadline"), 1, 3650 * DAY_MS, &d->deadline_ms);
	field_duration(c, json_get(root, "retention"), 0, 3650 * DAY_MS, &d->retention_ms);
	field_duration32(c, json_get(root, "stuck_after"), SECOND_MS, 30 * DAY_MS,
			 &d->plan.stuck_after_ms);
	field_count(c, json_get(root, "max_parallel"), 1, TXN_STEPS_MAX, &parallel);
	d->plan.mode = (enum mode)mode;
	d->plan.max_parallel = (uint16_t)parallel;
	parse_defaults(c, json_get(root, "defaults"));
	if (c->use == DEFINITION_INLINE)
		parse_literal_headers(c, json_get(root, "literal_headers"));
}

static void parse_check(struct compiler *c, const struct json *root)
{
	const struct json *check = json_get(root, "check");
	bool               message = c->d->plan.mode == MODE_MESSAGE, open = c->d->plan.open;

	c->d->plan.check_retry = c->defaults.retry;
	c->d->plan.check_poll_ms = c->defaults.poll_ms;
	if (!open && check != NULL)
		finding_add(
		    c, check,
		    "only a message, or an open tcc, has a back-check: remove it, or say \"mode\": \"message\"");
	if (message && check == NULL)
		finding_add(
		    c, root,
		    "a message needs check: the call that asks its sender whether to go on");
	if (message && c->use == DEFINITION_NAMED && json_get(root, "deadline") == NULL)
		finding_add(
		    c, root,
		    "a message needs deadline: when it passes unconfirmed, check is called");
	c->d->check = parse_call(c, check, TXN_CHECK, OP_CHECK, check_fields);
	field_retry(c, json_get(check, "retry"), &c->d->plan.check_retry);
	field_duration32(c, json_get(check, "poll"), 10, DAY_MS, &c->d->plan.check_poll_ms);
}

static void parse_output(struct compiler *c, const struct json *node)
{
	struct template_compiler tc = template_compiler_of(c, &c->d->output_paths);

	if (node == NULL)
		return;
	c->step = TXN_CHECK;
	c->op = OP_TRY;
	c->d->output = template_of_json(&tc, node);
}

static void parse_document(struct compiler *c, const struct json *root)
{
	const struct json *steps = json_get(root, "steps"), *joined = json_get(root, "joined");

	c->nodes[0] = root;
	if (!fields_known(c, root, c->use == DEFINITION_NAMED ? named_fields : inline_fields))
		return;
	parse_head(c, root);
	c->d->plan.open =
	    c->d->plan.mode == MODE_MESSAGE ||
	    (c->d->plan.mode == MODE_TCC && c->use == DEFINITION_INLINE && steps == NULL);
	if (steps == NULL && (!c->d->plan.open || c->d->plan.mode == MODE_MESSAGE))
		finding_add(c, root, "steps are missing");
	c->d->plan.has_check = c->d->plan.open && json_get(root, "check") != NULL;
	parse_steps(c, steps);
	if (joined != NULL && c->use == DEFINITION_INLINE &&
	    (!c->d->plan.open || c->d->plan.mode == MODE_MESSAGE))
		finding_add(c, joined, "steps join a tcc transaction without steps only");
	else if (c->use == DEFINITION_INLINE)
		parse_joined(c, joined);
	parse_check(c, root);
	parse_output(c, json_get(root, "output"));
	check_graph(c);
}

/* ---- compiling --------------------------------------------------------------------- */

static struct definition *new_definition(struct str document, struct str name)
{
	struct definition *d = mem_alloc(sizeof *d);

	d->count = 1;
	d->document = arena_str(&d->arena, document);
	d->name = arena_str(&d->arena, name);
	return d;
}

static void report_syntax(struct findings *f, const struct json_error *e)
{
	char detail[200];

	snprintf(detail, sizeof detail, "not JSON: %s (byte %zu)", e->text, e->at);
	finding_put(f, str_of(e->pointer), false, str_of(detail));
}

static size_t count_steps(const struct json *root)
{
	const struct json *steps = json_get(root, "steps"), *joined = json_get(root, "joined");
	size_t             n = (steps ? steps->n : 0) + (joined ? joined->n : 0);

	return n < TXN_STEPS_MAX ? n : TXN_STEPS_MAX;
}

static void compile(struct compiler *c, const struct json *root)
{
	struct definition *d = c->d;
	size_t             n = count_steps(root);
	uint16_t          *edges;

	d->plan_steps = arena_array(&d->arena, n, sizeof *d->plan_steps);
	d->steps = arena_array(&d->arena, n, sizeof *d->steps);
	/* Not cleared: edge_n says how many there are. */
	c->edges = (uint16_t *)(void *)arena_text(&c->scratch, TXN_EDGES_MAX * sizeof *c->edges);
	parse_document(c, root);
	edges = arena_array(&d->arena, c->edge_n, sizeof *edges);
	if (c->edge_n > 0)
		memcpy(edges, c->edges, c->edge_n * sizeof *edges);
	d->plan.steps = d->plan_steps;
	d->plan.edges = edges;
}

/* The core's own opinion: what passes above must pass there. */
static void check_plan(struct compiler *c, const struct json *root)
{
	uint16_t    step;
	const char *wrong = plan_check(&c->d->plan, &step);

	if (wrong != NULL)
		finding_add(c, step < c->d->plan.step_count ? c->nodes[step] : root, "%s", wrong);
}

/* They may be as many as there is room for, where they come from. */
static bool is_too_long(struct str document)
{
	struct str literal;

	if (document.n <= DEFINITION_BYTES_MAX)
		return false;
	return !json_member(document, "literal_headers", &literal) ||
	       document.n - literal.n > DEFINITION_BYTES_MAX;
}

struct definition *definition_compile(struct str document, enum definition_use use, struct str name,
				      struct findings *findings)
{
	size_t             before = findings->errors;
	struct json_error  syntax;
	struct compiler   *c;
	struct definition *d;
	struct json       *root;

	if (is_too_long(document)) {
		finding_put(findings, (struct str){ 0 }, false,
			    STR("a document has at most 1 MiB"));
		return NULL;
	}
	d = new_definition(document, use == DEFINITION_NAMED ? name : (struct str){ 0 });
	c = mem_alloc(sizeof *c);
	*c = (struct compiler){ .d = d, .findings = findings, .use = use };
	root = json_parse(d->document, &c->scratch, &syntax);
	if (root == NULL) {
		report_syntax(findings, &syntax);
	} else {
		compile(c, root);
		if (findings->errors == before)
			check_plan(c, root);
	}
	arena_fini(&c->scratch);
	free(c);
	if (findings->errors == before)
		return d;
	definition_drop(d);
	return NULL;
}

struct definition *definition_hold(struct definition *d)
{
	d->count++;
	return d;
}

void definition_drop(struct definition *d)
{
	if (d == NULL)
		return;
	assert(d->count > 0);
	if (--d->count > 0)
		return;
	arena_fini(&d->arena);
	free(d);
}

/* ---- looking ------------------------------------------------------------------------ */

const struct plan *definition_plan(const struct definition *d)
{
	return &d->plan;
}

struct str definition_name(const struct definition *d)
{
	return d->name;
}

struct str definition_document(const struct definition *d)
{
	return d->document;
}

struct str definition_step_name(const struct definition *d, uint16_t step)
{
	if (step == TXN_CHECK)
		return STR("check");
	assert(step < d->plan.step_count);
	return d->steps[step].name;
}

int definition_step_find(const struct definition *d, struct str name)
{
	for (uint16_t i = 0; i < d->plan.step_count; i++)
		if (str_eq(d->steps[i].name, name))
			return i;
	return -1;
}

int64_t definition_deadline_ms(const struct definition *d)
{
	return d->deadline_ms;
}

int64_t definition_retention_ms(const struct definition *d)
{
	return d->retention_ms;
}
