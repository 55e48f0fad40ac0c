/* SPDX-License-Identifier: Apache-2.0
 * definition_answers.c - what a document says of answers: by their status, and by words and members
 * of their bodies.
 */
#include "participants/definition_internal.h"

#include <stdlib.h>

enum { WORDS_MAX = 16, WORD_MAX_LEN = 64, MEMBERS_MAX = 8, MEMBER_MAX_LEN = 128 };

static const char *outcome_word(int i)
{
	return outcome_name((enum outcome)i);
}

/* -1: none, and said so. */
static int read_outcome(struct compiler *c, const struct json *node, enum op op)
{
	int outcome = -1;

	field_word(c, node, outcome_word, OUTCOME_COUNT, &outcome);
	if (outcome == OUTCOME_REFUSED && (op == OP_CONFIRM || op == OP_CANCEL))
		finding_add(c, node, "a %s cannot be refused: it is repeated until it is ok",
			    op == OP_CONFIRM ? "confirm" : "cancel or compensate");
	return outcome;
}

static int status_cmp(const void *a, const void *b)
{
	return ((const struct status_outcome *)a)->status -
	       ((const struct status_outcome *)b)->status;
}

void parse_outcomes(struct compiler *c, const struct json *node, enum op op,
                    struct answer_rules *rules)
{
	uint64_t status;

	if (node == NULL || !field_is(c, node, JSON_OBJECT))
		return;
	rules->outcomes = arena_array(&c->d->arena, node->n, sizeof *rules->outcomes);
	rules->outcome_n = 0;
	rules->other = -1;
	for (const struct json *o = node->first; o != NULL; o = o->next) {
		if (str_is(o->key, "*")) {
			rules->other = (int8_t)read_outcome(c, o, op);
			continue;
		}
		if (o->key.n != 3 || !text_to_u64(o->key, &status) || status < 100 ||
		    status > 599) {
			finding_add(c, o, "must be named by a status code between 100 and 599, or "
			                  "* for all others");
			continue;
		}
		int outcome = read_outcome(c, o, op);
		if (outcome >= 0)
			rules->outcomes[rules->outcome_n++] =
			    (struct status_outcome){ (uint16_t)status, (uint8_t)outcome };
	}
	if (rules->outcome_n > 0)
		qsort(rules->outcomes, rules->outcome_n, sizeof *rules->outcomes, status_cmp);
}

void parse_words(struct compiler *c, const struct json *node, enum op op,
                 struct answer_rules *rules)
{
	if (node == NULL || !field_is(c, node, JSON_OBJECT))
		return;
	if (node->n > WORDS_MAX) {
		finding_add(c, node, "at most %d words", WORDS_MAX);
		return;
	}
	rules->words = arena_array(&c->d->arena, node->n, sizeof *rules->words);
	rules->word_n = 0;
	for (const struct json *w = node->first; w != NULL; w = w->next) {
		if (w->key.n < 1 || w->key.n > WORD_MAX_LEN) {
			finding_add(c, w, "a word has 1 to %d bytes", WORD_MAX_LEN);
			continue;
		}
		int outcome = read_outcome(c, w, op);
		if (outcome == OUTCOME_OK)
			finding_add(
				c, w,
				"a word cannot make an answer ok: that is what its status says");
		else if (outcome >= 0)
			rules->words[rules->word_n++] =
				(struct word_outcome){ arena_str(&c->d->arena, w->key),
				                       (uint8_t)outcome };
	}
}

/* ---- members ----------------------------------------------------------------------------- */

/* One step of a JSON Pointer (RFC 6901) without its escapes; false: it has one that is none. */
static bool read_path_step(struct compiler *c, struct str text, struct str *out)
{
	struct buf b = { 0 };
	bool       fine = true;

	for (size_t i = 0; fine && i < text.n; i++) {
		char found = text.p[i];

		if (found == '~') {
			i++;
			fine = i < text.n && (text.p[i] == '0' || text.p[i] == '1');
			found = fine && text.p[i] == '1' ? '/' : '~';
		}
		buf_char(&b, found);
	}
	*out = arena_str(&c->d->arena, buf_view(&b));
	buf_fini(&b);
	return fine;
}

