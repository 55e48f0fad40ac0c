/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/pauses.h"

#include "coordinator/base/arena.h"
#include "coordinator/base/mem.h"
#include "coordinator/base/table.h"

#include <stdlib.h>

struct known {
	struct table_node node;
	struct pause_row  row;
};

struct waiter {
	struct waiter *next;
	void         (*done)(void *arg);
	void          *arg;
};

struct pauses {
	struct store_port store;
	uv_timer_t        timer;
	struct table      tables[PAUSE_KIND_COUNT]; /* of struct known, in the arena, by name */
	struct arena      arena;
	bool              asking;
	struct waiter    *next, *now; /* for the next question, and for the one under way */
	void            (*changed)(void *ctx);
	void             *ctx;
};

/* ---- the copy ------------------------------------------------------------------------ */

const struct pause_row *pauses_find(const struct pauses *p, enum pause_kind kind, struct str name)
{
	struct table_node *node = table_get(&p->tables[kind], name);

	return node != NULL ? &table_entry(node, struct known, node)->row : NULL;
}

/* Host and port of a base URL as definition_target() writes them. */
static struct str host_of(struct str url, char out[300])
{
	struct str rest = url;
	size_t     n = 0, colon = SIZE_MAX;
	bool       tls = str_starts(url, STR("https://"));

	rest.p += tls ? 8 : 7;
	rest.n -= tls ? 8 : 7;
	for (; n < rest.n && rest.p[n] != '/' && n < 280; n++) {
		char c = rest.p[n];

		out[n] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
		if (c == ':')
			colon = n;
		else if (c == ']')
			colon = SIZE_MAX;
	}
	if (colon == SIZE_MAX)
		for (const char *port = tls ? ":443" : ":80"; *port != '\0'; port++)
			out[n++] = *port;
	return (struct str){ out, n };
}

const struct pause_row *pauses_target(const struct pauses *p, const struct participants *participants,
                                      struct str target)
{
	const struct pause_row   *row = pauses_find(p, PAUSE_PARTICIPANT, target);
	const struct str          prefix = STR("participant:");
	const struct participant *it;
	char                      host[300];

	if (row != NULL || p->tables[PAUSE_PARTICIPANT].n == 0 || participants == NULL || !str_starts(target, prefix))
		return row;
	it = participants_find(participants, (struct str){ target.p + prefix.n, target.n - prefix.n });
	if (it == NULL || (!str_starts(it->base_url, STR("http://")) && !str_starts(it->base_url, STR("https://"))))
		return NULL;
	return pauses_find(p, PAUSE_PARTICIPANT, host_of(it->base_url, host));
}

static bool is_same(const struct pauses *p, const struct pause_row *rows, size_t n)
{
	size_t have = 0;

	for (int i = 0; i < PAUSE_KIND_COUNT; i++)
		have += p->tables[i].n;
	for (size_t i = 0; i < n; i++) {
		const struct pause_row *row = pauses_find(p, rows[i].kind, rows[i].name);

		if (row == NULL || row->since != rows[i].since)
			return false;
	}
	return have == n;
}

static void clear(struct pauses *p)
{
	for (int i = 0; i < PAUSE_KIND_COUNT; i++) {
		uint64_t seed = p->tables[i].seed;

		table_fini(&p->tables[i]);
		p->tables[i] = (struct table){ .seed = seed };
	}
	arena_fini(&p->arena);
	p->arena = (struct arena){ 0 };
}

static void replace_all(struct pauses *p, const struct pause_row *rows, size_t n)
{
	clear(p);
	for (size_t i = 0; i < n; i++) {
		struct known *k = arena_alloc(&p->arena, sizeof *k);

		k->row = rows[i];
		k->row.name = arena_str(&p->arena, rows[i].name);
		k->row.actor = arena_str(&p->arena, rows[i].actor);
		k->row.reason = arena_str(&p->arena, rows[i].reason);
		table_put(&p->tables[k->row.kind], &k->node, k->row.name);
	}
	if (p->changed != NULL)
		p->changed(p->ctx);
}

/* ---- asking ---------------------------------------------------------------------------- */

static void ask(struct pauses *p);

/* While the database is away what was paused stays paused. */
static void on_rows(void *arg, enum log_result result, const struct pause_row *rows, size_t n)
{
	struct pauses *p = arg;

	struct waiter *due = p->now;

	p->asking = false;
	p->now = NULL;
	if (result == LOG_DONE && !is_same(p, rows, n))
		replace_all(p, rows, n);
	while (due != NULL) {
		struct waiter *w = due;

		due = w->next;
		w->done(w->arg);
		free(w);
	}
	if (p->next != NULL && !p->asking)
		ask(p);
}

static void ask(struct pauses *p)
{
	p->asking = true;
	p->now = p->next;
	p->next = NULL;
	p->store.pauses(p->store.ctx, on_rows, p);
}

void pauses_look(struct pauses *p, void (*done)(void *arg), void *arg)
{
	struct waiter *w = mem_alloc(sizeof *w);

	*w = (struct waiter){ p->next, done, arg };
	p->next = w;
	if (!p->asking)
		ask(p);
}

static void free_waiters(struct waiter *w)
{
	for (struct waiter *next; w != NULL; w = next) {
		next = w->next;
		free(w);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct pauses *p = timer->data;

	if (!p->asking)
		ask(p);
}

/* ---- opening and closing ----------------------------------------------------------------- */

struct pauses *pauses_open(uv_loop_t *loop, const struct store_port *store, void (*changed)(void *ctx), void *ctx)
{
	struct pauses *p = mem_alloc(sizeof *p);

	p->store = *store;
	p->changed = changed;
	p->ctx = ctx;
	for (int i = 0; i < PAUSE_KIND_COUNT; i++)
		uv_random(NULL, NULL, &p->tables[i].seed, sizeof p->tables[i].seed, 0, NULL);
	uv_timer_init(loop, &p->timer);
	p->timer.data = p;
	uv_timer_start(&p->timer, on_timer, 0, PAUSES_REFRESH_MS);
	return p;
}

static void on_closed(uv_handle_t *handle)
{
	struct pauses *p = handle->data;

	clear(p);
	free_waiters(p->next);
	free_waiters(p->now);
	free(p);
}

void pauses_close(struct pauses *p)
{
	p->changed = NULL;
	uv_close((uv_handle_t *)&p->timer, on_closed);
}
