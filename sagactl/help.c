/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/help.h"

#include <string.h>

enum { LEFT_WIDTH = 28 };

/* The first example of these opens the page of all commands. */
static const enum cmd FIRST_STEPS[] = {
	CMD_overview, CMD_stuck, CMD_txn_explain, CMD_txn_retry, CMD_definition_apply, CMD_txn_start,
};

static void add_line(struct buf *out, const char *left, const char *text)
{
	if (strlen(left) < LEFT_WIDTH)
		buf_fmt(out, "  %-*s%s\n", LEFT_WIDTH, left, text);
	else
		buf_fmt(out, "  %s\n  %-*s%s\n", left, LEFT_WIDTH, "", text);
}

static void add_example(struct buf *out, const char *examples, bool all)
{
	while (*examples) {
		size_t n = strcspn(examples, "\n");

		buf_fmt(out, "  sagactl %.*s\n", (int)n, examples);
		if (!all)
			return;
		examples += n + (examples[n] == '\n');
	}
}

static void name_command(struct buf *out, const struct command_fact *c)
{
	buf_fmt(out, "%s%s%s%s%s", c->noun, *c->verb ? " " : "", c->verb, *c->args ? " " : "", c->args);
}

static void add_command(struct buf *out, const struct command_fact *c)
{
	struct buf name = { 0 };

	name_command(&name, c);
	add_line(out, name.p, c->text);
	buf_fini(&name);
}

static void add_flags(struct buf *out, uint64_t set)
{
	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		const struct flag_fact *f = flag_fact((enum flag)i);
		struct buf              left = { 0 };

		if (!(set & UINT64_C(1) << i))
			continue;
		if (f->letter)
			buf_fmt(&left, "-%c, ", f->letter);
		buf_fmt(&left, "--%s%s%s", f->name, *f->value ? " " : "", f->value);
		add_line(out, left.p, f->text);
		buf_fini(&left);
	}
}

void help_all(struct buf *out)
{
	buf_cstr(out, "Examples:\n");
	for (size_t i = 0; i < sizeof FIRST_STEPS / sizeof *FIRST_STEPS; i++)
		add_example(out, command_fact(FIRST_STEPS[i])->examples, false);
	buf_cstr(out, "\nUsage: sagactl NOUN VERB [ARGUMENTS] [FLAGS]\n");
	for (unsigned i = 0; i < NOUN_COUNT; i++) {
		buf_fmt(out, "\n%s:\n", noun_fact(i)->text);
		for (unsigned c = 0; c < CMD_COUNT; c++)
			if (strcmp(command_fact((enum cmd)c)->noun, noun_fact(i)->noun) == 0)
				add_command(out, command_fact((enum cmd)c));
	}
	buf_cstr(out, "\nFlags of every command:\n");
	add_flags(out, F_EVERY);
	buf_cstr(out, "\nExit status:\n");
	for (unsigned i = 0; i < EXIT_COUNT; i++)
		buf_fmt(out, "  %d  %s\n", exit_fact(i)->number, exit_fact(i)->text);
	buf_cstr(out, "\n`sagactl NOUN VERB --help` says more of one command.\n");
}

void help_noun(struct buf *out, const char *noun)
{
	buf_cstr(out, "Examples:\n");
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (strcmp(command_fact((enum cmd)i)->noun, noun) == 0)
			add_example(out, command_fact((enum cmd)i)->examples, false);
	buf_cstr(out, "\nCommands:\n");
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (strcmp(command_fact((enum cmd)i)->noun, noun) == 0)
			add_command(out, command_fact((enum cmd)i));
}

void help_command(struct buf *out, enum cmd cmd)
{
	const struct command_fact *c = command_fact(cmd);

	buf_cstr(out, "Examples:\n");
	add_example(out, c->examples, true);
	buf_cstr(out, "\nUsage: sagactl ");
	name_command(out, c);
	buf_fmt(out, "\n\n%s\n", c->text);
	if (c->flags) {
		buf_cstr(out, "\nFlags:\n");
		add_flags(out, c->flags);
	}
	buf_cstr(out, "\nFlags of every command:\n");
	add_flags(out, F_EVERY);
}

