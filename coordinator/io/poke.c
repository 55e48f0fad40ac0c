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
};

struct poke {
	struct http *http;
	struct str   key;
	struct clock_port clock;
	struct list  shots;
	unsigned     n;
};

static void free_shot(struct shot *s)
{
	list_remove(&s->link);
	s->poke->n--;
	buf_fini(&s->url);
	free(s);
}

/* Whatever the answer: the owner polls as well. */
static void on_result(void *arg, const struct http_result *result)
{
	(void)result;
	free_shot(arg);
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

static void poke(void *ctx, struct str address, struct str gid)
{
	struct poke *p = ctx;
	struct shot *s;

	if (p->n >= POKES_MAX || address.n == 0)
		return;
	s = mem_alloc(sizeof *s);
	s->poke = p;
	p->n++;
	list_push(&p->shots, &s->link);
	buf_str(&s->url, address);
	buf_cstr(&s->url, "/internal/poke/");
	add_segment(&s->url, gid);
	sign(s, gid);
	s->transfer = http_start(p->http, &(struct http_request){ .url = s->url.p, .method = "POST",
	                                                          .headers = &s->header,
	                                                          .header_count = p->key.n > 0,
	                                                          .to_replica = true,
	                                                          .timeout_ms = POKE_TIMEOUT_MS },
	                         on_result, s);
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
