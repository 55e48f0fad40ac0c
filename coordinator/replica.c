/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/replica.h"

#include "api/api.h"
#include "api/tls.h"
#include "coordinator/base/digest.h"
#include "coordinator/base/line.h"
#include "coordinator/engine/engine.h"
#include "coordinator/io/caller.h"
#include "coordinator/io/clock.h"
#include "coordinator/io/definitions.h"
#include "coordinator/io/httpd_loop.h"
#include "coordinator/io/loop.h"
#include "coordinator/io/otlp.h"
#include "coordinator/io/pauses.h"
#include "coordinator/io/pg.h"
#include "coordinator/io/poke.h"
#include "coordinator/listen.h"
#include "coordinator/token_file.h"
#include "coordinator/workers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BATCH_ROWS = 300,          /* beyond it a bigger commit gains nothing */
	BATCH_BYTES = 256 << 10,
	BATCH_BEHIND = 64,
	FENCE_DELAY_MS = 250,
	KEEP_BYTES = 1 << 20,      /* some hundred transactions that ended or were parked last */
	CONNECTIONS_MAX = 16384,
	KEY_BYTES_MAX = 4096,
	RETRY_BURST = 100,         /* on top of what may be in flight, so that after an outage all places are used */
	RETRIES_FREE = 100,        /* percent: as many retries as first calls is no limit */
	STOP_MS = 2000,            /* for answers that are still being sent when all else is done */
	SETTLE_MS = 5000,
	ANSWERS_MS = 10
};

struct replica {
	const struct replica_config *config;
	struct arena        arena;
	struct line         line;
	struct uuid         me;
	char                incarnation[UUID_TEXT + 1]; /* the same as text */
	struct loop        *loop;
	struct clock        clock;
	int64_t             looked_at; /* boot: when the clock was looked at last */
	uint64_t            looked_in; /* that turn of the loop */
	struct pg          *pg;
	struct http        *http;
	struct participants *participants;
	struct pauses       *pauses;
	struct caller      *caller;
	struct chaos       *chaos;
	struct poke        *poke;
	struct otlp        *otlp;       /* NULL: traces are sent nowhere */
	struct engine      *engine;
	struct api         *api;
	struct httpd_loop  *api_loop, *ops_loop;
	struct ports        ports;
	struct store_port   store;
	struct token_file   tokens;
	struct tls         *tls;
	struct stat         tls_seen[4]; /* certificate, key, CA and revocations as they were read last */
	int64_t             look_at;    /* for a changed tokens file; INT64_MAX: there is none */
	uint64_t            random_pool[512]; /* filling it costs much the same whatever its size */
	size_t              random_left;
	int64_t             quit_at;  /* drained: leave when the connections are gone, at the latest then; 0: running */
	unsigned            signals;
	bool                told_to_leave; /* by a person, through the API: it drains and stays */
	bool                has_left;
};

/* ---- ports that need nothing else ---------------------------------------------- */

/* The replica's id in log lines and traces follows the incarnation, which may change while it runs. */
static void name_lines(struct replica *r)
{
	if (r->engine == NULL || uuid_eq(r->me, engine_incarnation(r->engine)))
		return;
	r->me = engine_incarnation(r->engine);
	uuid_text(r->me, r->incarnation);
	r->line.replica = str_of(r->incarnation);
}

static void trace_line(void *ctx, enum trace_level level, const char *event, struct str gid, const char *detail)
{
	static const enum line_level levels[] = {
		[TRACE_DEBUG] = LINE_DEBUG, [TRACE_INFO] = LINE_INFO,
		[TRACE_WARN] = LINE_WARN,   [TRACE_ERROR] = LINE_ERROR,
	};
	struct replica   *r = ctx;
	struct line_topic topic = { .gid = gid };
	struct str        parent;
	struct trace      t;

	if (!line_is_wanted(&r->line, levels[level]))
		return;
	name_lines(r);
	if (gid.n > 0 && r->engine != NULL && engine_traceparent(r->engine, gid, &parent)) {
		trace_of(gid, parent, &t);
		topic.trace = str_of(t.id);
		topic.span = str_of(t.root);
	}
	line_write_about(&r->line, levels[level], event, &topic, detail);
}

