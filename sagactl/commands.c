/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/commands.h"

static const struct flag_fact FLAG_FACTS[] = {
#define X(field, name, letter, kind, value, env, text) { name, letter, FLAG_##kind, value, env, text },
	FLAGS(X)
#undef X
};

static const struct command_fact COMMAND_FACTS[] = {
#define X(name, noun, verb, args, flags, text, examples) { noun, verb, args, flags, text, examples },
	COMMANDS(X)
#undef X
};

static const struct noun_fact NOUN_FACTS[] = {
#define X(noun, text) { noun, text },
	NOUNS(X)
#undef X
};

static const struct exit_fact EXIT_FACTS[] = {
#define X(name, number, text) { number, text },
	EXITS(X)
#undef X
};

_Static_assert(FLAG_COUNT <= 64, "a set of flags is one word");

const struct flag_fact *flag_fact(enum flag f)
{
	return &FLAG_FACTS[f];
}

const struct command_fact *command_fact(enum cmd c)
{
	return &COMMAND_FACTS[c];
}

const struct noun_fact *noun_fact(unsigned i)
{
	return &NOUN_FACTS[i];
}

const struct exit_fact *exit_fact(unsigned i)
{
	return &EXIT_FACTS[i];
}