/* ---- the man page ---------------------------------------------------------------------- */

static void man_text(struct buf *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		buf_cstr(out, "\\&");
	for (; *text; text++) {
		if (*text == '-' || *text == '\\')
			buf_cstr(out, *text == '-' ? "\\-" : "\\e");
		else if (*text == '\'')
			buf_cstr(out, "\\(aq");
		else
			buf_char(out, *text);
	}
}

static void man_command(struct buf *out, const struct command_fact *c)
{
	const char *between = "";

	buf_cstr(out, ".TP\n\\fB");
	buf_fmt(out, "%s%s%s\\fR", c->noun, *c->verb ? " " : "", c->verb);
	if (*c->args) {
		buf_cstr(out, " \\fI");
		man_text(out, c->args);
		buf_cstr(out, "\\fR");
	}
	buf_char(out, '\n');
	man_text(out, c->text);
	if (c->flags)
		buf_cstr(out, "\nFlags:");
	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		if (!(c->flags & UINT64_C(1) << i))
			continue;
		buf_fmt(out, "%s \\-\\-", between);
		man_text(out, flag_fact((enum flag)i)->name);
		between = ",";
	}
	buf_cstr(out, c->flags ? ".\n" : "\n");
}

static void man_flag(struct buf *out, const struct flag_fact *f)
{
	buf_cstr(out, ".TP\n");
	if (f->letter)
		buf_fmt(out, "\\fB\\-%c\\fR, ", f->letter);
	buf_cstr(out, "\\fB\\-\\-");
	man_text(out, f->name);
	buf_cstr(out, "\\fR");
	if (*f->value) {
		buf_cstr(out, " \\fI");
		man_text(out, f->value);
		buf_cstr(out, "\\fR");
	}
	if (*f->env)
		buf_fmt(out, "  (%s)", f->env);
	buf_char(out, '\n');
	man_text(out, f->text);
	buf_char(out, '\n');
}

void help_man(struct buf *out)
{
	buf_cstr(out, ".SH COMMANDS\n");
	for (unsigned i = 0; i < NOUN_COUNT; i++) {
		buf_fmt(out, ".SS %s\n", noun_fact(i)->text);
		for (unsigned c = 0; c < CMD_COUNT; c++)
			if (strcmp(command_fact((enum cmd)c)->noun, noun_fact(i)->noun) == 0)
				man_command(out, command_fact((enum cmd)c));
	}
	buf_cstr(out, ".SH OPTIONS\n");
	for (unsigned i = 0; i < FLAG_COUNT; i++)
		man_flag(out, flag_fact((enum flag)i));
	buf_cstr(out, ".SH EXIT STATUS\n");
	for (unsigned i = 0; i < EXIT_COUNT; i++) {
		buf_fmt(out, ".TP\n.B %d\n", exit_fact(i)->number);
		man_text(out, exit_fact(i)->text);
		buf_char(out, '\n');
	}
	buf_cstr(out, ".SH EXAMPLES\n.EX\n");
	for (unsigned i = 0; i < CMD_COUNT; i++) {
		struct buf lines = { 0 };

		add_example(&lines, command_fact((enum cmd)i)->examples, true);
		for (char *line = strtok(lines.p, "\n"); line; line = strtok(NULL, "\n")) {
			man_text(out, line + 2);
			buf_char(out, '\n');
		}
		buf_fini(&lines);
	}
	buf_cstr(out, ".EE\n");
}

/* ---- completion ----------------------------------------------------------------------------- */

static void list_flags(struct buf *out, uint64_t set)
{
	for (unsigned i = 0; i < FLAG_COUNT; i++)
		if (set & UINT64_C(1) << i)
			buf_fmt(out, " --%s", flag_fact((enum flag)i)->name);
}