/* ---- traces, where somebody wants them ------------------------------------------ */

static void trace_attempt(void *ctx, struct str traceparent, const struct span_attempt *a)
{
	struct replica *r = ctx;

	name_lines(r);
	otlp_attempt(r->otlp, traceparent, a);
}

static void trace_ended(void *ctx, const struct row *row, const struct txn *txn)
{
	struct replica *r = ctx;

	name_lines(r);
	otlp_ended(r->otlp, row, txn);
}

static void trace_adopted(void *ctx, const struct row *row, struct uuid from, const struct trace_call *calls, size_t n)
{
	struct replica *r = ctx;

	name_lines(r);
	otlp_adopted(r->otlp, row, from, calls, n);
}

static bool open_traces(struct replica *r, struct err *err)
{
	const struct options *o = r->config->options;
	struct str            headers = STR("");
	struct otlp_config    config = {
		.endpoint = o->otlp_endpoint,
		.ca_file = o->calls_ca,
		.rules = { .parent_based = strcmp(o->otlp_sampler, "parent") == 0 },
		.clock = r->ports.clock,
		.trace = { .ctx = r, .line = trace_line },
		.instance = r->incarnation,
		.version = PACKAGE_VERSION,
	};

	if (!trace_threshold(str_of(o->otlp_ratio), &config.rules.threshold))
		return err_set(err, ERR_INVALID, "--otlp.ratio is a number from 0 to 1 with at most 6 digits behind the point, "
		               "not \"%s\"", o->otlp_ratio);
	if (o->otlp_endpoint[0] == '\0')
		return true;
	if (o->otlp_headers_file[0] != '\0' &&
	    !options_file(o->otlp_headers_file, KEY_BYTES_MAX, &r->arena, &headers, err))
		return false;
	config.headers = headers.p;
	r->otlp = otlp_open(loop_uv(r->loop), &config, err);
	if (r->otlp == NULL)
		return false;
	r->ports.trace.ended = trace_ended;
	r->ports.trace.adopted = trace_adopted;
	return true;
}

static void traces_state(void *ctx, struct api_traces *out)
{
	const struct replica *r = ctx;
	struct otlp_stats     s = { 0 };

	if (r->otlp != NULL)
		otlp_stats(r->otlp, &s);
	*out = (struct api_traces){ s.sent, s.dropped, s.refused, s.queued, s.failures };
}

/* The lease goes by this one, so it is read anew each time. */
static int64_t boot_ms(void *ctx)
{
	struct replica *r = ctx;

	r->looked_in = loop_turns(r->loop);
	r->looked_at = loop_boot_ms();
	return r->looked_at;
}

/* When the clock was looked at last, in this turn of the loop: good enough for what is no lease, and forty readings a
 * transaction would show in profiles. */
static int64_t seen_ms(void *ctx)
{
	const struct replica *r = ctx;

	return r->looked_in == loop_turns(r->loop) ? r->looked_at : boot_ms(ctx);
}

static int64_t now_ms(void *ctx)
{
	struct replica *r = ctx;

	return clock_at_ms(&r->clock, seen_ms(r));
}

/* The kernel's generator by the handful: one system call per id would show in profiles. */
static uint64_t random64(void *ctx)
{
	struct replica *r = ctx;

	if (r->random_left == 0) {
		r->random_left = sizeof r->random_pool / sizeof r->random_pool[0];
		digest_random(r->random_pool, sizeof r->random_pool);
	}
	return r->random_pool[--r->random_left];
}

/* ---- news ------------------------------------------------------------------------- */

static void on_log_back(void *ctx)
{
	struct replica *r = ctx;

	if (r->engine != NULL)
		engine_on_log_back(r->engine);
}

static void on_failover(void *ctx, int64_t ago_ms, bool lived)
{
	struct replica *r = ctx;

	if (r->engine != NULL)
		engine_on_failover(r->engine, ago_ms, lived);
}

static void on_room(void *ctx, uint64_t line)
{
	struct replica *r = ctx;

	if (r->engine != NULL)
		engine_on_room(r->engine, line);
}

