/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/chaos.h"

#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TICK_MS = 10, LATE_MS = 2000, HANG_UP_MS = 20, HANG_UP_ATTEMPTS = 3 };

struct copy {
	struct list         link;    /* on waiting, or sent */
	struct chaos       *chaos;
	struct arena        arena;
	struct http_request request;
	struct copy        *then;    /* to be sent when this one was answered, or NULL */
	http_done          *done;    /* of a call that is delayed: not told yet, else NULL */
	void               *arg;
	uint64_t            told_ms; /* when it will be */
	uint64_t            due_ms;  /* by the loop's clock */
	struct transfer    *transfer;
};

struct chaos {
	uv_loop_t   *loop;
	uv_timer_t   timer;
	struct http *http;
	uint64_t     seed, made;
	uint32_t     alive;
	struct list  waiting, sent;
};

/* ---- copies ---------------------------------------------------------------------------------- */

static struct copy *copy_of(struct chaos *c, const struct http_request *r)
{
	struct copy *y = mem_alloc(sizeof *y);

	list_init(&y->link);
	y->chaos = c;
	y->request = *r;
	y->request.url = arena_str(&y->arena, str_of(r->url)).p;
	y->request.method = arena_str(&y->arena, str_of(r->method)).p;
	y->request.headers = arena_array(&y->arena, r->header_count, sizeof r->headers[0]);
	for (size_t i = 0; i < r->header_count; i++)
		y->request.headers[i] = arena_str(&y->arena, str_of(r->headers[i])).p;
	if (r->body.n > 0)
		y->request.body = arena_str(&y->arena, r->body);
	c->alive++;
	c->made++;
	return y;
}

static void free_copy(struct copy *y)
{
	y->chaos->alive--;
	list_remove(&y->link);
	arena_fini(&y->arena);
	free(y);
}

static void drop_copy(struct copy *y)
{
	if (y->transfer != NULL)
		http_abort(y->chaos->http, y->transfer);
	if (y->then != NULL)
		free_copy(y->then);
	free_copy(y);
}

static void send_copy(struct copy *y);

/* What came back is nobody's. */
static void on_answer(void *arg, const struct http_result *result)
{
	struct copy *y = arg, *then = y->then;

	(void)result;
	free_copy(y);
	if (then != NULL)
		send_copy(then);
}

static void send_copy(struct copy *y)
{
	list_push(&y->chaos->sent, &y->link);
	y->transfer = http_start(y->chaos->http, &y->request, on_answer, y);
}

/* To whoever waits for a delayed call it looks like any other that was not answered. */
static void give_up(struct copy *y)
{
	const struct http_result result = { .reply = { .failure = STR("no answer came in time") } };
	http_done               *done = y->done;

	y->done = NULL;
	done(y->arg, &result);
}

static void on_tick(uv_timer_t *timer)
{
	struct chaos *c = timer->data;
	struct list  *node = c->waiting.next, *next;

	for (; node != &c->waiting; node = next) {
		struct copy *y = list_entry(node, struct copy, link);

		next = node->next;
		if (y->done != NULL && y->told_ms <= uv_now(c->loop)) {
			give_up(y); /* which may add to the list and forget others, but takes none away */
			next = node->next;
		}
		if (y->done != NULL || y->due_ms > uv_now(c->loop))
			continue;
		list_remove(&y->link);
		send_copy(y);
	}
	if (list_is_empty(&c->waiting))
		uv_timer_stop(timer);
}

static void send_later(struct copy *y, uint32_t ms)
{
	struct chaos *c = y->chaos;

	y->due_ms = uv_now(c->loop) + ms;
	list_push(&c->waiting, &y->link);
	if (!uv_is_active((uv_handle_t *)&c->timer))
		uv_timer_start(&c->timer, on_tick, TICK_MS, TICK_MS);
}

/* ---- what happens to whom -------------------------------------------------------------------- */