static bool read_path(struct compiler *c, struct str pointer, struct member_rule *rule)
{
	if (pointer.n == 0 || pointer.n > MEMBER_MAX_LEN || pointer.p[0] != '/')
		return false;
	for (size_t at = 0, end; at < pointer.n; at = end) {
		for (end = at + 1; end < pointer.n && pointer.p[end] != '/';)
			end++;
		if (rule->depth == MEMBER_STEPS_MAX ||
		    !read_path_step(c, (struct str){ pointer.p + at + 1, end - at - 1 },
		                    &rule->path[rule->depth++]))
			return false;
	}
	return true;
}

static void read_values(struct compiler *c, const struct json *node, enum op op,
                        struct member_rule *rule)
{
	if (!field_is(c, node, JSON_OBJECT))
		return;
	if (node->n > WORDS_MAX) {
		finding_add(c, node, "at most %d values", WORDS_MAX);
		return;
	}
	rule->values = arena_array(&c->d->arena, node->n, sizeof *rule->values);
	for (const struct json *v = node->first; v != NULL; v = v->next) {
		int outcome = read_outcome(c, v, op);

		if (v->key.n > WORD_MAX_LEN)
			finding_add(c, v, "a value has at most %d bytes", WORD_MAX_LEN);
		else if (str_is(v->key, "*"))
			rule->other = (int8_t)outcome;
		else if (outcome >= 0)
			rule->values[rule->value_n++] =
				(struct word_outcome){ arena_str(&c->d->arena, v->key),
				                       (uint8_t)outcome };
	}
}

void parse_members(struct compiler *c, const struct json *node, enum op op,
                   struct answer_rules *rules)
{
	if (node == NULL || !field_is(c, node, JSON_OBJECT))
		return;
	if (node->n > MEMBERS_MAX) {
		finding_add(c, node, "at most %d members", MEMBERS_MAX);
		return;
	}
	rules->members = arena_array(&c->d->arena, node->n, sizeof *rules->members);
	rules->member_n = 0;
	for (const struct json *m = node->first; m != NULL; m = m->next) {
		struct member_rule *rule = &rules->members[rules->member_n++];

		*rule = (struct member_rule){ .other = -1 };
		if (!read_path(c, m->key, rule))
			finding_add(c, m, "must be named by a JSON Pointer, as /error/code, of at "
			                  "most %d bytes and %d steps",
			            MEMBER_MAX_LEN, MEMBER_STEPS_MAX);
		read_values(c, m, op, rule);
	}
}

/* NULL: it is not there, or null, which says the same in most services' answers. */
static const struct json *find_member(const struct json *at, const struct member_rule *rule)
{
	uint64_t index;

	for (size_t i = 0; at != NULL && i < rule->depth; i++)
		if (at->type == JSON_ARRAY)
			at = text_to_u64(rule->path[i], &index) ? json_at(at, index) : NULL;
		else
			at = json_find(at, rule->path[i]);
	return at != NULL && at->type != JSON_NULL ? at : NULL;
}

static int outcome_of_value(const struct member_rule *rule, const struct json *value,
                            struct arena *arena)
{
	struct str text = value->type == JSON_STRING ? json_text(value, arena) : value->raw;

	for (size_t i = 0; i < rule->value_n; i++)
		if (str_eq(rule->values[i].word, text))
			return rule->values[i].outcome;
	return rule->other;
}

int outcome_of_members(const struct answer_rules *rules, struct str body)
{
	struct arena       arena = { 0 };
	struct json_error  ignored;
	const struct json *root = NULL, *value;
	int                outcome = -1;

	if (rules->member_n > 0 && body.n > 0)
		root = json_outline(body, MEMBER_STEPS_MAX + 1, &arena, &ignored);
	for (size_t i = 0; root != NULL && outcome < 0 && i < rules->member_n; i++)
		if ((value = find_member(root, &rules->members[i])) != NULL)
			outcome = outcome_of_value(&rules->members[i], value, &arena);
	arena_fini(&arena);
	return outcome;
}
