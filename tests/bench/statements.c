/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/statements.h"

#include "sql/statements.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 8000 };

#define X(name, connections, text) { #name, text },
static const struct {
	const char *name, *text;
} statements[] = { STATEMENTS(X) };
#undef X

static const char read_all[] =
	"SELECT query, sum(calls), sum(rows), sum(total_exec_time) * 1000, sum(sum(total_exec_time)) OVER () * 1000 "
	"FROM pg_stat_statements GROUP BY query ORDER BY 4 DESC";

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* The end of a constant or parameter that begins at p, or p: the server shows both as parameters, with numbers of its own. */
static const char *skip_value(const char *p, bool in_word)
{
	static const char *const words[] = { "NULL", "true", "false" };

	if (*p == '\'') {
		for (p++; *p != '\0' && *p != '\''; p++)
			;
		return *p == '\'' ? p + 1 : p;
	}
	if (in_word)
		return p;
	if (*p == '$' || isdigit((unsigned char)*p)) {
		for (p++; isdigit((unsigned char)*p); p++)
			;
		return p;
	}
	if (strncmp(p, "epoch FROM", strlen("epoch FROM")) == 0) /* in extract() */
		return p + strlen("epoch");
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strncmp(p, words[i], strlen(words[i])) == 0 && !is_word(p[strlen(words[i])]))
			return p + strlen(words[i]);
	return p;
}

/* A statement without what the server changes when it keeps its text. */
static const char *skeleton(const char *text, char out[TEXT_MAX])
{
	size_t n = 0;

	for (const char *p = text; *p != '\0' && n + 1 < TEXT_MAX;) {
		const char *end = skip_value(p, n > 0 && is_word(out[n - 1]));

		out[n++] = end != p ? '?' : *p;
		p = end != p ? end : p + 1;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
	return out;
}

static const char *name_of(const char *query)
{
	static char theirs[TEXT_MAX], ours[TEXT_MAX];

	skeleton(query, theirs);
	for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
		if (strcmp(skeleton(statements[i].text, ours), theirs) == 0)
			return statements[i].name;
	return NULL; /* the session's settings, the benchmark's own */
}

bool statements_forget(PGconn *db)
{
	PGresult *r = PQexec(db, "SELECT pg_stat_statements_reset()");
	bool      done = PQresultStatus(r) == PGRES_TUPLES_OK;

	PQclear(r);
	return done;
}

bool statements_read(PGconn *db, double sagas, struct statement_use out[STATEMENTS_SHOWN])
{
	PGresult *r = PQexec(db, read_all);
	bool      done = PQresultStatus(r) == PGRES_TUPLES_OK;
	size_t    n = 0;

	memset(out, 0, STATEMENTS_SHOWN * sizeof *out);
	for (int i = 0; done && i < PQntuples(r) && n < STATEMENTS_SHOWN; i++) {
		const char *name = name_of(PQgetvalue(r, i, 0));
		double      calls = atof(PQgetvalue(r, i, 1)), us = atof(PQgetvalue(r, i, 3));

		if (name != NULL && calls > 0)
			out[n++] = (struct statement_use){ name, calls / sagas, atof(PQgetvalue(r, i, 2)) / sagas, us / calls,
				                           us / atof(PQgetvalue(r, i, 4)) };
	}
	PQclear(r);
	return done;
}