static uint64_t mixed(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

bool chaos_does(const struct chaos *c, enum chaos_deed deed, const struct call_spec *spec,
                struct str step, uint32_t n, uint32_t *of)
{
	static const uint32_t share[] = {
#define X(name, percent, text) percent,
		CHAOS_DEEDS(X)
#undef X
	};
	uint64_t h = str_hash(spec->scope.gid, mixed(c->seed + 0x9e3779b97f4a7c15ull));

	h = mixed(str_hash(step, h) + spec->op);
	h = mixed(h + spec->attempt * CHAOS_DEED_COUNT + deed);
	*of = n > 0 ? (uint32_t)(mixed(h) % n) : 0;
	return h % 100 < share[deed] && c->alive < CHAOS_COPIES_MAX;
}

/* In a copy whose epoch is one less than the call's. */
static void make_stale(struct copy *y, uint64_t epoch)
{
	char line[48];

	snprintf(line, sizeof line, "Saga-Epoch: %llu",
	         (unsigned long long)(epoch > 0 ? epoch - 1 : 0));
	for (size_t i = 0; i < y->request.header_count; i++)
		if (strncasecmp(y->request.headers[i], "Saga-Epoch:", strlen("Saga-Epoch:")) == 0)
			y->request.headers[i] = arena_str(&y->arena, str_of(line)).p;
}

void chaos_meddle(struct chaos *c, const struct call_spec *spec, struct str step,
                  struct http_request *r)
{
	uint32_t ms;

	if (chaos_does(c, CHAOS_DUPLICATE, spec, step, 0, &ms))
		send_copy(copy_of(c, r));
	if (chaos_does(c, CHAOS_LATE, spec, step, LATE_MS, &ms))
		send_later(copy_of(c, r), ms + 1);
	if (chaos_does(c, CHAOS_STALE, spec, step, LATE_MS, &ms)) {
		struct copy *y = copy_of(c, r);

		make_stale(y, spec->epoch);
		send_later(y, ms + 1);
	}
	/* Not for ever: a slow service would never be heard. */
	if (spec->attempt <= HANG_UP_ATTEMPTS &&
	    chaos_does(c, CHAOS_HANG_UP, spec, step, HANG_UP_MS, &ms) && ms + 1 < r->timeout_ms)
		r->timeout_ms = ms + 1;
}

struct copy *chaos_delay(struct chaos *c, const struct call_spec *spec, struct str step,
                         const struct http_request *r, http_done *done, void *arg)
{
	uint32_t     ms;
	struct copy *y;

	if (spec->attempt > HANG_UP_ATTEMPTS || !chaos_does(c, CHAOS_DELAY, spec, step, LATE_MS, &ms))
		return NULL;
	y = copy_of(c, r);
	y->done = done;
	y->arg = arg;
	y->told_ms = uv_now(c->loop) + 1 + ms % HANG_UP_MS;
	send_later(y, ms + 1);
	return y;
}

void chaos_forget(struct copy *y)
{
	y->done = NULL;
}

void chaos_stranger(struct chaos *c, const struct http_request *cancel,
                    const struct http_request *try_it)
{
	struct copy *y = copy_of(c, cancel);

	y->then = copy_of(c, try_it);
	send_copy(y);
}

uint64_t chaos_copies(const struct chaos *c)
{
	return c->made;
}

/* ---- opening and closing ----------------------------------------------------------------- */

struct chaos *chaos_open(uv_loop_t *loop, struct http *http, uint32_t seed)
{
	struct chaos *c = mem_alloc(sizeof *c);

	c->loop = loop;
	c->http = http;
	c->seed = seed;
	list_init(&c->waiting);
	list_init(&c->sent);
	uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	return c;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void chaos_close(struct chaos *c)
{
	while (!list_is_empty(&c->sent))
		drop_copy(list_entry(c->sent.next, struct copy, link));
	while (!list_is_empty(&c->waiting))
		drop_copy(list_entry(c->waiting.next, struct copy, link));
	uv_close((uv_handle_t *)&c->timer, on_closed);
}
