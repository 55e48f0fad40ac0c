/* SPDX-License-Identifier: Apache-2.0
 * dtm.c - any bytes as a request of DTM's protocol: a line of digits that say how engine and store
 * answer, then lines of method, path and query, then the body. Each gets one answer in DTM's shape.
 */
#include "api/dtm/dtm.h"
#include "api/places.h"
#include "api/show.h"
#include "participants/definition_call.h"
#include "tests/fuzz/replay.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what engine, store and listener do here --------------------------------------------- */

static struct world {
	struct exchange    x;
	struct request     r;
	struct api         api;
	unsigned           answers;
	unsigned           digit[4];    /* result, phase, kind, cause */
	unsigned           calls;       /* of the store and the engine */
	struct definition *def;         /* what was begun last, or may be joined */
	struct row         row;
	struct step        steps[TXN_STEPS_MAX + 1];
	struct note        notes[TXN_STEPS_MAX + 1], check;
	struct txn         txn;
	void             (*next)(void); /* calls back, when everybody has returned */
	void              *journal_arg;
	union {
		begin_done   *begin;
		command_done *command;
		view_done    *view;
		list_done    *list;
		entries_done *journal;
		dtm_kvs_done *kvs;
		dtm_kv_done  *kv;
	} done;
} w;

struct arena *request_arena(struct request *r)
{
	return &r->x->arena;
}

struct str request_keep(struct request *r, struct buf *text)
{
	struct str kept = arena_str(request_arena(r), buf_view(text));

	buf_fini(text);
	return kept;
}

int64_t request_now(const struct request *r)
{
	(void)r;
	return 1790000000000;
}

struct str request_param(const struct request *r, unsigned i)
{
	return r->match.params[i];
}

const struct principal *request_principal(const struct request *r)
{
	return &r->who;
}

struct str exchange_header(const struct exchange *x, const char *name)
{
	(void)x, (void)name;
	return (struct str){ 0 };
}

unsigned places_check(const struct request *r, const struct definition *d, struct buf *errors)
{
	(void)r, (void)d, (void)errors;
	return 0;
}

bool places_check_step(struct request *r, const struct json *step)
{
	assert(step != NULL && step->type == JSON_OBJECT);
	(void)r;
	return true;
}

bool request_takes_place(struct request *r, const char **why)
{
	assert(r->prefer.wait && w.answers == 0);
	*why = r->x->body.n % 2 ? "yours" : NULL;
	return r->x->body.n % 16 > 1;
}

void request_problem(struct request *r, enum problem p, const char *fmt, ...)
{
	assert(p == PROBLEM_TOO_MANY_WAITERS && dtm_of(r)->rpc_id.n == 0);
	assert((fmt != NULL) == (r->x->body.n % 2 == 1));
	w.answers++;
}

static void check_json(struct str text)
{
	struct arena      arena = { 0 };
	struct json_error err;

	assert(json_parse(text, &arena, &err) != NULL);
	arena_fini(&arena);
}

void request_answer_as(struct request *r, unsigned status, const char *type, struct buf *body)
{
	bool is_rpc = strcmp(r->x->path.p ? r->x->path.p : "", "/api/json-rpc") == 0;

	w.answers++;
	assert(strcmp(type, "application/json; charset=utf-8") == 0);
	assert(status == 200 || (!is_rpc && (status == 409 || status == 425 || status == 500)));
	check_json(buf_view(body));
	assert((status == 409) == (strncmp(body->p, "{\"dtm_result\":\"FAILURE\"", 23) == 0));
	assert(status != 500 || strncmp(body->p, "{\"message\":\"", 12) == 0);
	buf_fini(body);
}

static void show_nothing(struct request *r, const struct view *v)
{
	struct buf out = { 0 };

	buf_char(&out, '[');
	dtm_show_transaction(r, v, &out);
	buf_cstr(&out, ",[");
	dtm_show_branches(r, v, &out);
	buf_cstr(&out, "]]");
	check_json(buf_view(&out));
	buf_fini(&out);
}

