/* SPDX-License-Identifier: Apache-2.0
 * caller.c - the real caller against a small HTTP server that answers well, late, badly, or not at all.
 */
#include "tests/conformance/caller_world.h"

#include "coordinator/base/digest.h"
#include "tests/lib/tap.h"

#include <string.h>
#include <strings.h>

static const struct {
	const char  *path, *why;
	enum op      op;
	enum outcome outcome;
	int          status;
	int64_t      retry_after_ms;
	const char  *error; /* part of it */
} answers[] = {
	{ "/ok", "200 with JSON is ok", OP_TRY, OUTCOME_OK, 200, 0, "" },
	{ "/chunked", "a chunked answer is read", OP_TRY, OUTCOME_OK, 200, 0, "" },
	{ "/status/204", "204 is ok, without output", OP_TRY, OUTCOME_OK, 204, 0, "" },
	{ "/early", "what an interim answer says does not count", OP_TRY, OUTCOME_OK, 200, 0, "" },
	{ "/status/422", "422 refuses", OP_TRY, OUTCOME_REFUSED, 422, 0, "HTTP 422" },
	{ "/refused", "Saga-Outcome goes before the status", OP_TRY, OUTCOME_REFUSED, 500, 0, "HTTP 500: sold out" },
	{ "/accepted", "202 is ongoing, Retry-After in seconds", OP_TRY, OUTCOME_ONGOING, 202, 7000, "HTTP 202" },
	{ "/busy", "503 is unknown, Retry-After as a date", OP_TRY, OUTCOME_UNKNOWN, 503, 30000, "HTTP 503" },
	{ "/redirect", "a redirect is not followed", OP_TRY, OUTCOME_MISCONFIGURED, 302, 0, "HTTP 302" },
	{ "/text", "an output that is not JSON", OP_TRY, OUTCOME_MISCONFIGURED, 200, 0, "not JSON" },
	{ "/text", "a cancel needs no JSON", OP_CANCEL, OUTCOME_OK, 200, 0, "" },
	{ "/huge", "an output over the cap", OP_TRY, OUTCOME_MISCONFIGURED, 200, 0, "too big" },
	{ "/huge", "a cancel may say as much as it likes", OP_CANCEL, OUTCOME_OK, 200, 0, "" },
	{ "/garbage", "garbage is no answer", OP_TRY, OUTCOME_UNKNOWN, 0, 0, "" },
	{ "/half", "half an answer is no answer", OP_TRY, OUTCOME_UNKNOWN, 0, 0, "" },
	{ "/close", "a connection closed without answer", OP_TRY, OUTCOME_UNKNOWN, 0, 0, "" },
	{ "/hang", "time-out", OP_TRY, OUTCOME_UNKNOWN, 0, 0, "timed out" },
	{ "/half-hang", "time-out in the middle of an answer", OP_TRY, OUTCOME_UNKNOWN, 0, 0, "timed out" },
	{ "/longheader", "an endless header is no answer", OP_TRY, OUTCOME_UNKNOWN, 0, 0, "" },
};

static void check_answers(struct world *w)
{
	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		const bool         late = strcmp(answers[i].error, "timed out") == 0;
		struct definition *d = world_definition(w, &w->stub, answers[i].path, late ? "300ms" : "5s");
		struct got         got = { 0 };
		unsigned           requests = w->stub.requests;

		world_call(w, d, answers[i].op, &got);
		ok(!got.done, "%s: no answer before the next turn", answers[i].why);
		world_until(w, &got, 6000);
		ok(got.done && got.outcome == answers[i].outcome && got.status == answers[i].status &&
		   got.retry_after_ms >= answers[i].retry_after_ms - 1000 &&
		   got.retry_after_ms <= answers[i].retry_after_ms && strstr(got.error, answers[i].error) != NULL,
		   "%s: %s %d %lld \"%s\"", answers[i].why, outcome_name(got.outcome), got.status,
		   (long long)got.retry_after_ms, got.error);
		ok(w->stub.requests == requests + 1, "%s: asked once", answers[i].why);
		if (i == 0)
			ok(strcmp(got.output, "{\"id\":7}") == 0, "the body is the output");
		definition_drop(d);
	}
}

