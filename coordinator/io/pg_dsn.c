/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"
#include "coordinator/base/text.h"
#include "coordinator/io/pg.h"
#include "coordinator/io/pg_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a DSN leaves out, but for the two times of pg_dsn_pace(). A peer that vanished is given up; a standby, which
 * would grant the advisory lock too, is not a server for us. */
static const struct {
	const char *name, *value;
} defaults[] = {
	{ "target_session_attrs", "read-write" },
	{ "keepalives", "1" },
	{ "keepalives_interval", "2" },
	{ "keepalives_count", "3" },
	{ "connect_timeout", "5" }, /* of blocking connects; others have a timer */
};

enum { DSN_OPTIONS_MAX = 80 };

bool pg_dsn_parse(struct pg_dsn *dsn, const char *text, struct err *err)
{
	char *why = NULL;

	dsn->options = PQconninfoParse(text, &why);
	pg_dsn_pace(dsn, PEER_SILENT_MS);
	if (dsn->options != NULL)
		return true;
	/* libpq's sentence quotes what it stumbled over: all of a URI, or half of a password with a space in it. */
	if (strstr(text, "password") != NULL || strchr(text, '@') != NULL)
		err_set(err, ERR_INVALID, "the DSN cannot be read, and why would quote its password: put a value with spaces "
		        "in '', and escape @ : / in a URI's password as %%40 %%3A %%2F");
	else
		err_set(err, ERR_INVALID, "the DSN cannot be read: %.*s", why ? (int)strcspn(why, "\n") : 0, why ? why : "");
	PQfreemem(why);
	return false;
}

void pg_dsn_fini(struct pg_dsn *dsn)
{
	PQconninfoFree(dsn->options);
	dsn->options = NULL;
}

void pg_dsn_pace(struct pg_dsn *dsn, uint32_t ttl_ms)
{
	uint32_t silent_ms = ttl_ms < PEER_SILENT_MS ? ttl_ms : PEER_SILENT_MS;

	dsn->connect_ms = silent_ms < LINK_CONNECT_MS ? silent_ms : LINK_CONNECT_MS;
	snprintf(dsn->user_timeout, sizeof dsn->user_timeout, "%u", silent_ms);
	snprintf(dsn->keepalives_idle, sizeof dsn->keepalives_idle, "%u", silent_ms < 4000 ? 1 : silent_ms / 2000);
}

bool pg_dsn_has_password(const char *text)
{
	PQconninfoOption *options = PQconninfoParse(text, NULL);
	bool              has = false;

	for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
		has |= strcmp(o->keyword, "password") == 0 && o->val != NULL && o->val[0] != '\0';
	PQconninfoFree(options);
	return has;
}

static const char *default_of(const struct pg_dsn *dsn, const char *name)
{
	if (strcmp(name, "tcp_user_timeout") == 0)
		return dsn->user_timeout;
	if (strcmp(name, "keepalives_idle") == 0)
		return dsn->keepalives_idle;
	for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
		if (strcmp(defaults[i].name, name) == 0)
			return defaults[i].value;
	return NULL;
}

/* "a,b,c" begun with the turn-th: "b,c,a". A list of one stands for all hosts. The caller frees. */
static char *rotate(const char *list, unsigned turn)
{
	unsigned n = 1;
	size_t   cut = 0;

	for (const char *p = list; *p != '\0'; p++)
		n += *p == ',';
	for (unsigned skip = turn % n; skip > 0; cut++)
		skip -= list[cut] == ',';
	struct buf out = { 0 };
	buf_cstr(&out, list + cut);
	if (cut > 0) {
		buf_char(&out, ',');
		buf_add(&out, list, cut - 1);
	}
	return out.p ? buf_take(&out) : mem_copy("", 0);
}

static bool is_host_list(const char *name)
{
	return strcmp(name, "host") == 0 || strcmp(name, "hostaddr") == 0 || strcmp(name, "port") == 0;
}

/* libpq would print them between our log lines. Who wants them sets his own. */
static void ignore_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

/* What stands for this list of hosts, addresses or ports; the caller frees. */
static char *hosts_for(const PQconninfoOption *o, const char *value, unsigned turn, struct buf found[3])
{
	struct buf *list = &found[2];

	if (strcmp(o->keyword, "host") == 0)
		list = &found[0];
	else if (strcmp(o->keyword, "hostaddr") == 0)
		list = &found[1];
	if (list->p != NULL)
		return buf_take(list);
	return value != NULL ? rotate(value, turn) : NULL;
}

PGconn *pg_dsn_connect(const struct pg_dsn *dsn, const char *name, unsigned turn, const struct pg_lookup *lookup,
                       bool block)
{
	const char *names[DSN_OPTIONS_MAX + 1], *values[DSN_OPTIONS_MAX + 1];
	char       *made[3];
	struct buf  found[3] = { { 0 } };
	int         n = 0, made_n = 0;

	if (lookup != NULL)
		pg_lookup_found(lookup, &found[0], &found[1], &found[2]);

	for (PQconninfoOption *o = dsn->options; o->keyword != NULL && n < DSN_OPTIONS_MAX; o++) {
		const char *value = o->val ? o->val : default_of(dsn, o->keyword);

		if (strcmp(o->keyword, "application_name") == 0)
			value = name;
		if (strcmp(o->keyword, "client_encoding") == 0)
			value = "UTF8";
		if (is_host_list(o->keyword))
			value = made[made_n++] = hosts_for(o, value, turn, found);
		if (value == NULL)
			continue;
		names[n] = o->keyword;
		values[n++] = value;
	}
	names[n] = values[n] = NULL;
	PGconn *db = block ? PQconnectdbParams(names, values, 0) : PQconnectStartParams(names, values, 0);
	while (made_n > 0)
		free(made[--made_n]);
	if (db == NULL) /* out of memory, and nothing else */
		abort();
	PQsetNoticeReceiver(db, ignore_notice, NULL);
	return db;
}
