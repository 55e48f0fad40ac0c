/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/plain_internal.h"

#include "coordinator/base/mem.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum {
	SITES_MAX = 1024,         /* beyond it those that nobody uses are forgotten */
	FRESH_MS = 60 * 1000      /* how long addresses are believed; libcurl's default, too */
};

/* ---- addresses --------------------------------------------------------------------- */

static bool set_port(struct site_address *a, uint16_t port)
{
	if (a->is.any.sa_family == AF_INET6)
		a->is.v6.sin6_port = htons(port);
	else if (a->is.any.sa_family == AF_INET)
		a->is.v4.sin_port = htons(port);
	else
		return false;
	return true;
}

static bool read_literal(struct site *s)
{
	struct site_address *a = &s->addresses[0];

	*a = (struct site_address){ 0 };
	if (inet_pton(AF_INET, s->host, &a->is.v4.sin_addr) == 1) {
		a->is.v4.sin_family = AF_INET;
		a->n = sizeof a->is.v4;
	} else if (inet_pton(AF_INET6, s->host, &a->is.v6.sin6_addr) == 1) {
		a->is.v6.sin6_family = AF_INET6;
		a->n = sizeof a->is.v6;
	} else {
		return false;
	}
	s->n = 1;
	s->fresh_until = INT64_MAX;
	return set_port(a, s->port);
}

static void take_addresses(struct site *s, const struct addrinfo *list)
{
	s->n = s->first = 0;
	for (; list != NULL && s->n < SITE_ADDRESSES; list = list->ai_next) {
		struct site_address *a = &s->addresses[s->n];

		if (list->ai_addrlen > sizeof a->is)
			continue;
		*a = (struct site_address){ .n = list->ai_addrlen };
		memcpy(&a->is, list->ai_addr, list->ai_addrlen);
		if (set_port(a, s->port))
			s->n++;
	}
	s->fresh_until = plain_now() + FRESH_MS;
}

static void on_addresses(void *arg, int status, const struct addrinfo *list)
{
	struct site *s = arg;
	struct list  turn, *node;

	s->is_asking = false;
	if (status == 0)
		take_addresses(s, list);
	if (status == 0 && s->n == 0)
		status = EAI_NODATA;
	list_init(&turn);
	while ((node = list_pop(&s->waiting)) != NULL)
		list_push(&turn, node);
	while ((node = list_pop(&turn)) != NULL) {
		struct plain_transfer *t = list_entry(node, struct plain_transfer, link);

		list_push(&s->plain->active, &t->link);
		if (status == 0)
			conn_open(t);
		else
			plain_fail(t, PLAIN_NO_NAME, status);
	}
}

void site_connect(struct plain_transfer *t)
{
	struct site *s = t->site;

	if (s->is_carried) {
		conn_carry(t);
		return;
	}
	if (s->fresh_until == INT64_MAX || s->fresh_until > plain_now()) {
		conn_open(t);
		return;
	}
	list_remove(&t->link);
	list_push(&s->waiting, &t->link);
	if (s->is_asking)
		return;
	s->is_asking = true;
	resolver_ask(s->plain->resolver, s->host, on_addresses, s);
}

/* None of them answers: the name may stand for others by now. */
void site_forget_addresses(struct site *s)
{
	if (s->fresh_until != INT64_MAX)
		s->fresh_until = 0;
}

/* ---- the table --------------------------------------------------------------------- */

static void free_site(struct site *s)
{
	table_remove(&s->plain->sites, &s->node);
	free(s->name);
	free(s->host);
	free(s);
}

static void forget_unused(struct plain *p)
{
	struct table_node *node = table_next(&p->sites, NULL);

	while (node != NULL) {
		struct site *s = table_entry(node, struct site, node);

		node = table_next(&p->sites, node);
		if (s->users == 0 && !s->is_asking)
			free_site(s);
	}
}

struct site *site_of(struct plain *p, const struct plain_url *url)
{
	struct table_node *node = table_get(&p->sites, url->authority);
	struct site       *s;

	if (node != NULL) {
		s = table_entry(node, struct site, node);
		s->users++;
		return s;
	}
	if (p->sites.n >= SITES_MAX)
		forget_unused(p);
	s = mem_alloc(sizeof *s);
	s->plain = p;
	s->users = 1;
	s->name = mem_copy(url->authority.p, url->authority.n);
	s->host = mem_copy(url->host.p, url->host.n);
	s->port = url->port;
	s->is_carried = url->is_tls || p->config.client == HTTP_CONNECT;
	list_init(&s->waiting);
	list_init(&s->idle);
	read_literal(s);
	table_put(&p->sites, &s->node, (struct str){ s->name, url->authority.n });
	return s;
}

void site_leave(struct site *s)
{
	s->users--;
}

void site_free_all(struct plain *p)
{
	struct table_node *node = table_next(&p->sites, NULL);

	while (node != NULL) {
		struct site *s = table_entry(node, struct site, node);

		node = table_next(&p->sites, node);
		list_each(it, after, &s->idle)
			conn_close(list_entry(it, struct conn, link));
		free_site(s);
	}
	table_fini(&p->sites);
}