/* Flags whose value is one word, or two, of a few. */
static const struct { enum flag flag; const char *words; } VALUES[] = {
	{ FLAG_phase, "prepared trying confirming confirmed cancelling cancelled abandoned" },
	{ FLAG_op, "try confirm cancel" },
	{ FLAG_outcome, "ok refused" },
};

/* "--url | --reason | -m": flags whose value is the next word. */
static void list_valued(struct buf *out)
{
	const char *between = "";

	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		const struct flag_fact *f = flag_fact((enum flag)i);

		if (f->kind == FLAG_SWITCH)
			continue;
		buf_fmt(out, "%s--%s", between, f->name);
		if (f->letter)
			buf_fmt(out, " | -%c", f->letter);
		between = " | ";
	}
}

static void bash_values(struct buf *out)
{
	for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++)
		buf_fmt(out, "\t--%s) _sagactl_reply -W '%s'; return ;;\n",
		        flag_fact(VALUES[i].flag)->name, VALUES[i].words);
	buf_cstr(out, "\t--token-file | --cacert | --cert | --key) _sagactl_reply -f; return ;;\n\t");
	list_valued(out);
	buf_cstr(out, ") return ;;\n");
}

static void bash_verbs(struct buf *out)
{
	for (unsigned i = 0; i < NOUN_COUNT; i++) {
		const char *noun = noun_fact(i)->noun;
		struct buf  verbs = { 0 };

		for (unsigned c = 0; c < CMD_COUNT; c++)
			if (strcmp(command_fact((enum cmd)c)->noun, noun) == 0 && *command_fact((enum cmd)c)->verb)
				buf_fmt(&verbs, "%s%s", verbs.n ? " " : "", command_fact((enum cmd)c)->verb);
		if (verbs.n)
			buf_fmt(out, "\t%s) verbs='%s' ;;\n", noun, verbs.p);
		buf_fini(&verbs);
	}
}

static void bash_flags(struct buf *out)
{
	for (unsigned i = 0; i < CMD_COUNT; i++) {
		const struct command_fact *c = command_fact((enum cmd)i);

		if (!c->flags)
			continue;
		buf_fmt(out, "\t'%s%s%s') flags+='", c->noun, *c->verb ? " " : "", c->verb);
		list_flags(out, c->flags);
		buf_cstr(out, "' ;;\n");
	}
}

/* bash splits words at COMP_WORDBREAKS, and at colons and equals signs too; what stands together on the line is joined
 * again. It replaces what stands behind the last break alone, so a reply goes without what is in front of that. */
static const char BASH_JOIN[] =
	"_sagactl_reply()\n{\n\tlocal word\n\tCOMPREPLY=()\n"
	"\twhile IFS= read -r word; do\n\t\tword=$before$word\n\t\tCOMPREPLY+=(\"${word#\"$stem\"}\")\n"
	"\tdone < <(compgen \"$@\" -- \"$current\")\n}\n";

static const char BASH_WORDS[] =
	"\tlocal line=${COMP_LINE-} all=() n=0 current before= stem flag= words=() word verbs= flags i\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 0; i <= COMP_CWORD; i++)); do\n\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif ((i > 1)) && [[ $line != [[:space:]]* && ( $word == [:=]* || ${all[n - 1]} == *[:=] ) ]]; then\n"
	"\t\t\tall[n - 1]+=$word\n\t\telse\n\t\t\tall[n++]=$word\n\t\tfi\n"
	"\t\tline=${line#\"${line%%[![:space:]]*}\"}\n\t\tline=${line#\"$word\"}\n\tdone\n"
	"\tcurrent=${all[n - 1]} stem=\n"
	"\tcase ${COMP_WORDS[COMP_CWORD]} in\n"
	"\t: | = | := | =: | :: | ==) stem=$current ;;\n"
	"\t*) stem=${current%\"${COMP_WORDS[COMP_CWORD]}\"} ;;\n\tesac\n"
	"\tif [[ $current == --*=* ]]; then\n"
	"\t\tflag=${current%%=*} before=${current%%=*}= current=${current#*=}\n"
	"\telif ((n > 2)); then\n\t\tflag=${all[n - 2]}\n\tfi\n";

