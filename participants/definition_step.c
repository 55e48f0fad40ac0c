/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/definition_internal.h"

#include <string.h>

enum { POLL_MIN_MS = 10, POLL_MAX_MS = 24 * 3600 * 1000 };

static const char *const step_fields[] = { "description", "after", "kind",    "action",
					   "compensate",  "try",   "confirm", "cancel",
					   "retry",       "poll",  NULL };
static const char *const joined_fields[] = { "name",       "description", "data",    "action",
					     "compensate", "try",         "confirm", "cancel",
					     "call_try",   "retry",       "poll",    NULL };

/* The calls of a step as they stand in the document. */
struct calls {
	const struct json *action, *compensate, *try, *confirm, *cancel;
};

static struct calls calls_of(const struct json *node)
{
	return (struct calls){ json_get(node, "action"), json_get(node, "compensate"),
			       json_get(node, "try"), json_get(node, "confirm"),
			       json_get(node, "cancel") };
}

static const char *kind_word(int i)
{
	return step_kind_name((enum step_kind)i);
}

static bool is_name_taken(const struct compiler *c, struct str name)
{
	return definition_step_find(c->d, name) >= 0;
}

static void check_name(struct compiler *c, const struct json *node, struct str name)
{
	if (!name_is_valid(name, STEP_NAME_MAX_LEN, false))
		finding_add(c, node,
			    "a step's name is a letter, then letters, digits, - or _ (at most %d)",
			    STEP_NAME_MAX_LEN);
	else if (plan_is_checked(&c->d->plan) && str_is(name, "check"))
		finding_add(c, node, "the back-check has this name: choose another");
	if (is_name_taken(c, name))
		finding_add(c, node, "another step has this name");
}

/* Gives the step its place; false if there is none left. */
static bool add_step(struct compiler *c, const struct json *node, const struct json *about,
		     struct str name)
{
	struct plan *plan = &c->d->plan;

	if (plan->step_count == TXN_STEPS_MAX) {
		c->findings->too_many_steps = true;
		finding_add(c, about, "too many steps: %d is the limit", TXN_STEPS_MAX);
		return false;
	}
	check_name(c, about, name);
	c->nodes[plan->step_count] = node;
	c->d->steps[plan->step_count].name = name;
	plan->step_count++;
	return true;
}

/* ---- what a step is made of -------------------------------------------------------- */

static void check_shape(struct compiler *c, const struct json *node, const struct calls *k)
{
	if (k->action == NULL && k->try == NULL) {
		finding_add(c, node, "a step needs action, or try with confirm and cancel");
		return;
	}
	if (k->action != NULL && (k->try != NULL || k->confirm != NULL || k->cancel != NULL))
		finding_add(
		    c, node,
		    "a step has action and compensate, or try, confirm and cancel, not both");
	else if (k->try != NULL && k->compensate != NULL)
		finding_add(c, node, "a step with try has cancel, not compensate");
	else if (k->try != NULL && (k->confirm == NULL || k->cancel == NULL))
		finding_add(c, node, "a step with try needs confirm and cancel");
}

/* A step that joins may have been tried by its caller: the way on or back is enough. */
static void check_joined_shape(struct compiler *c, const struct json *node, const struct calls *k,
			       bool call_try)
{
	bool saga = k->action != NULL || k->compensate != NULL;

	if (saga && (k->try != NULL || k->confirm != NULL || k->cancel != NULL))
		finding_add(
		    c, node,
		    "a step has action and compensate, or try, confirm and cancel, not both");
	if (k->compensate == NULL && k->confirm == NULL && k->cancel == NULL && !call_try && json_get(node, "data") == NULL)
		finding_add(c, node, "a step that joins needs confirm or cancel, or compensate, or data alone: then it is a record");
	if (call_try && k->action == NULL && k->try == NULL)
		finding_add(c, node, "call_try needs try or action: what else is to be called?");
}

static void check_kind(struct compiler *c, const struct json *node, enum step_kind kind,
		       const struct calls *k)
{
	if (c->d->plan.mode == MODE_MESSAGE && kind != KIND_RETRIABLE)
		finding_add(c, node,
			    "a message has only retriable steps: once it is confirmed there is no "
			    "way back");
	if (kind == KIND_RETRIABLE &&
	    (k->compensate != NULL || k->try != NULL || k->confirm != NULL || k->cancel != NULL))
		finding_add(c, node,
			    "a retriable step has an action and nothing else: it must succeed");
	if (kind != KIND_COMPENSATABLE || k->action == NULL || k->compensate != NULL ||
	    k->try != NULL || k->cancel != NULL)
		return;
	if (c->strict)
		finding_add(c, node,
			    "the step has no compensate: add one, or make it pivot or retriable");
	else
		finding_warn(
		    c, node,
		    "the step has no compensate: its effect stays if the transaction is cancelled");
}

static void parse_calls(struct compiler *c, uint16_t i, const struct calls *k)
{
	struct step_calls *step = &c->d->steps[i];
	const struct json *cancel = k->cancel != NULL ? k->cancel : k->compensate;

	step->calls[OP_TRY] =
	    parse_call(c, k->try != NULL ? k->try : k->action, i, OP_TRY, call_fields);
	step->calls[OP_CONFIRM] = parse_call(c, k->confirm, i, OP_CONFIRM, call_fields);
	step->calls[OP_CANCEL] = parse_call(c, cancel, i, OP_CANCEL, call_fields);
}