/* A transaction as the digits want it, of the definition that is there. */
static struct view make_view(void)
{
	static char        labels[DTM_KIND_COUNT][24];
	const struct plan *plan = definition_plan(w.def);
	unsigned           kind = w.digit[2] % DTM_KIND_COUNT;

	w.txn.steps = w.steps;
	txn_init(&w.txn, plan, 0, request_now(&w.r) + 1000);
	w.txn.phase = w.row.phase = (enum phase)(w.digit[1] % PHASE_COUNT);
	w.txn.cause = (enum cause)(w.digit[3] % CAUSE_COUNT);
	if (w.txn.cause == CAUSE_ATTEMPTS && plan->step_count == 0)
		w.txn.cause = CAUSE_NONE;
	if (w.row.labels.n == 0) {
		snprintf(labels[kind], sizeof labels[kind], "{\"dtm\":\"%s\"}",
		         dtm_kind_name((enum dtm_kind)kind));
		w.row.labels = str_of(labels[kind]);
	}
	w.row.def = w.def;
	w.row.created_at = request_now(&w.r);
	w.row.ended_at = phase_is_ended(w.row.phase) ? w.row.created_at : 0;
	w.row.deadline_at = w.txn.deadline_at;
	w.check.error = STR("FAILURE \"said\" it");
	return (struct view){ w.row, &w.txn, w.notes, &w.check };
}

static void run_view(void)
{
	struct view v = make_view();

	if (w.digit[0] % 3 == 0)
		w.done.view(&w.r, LOG_AWAY, NULL);
	else
		w.done.view(&w.r, LOG_DONE, w.digit[0] % 3 == 1 ? NULL : &v);
}

void engine_read(struct engine *e, struct str gid, view_done *done, void *arg)
{
	assert(e == NULL && arg == &w.r && gid_is_valid(gid) && w.next == NULL);
	w.done.view = done;
	w.next = run_view;
}

void request_wait(struct request *r, view_done *done)
{
	engine_read(NULL, r->gid, done, r);
}

static void run_begin(void)
{
	enum begin_result result = (enum begin_result)(w.digit[0] % (BEGIN_REFUSED + 1));
	struct view       v = make_view();

	w.done.begin(&w.r, result, result <= BEGIN_EXISTS ? &v : NULL);
}

void engine_begin(struct engine *e, const struct row *row, int64_t start_at, int64_t deadline_at,
                  begin_done *done, void *arg)
{
	struct findings *findings = calloc(1, sizeof *findings);
	struct view      v;

	assert(e == NULL && arg == &w.r && gid_is_valid(row->gid) && w.next == NULL);
	assert(start_at >= 0 && deadline_at >= 0 && json_is_valid(row->input));
	check_json(row->labels);
	definition_drop(w.def);
	w.row = *row;
	w.row.document = arena_str(&w.x.arena, row->document);
	w.row.input = arena_str(&w.x.arena, row->input);
	w.row.labels = arena_str(&w.x.arena, row->labels);
	w.row.gid = arena_str(&w.x.arena, row->gid);
	findings->arena = &w.x.arena;
	w.def = definition_compile(w.row.document, DEFINITION_INLINE, STR(""), findings);
	assert(w.def != NULL); /* what the log keeps can be read again */
	free(findings);
	v = make_view();
	show_nothing(&w.r, &v);
	w.done.begin = done;
	w.next = run_begin;
}

static void run_command(void)
{
	enum command_result result = (enum command_result)(w.digit[0] % (COMMAND_LOST + 1));
	struct view         v = make_view();
	struct err          err = { 0 };

	snprintf(err.text, sizeof err.text, "%s", "no");
	w.done.command(&w.r, result, (enum verdict)(w.digit[3] % VERDICT_COUNT),
	               result == COMMAND_APPLIED ? &v : NULL, &err);
}

static void try_join(struct str document)
{
	struct findings   *findings = calloc(1, sizeof *findings);
	struct definition *grown = NULL;
	struct view        v;

	check_json(document);
	findings->arena = &w.x.arena;
	if (definition_join(w.def, document, &grown, findings) == 1) {
		definition_drop(w.def);
		w.def = grown;
		v = make_view();
		show_nothing(&w.r, &v);
	}
	free(findings);
}

