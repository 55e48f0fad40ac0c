/* SPDX-License-Identifier: Apache-2.0
 * pg_resolve.c - looks up the host names of a DSN off the loop, since libpq would do so on it.
 *
 * Without names there is nothing to do: addresses and sockets are libpq's own business.
 */
#include "coordinator/base/mem.h"
#include "coordinator/base/text.h"
#include "coordinator/io/pg_link.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS_MAX = 16, ADDRESSES_MAX = 8, ADDRESS_MAX = 64, NAME_BYTES_MAX = 255 };

/* One name that is being looked up; it cannot always be called back, and so outlives the lookup. */
struct ask {
	uv_getaddrinfo_t   uv;
	struct pg_handles *handles;
	struct pg_lookup  *lookup; /* NULL: nobody waits for it */
	size_t             host;
};

struct host {
	struct str  name, address, port; /* parts of the DSN */
	struct ask *ask;                 /* under way */
	bool        is_name;
	char        found[ADDRESSES_MAX][ADDRESS_MAX];
	size_t      found_n;
};

struct pg_lookup {
	struct host hosts[HOSTS_MAX];
	size_t      n;
	unsigned    pending;
	void      (*done)(void *arg);
	void       *arg;
};

/* ---- the lists of a DSN ------------------------------------------------------------- */

static const char *list_of(const struct pg_dsn *dsn, const char *name)
{
	const PQconninfoOption *o = dsn->options;
	const char             *text;

	while (o->keyword != NULL && strcmp(o->keyword, name) != 0)
		o++;
	text = o->val;
	if (o->keyword != NULL && text == NULL && o->envvar != NULL)
		text = getenv(o->envvar);
	return o->keyword != NULL && text != NULL ? text : "";
}

static size_t count(const char *list)
{
	size_t n = list[0] != '\0';

	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* A list of one stands for all hosts. */
static struct str nth(const char *list, size_t i)
{
	size_t n = count(list);

	for (i = n < 2 ? 0 : i; i > 0; i--)
		list = strchr(list, ',') + 1;
	return (struct str){ list, strcspn(list, ",") };
}

static bool is_address(const char *text)
{
	unsigned char ignored[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, ignored) == 1 || strchr(text, ':') != NULL;
}

static bool is_name(struct str host, struct str address)
{
	char text[NAME_BYTES_MAX + 1];

	if (host.n == 0 || host.n > NAME_BYTES_MAX || address.n > 0 || host.p[0] == '/' || host.p[0] == '@')
		return false;
	str_cstr(host, text, sizeof text);
	return !is_address(text);
}

/* ---- looking up ----------------------------------------------------------------------- */

static void keep(struct host *h, const struct addrinfo *list)
{
	for (; list != NULL && h->found_n < ADDRESSES_MAX; list = list->ai_next)
		if (getnameinfo(list->ai_addr, list->ai_addrlen, h->found[h->found_n], ADDRESS_MAX, NULL, 0,
		                NI_NUMERICHOST) == 0)
			h->found_n++;
}

static void on_found(uv_getaddrinfo_t *uv, int status, struct addrinfo *list)
{
	struct ask       *ask = uv->data;
	struct pg_lookup *lookup = ask->lookup;

	if (lookup != NULL) {
		struct host *h = &lookup->hosts[ask->host];

		h->ask = NULL;
		lookup->pending--;
		if (status == 0)
			keep(h, list);
	}
	uv_freeaddrinfo(list);
	struct pg_handles *handles = ask->handles;
	free(ask);
	if (lookup != NULL && lookup->pending == 0)
		lookup->done(lookup->arg);
	pg_handle_closed(handles);
}

static void ask_for(struct pg_lookup *lookup, struct pg_handles *handles, size_t i)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct host    *h = &lookup->hosts[i];
	struct ask     *ask = mem_alloc(sizeof *ask);
	char            name[NAME_BYTES_MAX + 1];

	*ask = (struct ask){ .handles = handles, .lookup = lookup, .host = i };
	ask->uv.data = ask;
	str_cstr(h->name, name, sizeof name);
	if (uv_getaddrinfo(handles->loop, &ask->uv, on_found, name, NULL, &hints) != 0) {
		free(ask); /* as if it did not exist */
		return;
	}
	h->ask = ask;
	handles->open++;
	lookup->pending++;
}

struct pg_lookup *pg_lookup_start(struct pg_handles *handles, const struct pg_dsn *dsn, unsigned turn,
                                  void (*done)(void *arg), void *arg)
{
	const char *names = list_of(dsn, "host"), *addresses = list_of(dsn, "hostaddr"), *ports = list_of(dsn, "port");
	size_t      n = count(names), wanted = 0;

	/* Lists that do not fit each other are libpq's to complain of. */
	if (n == 0 || n > HOSTS_MAX || (addresses[0] != '\0' && count(addresses) != n) ||
	    (count(ports) > 1 && count(ports) != n))
		return NULL;
	struct pg_lookup *lookup = mem_alloc(sizeof *lookup);
	*lookup = (struct pg_lookup){ .n = n, .done = done, .arg = arg };
	for (size_t i = 0; i < n; i++) {
		struct host *h = &lookup->hosts[i];
		size_t       place = (i + turn) % n;

		h->name = nth(names, place);
		h->address = nth(addresses, place);
		h->port = nth(ports, place);
		h->is_name = is_name(h->name, h->address);
		wanted += h->is_name;
	}
	for (size_t i = 0; i < n; i++)
		if (lookup->hosts[i].is_name)
			ask_for(lookup, handles, i);
	if (wanted == 0 || lookup->pending == 0) {
		free(lookup);
		return NULL;
	}
	return lookup;
}

void pg_lookup_drop(struct pg_lookup *lookup)
{
	if (lookup == NULL)
		return;
	for (size_t i = 0; i < lookup->n; i++)
		if (lookup->hosts[i].ask != NULL) {
			lookup->hosts[i].ask->lookup = NULL;
			uv_cancel((uv_req_t *)&lookup->hosts[i].ask->uv); /* if its turn has not come yet */
		}
	free(lookup);
}

/* ---- what libpq is told ------------------------------------------------------------------ */

static void add(struct buf *list, size_t n, struct str part)
{
	if (n > 0)
		buf_char(list, ',');
	buf_add(list, part.p, part.n);
}

/* The name stays: certificates are checked against it. */
size_t pg_lookup_found(const struct pg_lookup *lookup, struct buf *hosts, struct buf *addresses, struct buf *ports)
{
	size_t n = 0;

	for (size_t i = 0; i < lookup->n; i++) {
		const struct host *h = &lookup->hosts[i];

		for (size_t k = 0; k < (h->is_name ? h->found_n : 1); k++, n++) {
			add(hosts, n, h->name);
			add(addresses, n, h->is_name ? str_of(h->found[k]) : h->address);
			add(ports, n, h->port);
		}
	}
	return n;
}