static void check_headers(struct world *w)
{
	static const struct {
		const char *name, *value;
	} want[] = {
		{ "Saga-Id", "order/7%" }, { "Saga-Step", "hotel" }, { "Saga-Op", "try" }, { "Saga-Attempt", "3" },
		{ "Saga-Epoch", "5" }, { "Saga-Deadline", "2026-11-23T08:40:54.123Z" },
		{ "Idempotency-Key", "\"order/7%:hotel:try\"" }, { "Content-Type", "application/json" },
		{ "Accept", "application/json" }
	};
	struct definition  *d = world_definition(w, &w->stub, "/ok", "1s");
	struct got          got = { 0 };
	struct stub_request r;
	unsigned            wrong = 0;
	char                sig[65], callback[300];

	world_call(w, d, OP_TRY, &got);
	world_until(w, &got, 3000);
	r = (struct stub_request){ .head = buf_view(&w->head) };
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
		if (!str_is(stub_header(&r, want[i].name), want[i].value)) {
			struct str v = stub_header(&r, want[i].name);

			printf("# %s: %.*s\n", want[i].name, (int)v.n, v.p);
			wrong++;
		}
	ok(wrong == 0, "the headers of the contract are there");
	ok(stub_header(&r, "Expect").p == NULL, "no Expect header");
	callback_sign(STR("key"), STR("order/7%"), STR("hotel"), OP_TRY, sig);
	snprintf(callback, sizeof callback,
	         "http://sagad:7070/v1/transactions/order%%2F7%%25/steps/hotel/complete?op=try&sig=%s", sig);
	ok(str_is(stub_header(&r, "Saga-Callback"), callback), "the callback URL is escaped and signed");
	ok(str_is(buf_view(&w->body), w->input), "the body is the input, byte for byte");
	definition_drop(d);
}

/* The traceparent the stub saw on a call whose starter gave `parent`. */
static struct str seen_parent(struct world *w, const char *parent, char out[64])
{
	struct definition *d = world_definition(w, &w->stub, "/ok", "1s");
	struct got         got = { 0 };

	w->traceparent = str_of(parent);
	world_call(w, d, OP_TRY, &got);
	world_until(w, &got, 3000);
	w->traceparent = (struct str){ 0 };
	definition_drop(d);
	str_cstr(stub_header(&(struct stub_request){ .head = buf_view(&w->head) }, "traceparent"), out, 64);
	return str_of(out);
}

static void check_traceparent(struct world *w)
{
	static const char parent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
	static const char *const wrong[] = { "", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more" };
	char       first[64], second[64], hex[65];
	uint8_t    hash[32];
	struct str a = seen_parent(w, parent, first), b;
	unsigned   bad = 0;

	ok(a.n == 55 && strncmp(first, parent, 36) == 0 && strncmp(first + 36, parent + 36, 16) != 0 &&
	   strcmp(first + 52, "-00") == 0, "a child of the starter's span: same trace and flags, new span");
	digest_sha256(STR("order/7%"), hash);
	digest_hex(hash, 32, hex);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		b = seen_parent(w, wrong[i], second);
		bad += b.n != 55 || strncmp(second + 3, hex, 32) != 0 || strcmp(second + 52, "-01") != 0;
	}
	ok(bad == 0, "without one, or with a wrong one, the trace follows from the gid");
}

/* Waits for all; the sum of those with this outcome. */
static unsigned wait_all(struct world *w, struct got *got, unsigned n, enum outcome outcome, unsigned ms)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		world_until(w, &got[i], ms);
	for (unsigned i = 0; i < n; i++)
		count += got[i].done && got[i].outcome == outcome;
	return count;
}