/* The words in front of the cursor that are no flags, nor values of flags, name the command. */
void help_bash(struct buf *out)
{
	buf_cstr(out, "# bash completion for sagactl; made by `sagactl completion bash`\n");
	buf_cstr(out, BASH_JOIN);
	buf_cstr(out, "_sagactl()\n{\n");
	buf_cstr(out, BASH_WORDS);
	buf_cstr(out, "\tcase $flag in\n");
	bash_values(out);
	buf_cstr(out, "\tesac\n\t[[ ! $before ]] || return\n"
	              "\tfor ((i = 1; i < n - 1; i++)); do\n\t\tword=${all[i]}\n\t\tcase $word in\n\t\t");
	list_valued(out);
	buf_cstr(out, ") ((++i)) ;;\n\t\t-*) ;;\n\t\t*) words+=(\"$word\") ;;\n\t\tesac\n\tdone\n"
	              "\tif ((${#words[@]} == 0)) && [[ $current != -* ]]; then\n\t\t_sagactl_reply -W '");
	for (unsigned i = 0; i < NOUN_COUNT; i++)
		buf_fmt(out, "%s%s", i ? " " : "", noun_fact(i)->noun);
	buf_cstr(out, "'\n\t\treturn\n\tfi\n\tcase ${words[0]-} in\n");
	bash_verbs(out);
	buf_cstr(out, "\tesac\n"
	              "\tif ((${#words[@]} == 1)) && [[ $verbs && $current != -* ]]; then\n"
	              "\t\t_sagactl_reply -W \"$verbs\"\n\t\treturn\n\tfi\n"
	              "\tflags='");
	list_flags(out, F_EVERY);
	buf_cstr(out, "'\n\tword=${words[0]-}\n\t[[ ! $verbs ]] || word=\"$word ${words[1]-}\"\n\tcase $word in\n");
	bash_flags(out);
	buf_cstr(out, "\tesac\n"
	              "\tif [[ $current == -* ]]; then\n\t\t_sagactl_reply -W \"$flags\"\n"
	              "\telif [[ $word == completion ]]; then\n\t\t_sagactl_reply -W 'bash zsh'\n"
	              "\telif [[ $word == 'definition apply' || $word == 'definition validate' ]]; then\n"
	              "\t\t_sagactl_reply -f\n"
	              "\telif [[ $word == 'bulk start' ]]; then\n"
	              "\t\t_sagactl_reply -W 'retry pause resume cancel release'\n"
	              "\tfi\n}\ncomplete -o filenames -F _sagactl sagactl\n");
}

/* Within '…' of zsh, and without what _arguments gives a meaning to. */
static void zsh_text(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			buf_cstr(out, "'\\''");
		else if (strchr("[]:", *text))
			buf_fmt(out, "\\%c", *text);
		else
			buf_char(out, *text);
	}
}

static const char *zsh_words_of(enum flag f)
{
	for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++)
		if (VALUES[i].flag == f)
			return VALUES[i].words;
	return NULL;
}

static void zsh_flags(struct buf *out, uint64_t set)
{
	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		const struct flag_fact *f = flag_fact((enum flag)i);
		const char             *words = zsh_words_of((enum flag)i);

		if (!(set & UINT64_C(1) << i))
			continue;
		buf_fmt(out, " '%s--%s[", f->kind == FLAG_MANY ? "*" : "", f->name);
		zsh_text(out, f->text);
		buf_char(out, ']');
		if (words)
			buf_fmt(out, ":%s:(%s)", f->value, words);
		else if (*f->value)
			buf_fmt(out, ":%s:%s", f->value, strcmp(f->value, "FILE") == 0 ? "_files" : " ");
		buf_char(out, '\'');
	}
}

