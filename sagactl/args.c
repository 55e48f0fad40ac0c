/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/args.h"

#include "coordinator/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct parser {
	struct args *a;
	int          argc, at; /* at: the next word */
	char       **argv;
	bool         flags_over;
	uint64_t     given;
	struct err  *err;
};

bool args_has(const struct args *a, enum flag f)
{
	return a->values[f] != NULL;
}

/* ---- flags ------------------------------------------------------------------------- */

static int find_flag(struct str name)
{
	for (unsigned i = 0; i < FLAG_COUNT; i++)
		if (str_is(name, flag_fact((enum flag)i)->name))
			return (int)i;
	return -1;
}

static int find_letter(char letter)
{
	for (unsigned i = 0; i < FLAG_COUNT; i++)
		if (flag_fact((enum flag)i)->letter == letter && letter)
			return (int)i;
	return -1;
}

static bool keep_value(struct parser *p, enum flag f, const char *value)
{
	const struct flag_fact *fact = flag_fact(f);
	struct args            *a = p->a;

	if (fact->kind == FLAG_MANY) {
		if (a->label_n == ARGS_LABELS_MAX)
			return err_set(p->err, ERR_INVALID, "--%s: at most %d of them", fact->name, ARGS_LABELS_MAX);
		a->labels[a->label_n++] = value;
	} else if (p->given & UINT64_C(1) << f && fact->kind == FLAG_TEXT) {
		return err_set(p->err, ERR_INVALID, "--%s is given twice", fact->name);
	}
	p->given |= UINT64_C(1) << f;
	a->values[f] = value;
	return true;
}

/* inline_value: behind the =, or NULL. */
static bool take_flag(struct parser *p, int f, const char *shown, const char *inline_value)
{
	if (f < 0)
		return err_set(p->err, ERR_INVALID, "there is no flag %s", shown);
	const struct flag_fact *fact = flag_fact((enum flag)f);

	if (fact->kind == FLAG_SWITCH) {
		if (inline_value)
			return err_set(p->err, ERR_INVALID, "--%s takes no value", fact->name);
		return keep_value(p, (enum flag)f, "");
	}
	if (!inline_value) {
		if (p->at == p->argc)
			return err_set(p->err, ERR_INVALID, "--%s wants a value: %s", fact->name, fact->value);
		inline_value = p->argv[p->at++];
	}
	return keep_value(p, (enum flag)f, inline_value);
}

static bool take_long(struct parser *p, const char *word)
{
	const char *name = word + 2, *equals = strchr(name, '=');
	struct str  text = { name, equals ? (size_t)(equals - name) : strlen(name) };

	return take_flag(p, find_flag(text), word, equals ? equals + 1 : NULL);
}

/* -m why, -mwhy; switches may stand together: -ny. */
static bool take_short(struct parser *p, const char *word)
{
	for (const char *c = word + 1; *c; c++) {
		int f = find_letter(*c);

		if (f >= 0 && flag_fact((enum flag)f)->kind != FLAG_SWITCH)
			return take_flag(p, f, word, c[1] ? c + 1 : NULL);
		if (!take_flag(p, f, word, NULL))
			return false;
	}
	return true;
}

static bool take_word(struct parser *p)
{
	const char *word = p->argv[p->at++];

	if (p->flags_over || word[0] != '-' || word[1] == '\0') {
		p->a->words[p->a->word_n++] = word;
		return true;
	}
	if (strcmp(word, "--") == 0) {
		p->flags_over = true;
		return true;
	}
	return word[1] == '-' ? take_long(p, word) : take_short(p, word);
}

static void read_environment(struct parser *p, char **env)
{
	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		const char *name = flag_fact((enum flag)i)->env;
		size_t      n = strlen(name);

		if (n == 0 || p->given & UINT64_C(1) << i)
			continue;
		for (char **e = env; e && *e; e++)
			if (strncmp(*e, name, n) == 0 && (*e)[n] == '=' && (*e)[n + 1])
				p->a->values[i] = *e + n + 1;
	}
}

/* ---- which command --------------------------------------------------------------------- */

static bool is_noun(const char *word)
{
	for (unsigned i = 0; i < NOUN_COUNT; i++)
		if (strcmp(noun_fact(i)->noun, word) == 0)
			return true;
	return false;
}

static void drop_words(struct args *a, size_t n)
{
	a->word_n -= n;
	memmove(a->words, a->words + n, a->word_n * sizeof *a->words);
}