static void check_queue(struct world *w)
{
	enum { CALLS = 40 };
	struct definition *d = world_definition(w, &w->stub, "/slow", "250ms");
	struct got         got[CALLS] = { 0 };
	unsigned           order = 0;

	w->stub.open_requests_max = 0;
	for (unsigned i = 0; i < CALLS; i++)
		world_call(w, d, OP_TRY, &got[i]);
	ok(world_target(w, &w->stub).in_flight == IN_FLIGHT &&
	   world_target(w, &w->stub).queued == CALLS - IN_FLIGHT, "what goes beyond the limit waits");
	ok(wait_all(w, got, CALLS, OUTCOME_OK, 5000) == CALLS,
	   "40 calls of 50 ms, 4 at a time, with a time-out of 250 ms: waiting in the queue counts towards no time-out");
	ok(w->stub.open_requests_max == IN_FLIGHT, "never more than the limit at the participant");
	for (unsigned i = IN_FLIGHT; i < CALLS; i++)
		order += got[i].turn + IN_FLIGHT <= got[i - IN_FLIGHT].turn;
	ok(order == 0, "first come, first served");
	ok(world_target(w, &w->stub).in_flight == 0 && world_target(w, &w->stub).queued == 0, "then all is idle");
	definition_drop(d);
}

static void check_queue_full(struct world *w)
{
	enum { CALLS = IN_FLIGHT + QUEUE + 3 };
	struct definition *d = world_definition(w, &w->stub, "/slow", "1s");
	struct got         got[CALLS] = { 0 };
	unsigned           full = 0;

	for (unsigned i = 0; i < CALLS; i++)
		world_call(w, d, OP_TRY, &got[i]);
	ok(!got[CALLS - 1].done, "a full queue answers in a later turn, too");
	wait_all(w, got, CALLS, OUTCOME_OK, 5000);
	for (unsigned i = 0; i < CALLS; i++)
		full += got[i].outcome == OUTCOME_UNKNOWN && got[i].unsent && got[i].retry_after_ms > 0 &&
			strstr(got[i].error, "queue full") != NULL;
	ok(full == 3, "calls beyond a full queue are put off: unknown, \"queue full\"");
	ok(world_target(w, &w->stub).rejected == 3, "and counted");
	definition_drop(d);
}

static void check_bulkhead(struct world *w)
{
	enum { HUNG = 60, CALLS = 100 };
	struct definition *bad = world_definition(w, &w->other, "/hang", "2s");
	struct definition *good = world_definition(w, &w->stub, "/ok", "2s");
	struct got         hung[HUNG] = { 0 }, got[CALLS] = { 0 };
	uint64_t           handles[HUNG], began;

	for (unsigned i = 0; i < HUNG; i++)
		handles[i] = world_call(w, bad, OP_TRY, &hung[i]);
	began = uv_hrtime();
	for (unsigned i = 0; i < CALLS; i++)
		world_call(w, good, OP_TRY, &got[i]);
	ok(wait_all(w, got, CALLS, OUTCOME_OK, 1500) == CALLS && uv_hrtime() - began < 1500000000u,
	   "a participant that hangs does not slow another: 100 calls in %u ms",
	   (unsigned)((uv_hrtime() - began) / 1000000));
	for (unsigned i = 0; i < HUNG; i++)
		w->port.abort(w->port.ctx, handles[i]);
	world_turns(w, 50);
	for (unsigned i = 0; i < HUNG; i++)
		ok(!hung[i].done, "an aborted call (%s) is never answered", i < IN_FLIGHT ? "sent" : "queued");
	ok(world_target(w, &w->other).in_flight == 0 && world_target(w, &w->other).queued == 0, "and takes no place");
	definition_drop(bad);
	definition_drop(good);
}