static void on_lease_lost(void *ctx)
{
	struct replica *r = ctx;

	if (r->engine != NULL)
		engine_on_lease_lost(r->engine);
}

static void pass_target(void *arg, const struct caller_target *t)
{
	const struct {
		api_each_target *each;
		void            *arg;
	} *to = arg;

	to->each(to->arg, &(struct api_target){
		.name = t->name, .in_flight = t->in_flight, .limit = t->limit, .queued = t->queued, .calls = t->calls,
		.failures = t->failures, .rejected = t->rejected, .latency_us = &t->latency_us, .examples = t->examples, .shown = t->shown,
		.p50_us = t->p50_us,
		.p99_us = t->p99_us, .breaker = breaker_state_name(t->breaker), .breaker_ms = t->breaker_ms,
		.quiet_ms = t->quiet_ms, .recent = t->recent, .recent_unknown = t->recent_unknown, .opened = t->opened,
		.put_off = t->put_off });
}

static void each_target(void *ctx, api_each_target *each, void *arg)
{
	struct replica *r = ctx;
	struct {
		api_each_target *each;
		void            *arg;
	} to = { each, arg };

	caller_each_target(r->caller, pass_target, &to);
}

static void database_state(void *ctx, struct api_database *out)
{
	struct pg_stats s;

	pg_stats(((struct replica *)ctx)->pg, &s);
	*out = (struct api_database){ s.log_up && s.work_up && s.store_up, s.unsafe_standby, s.connects, s.breaks, s.statements,
	                              s.last_error, s.failovers, s.failover_unfinished,
	                              s.batch_us, s.batch_rows };
}

static bool may_go_to(void *ctx, struct str target)
{
	return http_may_call(((struct replica *)ctx)->http, target);
}

static void look_at_participants(void *ctx)
{
	participants_look(((struct replica *)ctx)->participants);
}

static void look_at_pauses(void *ctx, void (*done)(void *arg), void *arg)
{
	pauses_look(((struct replica *)ctx)->pauses, done, arg);
}

static const struct pause_row *pause_of(void *ctx, enum pause_kind kind, struct str name)
{
	return pauses_find(((struct replica *)ctx)->pauses, kind, name);
}

static void on_left(void *arg)
{
	struct replica *r = arg;

	line_write(&r->line, LINE_INFO, "drained", (struct str){ 0 }, "");
	if (r->signals > 0) {
		r->quit_at = loop_boot_ms() + STOP_MS;
		return;
	}
	r->has_left = true;
}

/* A person wants it to leave: it drains as on SIGTERM, and then stays up, so that whoever restarts what ends does
 * not bring it back, and answers what can be answered without owning anything. */
static void on_pauses(void *ctx)
{
	struct replica         *r = ctx;
	struct engine_stats     stats;
	const struct pause_row *row;
	char                    id[UUID_TEXT + 1];

	if (r->engine != NULL)
		engine_on_room(r->engine, 0); /* a participant may have been resumed */
	if (r->engine == NULL || r->told_to_leave || r->signals > 0)
		return;
	engine_stats(r->engine, &stats);
	row = pauses_find(r->pauses, PAUSE_REPLICA, str_of(uuid_text(stats.me, id)));
	if (row == NULL)
		return;
	r->told_to_leave = true;
	line_fmt(&r->line, LINE_INFO, "draining", (struct str){ 0 }, "grace_ms=%lld asked_by=%.*s",
	         (long long)r->config->options->drain_grace, (int)row->actor.n, row->actor.p);
	engine_drain(r->engine, (uint32_t)r->config->options->drain_grace, on_left, r);
}

static void ask_replica(void *ctx, struct str address, const char *path, struct str name, uint32_t timeout_ms,
                        api_answered *done, void *arg)
{
	poke_ask(((struct replica *)ctx)->poke, address, path, name, timeout_ms, done, arg);
}

static uint64_t lag_us(void *ctx)
{
	return loop_lag_us(((struct replica *)ctx)->loop);
}

/* ---- opening, in the order in which they lean on each other ------------------------- */