static void parse_pace(struct compiler *c, const struct json *node, struct plan_step *ps)
{
	ps->retry = c->defaults.retry;
	ps->poll_ms = c->defaults.poll_ms;
	field_retry(c, json_get(node, "retry"), &ps->retry);
	field_duration32(c, json_get(node, "poll"), POLL_MIN_MS, POLL_MAX_MS, &ps->poll_ms);
	field_text(c, json_get(node, "description"));
}

/* ---- the order ------------------------------------------------------------------------ */

static bool is_edge(const struct compiler *c, const struct plan_step *ps, int before)
{
	for (size_t i = ps->after_at; i < c->edge_n; i++)
		if (c->edges[i] == before)
			return true;
	return false;
}

static void parse_after(struct compiler *c, const struct json *node, uint16_t step)
{
	struct plan_step *ps = &c->d->plan_steps[step];

	ps->after_at = (uint16_t)c->edge_n;
	if (node == NULL || !field_is(c, node, JSON_ARRAY))
		return;
	for (const struct json *it = node->first; it != NULL; it = it->next) {
		int before;

		if (!field_is(c, it, JSON_STRING))
			continue;
		before = definition_step_find(c->d, json_text(it, &c->scratch));
		if (before < 0)
			finding_add(c, it, "there is no step of that name");
		else if (before == step)
			finding_add(c, it, "a step cannot stand after itself");
		else if (is_edge(c, ps, before))
			finding_add(c, it, "this step is named twice");
		else if (c->edge_n == TXN_EDGES_MAX)
			finding_add(c, it, "too many dependencies: %d is the limit", TXN_EDGES_MAX);
		else
			c->edges[c->edge_n++] = (uint16_t)before;
	}
	ps->after_n = (uint16_t)(c->edge_n - ps->after_at);
}

/* ---- steps of a definition ---------------------------------------------------------------- */

static void parse_step(struct compiler *c, const struct json *node, uint16_t i)
{
	struct plan_step *ps = &c->d->plan_steps[i];
	struct calls      k = calls_of(node);
	int kind = c->d->plan.mode == MODE_MESSAGE ? KIND_RETRIABLE : KIND_COMPENSATABLE;

	ps->after_at = (uint16_t)c->edge_n;
	parse_pace(c, NULL, ps);
	if (!fields_known(c, node, step_fields))
		return;
	field_word(c, json_get(node, "kind"), kind_word, KIND_COUNT, &kind);
	ps->kind = (enum step_kind)kind;
	parse_pace(c, node, ps);
	parse_after(c, json_get(node, "after"), i);
	check_shape(c, node, &k);
	check_kind(c, node, ps->kind, &k);
	parse_calls(c, i, &k);
	for (unsigned op = 0; op < STEP_OPS; op++)
		if (c->d->steps[i].calls[op] != NULL)
			ps->has |= 1u << op;
}

void parse_steps(struct compiler *c, const struct json *steps)
{
	if (steps == NULL || !field_is(c, steps, JSON_OBJECT))
		return;
	if (steps->n == 0)
		finding_add(c, steps, "at least one step is needed");
	for (const struct json *it = steps->first; it != NULL; it = it->next)
		if (!add_step(c, it, it, arena_str(&c->d->arena, it->key)))
			break;
	/* Names first: after and templates may name a step that stands further down. */
	for (uint16_t i = 0; i < c->d->plan.step_count; i++)
		parse_step(c, c->nodes[i], i);
}

/* ---- steps that join ------------------------------------------------------------------------ */

static void parse_joined_step(struct compiler *c, const struct json *node, uint16_t i)
{
	struct plan_step  *ps = &c->d->plan_steps[i];
	struct step_calls *step = &c->d->steps[i];
	const struct json *data = json_get(node, "data");
	struct calls       k = calls_of(node);
	bool               call_try = false;

	ps->joined = true;
	ps->after_at = (uint16_t)c->edge_n;
	step->document = node->raw;
	parse_pace(c, node, ps);
	field_bool(c, json_get(node, "call_try"), &call_try);
	check_joined_shape(c, node, &k, call_try);
	parse_calls(c, i, &k);
	for (unsigned op = 0; op < STEP_OPS; op++) {
		if (step->calls[op] == NULL)
			continue;
		if (op != OP_TRY || call_try)
			ps->has |= 1u << op;
		if (data != NULL)
			step->calls[op]->data = data->raw;
	}
}

void parse_joined(struct compiler *c, const struct json *joined)
{
	if (joined == NULL || !field_is(c, joined, JSON_ARRAY))
		return;
	for (const struct json *it = joined->first; it != NULL; it = it->next) {
		const struct json *name = json_get(it, "name");

		c->quiet = it->next != NULL;
		if (!fields_known(c, it, joined_fields))
			continue;
		if (name == NULL)
			finding_add(c, it, "a step that joins needs a name");
		else if (field_is(c, name, JSON_STRING) &&
			 add_step(c, it, name, json_text(name, &c->d->arena)))
			parse_joined_step(c, it, (uint16_t)(c->d->plan.step_count - 1));
	}
}