static void check_abort_ended(struct world *w)
{
	struct definition *d = world_document("{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"url\":\"http://127.0.0.1:1/\","
	                                      "\"body\":{\"a\":\"${input.missing}\"}}}}}");
	struct got         got = { 0 }, kept = { 0 };
	uint64_t           handle = world_call(w, d, OP_TRY, &got);

	world_call(w, d, OP_TRY, &kept);
	w->port.abort(w->port.ctx, handle);
	w->port.abort(w->port.ctx, handle);
	w->port.abort(w->port.ctx, 12345);
	ok(world_until(w, &kept, 1000) && kept.outcome == OUTCOME_MISCONFIGURED && kept.error[0] != '\0',
	   "a template that cannot be filled: misconfigured, nothing sent: %s", kept.error);
	ok(!got.done, "aborted before its answer was told");
	definition_drop(d);
}

/* A call that waited in the queue until the lease was in doubt must not leave any more. */
static void check_held(struct world *w)
{
	struct definition *d = world_definition(w, &w->stub, "/ok", "1s");
	struct got         got = { 0 };
	unsigned           requests;

	w->held = true;
	world_call(w, d, OP_TRY, &got);
	caller_flush(w->caller);
	ok(!world_until(w, &got, 50) && world_target(w, &w->stub).queued == 1, "what may not be sent waits");
	w->held = false;
	caller_flush(w->caller);
	ok(world_until(w, &got, 1000) && got.outcome == OUTCOME_OK, "and goes when it may");
	stub_drop_all(&w->stub);
	world_turns(w, 20);
	requests = w->stub.requests;
	got = (struct got){ 0 };
	world_call(w, d, OP_TRY, &got);
	w->held = true;
	ok(!world_until(w, &got, 50) && world_target(w, &w->stub).queued == 1 && w->stub.requests == requests,
	   "so does what was on its way to a connection");
	w->held = false;
	caller_flush(w->caller);
	ok(world_until(w, &got, 1000) && got.outcome == OUTCOME_OK && w->stub.requests == requests + 1,
	   "which goes once");
	definition_drop(d);
}

static void check_reuse(struct world *w)
{
	struct definition *d = world_definition(w, &w->stub, "/ok", "1s");
	unsigned           connections, ended = 0;

	stub_drop_all(&w->stub);
	world_turns(w, 20);
	connections = w->stub.connections;
	for (int i = 0; i < 50; i++) {
		struct got got = { 0 };

		world_call(w, d, OP_TRY, &got);
		ended += world_until(w, &got, 1000) && got.outcome == OUTCOME_OK;
	}
	ok(ended == 50 && w->stub.connections == connections + 1, "50 calls one by one use one connection");
	stub_drop_all(&w->stub);
	world_turns(w, 20);
	struct got got = { 0 };
	world_call(w, d, OP_TRY, &got);
	ok(world_until(w, &got, 1000) && got.outcome == OUTCOME_OK, "one that its server closed is opened anew");
	definition_drop(d);
}

static void check_deny(struct world *w)
{
	struct world       denied;
	struct definition *d = world_definition(w, &w->stub, "/ok", "1s");
	struct got         got = { 0 };
	unsigned           connections = w->stub.connections;

	world_open(&denied, w->loop, w->client, "127.0.0.0/8, fe80::/10", NULL);
	world_call(&denied, d, OP_TRY, &got);
	ok(world_until(&denied, &got, 1000) && got.outcome == OUTCOME_MISCONFIGURED &&
	   strstr(got.error, "deny") != NULL, "an address on the deny list is not called: %s", got.error);
	world_turns(w, 10);
	ok(w->stub.connections == connections, "no connection was opened");
	world_close(&denied);
	definition_drop(d);
}

