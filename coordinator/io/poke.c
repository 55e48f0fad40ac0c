/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/poke.h"

#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct shot {
	struct list      link;
	struct poke     *poke;
	struct transfer *transfer;
	struct buf       url;
	char             word[120];
	const char      *header; /* of word */
	poke_answered   *done;   /* NULL: a poke */
	void            *arg;
};

struct poke {
	struct http *http;
	struct str   key;
	struct clock_port clock;
	struct list  shots;
	unsigned     n, asks;
};

static void free_shot(struct shot *s)
{
	list_remove(&s->link);
	if (s->done != NULL)
		s->poke->asks--;
	else
		s->poke->n--;
	buf_fini(&s->url);
	free(s);
}

/* Whatever the answer to a poke: the owner polls as well. */
static void on_result(void *arg, const struct http_result *result)
{
	struct shot   *s = arg;
	poke_answered *done = s->done;
	void          *asker = s->arg;

	free_shot(s);
	if (done != NULL)
		done(asker, result->withheld || result->reply.body_too_big ? 0 : result->reply.status, result->reply.body);
}

/* A gid may hold anything printable; in a path all but the unreserved characters is escaped. */
static void add_segment(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '-' || c == '_')
			buf_char(b, c);
		else
			buf_fmt(b, "%%%02X", (unsigned char)c);
	}
}

/* So that a replica that asks everybody for a token still hears us. */
static void sign(struct shot *s, struct str gid)
{
	struct poke *p = s->poke;
	char         word[96];

	if (p->key.n == 0)
		return;
	replica_sign(p->key, gid, p->clock.now_ms(p->clock.ctx), word);
	snprintf(s->word, sizeof s->word, "%s: %s", REPLICA_HEADER, word);
	s->header = s->word;
}

static void shoot(struct shot *s, const char *method, struct str address, const char *path, struct str name,
                  uint32_t timeout_ms)
{
	struct poke *p = s->poke;

	list_push(&p->shots, &s->link);
	buf_str(&s->url, address);
	buf_cstr(&s->url, path);
	add_segment(&s->url, name);
	sign(s, name);
	s->transfer = http_start(p->http, &(struct http_request){ .url = s->url.p, .method = method, .headers = &s->header,
	                                                          .header_count = p->key.n > 0, .to_replica = true,
	                                                          .timeout_ms = timeout_ms },
	                         on_result, s);
}

static void poke(void *ctx, struct str address, struct str gid)
{
	struct poke *p = ctx;
	struct shot *s;

	if (p->n >= POKES_MAX || address.n == 0)
		return;
	s = mem_alloc(sizeof *s);
	s->poke = p;
	p->n++;
	shoot(s, "POST", address, "/internal/poke/", gid, POKE_TIMEOUT_MS);
}

void poke_ask(struct poke *p, struct str address, const char *path, struct str name, uint32_t timeout_ms,
              poke_answered *done, void *arg)
{
	struct shot *s;

	if (p->asks >= ASKS_MAX || address.n == 0) {
		done(arg, 0, (struct str){ 0 });
		return;
	}
	s = mem_alloc(sizeof *s);
	s->poke = p;
	s->done = done;
	s->arg = arg;
	p->asks++;
	shoot(s, "GET", address, path, name, timeout_ms);
}

struct poke *poke_open(struct http *http, struct str key, const struct clock_port *clock)
{
	struct poke *p = mem_alloc(sizeof *p);

	p->http = http;
	p->key = key;
	p->clock = *clock;
	list_init(&p->shots);
	return p;
}

void poke_ports(struct poke *p, struct poke_port *out)
{
	*out = (struct poke_port){ .ctx = p, .poke = poke };
}

void poke_close(struct poke *p)
{
	list_each(it, after, &p->shots) {
		struct shot *s = list_entry(it, struct shot, link);

		http_abort(p->http, s->transfer);
		free_shot(s);
	}
	free(p);
}
