/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/options_internal.h"

#include <string.h>

enum { COLUMN = 40, WIDTH = 100 };

static bool has_range(const struct option_row *row)
{
	return row->max > row->min;
}

/* What is allowed and what holds without the option, as one short text. */
static void add_facts(struct buf *b, const struct option_row *row)
{
	char low[32], high[32];

	if (has_range(row))
		buf_fmt(b, "%s to %s", option_range(row, row->min, low),
		        option_range(row, row->max, high));
	if (row->def[0] != '\0')
		buf_fmt(b, "%sdefault %s", has_range(row) ? ", " : "", row->def);
}

static void add_wrapped(struct buf *b, const char *text)
{
	size_t column = COLUMN;

	while (*text != '\0') {
		size_t n = strcspn(text, " ");

		if (column > COLUMN && column + 1 + n > WIDTH) {
			buf_fmt(b, "\n%*s", COLUMN, "");
			column = COLUMN;
		} else if (column > COLUMN) {
			buf_char(b, ' ');
			column++;
		}
		buf_add(b, text, n);
		column += n;
		text += n + (text[n] == ' ');
	}
}

static void add_option(struct buf *b, const struct option_row *row)
{
	struct buf left = { 0 }, facts = { 0 };

	buf_fmt(&left, "  --%s=%s", row->name, row->unit);
	if (left.n + 1 > COLUMN)
		buf_fmt(b, "%s\n%*s", left.p, COLUMN, "");
	else
		buf_fmt(b, "%-*s", COLUMN, left.p);
	add_wrapped(b, row->sentence);
	buf_char(b, '\n');
	if (has_range(row) || row->def[0] != '\0') {
		buf_fmt(b, "%*s", COLUMN, "");
		add_facts(&facts, row);
		add_wrapped(b, facts.p);
		buf_char(b, '\n');
	}
	buf_fini(&facts);
	buf_fini(&left);
}

void options_help(struct buf *out)
{
	buf_cstr(out, "sagad runs sagas and TCC transactions over HTTP services; its log is in PostgreSQL.\n"
	              "\n"
	              "usage: sagad [run|migrate|check] [--name=value ...]\n"
	              "       sagad token NAME --role=ROLE [--for=DURATION] [--append=FILE]\n"
	              "\n"
	              "  run       be a replica until SIGTERM (the default)\n"
	              "  migrate   bring the schema to this version, and end\n"
	              "  check     look at settings and database, say what is wrong, and end\n"
	              "  token     make a token for the tokens file; sagad token --help\n"
	              "\n"
	              "examples:\n"
	              "  sagad --dsn=\"host=/var/run/postgresql dbname=sagad\"\n"
	              "  sagad --dsn-file=/etc/sagad/dsn --listen=:7070 --tokens-file=/etc/sagad/tokens \\\n"
	              "        --advertise=http://sagad.internal:7070\n"
	              "  SAGAD_DSN=postgresql://sagad@db1,db2/sagad sagad --config=/etc/sagad/sagad.conf\n"
	              "  sagad check --dsn=postgresql://sagad@db/sagad\n"
	              "\n"
	              "options (--name=value; SAGAD_NAME in the environment, with _ for . and -;\n"
	              "`name = value` in a file; a flag goes before the environment, that before the file):\n");
	for (size_t i = 0; i < option_count; i++)
		add_option(out, &option_rows[i]);
	buf_cstr(out, "  --help, --version                     say this, say which version\n");
}

/* Text that man(7) takes as it is. */
static void add_roff(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++)
		if (*s == '-')
			buf_cstr(b, "\\-");
		else if (*s == '\\')
			buf_cstr(b, "\\e");
		else
			buf_char(b, *s);
}

void options_man(struct buf *out)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];
		char                     env[64], low[32], high[32];

		option_env_name(row, env);
		buf_cstr(out, ".TP\n\\fB\\-\\-");
		add_roff(out, row->name);
		buf_cstr(out, "\\fR=\\fI");
		add_roff(out, row->unit);
		buf_fmt(out, "\\fR  (%s)\n", env);
		add_roff(out, row->sentence);
		buf_char(out, '\n');
		if (has_range(row))
			buf_fmt(out, "From %s to %s.\n", option_range(row, row->min, low),
			        option_range(row, row->max, high));
		if (row->def[0] != '\0') {
			buf_cstr(out, "Default: ");
			add_roff(out, row->def);
			buf_cstr(out, ".\n");
		}
	}
}