static void check_resolver(struct world *w)
{
	char               text[300];
	struct definition *good = world_definition(w, &w->stub, "/ok", "1s"), *hung, *named;
	struct got         slow = { 0 }, fast = { 0 }, other = { 0 };
	uint64_t           began = uv_hrtime();

	hung = world_document("{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"url\":\"http://hung.test/\",\"timeout\":\"200ms\"}}}}");
	snprintf(text, sizeof text, "{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"url\":\"http://here.test:%d/ok\"}}}}",
	         w->stub.port);
	named = world_document(text);
	world_call(w, hung, OP_TRY, &slow);
	world_call(w, good, OP_TRY, &fast);
	world_call(w, named, OP_TRY, &other);
	ok(world_until(w, &fast, 1000) && fast.outcome == OUTCOME_OK && uv_hrtime() - began < 150000000u,
	   "a name server that hangs does not slow others");
	ok(world_until(w, &other, 1000) && other.outcome == OUTCOME_OK, "names are resolved");
	ok(world_until(w, &slow, 1000) && slow.outcome == OUTCOME_UNKNOWN && uv_hrtime() - began < 600000000u,
	   "its own call ends at its time-out: %s", slow.error);
	definition_drop(good);
	definition_drop(hung);
	definition_drop(named);
}

/* Each name is asked for anew, through a pipe whose descriptors come back again and again. */
static void check_names(struct world *w)
{
	uint64_t began = uv_hrtime();
	unsigned found = 0;
	char     text[200];

	for (int i = 0; i < 50; i++) {
		struct definition *d;
		struct got         got = { 0 };

		snprintf(text, sizeof text,
		         "{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"url\":\"http://here%d.test:%d/ok\"}}}}",
		         i, w->stub.port);
		d = world_document(text);
		world_call(w, d, OP_TRY, &got);
		found += world_until(w, &got, 1000) && got.outcome == OUTCOME_OK;
		definition_drop(d);
	}
	ok(found == 50 && uv_hrtime() - began < 1000000000u, "50 names one after the other in %u ms",
	   (unsigned)((uv_hrtime() - began) / 1000000));
}

static void on_big(void *arg, const struct http_result *result)
{
	struct got *got = arg;

	got->done = true;
	got->status = result->reply.status;
}

static void check_big_body(struct world *w)
{
	static char big[2 << 20];
	char        url[64];
	struct got  got = { 0 };

	memset(big, 'x', sizeof big);
	snprintf(url, sizeof url, "http://127.0.0.1:%d/ok", w->stub.port);
	http_start(w->http, &(struct http_request){ .url = url, .method = "PUT", .body = { big, sizeof big },
	                                            .timeout_ms = 3000 }, on_big, &got);
	world_until(w, &got, 3000);
	struct stub_request r = { .head = buf_view(&w->head) };
	ok(got.status == 200 && w->body.n == sizeof big, "2 MiB are sent");
	ok(stub_header(&r, "Expect").p == NULL && stub_header(&r, "Content-Type").p == NULL,
	   "without a word that nobody asked for");
}

static void check_signed_once(struct world *w, struct definition *d)
{
	struct got got = { 0 };
	unsigned   signatures = 0;

	stub_drop_all(&w->stub);
	world_turns(w, 20);
	world_call(w, d, OP_TRY, &got);
	w->held = true;
	world_turns(w, 20);
	w->held = false;
	caller_flush(w->caller);
	world_until(w, &got, 1000);
	buf_char(&w->head, '\0');
	for (const char *p = w->head.p; (p = strstr(p, "webhook-signature:")) != NULL; p++)
		signatures++;
	ok(got.outcome == OUTCOME_OK && signatures == 1, "a call that was put back is signed once");
}