static bool open_log(struct replica *r, struct err *err)
{
	const struct pg_config config = {
		.dsn = r->config->options->dsn,
		.lease_mode = strcmp(r->config->options->lease_mode, "row") == 0 ? PG_LEASE_ROW : PG_LEASE_LOCK,
		.lease_ttl_ms = (uint32_t)r->config->options->lease_ttl,
		.keep_audit_ms = r->config->options->audit_retention,
		.clock = &r->clock,
		.trace = r->ports.trace,
		.on_back = on_log_back,
		.on_lease_lost = on_lease_lost,
		.on_failover = on_failover,
		.ctx = r,
	};

	r->pg = pg_open(loop_uv(r->loop), &config, err);
	if (r->pg == NULL)
		return false;
	pg_ports(r->pg, &r->ports.log, &r->ports.lease, &r->store);
	return true;
}

static bool may_call(void *ctx)
{
	struct replica *r = ctx;

	return r->engine != NULL && engine_may_act(r->engine);
}

struct keys { /* shared by all replicas */
	struct str callback, replica;
};

static bool open_calls(struct replica *r, const struct keys *keys, struct err *err)
{
	const struct options     *o = r->config->options;
	const struct http_config  http = {
		.response_max = o->calls_response_max,
		.deny = str_of(o->calls_deny),
		.allow = str_of(o->calls_allow),
		.ca_file = o->calls_ca,
		.client = strcmp(o->calls_client, "curl") == 0      ? HTTP_CURL
		          : strcmp(o->calls_client, "connect") == 0 ? HTTP_CONNECT : HTTP_AUTO,
		.may_send = may_call,
		.may_send_ctx = r,
	};

	r->http = http_open(loop_uv(r->loop), &http, err);
	if (r->http == NULL)
		return false;
	r->participants = participants_open(loop_uv(r->loop), &r->store, o->secrets_dir);
	r->pauses = pauses_open(loop_uv(r->loop), &r->store, on_pauses, r);
	if (o->chaos != 0)
		r->chaos = chaos_open(loop_uv(r->loop), r->http, o->chaos);
	if (r->chaos != NULL)
		line_fmt(&r->line, LINE_WARN, "chaos", (struct str){ 0 }, "seed=%u note=\"calls are sent twice, late and with old epochs on "
		         "purpose: this is for trying services out and no place for transactions that matter\"", o->chaos);
	if (o->dtm_second != 1000)
		line_fmt(&r->line, LINE_WARN, "dtm_second", (struct str){ 0 },
		         "ms=%lld note=\"a second of DTM's protocol is shorter here: this is for tests\"",
		         (long long)o->dtm_second);
	const struct caller_config config = {
		.http = r->http,
		.chaos = r->chaos,
		.participants = r->participants,
		.pauses = r->pauses,
		.clock = { r, now_ms, seen_ms, random64 },
		.may_send = may_call,
		.may_send_ctx = r,
		.rules = { .callback_base = str_of(r->config->advertise), .callback_key = keys->callback,
		           .traces = r->otlp != NULL ? otlp_rules(r->otlp) : NULL },
		.attempted = r->otlp != NULL ? trace_attempt : NULL,
		.attempted_ctx = r,
		.per_participant = o->calls_per_participant,
		.queue_max = o->calls_queue,
		.breaker = { .percent = o->calls_breaker, .calls = o->calls_breaker_min,
		             .probe_ms = (uint32_t)o->calls_breaker_probe, .retry_percent = o->calls_retries,
		             .burst = o->calls_retries == RETRIES_FREE ? 0 : RETRY_BURST + o->calls_per_participant },
		.room = on_room,
		.room_ctx = r,
		.trace = r->ports.trace,
	};
	r->caller = caller_open(loop_uv(r->loop), &config);
	caller_ports(r->caller, &r->ports.caller);
	r->poke = poke_open(r->http, keys->replica, &r->ports.clock);
	poke_ports(r->poke, &r->ports.poke);
	return true;
}