void engine_command(struct engine *e, const struct command *c, command_done *done, void *arg)
{
	assert(e == NULL && arg == &w.r && gid_is_valid(c->gid) && w.next == NULL);
	assert(text_is_utf8(c->reason) && c->start_at >= 0);
	if (c->kind == COMMAND_JOIN)
		try_join(c->body);
	w.done.command = done;
	w.next = run_command;
}

void engine_view(struct engine *e, const struct row *row,
                 void (*show)(void *arg, const struct view *view), void *arg)
{
	struct view v = make_view();

	(void)e;
	v.row.gid = row->gid;
	show(arg, &v);
}

const char *command_name(enum command_kind k)
{
	static const char *const NAMES[] = {
#define X(name, text) text,
		COMMANDS(X)
#undef X
	};

	return NAMES[k];
}

/* ---- the store --------------------------------------------------------------------------- */

static enum log_result result_of_store(void)
{
	return w.digit[0] == 9 ? LOG_AWAY : LOG_DONE;
}

static void run_list(void)
{
	struct row             rows[3] = { { .gid = STR("a") }, { .gid = STR("b") }, { .gid = STR("c") } };
	const struct list_page page = { .next = STR("1-\"b") };

	w.done.list(&w.r, result_of_store(), rows, result_of_store() == LOG_DONE ? w.digit[1] % 4 : 0,
	            &page);
}

static void dtm_list(void *ctx, const struct dtm_filter *f, struct str after, unsigned limit,
                     list_done *done, void *arg)
{
	(void)ctx, (void)after;
	assert(arg == &w.r && limit >= 1 && limit <= 1000 && f->since >= 0 && f->until >= 0);
	w.done.list = done;
	w.next = run_list;
}

static void dtm_sleepers(void *ctx, int64_t longer_ms, unsigned limit, list_done *done, void *arg)
{
	(void)ctx, (void)limit;
	assert(arg == &w.r && longer_ms >= 0 && longer_ms <= 3650ll * 86400 * 1000);
	w.done.list = done;
	w.next = run_list;
}

static void run_kvs(void)
{
	static const char *const VALUES[] = { "[]", "[{\"url\":\"http://a/\",\"remark\":\"\"}]",
		                              "[{\"url\":\"http://a/\"},{\"url\":\"http://b/\"}]",
		                              "no json", "{}", "[1]" };
	const struct dtm_kv_row  row = { .k = STR("k"),
		                         .v = str_of(VALUES[w.digit[1] % 6]),
		                         .version = 1,
		                         .created_at = 1790000000000 };

	w.done.kvs(&w.r, result_of_store(), &row, result_of_store() == LOG_DONE ? w.digit[2] % 2 : 0);
}

static void dtm_kv_read(void *ctx, struct str cat, struct str k, struct str after, unsigned limit,
                        dtm_kvs_done *done, void *arg)
{
	(void)ctx, (void)cat, (void)k, (void)after;
	assert(arg == &w.r && limit >= 1 && limit <= 1000);
	w.done.kvs = done;
	w.next = run_kvs;
}

static void run_kv(void)
{
	w.done.kv(&w.r, result_of_store(), result_of_store() == LOG_DONE && w.digit[3] % 2);
}

static void dtm_kv_write(void *ctx, const struct dtm_kv_row *row, dtm_kv_done *done, void *arg)
{
	(void)ctx, (void)arg;
	check_json(row->v);
	w.done.kv = done;
	w.next = run_kv;
}

static void dtm_kv_delete(void *ctx, struct str cat, struct str k, dtm_kv_done *done, void *arg)
{
	(void)ctx, (void)cat, (void)k, (void)arg;
	w.done.kv = done;
	w.next = run_kv;
}

static void run_journal(void)
{
	const struct entry_row rows[] = { { .entry = { .what = STR("cancel"), .detail = STR("x\"") } },
		                          { .entry = { .step = STR("branch-01"),
		                                       .op = STR("try"),
		                                       .outcome = STR("refused"),
		                                       .detail = STR("no") } } };

	w.done.journal(w.journal_arg, result_of_store(), rows, result_of_store() == LOG_DONE ? 2 : 0);
}