static void check_participants(struct world *w)
{
	struct definition *d = world_document("{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"participant\":\"hotels\","
	                                      "\"path\":\"/ok?x=1\"}}}}");
	struct got          got = { 0 }, away = { 0 }, found = { 0 }, unsigned_call = { 0 };
	struct stub_request r;
	char                want[64];
	int64_t             stamp;
	uint64_t            v = 0;

	world_call(w, d, OP_TRY, &got);
	ok(world_until(w, &got, 1000) && got.outcome == OUTCOME_MISCONFIGURED &&
	   strstr(got.error, "PUT /v1/participants/hotels") != NULL, "an unknown participant: %s", got.error);
	w->store_result = LOG_AWAY;
	world_call(w, d, OP_TRY, &away);
	ok(world_until(w, &away, 1000) && away.outcome == OUTCOME_UNKNOWN, "no list of participants is no answer");
	w->store_result = LOG_DONE;
	world_participant(w, "hotels", "hotel-secret", 2);
	world_call(w, d, OP_TRY, &found);
	ok(world_until(w, &found, 1000) && found.outcome == OUTCOME_OK, "one that was registered just now is found");
	ok(str_is(buf_view(&w->path), "/base/ok?x=1"), "its base URL and the path make the URL");
	ok(str_is(buf_view(&w->body), w->input), "its input has survived the wait");
	r = (struct stub_request){ .head = buf_view(&w->head) };
	text_to_u64(stub_header(&r, "webhook-timestamp"), &v);
	stamp = (int64_t)v;
	webhook_sign(STR("0123456789abcdef"), stub_header(&r, "webhook-id"), stamp, buf_view(&w->body), want);
	ok(str_is(stub_header(&r, "webhook-signature"), want) && stamp == world_now(w) / 1000 &&
	   str_starts(stub_header(&r, "webhook-id"), STR("msg_")), "calls to it are signed");
	ok(world_target_named(w, "participant:hotels").limit == 2, "its own limit holds");
	struct got moved = { 0 };
	world_participant(w, "hotels", "hotel-secret", 2);
	sprintf(w->base_url + strlen(w->base_url) - 5, "moved");
	participants_look(w->participants);
	world_call(w, d, OP_TRY, &moved);
	world_until(w, &moved, 1000);
	ok(str_is(buf_view(&w->path), "/moved/ok?x=1"), "one that moves is called at its new place at once: %s", w->path.p);
	struct got blind = { 0 }, seeing = { 0 };
	w->store_result = LOG_AWAY;
	sprintf(w->base_url + strlen(w->base_url) - 5, "again");
	participants_look(w->participants);
	world_call(w, d, OP_TRY, &blind);
	ok(world_until(w, &blind, 1000) && blind.outcome == OUTCOME_UNKNOWN, "it moves, and nobody can read where to");
	w->store_result = LOG_DONE;
	world_call(w, d, OP_TRY, &seeing);
	ok(world_until(w, &seeing, 1000) && str_is(buf_view(&w->path), "/again/ok?x=1"),
	   "its next call goes to the new place, not to the one before: %s", w->path.p);
	check_signed_once(w, d);
	world_participant(w, "hotels", "no-such-file", 2);
	world_refresh(w);
	unsigned requests = w->stub.requests;
	world_call(w, d, OP_TRY, &unsigned_call);
	ok(world_until(w, &unsigned_call, 1000) && unsigned_call.outcome == OUTCOME_MISCONFIGURED &&
	   w->stub.requests == requests, "without its secret it is not called at all: %s", unsigned_call.error);
	definition_drop(d);
}

static int64_t fixed_now(void *ctx)
{
	(void)ctx;
	return 1700000000000;
}

/* The word that a request carries, checked as whoever gets it does. */
static bool is_vouched_for(const struct world *w, const char *key, const char *gid, int64_t now_ms)
{
	const char *line = w->head.p ? strstr(w->head.p, REPLICA_HEADER ": ") : NULL;

	if (line == NULL)
		return false;
	line += sizeof REPLICA_HEADER ": " - 1;
	return replica_verify(str_of(key), str_of(gid), now_ms, (struct str){ line, strcspn(line, "\r\n") });
}

