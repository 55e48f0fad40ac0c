/* SPDX-License-Identifier: Apache-2.0
 * pg_hosts.c - a DSN of several hosts taken apart into one of each.
 */
#include "coordinator/base/mem.h"
#include "coordinator/base/text.h"
#include "coordinator/io/pg_link.h"

#include <stdlib.h>
#include <string.h>

static PQconninfoOption *option(struct pg_dsn *dsn, const char *name)
{
	for (PQconninfoOption *o = dsn->options; o->keyword != NULL; o++)
		if (strcmp(o->keyword, name) == 0)
			return o;
	return NULL;
}

static size_t count(const struct pg_dsn *dsn, const char *name)
{
	const PQconninfoOption *o = option((struct pg_dsn *)(uintptr_t)dsn, name);
	size_t                  n = 1;

	if (o == NULL || o->val == NULL || o->val[0] == '\0')
		return 0;
	for (const char *p = o->val; *p != '\0'; p++)
		n += *p == ',';
	return n;
}

/* libpq frees it. */
static void set(PQconninfoOption *o, const char *p, size_t n)
{
	char *copy = malloc(n + 1);

	if (copy == NULL)
		abort();
	if (n > 0)
		memcpy(copy, p, n);
	copy[n] = '\0';
	free(o->val);
	o->val = copy;
}

/* The i-th of the list; a list of one stands for all. */
static void pick(struct pg_dsn *dsn, const char *name, size_t i)
{
	PQconninfoOption *o = option(dsn, name);
	size_t            n = count(dsn, name);

	if (n < 2)
		return;
	const char *p = o->val;
	for (; i > 0; i--)
		p = strchr(p, ',') + 1;
	set(o, p, strcspn(p, ","));
}

static const char *value(struct pg_dsn *dsn, const char *name)
{
	const PQconninfoOption *o = option(dsn, name);

	return o != NULL && o->val != NULL ? o->val : "";
}

static bool one_host(struct pg_host *host, const char *text, size_t i)
{
	struct err err;

	if (!pg_dsn_parse(&host->dsn, text, &err))
		return false;
	pick(&host->dsn, "host", i);
	pick(&host->dsn, "hostaddr", i);
	pick(&host->dsn, "port", i);
	set(option(&host->dsn, "target_session_attrs"), "any", 3);
	host->name = value(&host->dsn, "host");
	if (host->name[0] == '\0')
		host->name = value(&host->dsn, "hostaddr");
	host->port = value(&host->dsn, "port");
	if (host->port[0] == '\0')
		host->port = "5432";
	return true;
}

/* Lists of different lengths are libpq's to complain of. */
static size_t how_many(const char *text)
{
	struct pg_dsn dsn;
	struct err    err;

	if (!pg_dsn_parse(&dsn, text, &err))
		return 0;
	size_t n = count(&dsn, "host"), addresses = count(&dsn, "hostaddr"), ports = count(&dsn, "port");
	pg_dsn_fini(&dsn);
	if (n == 0)
		n = addresses;
	bool fit = (addresses == 0 || addresses == n) && (ports <= 1 || ports == n);
	return fit ? n : 0;
}

size_t pg_dsn_hosts(const char *text, struct pg_host **hosts)
{
	size_t          n = how_many(text);
	struct pg_host *list = n > 0 ? mem_array(n, sizeof *list) : NULL;

	for (size_t i = 0; i < n; i++)
		if (!one_host(&list[i], text, i)) {
			pg_dsn_hosts_free(list, i);
			*hosts = NULL;
			return 0;
		}
	*hosts = list;
	return n;
}

void pg_dsn_hosts_free(struct pg_host *hosts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pg_dsn_fini(&hosts[i].dsn);
	free(hosts);
}