static void journal(void *ctx, struct str gid, uint64_t after, unsigned limit, entries_done *done,
                    void *arg)
{
	(void)ctx, (void)after, (void)limit;
	assert(gid_is_valid(gid));
	w.done.journal = done;
	w.journal_arg = arg;
	w.next = run_journal;
}

static uint64_t no_random(void *ctx)
{
	(void)ctx;
	return 0x0123456789abcdef;
}

/* ---- a request ---------------------------------------------------------------------------- */

static void open_world(void)
{
	struct findings *findings = calloc(1, sizeof *findings);

	memset(&w, 0, sizeof w);
	w.api.config.dtm_second_ms = 1000;
	w.api.store = (struct store_port){ .dtm_list = dtm_list,
		                           .dtm_sleepers = dtm_sleepers,
		                           .dtm_kv_read = dtm_kv_read,
		                           .dtm_kv_write = dtm_kv_write,
		                           .dtm_kv_delete = dtm_kv_delete,
		                           .journal = journal };
	w.api.ports.clock.random = no_random;
	w.r = (struct request){ .api = &w.api, .x = &w.x, .request_id = STR("r") };
	w.row.gid = STR("g");
	w.row.input = STR("{}");
	findings->arena = &w.x.arena;
	w.def = definition_compile(STR("{\"mode\":\"tcc\"}"), DEFINITION_INLINE, STR(""), findings);
	free(findings);
}

static void close_world(void)
{
	definition_drop(w.def);
	buf_fini(&w.r.errors);
	arena_fini(&w.x.arena);
}

static struct str cut(struct str *rest, char mark)
{
	const char *end = rest->n ? memchr(rest->p, mark, rest->n) : NULL;
	struct str  head = *rest;

	if (end == NULL) {
		*rest = (struct str){ 0 };
		return head;
	}
	head.n = (size_t)(end - rest->p);
	*rest = (struct str){ end + 1, rest->n - head.n - 1 };
	return head;
}

static bool read_query(struct str text)
{
	while (text.n > 0) {
		struct str value = cut(&text, '&'), name = cut(&value, '=');

		if (query_add(&w.r.query, &w.x.arena, name, value) != NULL)
			return false;
	}
	return true;
}

static void (*handler_of(enum route route))(struct request *r)
{
	switch ((int)route) {
#define DTM(name) case ROUTE_##name: return handle_##name;
		DTM(dtm_version) DTM(dtm_new_gid) DTM(dtm_prepare) DTM(dtm_submit)
		DTM(dtm_abort) DTM(dtm_force_stop) DTM(dtm_register_branch)
		DTM(dtm_register_tcc_branch) DTM(dtm_register_xa_branch)
		DTM(dtm_prepare_workflow) DTM(dtm_query) DTM(dtm_reset_next_cron_time)
		DTM(dtm_all) DTM(dtm_reset_cron_time) DTM(dtm_subscribe)
		DTM(dtm_unsubscribe) DTM(dtm_topic_delete) DTM(dtm_scan_kv)
		DTM(dtm_query_kv) DTM(dtm_ping) DTM(dtm_json_rpc)
#undef DTM
	}
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data, size }, digits, method, path, query;
	void     (*handle)(struct request *r) = NULL;

	open_world();
	digits = cut(&rest, '\n');
	method = cut(&rest, '\n');
	path = cut(&rest, '\n');
	query = cut(&rest, '\n');
	for (size_t i = 0; i < digits.n && i < 4; i++)
		w.digit[i] = (unsigned char)digits.p[i] % 10;
	w.x.path = arena_str(&w.x.arena, path);
	if (router_find(LISTENER_MAIN, method, path, &w.x.arena, &w.r.match) == ROUTER_FOUND)
		handle = handler_of(w.r.match.route);
	if (handle != NULL && read_query(query)) {
		buf_str(&w.x.body, rest);
		handle(&w.r);
		for (void (*next)(void); (next = w.next) != NULL && ++w.calls < 5000;) {
			w.next = NULL;
			next();
		}
		assert(w.answers == 1 && w.next == NULL);
		buf_fini(&w.x.body);
	}
	close_world();
	return 0;
}

REPLAY("dtm", 30)