static void check_poke(struct world *w)
{
	const struct clock_port clock = { w, fixed_now, fixed_now, NULL };
	struct poke     *poke = poke_open(w->http, STR("replica key"), &clock);
	struct poke_port port;
	char             address[64];
	unsigned         requests = w->stub.requests;

	poke_ports(poke, &port);
	snprintf(address, sizeof address, "http://127.0.0.1:%d", w->stub.port);
	port.poke(port.ctx, str_of(address), STR("a/b%"));
	for (int i = 0; i < 200 && w->stub.requests == requests; i++)
		world_turns(w, 5);
	ok(str_is(buf_view(&w->path), "/internal/poke/a%2Fb%25"), "a poke names the transaction");
	ok(is_vouched_for(w, "replica key", "a/b%", 1700000000000 + 60000), "and proves for a minute that a replica sent it");
	ok(!is_vouched_for(w, "replica key", "a/b%", 1700000000000 + 60001) &&
	   !is_vouched_for(w, "replica key", "a/b%", 1700000000000 - 60001), "no longer, and no earlier");
	ok(!is_vouched_for(w, "replica key", "a/b", 1700000000000) && !is_vouched_for(w, "another", "a/b%", 1700000000000) &&
	   !is_vouched_for(w, "", "a/b%", 1700000000000), "for this transaction and this key alone");
	for (int i = 0; i < 2 * POKES_MAX; i++)
		port.poke(port.ctx, str_of(address), STR("x"));
	port.poke(port.ctx, (struct str){ 0 }, STR("x"));
	poke_close(poke);
	ok(true, "pokes under way may be forgotten");
}

static void check_metrics(struct world *w)
{
	struct caller_target t = world_target(w, &w->stub);
	uint64_t             n = 0;

	for (size_t i = 0; i <= TALLY_BOUNDS_MAX; i++)
		n += t.latency_us.counts[i];
	ok(n == t.calls, "each call has its place among the latencies");
	ok(t.calls > 100 && t.failures > 5 && t.failures < t.calls && t.latency_us.sum > t.calls && t.shown,
	   "the caller counts: %llu calls, %llu failures, %llu us", (unsigned long long)t.calls,
	   (unsigned long long)t.failures, (unsigned long long)t.latency_us.sum);
}

/* Calls to one path until all have ended; how many of them were put off. */
static unsigned rounds(struct world *w, struct definition *d, unsigned n, struct got *last)
{
	enum { MAX = IN_FLIGHT + QUEUE };
	struct got got[MAX] = { 0 };
	unsigned   put_off = 0;

	for (unsigned i = 0; i < n; i++)
		world_call(w, d, OP_TRY, &got[i]);
	for (unsigned i = 0; i < n; i++)
		world_until(w, &got[i], 5000);
	for (unsigned i = 0; i < n; i++)
		put_off += got[i].put_off_ms > 0 && got[i].status == 0 && got[i].outcome == OUTCOME_UNKNOWN;
	*last = got[n - 1];
	return put_off;
}

static void check_breaker(struct world *out)
{
	const struct breaker_rules rules = { .percent = 80, .calls = 10, .probe_ms = 1000, .retry_percent = 20, .burst = 200 };
	struct world               w;
	struct got                 got = { 0 }, hung = { 0 };
	unsigned                   n;

	world_open_breaking(&w, out->loop, out->client, &rules);
	struct definition *down = world_definition(&w, &w.stub, "/status/503", "1s");
	struct definition *up = world_definition(&w, &w.stub, "/ok", "1s");
	struct definition *other = world_definition(&w, &w.other, "/ok", "1s");
	struct definition *hangs = world_definition(&w, &w.stub, "/hang", "60s");

	n = rounds(&w, down, 40, &got);
	ok(n >= 40 - 10 - IN_FLIGHT && n <= 30 && got.put_off_ms > 0, "a service that is down is left alone: %u of 40 calls are made",
	   40 - n);
	ok(world_target(&w, &w.stub).breaker == BREAKER_OPEN && world_target(&w, &w.stub).put_off == n &&
	   world_target(&w, &w.stub).queued == 0, "its breaker is open, and nobody waits in its queue");
	ok(rounds(&w, other, 20, &got) == 0, "its neighbour is called");
	ok(rounds(&w, up, 5, &got) == 5 && w.rooms == 0, "it is not, as long as nobody knows that it is back");
	w.later = 1000;
	world_call(&w, hangs, OP_TRY, &hung);
	ok(world_target(&w, &w.stub).breaker == BREAKER_HALF_OPEN && world_target(&w, &w.stub).in_flight == 1,
	   "a second later one call asks");
	ok(rounds(&w, up, 3, &got) == 3, "only one");
	w.later = 2000;
	ok(rounds(&w, up, 5, &got) == 4, "while that one hangs, another asks in the next second");
	ok(world_target(&w, &w.stub).breaker == BREAKER_CLOSED && w.rooms == 1 && w.line == got.line,
	   "it is back: those that were put off are told");
	ok(rounds(&w, up, 50, &got) == 0, "and all are called");
	world_close(&w);
	definition_drop(down);
	definition_drop(up);
	definition_drop(other);
	definition_drop(hangs);
}