/* The margin covers what the boot clocks of two machines and one answer's way may differ by. */
static void open_engine(struct replica *r)
{
	const struct options      *o = r->config->options;
	const uint32_t             ttl_ms = (uint32_t)o->lease_ttl;
	const struct engine_config config = {
		.ttl_ms = ttl_ms,
		.beat_ms = ttl_ms / 5,
		.margin_ms = ttl_ms / 10,
		.fence_delay_ms = FENCE_DELAY_MS,
		.keep_bytes = KEEP_BYTES,
		.park_after_ms = (uint32_t)o->park_after,
		.transactions_max = o->max_transactions,
		.batch_rows = BATCH_ROWS,
		.batch_bytes = BATCH_BYTES,
		.batch_behind = BATCH_BEHIND,
		.weight = o->weight,
		.address = str_of(r->config->address),
	};

	r->engine = engine_open(&config, &r->ports);
}

/* A file that is broken lets in whoever the one before let in. */
static void look_at_tokens(struct replica *r)
{
	struct err        err = { 0 };
	struct token_set *set;

	if (!token_file_changed(&r->tokens))
		return;
	set = token_file_read(&r->tokens, &err);
	if (set == NULL) {
		line_fmt(&r->line, LINE_ERROR, "tokens_kept", (struct str){ 0 }, "error=\"%s\"", err.text);
		return;
	}
	line_fmt(&r->line, LINE_INFO, "tokens_read", (struct str){ 0 }, "tokens=%zu", tokens_count(set));
	api_set_tokens(r->api, set);
}

/* Which files of TLS there are now: did one of them change? */
static bool tls_changed(struct replica *r)
{
	const struct options *o = r->config->options;
	const char *const     paths[] = { o->tls_cert, o->tls_key, o->tls_client_ca, o->tls_client_crl };
	bool                  changed = false;

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (paths[i][0] != '\0')
			changed = file_changed(paths[i], &r->tls_seen[i]) || changed;
	return changed;
}

/* Two files that fit each other are seldom replaced in one moment: the next look finds the second. */
static void look_at_tls(struct replica *r)
{
	struct err err = { 0 };

	if (!tls_changed(r))
		return;
	if (tls_reload(r->tls, &err))
		line_write(&r->line, LINE_INFO, "tls_read", (struct str){ 0 }, "");
	else
		line_fmt(&r->line, LINE_ERROR, "tls_kept", (struct str){ 0 }, "error=\"%s\"", err.text);
}

static bool open_tls(struct replica *r, struct err *err)
{
	const struct options   *o = r->config->options;
	const struct tls_config config = {
		.cert = o->tls_cert,
		.key = o->tls_key,
		.client_ca = o->tls_client_ca,
		.client_crl = o->tls_client_crl,
		.must_show = o->tokens_file[0] == '\0',
	};

	if (o->tls_cert[0] == '\0')
		return true;
	tls_changed(r);
	r->tls = tls_open(&config, err);
	return r->tls != NULL;
}

static void look_at_files(struct replica *r)
{
	r->look_at = loop_boot_ms() + TOKEN_FILE_LOOK_MS;
	if (r->tokens.path[0] != '\0')
		look_at_tokens(r);
	if (r->tls)
		look_at_tls(r);
}

static bool open_tokens(struct replica *r, bool has_key, struct err *err)
{
	struct token_set *set;

	r->tokens.path = r->config->options->tokens_file;
	r->look_at = r->tls || r->tokens.path[0] != '\0' ? loop_boot_ms() + TOKEN_FILE_LOOK_MS : INT64_MAX;
	if (r->tokens.path[0] == '\0')
		return true;
	set = token_file_read(&r->tokens, err);
	if (set == NULL)
		return false;
	api_set_tokens(r->api, set);
	if (!listen_is_local(r->config->api_fd) && r->tls == NULL)
		line_write(&r->line, LINE_WARN, "tokens_in_clear", (struct str){ 0 },
		           "effect=\"whoever listens on the network reads them; see tls.cert\"");
	if (!has_key)
		line_write(&r->line, LINE_WARN, "replica_key_missing", (struct str){ 0 },
		           "effect=\"replicas refuse each other's pokes: commands wait for the next look into the inbox\"");
	return true;
}

