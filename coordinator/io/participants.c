/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/participants.h"

#include "coordinator/base/arena.h"
#include "coordinator/base/mem.h"
#include "coordinator/base/table.h"
#include "participants/call.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct known {
	struct table_node  node;
	struct participant it;
};

struct participants {
	struct store_port store;
	uv_timer_t        timer;
	char             *secrets_dir; /* "": none */
	struct table      table;       /* of struct known, in the arena */
	struct arena      arena;
	bool              asking, again; /* again: it changed after the question under way was asked */
	bool              changing;      /* it changed, and no question asked since then is answered */
	/* Waiting for the next question, for the one under way, and to be told now. */
	struct participants_wait *next, *now, *due;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- secrets ------------------------------------------------------------------------------ */

/* A name, not a path: it comes from a request. */
static bool is_file_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_' || (c == '.' && i > 0)))
			return false;
	}
	return s.n > 0 && s.n <= 128;
}

static bool is_blank(char c)
{
	return c == '\n' || c == '\r' || c == ' ';
}

/* False: one of the lines is no secret, or there are too many. */
static bool read_lines(struct str text, struct arena *arena, struct participant *out)
{
	struct buf bytes = { 0 };
	bool       good = true;

	while (text.n > 0 && good) {
		const char *end = memchr(text.p, '\n', text.n);
		size_t      whole = end != NULL ? (size_t)(end - text.p) + 1 : text.n;
		struct str  line = { text.p, whole };

		while (line.n > 0 && is_blank(line.p[line.n - 1]))
			line.n--;
		text = (struct str){ text.p + whole, text.n - whole };
		if (line.n == 0)
			continue;
		good = out->secret_count < PARTICIPANT_SECRETS_MAX && webhook_secret(line, &bytes);
		if (good)
			out->secrets[out->secret_count++] = arena_str(arena, buf_view(&bytes));
	}
	buf_fini(&bytes);
	return good && out->secret_count > 0;
}

static bool read_secrets(const char *dir, struct str name, struct arena *arena, struct participant *out)
{
	char    path[4096], text[PARTICIPANTS_SECRET_MAX];
	ssize_t n = -1;
	int     fd;

	if (dir[0] == '\0' || !is_file_name(name))
		return false;
	if (snprintf(path, sizeof path, "%s/%.*s", dir, (int)name.n, name.p) >= (int)sizeof path)
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0) {
		n = read(fd, text, sizeof text);
		close(fd);
	}
	return n > 0 && read_lines((struct str){ text, (size_t)n }, arena, out);
}

/* ---- the copy ----------------------------------------------------------------------------- */

static void add_row(struct participants *p, struct arena *arena, struct table *table,
                    const struct participant_row *row)
{
	struct known *k = arena_alloc(arena, sizeof *k);

	k->it.name = arena_str(arena, row->name);
	k->it.base_url = arena_str(arena, row->base_url);
	while (k->it.base_url.n > 0 && k->it.base_url.p[k->it.base_url.n - 1] == '/')
		k->it.base_url.n--;
	k->it.max_in_flight = row->max_in_flight;
	k->it.breaker_percent = row->breaker_percent;
	k->it.retry_percent = row->retry_percent;
	if (row->secret.n > 0)
		k->it.secret_missing = !read_secrets(p->secrets_dir, row->secret, arena, &k->it);
	if (table_get(table, k->it.name) == NULL)
		table_put(table, &k->node, k->it.name);
}

static void replace_all(struct participants *p, const struct participant_row *rows, size_t n)
{
	struct arena arena = { 0 };
	struct table table = { .seed = p->table.seed };

	for (size_t i = 0; i < n; i++)
		add_row(p, &arena, &table, &rows[i]);
	table_fini(&p->table);
	arena_fini(&p->arena);
	p->table = table;
	p->arena = arena;
}

const struct participant *participants_find(const struct participants *p, struct str name)
{
	struct table_node *node = table_get(&p->table, name);

	return node != NULL ? &table_entry(node, struct known, node)->it : NULL;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask(struct participants *p);

static void on_rows(void *arg, enum log_result result, const struct participant_row *rows, size_t n)
{
	struct participants *p = arg;

	if (result == LOG_DONE)
		replace_all(p, rows, n);
	p->asking = false;
	/* Asked before the change, or not answered at all: it is still to be read. */
	p->changing = p->again || (p->changing && result != LOG_DONE);
	p->due = p->now;
	p->now = NULL;
	while (p->due != NULL) {
		struct participants_wait *w = p->due;

		p->due = w->next;
		w->done(w->arg, result == LOG_DONE);
	}
	if ((p->next != NULL || p->again) && !p->asking)
		ask(p);
}

static void ask(struct participants *p)
{
	p->now = p->next;
	p->next = NULL;
	p->asking = true;
	p->again = false;
	p->store.participant_list(p->store.ctx, on_rows, p);
}

void participants_refresh(struct participants *p, struct participants_wait *wait)
{
	wait->next = p->next;
	p->next = wait;
	if (!p->asking)
		ask(p);
}

void participants_look(struct participants *p)
{
	p->again = p->changing = true;
	if (!p->asking)
		ask(p);
}

bool participants_are_changing(const struct participants *p)
{
	return p->changing;
}

static void take_out(struct participants_wait **at, const struct participants_wait *wait)
{
	for (; *at != NULL; at = &(*at)->next)
		if (*at == wait) {
			*at = wait->next;
			return;
		}
}

void participants_unwait(struct participants *p, struct participants_wait *wait)
{
	take_out(&p->next, wait);
	take_out(&p->now, wait);
	take_out(&p->due, wait);
}

static void on_timer(uv_timer_t *timer)
{
	struct participants *p = timer->data;

	if (!p->asking)
		ask(p);
}

/* ---- opening and closing -------------------------------------------------------------------- */

struct participants *participants_open(uv_loop_t *loop, const struct store_port *store,
                                       const char *secrets_dir)
{
	struct participants *p = mem_alloc(sizeof *p);

	p->store = *store;
	if (secrets_dir == NULL)
		secrets_dir = "";
	p->secrets_dir = mem_copy(secrets_dir, strlen(secrets_dir));
	uv_random(NULL, NULL, &p->table.seed, sizeof p->table.seed, 0, NULL);
	uv_timer_init(loop, &p->timer);
	p->timer.data = p;
	uv_timer_start(&p->timer, on_timer, 0, PARTICIPANTS_REFRESH_MS);
	return p;
}

static void on_closed(uv_handle_t *handle)
{
	struct participants *p = handle->data;

	if (p->closed != NULL)
		p->closed(p->closed_arg);
	table_fini(&p->table);
	arena_fini(&p->arena);
	free(p->secrets_dir);
	free(p);
}

void participants_close(struct participants *p, void (*closed)(void *arg), void *arg)
{
	p->closed = closed;
	p->closed_arg = arg;
	uv_close((uv_handle_t *)&p->timer, on_closed);
}