static void check_slow_down(struct world *out)
{
	const struct breaker_rules rules = { .percent = 80, .calls = 10, .probe_ms = 1000, .retry_percent = 20, .burst = 200 };
	struct world               w;
	struct got                 got = { 0 };

	world_open_breaking(&w, out->loop, out->client, &rules);
	struct definition *busy = world_definition(&w, &w.stub, "/status/429", "1s");
	struct definition *up = world_definition(&w, &w.stub, "/ok", "1s");
	rounds(&w, busy, 1, &got);
	ok(got.status == 429 && got.put_off_ms == 0, "429 is an answer");
	ok(rounds(&w, up, 5, &got) == 5, "and stops the other calls to that service, too");
	ok(world_target(&w, &w.stub).breaker == BREAKER_CLOSED && world_target(&w, &w.stub).quiet_ms > 0, "for a while");
	w.later = 60000;
	ok(rounds(&w, up, 5, &got) == 0, "no longer than a minute");
	world_close(&w);
	definition_drop(busy);
	definition_drop(up);
}

static void check_close(struct world *w)
{
	struct world       other;
	struct definition *d = world_definition(w, &w->other, "/hang", "5s");
	struct definition *hung = world_document("{\"mode\":\"saga\",\"steps\":{\"hotel\":{\"action\":{\"url\":\"http://hung.test/\"}}}}");
	struct got         got[3 * IN_FLIGHT] = { 0 }, resolving = { 0 };
	unsigned           done = 0;
	uint64_t           began = uv_hrtime();

	world_open(&other, w->loop, w->client, "none", NULL);
	for (unsigned i = 0; i < 3 * IN_FLIGHT; i++)
		world_call(&other, d, OP_TRY, &got[i]);
	world_call(&other, hung, OP_TRY, &resolving);
	world_turns(w, 20);
	world_close(&other);
	for (unsigned i = 0; i < 3 * IN_FLIGHT; i++)
		done += got[i].done;
	ok(done == 0 && !resolving.done && uv_hrtime() - began < 500000000u,
	   "closing drops open calls and waits for nobody");
	definition_drop(d);
	definition_drop(hung);
}

static const char *const client_names[] = { [HTTP_AUTO] = "the plain client", [HTTP_CONNECT] = "it on connections of libcurl",
	                                    [HTTP_CURL] = "libcurl" };

static void check_all(uv_loop_t *loop, enum http_client client)
{
	static struct world w;

	printf("# %s\n", client_names[client]);
	world_open(&w, loop, client, "169.254.0.0/16", "secret directory");
	check_answers(&w);
	check_headers(&w);
	check_traceparent(&w);
	check_queue(&w);
	check_queue_full(&w);
	check_bulkhead(&w);
	check_abort_ended(&w);
	check_held(&w);
	check_reuse(&w);
	check_deny(&w);
	check_resolver(&w);
	check_names(&w);
	check_big_body(&w);
	check_participants(&w);
	check_poke(&w);
	check_metrics(&w);
	check_breaker(&w);
	check_slow_down(&w);
	check_close(&w);
	world_close(&w);
}

int main(void)
{
	uv_loop_t loop;

	uv_loop_init(&loop);
	check_all(&loop, HTTP_AUTO);
	check_all(&loop, HTTP_CONNECT);
	check_all(&loop, HTTP_CURL);
	ok(uv_loop_close(&loop) == 0, "nothing is left on the loop");
	return tap_done();
}