static bool open_api(struct replica *r, const struct keys *keys, struct err *err)
{
	const struct api_config config = {
		.listen_fd = r->config->api_fd,
		.ops_fd = r->config->ops_fd,
		.body_max = r->config->options->max_body,
		.connections_max = CONNECTIONS_MAX,
		.waiters_max = r->config->options->max_waiters,
		.callback_key = keys->callback,
		.replica_key = keys->replica,
		.tls = r->tls,
		.ops_tls = strcmp(r->config->options->ops_tls, "yes") == 0,
		.by_library = strcmp(r->config->options->listen_server, "microhttpd") == 0,
		.ops_is_local = listen_is_local(r->config->ops_fd),
		.rate = r->config->options->limit_rate,
		.burst = r->config->options->limit_burst,
		.waiters_each = r->config->options->limit_waiters,
		.dtm_second_ms = r->config->options->dtm_second,
		.chaos = r->config->options->chaos,
		.targets = each_target,
		.may_call = may_go_to,
		.ask = ask_replica,
		.participants_changed = look_at_participants,
		.pause_of = pause_of,
		.pauses_changed = look_at_pauses,
		.database = database_state,
		.loop_lag_us = lag_us,
		.traces = traces_state,
		.ctx = r,
	};
	struct pollable source;

	r->api = api_open(&config, r->engine, &r->ports, &r->store, err);
	if (r->api == NULL || !open_tokens(r, keys->replica.n > 0, err))
		return false;
	source = api_pollable(r->api);
	r->api_loop = httpd_loop_open(loop_uv(r->loop), &source);
	source = api_ops_pollable(r->api);
	r->ops_loop = httpd_loop_open(loop_uv(r->loop), &source);
	return true;
}

static bool read_keys(struct replica *r, struct keys *keys, struct err *err)
{
	const struct options *o = r->config->options;

	if (o->callback_key_file[0] != '\0' &&
	    !options_file(o->callback_key_file, KEY_BYTES_MAX, &r->arena, &keys->callback, err))
		return false;
	keys->replica = keys->callback;
	return o->replica_key_file[0] == '\0' ||
	       options_file(o->replica_key_file, KEY_BYTES_MAX, &r->arena, &keys->replica, err);
}

static bool open_all(struct replica *r, struct err *err)
{
	struct keys keys = { { 0 }, { 0 } };

	r->look_at = INT64_MAX;
	if (!read_keys(r, &keys, err) || !open_tls(r, err))
		return false;
	r->ports.trace = (struct trace_port){ .ctx = r, .line = trace_line };
	r->ports.clock = (struct clock_port){ r, now_ms, boot_ms, random64 };
	r->ports.definition = definition_port_of();
	if (!open_traces(r, err) || !open_log(r, err) || !open_calls(r, &keys, err))
		return false;
	open_engine(r);
	return open_api(r, &keys, err);
}

/* ---- running -------------------------------------------------------------------------- */

static void flush(void *ctx)
{
	struct replica *r = ctx;

	httpd_loop_flush(r->ops_loop);
	httpd_loop_flush(r->api_loop);
	caller_flush(r->caller);
	if (r->quit_at == 0)
		engine_flush(r->engine);
	else if (api_connections(r->api) == 0 && (r->otlp == NULL || otlp_is_idle(r->otlp)))
		loop_stop(r->loop);
}

static int64_t next_at(void *ctx)
{
	struct replica *r = ctx;

	if (r->quit_at == 0) {
		int64_t at = engine_next_at(r->engine), next = api_next_at(r->api);

		at = next < at ? next : at;
		return at < r->look_at ? at : r->look_at;
	}
	int64_t soon = loop_boot_ms() + ANSWERS_MS; /* connections leave without a word */
	return soon < r->quit_at ? soon : r->quit_at;
}

static void tick(void *ctx)
{
	struct replica *r = ctx;

	line_tick(&r->line);
	if (r->look_at <= loop_boot_ms())
		look_at_files(r);
	if (r->quit_at == 0) {
		engine_tick(r->engine);
		api_tick(r->api);
	} else if (loop_boot_ms() >= r->quit_at) {
		loop_stop(r->loop);
	}
}