static void list_verbs(const char *noun, struct buf *out)
{
	for (unsigned i = 0; i < CMD_COUNT; i++) {
		const struct command_fact *c = command_fact((enum cmd)i);

		if (strcmp(c->noun, noun) == 0)
			buf_fmt(out, "%s%s", out->n ? ", " : "", c->verb);
	}
}

static bool no_verb(const char *noun, const char *verb, struct err *err)
{
	struct buf verbs = { 0 };

	list_verbs(noun, &verbs);
	if (verb)
		err_set(err, ERR_INVALID, "there is no `%s %s`: it is one of %s", noun, verb, verbs.p);
	else
		err_set(err, ERR_INVALID, "%s wants a verb: one of %s", noun, verbs.p);
	buf_fini(&verbs);
	return false;
}

static bool find_command(struct args *a, struct err *err)
{
	const char *noun = a->word_n > 0 ? a->words[0] : NULL, *verb = a->word_n > 1 ? a->words[1] : NULL;

	if (!noun)
		return a->help || err_set(err, ERR_INVALID, "what shall be done? `sagactl --help` lists the commands");
	if (strcmp(noun, "help") == 0) {
		a->help = true;
		drop_words(a, 1);
		noun = a->word_n > 0 ? a->words[0] : NULL;
		verb = a->word_n > 1 ? a->words[1] : NULL;
		if (!noun)
			return true;
	}
	if (!is_noun(noun))
		return err_set(err, ERR_INVALID, "there is no command `%s`; `sagactl --help` lists them", noun);
	for (unsigned i = 0; i < CMD_COUNT; i++) {
		const struct command_fact *c = command_fact((enum cmd)i);
		bool                       alone = c->verb[0] == '\0';

		if (strcmp(c->noun, noun) != 0 || (!alone && (!verb || strcmp(c->verb, verb) != 0)))
			continue;
		a->cmd = (enum cmd)i;
		a->help_of_command = true;
		drop_words(a, alone ? 1 : 2);
		return true;
	}
	if (a->help && !verb) {
		a->noun = noun;
		return true;
	}
	return no_verb(noun, verb, err);
}

/* ---- does it fit ----------------------------------------------------------------------- */

static bool count_words(const struct args *a, struct err *err)
{
	const struct command_fact *c = command_fact(a->cmd);
	const char                *space = c->verb[0] ? " " : "";
	size_t                     least = 0, most = 0;

	for (const char *w = c->args; *w; w += strcspn(w, " ") + (w[strcspn(w, " ")] != '\0')) {
		size_t n = strcspn(w, " ");

		least += w[0] != '[';
		most = n > 3 && strncmp(w + n - 3, "...", 3) == 0 ? SIZE_MAX : most + 1;
	}
	if (a->word_n < least)
		return err_set(err, ERR_INVALID, "something is missing: sagactl %s%s%s %s", c->noun, space, c->verb, c->args);
	if (a->word_n > most)
		return err_set(err, ERR_INVALID, "`%s` is one word too many: sagactl %s%s%s %s", a->words[most], c->noun,
		               space, c->verb, c->args);
	for (size_t i = 0; i < a->word_n; i++)
		if (a->words[i][0] == '\0')
			return err_set(err, ERR_INVALID, "an argument is empty: sagactl %s%s%s %s", c->noun, space, c->verb,
			               c->args);
	return true;
}

static bool check_flags(const struct parser *p)
{
	const struct command_fact *c = command_fact(p->a->cmd);

	for (unsigned i = 0; i < FLAG_COUNT; i++)
		if (p->given & UINT64_C(1) << i & ~(c->flags | F_EVERY))
			return err_set(p->err, ERR_INVALID, "`%s%s%s` takes no --%s", c->noun, c->verb[0] ? " " : "", c->verb,
			               flag_fact((enum flag)i)->name);
	return true;
}

bool args_parse(struct args *a, int argc, char **argv, char **env, struct err *err)
{
	struct parser p = { .a = a, .argc = argc, .at = 1, .argv = argv, .err = err };

	*a = (struct args){ .words = mem_array((size_t)argc + 1, sizeof *a->words) };
	while (p.at < argc)
		if (!take_word(&p))
			return false;
	a->help = args_has(a, FLAG_help);
	if (!find_command(a, err))
		return false;
	read_environment(&p, env);
	return a->help || (check_flags(&p) && count_words(a, err));
}

void args_fini(struct args *a)
{
	free(a->words);
	a->words = NULL;
}
