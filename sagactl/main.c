/* SPDX-License-Identifier: Apache-2.0
 * main.c - sagactl: what people ask of sagad, by its API alone.
 */
#include "sagactl/ctl.h"
#include "sagactl/help.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static enum exit_status (*const RUN[])(struct ctl *c) = {
#define X(name, ...) run_##name,
	COMMANDS(X)
#undef X
};

enum exit_status run_completion(struct ctl *c)
{
	struct err err;

	if (ctl_has(c, FLAG_json)) {
		err_set(&err, ERR_INVALID, "--json: a completion is text for a shell, and no JSON");
		return ctl_usage(&err);
	}
	if (strcmp(c->args.words[0], "bash") == 0) {
		help_bash(&c->out);
	} else if (strcmp(c->args.words[0], "zsh") == 0) {
		help_zsh(&c->out);
	} else {
		err_set(&err, ERR_INVALID, "bash and zsh are known, `%s` is not", c->args.words[0]);
		return ctl_usage(&err);
	}
	return EXIT_DONE;
}

enum exit_status run_version(struct ctl *c)
{
	buf_fmt(&c->out, ctl_has(c, FLAG_json) ? "{\"version\":\"%s\"}\n" : "sagactl %s\n", SAGACTL_VERSION);
	return EXIT_DONE;
}

static void show_help(struct ctl *c)
{
	if (c->args.help_of_command)
		help_command(&c->out, c->args.cmd);
	else if (c->args.noun)
		help_noun(&c->out, c->args.noun);
	else
		help_all(&c->out);
}

static enum exit_status run(struct ctl *c)
{
	struct err       err;
	enum exit_status status;

	if (c->args.help) {
		show_help(c);
		return EXIT_DONE;
	}
	if (c->args.cmd == CMD_completion)
		return run_completion(c);
	if (!client_open(&c->client, &c->args, &err))
		return ctl_usage(&err);
	status = RUN[c->args.cmd](c);
	ctl_end_raw(c);
	ctl_flush(c);
	if (c->cut_at)
		ctl_say(c, "these are the first %llu; --limit shows more", (unsigned long long)c->cut_at);
	return status;
}

int main(int argc, char **argv)
{
	struct ctl       c = { 0 };
	struct err       err;
	enum exit_status status;

	signal(SIGPIPE, SIG_IGN);
	c.is_terminal = isatty(STDOUT_FILENO);
	c.can_ask = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
	status = args_parse(&c.args, argc, argv, environ, &err) ? EXIT_DONE : ctl_usage(&err);
	c.color = c.is_terminal && !args_has(&c.args, FLAG_no_color);
	if (status == EXIT_DONE)
		status = run(&c);
	ctl_flush(&c);
	answer_fini(&c.answer);
	client_close(&c.client);
	args_fini(&c.args);
	buf_fini(&c.out);
	return (int)status;
}