/* Nothing is owned any more. What is left are answers on their way to clients. */
static void on_drained(void *arg)
{
	struct replica *r = arg;

	line_write(&r->line, LINE_INFO, "drained", (struct str){ 0 }, "");
	if (r->otlp != NULL)
		otlp_flush(r->otlp);
	r->quit_at = loop_boot_ms() + STOP_MS;
}

static void on_stop(void *ctx, int number)
{
	struct replica *r = ctx;

	if (r->signals++ > 0) { /* whoever asks twice does not want to wait */
		loop_stop(r->loop);
		return;
	}
	line_fmt(&r->line, LINE_INFO, "draining", (struct str){ 0 }, "signal=%d grace_ms=%lld", number,
	         (long long)r->config->options->drain_grace);
	api_drain(r->api);
	if (r->has_left) {
		on_drained(r);
		return;
	}
	engine_drain(r->engine, (uint32_t)r->config->options->drain_grace, on_drained, r);
}

/* ---- closing: those that ask before those that answer ----------------------------------- */

static bool close_all(struct replica *r)
{
	if (r->api_loop != NULL) {
		httpd_loop_close(r->api_loop, NULL, NULL);
		httpd_loop_close(r->ops_loop, NULL, NULL);
	}
	if (r->caller != NULL)
		caller_close(r->caller, NULL, NULL);
	if (r->chaos != NULL)
		chaos_close(r->chaos);
	if (r->poke != NULL)
		poke_close(r->poke);
	if (r->otlp != NULL)
		otlp_close(r->otlp);
	if (r->participants != NULL)
		participants_close(r->participants, NULL, NULL);
	if (r->pauses != NULL)
		pauses_close(r->pauses);
	if (r->http != NULL)
		http_close(r->http, NULL, NULL);
	if (r->pg != NULL)
		pg_close(r->pg, NULL, NULL);
	/* Nobody can call back any more: what was asked may go. */
	if (r->api != NULL)
		api_close(r->api);
	tls_close(r->tls);
	if (r->engine != NULL)
		engine_close(r->engine);
	r->engine = NULL; /* log lines ask it */
	loop_settle(r->loop, SETTLE_MS);
	return loop_close(r->loop);
}

int replica_run(const struct replica_config *config)
{
	struct replica r = { .config = config, .looked_in = UINT64_MAX };
	struct err     err = { 0 };
	enum line_level level = LINE_INFO;
	enum line_format format = LINE_JSON;
	int             status = EXIT_SUCCESS;

	line_level_parse(str_of(config->options->log_level), &level);
	line_format_parse(str_of(config->options->log_format), &format);
	line_init(&r.line, STDERR_FILENO, level, format);
	r.line.version = PACKAGE_VERSION;
	clock_init(&r.clock);
	r.loop = loop_open();
	if (open_all(&r, &err)) {
		const struct loop_hooks hooks = { &r, flush, next_at, tick, on_stop };

		engine_start(r.engine);
		name_lines(&r);
		line_fmt(&r.line, LINE_INFO, "started", (struct str){ 0 }, "version=%s api=%s address=%s lease_ttl_ms=%lld "
		         "lease_mode=%s", PACKAGE_VERSION, config->advertise, config->address,
		         (long long)config->options->lease_ttl, config->options->lease_mode);
		if (config->schema.version > config->schema.known)
			line_fmt(&r.line, LINE_INFO, "schema_newer", (struct str){ 0 }, "schema=%d known=%d",
			         config->schema.version, config->schema.known);
		loop_run(r.loop, &hooks);
		line_write(&r.line, LINE_INFO, "stopped", (struct str){ 0 }, "");
	} else {
		line_fmt(&r.line, LINE_ERROR, "start_failed", (struct str){ 0 }, "error=\"%s\"", err.text);
		status = EXIT_SETTINGS;
	}
	bool closed = close_all(&r);
	line_fini(&r.line);
	arena_fini(&r.arena);
	if (!closed)
		_exit(status);
	return status;
}
