/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/caller_world.h"

#include "participants/definition.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HUGE_BODY = 3 << 20, RESPONSE_MAX = 1 << 20 };

#define NOW_MS 1795423254123 /* 2026-11-23T08:40:54.123Z */

/* The resolvers find this one first: a name server that hangs, and a name of our own. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	struct addrinfo    *a;
	struct sockaddr_in *in;

	(void)hints;
	if (name != NULL && strcmp(name, "hung.test") == 0) {
		nanosleep(&(struct timespec){ .tv_sec = 2 }, NULL);
		return EAI_AGAIN;
	}
	if (name == NULL || strncmp(name, "here", 4) != 0)
		return EAI_NONAME;
	a = calloc(1, sizeof *a + sizeof *in);
	if (a == NULL)
		return EAI_MEMORY;
	in = (struct sockaddr_in *)(void *)(a + 1);
	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)(service ? atoi(service) : 0));
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*a = (struct addrinfo){ .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP,
		                .ai_addrlen = sizeof *in, .ai_addr = (struct sockaddr *)(void *)in };
	*out = a;
	return 0;
}

void freeaddrinfo(struct addrinfo *a)
{
	free(a);
}

/* ---- the servers ------------------------------------------------------------------------------ */

static const struct {
	const char *path, *raw;
	bool        close;
	unsigned    delay_ms;
} scripts[] = {
	{ "/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"id\":7}\r\n0\r\n\r\n", false, 0 },
	{ "/early", "HTTP/1.1 103 Early Hints\r\nSaga-Outcome: refused\r\n\r\n"
	            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 0 },
	{ "/refused", "HTTP/1.1 500 Oops\r\nsaga-outcome:   Refused \r\nContent-Length: 36\r\n\r\n"
	              "{\"title\":\"x\",\"detail\":\"sold\\nout\"}    ", false, 0 },
	{ "/accepted", "HTTP/1.1 202 Accepted\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", false, 0 },
	{ "/busy", "HTTP/1.1 503 Busy\r\nRetry-After: Mon, 23 Nov 2026 08:41:24 GMT\r\nContent-Length: 0\r\n\r\n", false, 0 },
	{ "/redirect", "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", false, 0 },
	{ "/text", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", false, 0 },
	{ "/garbage", "\x01\x02 what?\n\n\n", true, 0 },
	{ "/half", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\"", true, 0 },
	{ "/half-hang", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\"", false, 0 },
	{ "/close", "", true, 0 },
	{ "/slow", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 50 },
};

/* In one piece: byte by byte it takes a busy machine longer than the time-outs of the tests. */
static void add_many(struct buf *b, size_t n)
{
	buf_reserve(b, n);
	memset(b->p + b->n, 'x', n);
	b->n += n;
	b->p[b->n] = '\0';
}

static void answer_other(const struct stub_request *r, struct stub_answer *out)
{
	if (str_is(r->path, "/hang")) {
		out->never = true;
	} else if (str_is(r->path, "/huge")) {
		buf_fmt(&out->raw, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n\"", HUGE_BODY);
		add_many(&out->raw, HUGE_BODY - 2);
		buf_char(&out->raw, '"');
	} else if (str_is(r->path, "/longheader")) {
		buf_cstr(&out->raw, "HTTP/1.1 200 OK\r\nX: ");
		add_many(&out->raw, 1 << 20);
		out->close = true;
	} else if (str_starts(r->path, STR("/status/"))) {
		stub_reply(out, atoi(r->path.p + 8), "", (struct str){ 0 });
	} else {
		stub_reply(out, 200, "", STR("{\"id\":7}"));
	}
}

static void handle(void *arg, const struct stub_request *r, struct stub_answer *out)
{
	struct world *w = arg;

	buf_clear(&w->path);
	buf_clear(&w->head);
	buf_clear(&w->body);
	buf_str(&w->path, r->path);
	buf_str(&w->head, r->head);
	buf_str(&w->body, r->body);
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
		if (str_is(r->path, scripts[i].path)) {
			buf_cstr(&out->raw, scripts[i].raw);
			out->close = scripts[i].close;
			out->delay_ms = scripts[i].delay_ms;
			return;
		}
	answer_other(r, out);
}

/* ---- clock and store ----------------------------------------------------------------------------- */

static int64_t clock_now(void *ctx)
{
	(void)ctx;
	return NOW_MS;
}

static int64_t clock_boot(void *ctx)
{
	return NOW_MS + ((struct world *)ctx)->later;
}

static void on_room(void *ctx, uint64_t line)
{
	struct world *w = ctx;

	w->rooms++;
	w->line = line;
}

static uint64_t clock_random(void *ctx)
{
	static uint64_t state = 88172645463325252u;

	(void)ctx;
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

int64_t world_now(const struct world *w)
{
	(void)w;
	return NOW_MS;
}

static void on_store_timer(uv_timer_t *t)
{
	struct world *w = t->data;

	w->asked(w->asked_arg, w->store_result, &w->row, w->store_result == LOG_DONE && w->registered);
}

static void participant_list(void *ctx, participants_done *done, void *arg)
{
	struct world *w = ctx;

	w->asked = done;
	w->asked_arg = arg;
	uv_timer_start(&w->store_timer, on_store_timer, 5, 0);
}

void world_participant(struct world *w, const char *name, const char *secret, uint32_t max_in_flight)
{
	snprintf(w->base_url, sizeof w->base_url, "http://127.0.0.1:%d/base/", w->stub.port);
	w->row = (struct participant_row){ .name = str_of(name), .base_url = str_of(w->base_url),
		                           .max_in_flight = max_in_flight, .secret = str_of(secret),
		                           .breaker_percent = -1, .retry_percent = -1 };
	w->registered = true;
}

static void on_fresh(void *arg, bool fresh)
{
	struct got *got = arg;

	got->done = fresh;
}

void world_refresh(struct world *w)
{
	struct got               got = { 0 };
	struct participants_wait wait = { .done = on_fresh, .arg = &got };

	participants_refresh(w->participants, &wait);
	world_until(w, &got, 1000);
}

/* ---- opening and closing ---------------------------------------------------------------------------- */

static bool may_send(void *ctx)
{
	return !((struct world *)ctx)->held;
}

static void open_world(struct world *w, uv_loop_t *loop, enum http_client client, const char *deny, const char *secrets,
                       const struct breaker_rules *rules)
{
	struct store_port store = { .ctx = w, .participant_list = participant_list };
	char              path[128];
	FILE             *f;

	*w = (struct world){ .loop = loop, .client = client, .store_result = LOG_DONE, .input = "{\"order\":7.10,\"big\":123456789012345678901}" };
	uv_timer_init(loop, &w->store_timer);
	w->store_timer.data = w;
	if (secrets != NULL) {
		strcpy(w->secrets, "/tmp/sagad-caller-XXXXXX");
		if (mkdtemp(w->secrets) == NULL)
			abort();
		snprintf(path, sizeof path, "%s/hotel-secret", w->secrets);
		f = fopen(path, "w");
		fputs("whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n", f);
		fclose(f);
	}
	if (!stub_open(&w->stub, loop, handle, w) || !stub_open(&w->other, loop, handle, w))
		abort();
	w->http = http_open(loop, &(struct http_config){ .response_max = RESPONSE_MAX, .deny = str_of(deny),
		                                         .client = client,
		                                         .may_send = may_send, .may_send_ctx = w }, NULL);
	w->participants = participants_open(loop, &store, w->secrets);
	w->caller = caller_open(loop, &(struct caller_config){
		.http = w->http, .participants = w->participants, .clock = { w, clock_now, clock_boot, clock_random },
		.may_send = may_send, .may_send_ctx = w,
		.rules = { .callback_base = STR("http://sagad:7070"), .callback_key = STR("key") },
		.per_participant = IN_FLIGHT, .queue_max = QUEUE, .breaker = *rules, .room = on_room, .room_ctx = w });
	caller_ports(w->caller, &w->port);
}

void world_open(struct world *w, uv_loop_t *loop, enum http_client client, const char *deny, const char *secrets)
{
	open_world(w, loop, client, deny, secrets, &(struct breaker_rules){ 0 });
}

void world_open_breaking(struct world *w, uv_loop_t *loop, enum http_client client, const struct breaker_rules *rules)
{
	open_world(w, loop, client, "none", NULL, rules);
}

static void on_closed(void *arg)
{
	struct world *w = arg;

	w->closed++;
}

void world_close(struct world *w)
{
	char path[128];

	caller_close(w->caller, on_closed, w);
	uv_timer_stop(&w->store_timer);
	participants_close(w->participants, on_closed, w);
	http_close(w->http, on_closed, w);
	stub_close(&w->stub);
	stub_close(&w->other);
	uv_close((uv_handle_t *)&w->store_timer, NULL);
	for (int i = 0; i < 100 && (w->closed < 3 || uv_is_closing((uv_handle_t *)&w->store_timer)); i++)
		uv_run(w->loop, UV_RUN_NOWAIT);
	buf_fini(&w->path);
	buf_fini(&w->head);
	buf_fini(&w->body);
	if (w->secrets[0] != '\0') {
		snprintf(path, sizeof path, "%s/hotel-secret", w->secrets);
		unlink(path);
		rmdir(w->secrets);
	}
}

/* ---- calls ------------------------------------------------------------------------------------------- */

struct definition *world_document(const char *text)
{
	struct arena       arena = { 0 };
	struct findings    findings = { .arena = &arena };
	struct definition *d = definition_compile(str_of(text), DEFINITION_INLINE, (struct str){ 0 }, &findings);

	for (size_t i = 0; d == NULL && i < findings.n; i++)
		printf("# %.*s: %.*s\n", (int)findings.items[i].pointer.n, findings.items[i].pointer.p,
		       (int)findings.items[i].detail.n, findings.items[i].detail.p);
	if (d == NULL)
		abort();
	arena_fini(&arena);
	return d;
}

struct definition *world_definition(struct world *w, const struct stub *stub, const char *path, const char *timeout)
{
	char text[600];

	(void)w;
	snprintf(text, sizeof text,
	         "{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"url\":\"http://127.0.0.1:%d%s\",\"timeout\":\"%s\"},"
	         "\"compensate\":{\"url\":\"http://127.0.0.1:%d%s\",\"timeout\":\"%s\"}}}}",
	         stub->port, path, timeout, stub->port, path, timeout);
	return world_document(text);
}

static void on_answer(void *arg, const struct call_answer *a)
{
	struct got *got = arg;

	if (got->done)
		abort(); /* twice */
	*got = (struct got){ .done = true, .world = got->world, .turn = ++got->world->answered,
		             .outcome = a->outcome, .status = a->status, .retry_after_ms = a->retry_after_ms,
		             .unsent = a->unsent, .put_off_ms = a->put_off_ms, .line = a->line };
	str_cstr(a->error, got->error, sizeof got->error);
	str_cstr(a->output, got->output, sizeof got->output);
}

uint64_t world_call(struct world *w, struct definition *d, enum op op, struct got *got)
{
	struct str outputs[1] = { { 0 } };
	char       input[64];

	got->world = w;
	/* The request's memory goes when start returns: hand over a copy and spoil it. */
	strcpy(input, w->input);
	uint64_t handle = w->port.start(w->port.ctx, &(struct call_request){
		.def = d, .gid = STR("order/7%"), .step = 0, .op = op, .attempt = 3, .epoch = 5, .created_at = NOW_MS,
		.deadline_at = NOW_MS, .input = { input, strlen(input) }, .outputs = outputs,
		.traceparent = w->traceparent }, on_answer, got);
	memset(input, '!', sizeof input);
	return handle;
}

static void on_limit(uv_timer_t *t)
{
	*(bool *)t->data = true;
}

static void turn(struct world *w, const struct got *got, unsigned ms)
{
	uv_timer_t limit;
	bool       over = false;

	uv_timer_init(w->loop, &limit);
	limit.data = &over;
	uv_timer_start(&limit, on_limit, ms, 0);
	while (!over && (got == NULL || !got->done))
		uv_run(w->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&limit, NULL);
	uv_run(w->loop, UV_RUN_NOWAIT);
}

bool world_until(struct world *w, const struct got *got, unsigned ms)
{
	if (!got->done)
		turn(w, got, ms);
	return got->done;
}

void world_turns(struct world *w, unsigned ms)
{
	turn(w, NULL, ms);
}

/* ---- what the caller counts ---------------------------------------------------------------------------- */

struct search {
	const char          *name;
	struct caller_target found;
};

static void look(void *arg, const struct caller_target *t)
{
	struct search *s = arg;

	if (str_is(t->name, s->name))
		s->found = *t;
}

struct caller_target world_target_named(const struct world *w, const char *name)
{
	struct search s = { .name = name };

	caller_each_target(w->caller, look, &s);
	return s.found;
}

struct caller_target world_target(const struct world *w, const struct stub *stub)
{
	char name[32];

	snprintf(name, sizeof name, "127.0.0.1:%d", stub->port);
	return world_target_named(w, name);
}
