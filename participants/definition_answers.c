/* SPDX-License-Identifier: Apache-2.0
 * definition_answers.c - what a document says of answers: by their status, and by words in their
 * bodies.
 */
#include "participants/definition_internal.h"

#include <stdlib.h>

enum { WORDS_MAX = 16, WORD_MAX_LEN = 64 };

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
