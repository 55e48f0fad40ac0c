/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/token_file.h"

#include "coordinator/options.h"
#include "coordinator/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct token_set *token_file_read(struct token_file *f, struct err *err)
{
	struct arena      arena = { 0 };
	struct token_set *set = NULL;
	struct str        text;
	struct err        wrong = { 0 };

	/* First the looks, then the text: what is written in between is found at the next look. */
	if (stat(f->path, &f->seen) != 0)
		f->seen = (struct stat){ 0 };
	if (options_file(f->path, TOKENS_FILE_MAX, &arena, &text, err)) {
		set = tokens_parse(text, &wrong);
		if (set == NULL)
			err_set(err, wrong.kind, "%s: %s", f->path, wrong.text);
	}
	arena_fini(&arena);
	return set;
}

bool file_changed(const char *path, struct stat *seen)
{
	struct stat was = *seen;

	if (stat(path, seen) != 0)
		*seen = (struct stat){ 0 };
	return was.st_ino != seen->st_ino || was.st_size != seen->st_size || was.st_dev != seen->st_dev ||
	       was.st_mtim.tv_sec != seen->st_mtim.tv_sec || was.st_mtim.tv_nsec != seen->st_mtim.tv_nsec;
}

bool token_file_changed(const struct token_file *f)
{
	struct stat seen = f->seen;

	return file_changed(f->path, &seen);
}

/* ---- sagad token ------------------------------------------------------------------------------ */

struct wish {
	const char *name, *roles, *lasts, *file;
};

void token_command_help(struct buf *out)
{
	buf_cstr(out, "usage: sagad token NAME --role=ROLE[,ROLE...] [--for=DURATION] [--append=FILE]\n"
	              "\n"
	              "Makes a token and prints it, this once, with the line that lets it in for the tokens file\n"
	              "(option tokens-file). With --append the line goes to that file and only the token is printed.\n"
	              "\n"
	              "  --role    service, reader, operator, admin; several with commas between\n"
	              "  --for     how long it is good, as in 90d; without it for ever\n"
	              "\n"
	              "examples:\n"
	              "  sagad token orders --role=service\n"
	              "  sagad token ada --role=operator --for=30d --append=/etc/sagad/tokens\n");
}

static int complain(const char *sentence, const char *what)
{
	fprintf(stderr, "sagad token: %s%s; see sagad token --help\n", sentence, what);
	return EXIT_SETTINGS;
}

/* Where "--name=value" or "--name value" stands for one of the wishes: its value. */
static const char *value_of(const char *name, int argc, char **argv, int *at)
{
	size_t n = strlen(name);

	if (strncmp(argv[*at], name, n) != 0)
		return NULL;
	if (argv[*at][n] == '=')
		return argv[*at] + n + 1;
	return argv[*at][n] == '\0' && *at + 1 < argc ? argv[++*at] : NULL;
}

static const char *read_wish(struct wish *w, int argc, char **argv)
{
	const struct {
		const char  *name;
		const char **to;
	} flags[] = { { "--role", &w->roles }, { "--for", &w->lasts }, { "--append", &w->file } };

	for (int i = 0; i < argc; i++) {
		const char *value = NULL;

		for (size_t k = 0; k < sizeof flags / sizeof flags[0] && value == NULL; k++)
			if ((value = value_of(flags[k].name, argc, argv, &i)) != NULL)
				*flags[k].to = value;
		if (value != NULL)
			continue;
		if (argv[i][0] == '-' || w->name != NULL)
			return argv[i];
		w->name = argv[i];
	}
	return NULL;
}

/* A file that did not end its last line gets that end first. */
static bool append_line(const char *path, const struct buf *line)
{
	struct buf text = { 0 };
	char       last = '\n';
	int        fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	off_t      n = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;

	if (n > 0 && pread(fd, &last, 1, n - 1) == 1 && last != '\n')
		buf_char(&text, '\n');
	buf_str(&text, buf_view(line));
	buf_char(&text, '\n');
	bool written = fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n && fsync(fd) == 0;
	int  saved = errno;
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	errno = saved;
	return written;
}

static int make(const struct wish *w, int64_t until)
{
	struct buf token = { 0 }, line = { 0 };
	int        status = EXIT_SUCCESS;

	token_make(str_of(w->name), str_of(w->roles), until, &token, &line);
	if (w->file == NULL)
		printf("# The token, shown this once, for %s:\n%s\n# Its line in the tokens file:\n%s\n", w->name, token.p,
		       line.p);
	else if (append_line(w->file, &line))
		puts(token.p);
	else
		status = complain("the line cannot be written: ", strerror(errno));
	buf_fini(&token);
	buf_fini(&line);
	return status;
}

int token_command(int argc, char **argv)
{
	struct wish w = { 0 };
	struct buf  help = { 0 };
	int64_t     until = INT64_MAX, lasts;
	unsigned    roles;

	if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
		token_command_help(&help);
		fputs(help.p, stdout);
		buf_fini(&help);
		return EXIT_SUCCESS;
	}
	const char *odd = read_wish(&w, argc, argv);
	if (odd != NULL)
		return complain("it does not understand ", odd);
	if (w.name == NULL || !token_name_is_valid(str_of(w.name)))
		return complain("give a name of up to 64 letters, digits and -_.@", "");
	if (w.roles == NULL || !roles_parse(str_of(w.roles), &roles))
		return complain("give --role: service, reader, operator, admin, or several with commas between", "");
	if (w.lasts != NULL) {
		if (!text_to_ms(str_of(w.lasts), &lasts) || lasts == 0)
			return complain("--for is a duration like 90d, not ", w.lasts);
		until = (int64_t)time(NULL) * 1000 + lasts;
	}
	return make(&w, until);
}