static void zsh_noun(struct buf *out, const char *noun)
{
	bool first = true;

	for (unsigned c = 0; c < CMD_COUNT; c++) {
		const struct command_fact *f = command_fact((enum cmd)c);

		if (strcmp(f->noun, noun) != 0 || !*f->verb)
			continue;
		if (first)
			buf_fmt(out, "\t%s) verbs=(", noun);
		buf_fmt(out, "%s'%s:", first ? "" : " ", f->verb);
		zsh_text(out, f->text);
		buf_char(out, '\'');
		first = false;
	}
	if (!first)
		buf_cstr(out, ") ;;\n");
}

/* --phase=con: _arguments takes values that are words of their own. */
static void zsh_values(struct buf *out)
{
	buf_cstr(out, "\tcase $words[CURRENT] in\n");
	for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++)
		buf_fmt(out, "\t--%s=*) compset -P '*='; compadd - %s; return ;;\n",
		        flag_fact(VALUES[i].flag)->name, VALUES[i].words);
	buf_cstr(out, "\t--token-file=* | --cacert=* | --cert=* | --key=*) compset -P '*='; _files; return ;;\n\tesac\n");
}

void help_zsh(struct buf *out)
{
	buf_cstr(out, "#compdef sagactl\n# zsh completion for sagactl; made by `sagactl completion zsh`\n"
	              "_sagactl() {\n\tlocal -a nouns verbs flags\n\tlocal key\n");
	zsh_values(out);
	buf_cstr(out, "\twhile ((CURRENT > 2)) && [[ $words[2] == -* ]]; do\n\t\tcase $words[2] in\n\t\t");
	list_valued(out);
	buf_cstr(out, ")\n\t\t\t((CURRENT > 3)) || break\n\t\t\twords[2]=()\n\t\t\t((CURRENT--)) ;;\n\t\tesac\n"
	              "\t\twords[2]=()\n\t\t((CURRENT--))\n\tdone\n"
	              "\tkey=${words[2]-}\n\tnouns=(");
	for (unsigned i = 0; i < NOUN_COUNT; i++) {
		buf_fmt(out, "%s'%s:", i ? " " : "", noun_fact(i)->noun);
		zsh_text(out, noun_fact(i)->text);
		buf_char(out, '\'');
	}
	buf_cstr(out, ")\n\tif ((CURRENT == 2)) && [[ $words[2] != -* ]]; then\n"
	              "\t\t_describe command nouns\n\t\treturn\n\tfi\n"
	              "\tcase $key in\n");
	for (unsigned i = 0; i < NOUN_COUNT; i++)
		zsh_noun(out, noun_fact(i)->noun);
	buf_cstr(out, "\tesac\n\tif ((CURRENT == 3 && ${#verbs})); then\n\t\t_describe verb verbs\n\t\treturn\n\tfi\n"
	              "\t((${#verbs})) && key+=\" ${words[3]-}\"\n\tflags=(");
	zsh_flags(out, F_EVERY);
	buf_cstr(out, ")\n\tcase $key in\n");
	for (unsigned c = 0; c < CMD_COUNT; c++) {
		const struct command_fact *f = command_fact((enum cmd)c);

		if (!f->flags)
			continue;
		buf_fmt(out, "\t'%s%s%s') flags+=(", f->noun, *f->verb ? " " : "", f->verb);
		zsh_flags(out, f->flags);
		buf_cstr(out, ") ;;\n");
	}
	buf_cstr(out, "\tesac\n\t_arguments -S $flags '*:argument:_files'\n}\n"
	              "if [[ $funcstack[1] == _sagactl ]]; then _sagactl \"$@\"; else compdef _sagactl sagactl; fi\n");
}
