/* SPDX-License-Identifier: Apache-2.0
 * dtm.h - a façade: requests of DTM's HTTP protocol as transactions of ours. README.md is the map
 * of this folder; docs/dtm.md says how the two correspond. The engine knows nothing of it.
 */
#ifndef API_DTM_DTM_H
#define API_DTM_DTM_H

#include "api/request.h"
#include "participants/definition.h"

#define DTM_BRANCH_PREFIX "branch-" /* and a branch's id are a step's name */
enum { DTM_BRANCH_MAX = 57, DTM_RETRY_INTERVAL_S = 10 };

#define DTM_KINDS(X)           \
	X(SAGA,     "saga")     \
	X(TCC,      "tcc")      \
	X(MSG,      "msg")      \
	X(XA,       "xa")       \
	X(WORKFLOW, "workflow")

#define X(name, text) DTM_##name,
enum dtm_kind { DTM_KINDS(X) };
#undef X
#define X(...) + 1
enum { DTM_KIND_COUNT = 0 DTM_KINDS(X) };
#undef X

/* A Trans object as the wire has it. Slices of the body or of the arena; absent or null: empty. */
struct dtm_trans {
	enum dtm_kind      kind;
	struct str         gid, query_prepared, custom_data, protocol, rollback_reason;
	struct str         kind_text; /* as it was given */
	const struct json *steps, *payloads, *headers, *req_extra; /* of their type, or NULL */
	bool               wait_result, concurrent;
	/* ms; 0: not given */
	int64_t            timeout_to_fail, request_timeout, retry_interval;
	uint64_t           retry_limit;
};

/* What goes on with a transaction that was read, begun or found. */
typedef void dtm_then(struct request *r, const struct view *view);

/* One request of the façade; r->own. */
struct dtm {
	struct dtm_trans trans;
	struct str        rpc_id;   /* raw JSON; empty: it did not come by /api/json-rpc */
	struct str        document; /* what is to be begun */
	const char       *subject;  /* what errors in a document are errors of; NULL: as it points */
	int64_t           start_at; /* 0: now */
	struct beginning *beginning;
	bool              was_begun; /* it has been tried: what is unknown now has gone meanwhile */
	struct command    command;
	struct str        reason;  /* that the journal gave */
	bool              reason_later; /* what it would give is put in afterwards */
	dtm_then         *then;
	struct topics    *topics; /* that its steps name; NULL: not asked for */
	void             *own;    /* of one route */
};

const char *dtm_kind_name(enum dtm_kind k);
/* DTM's word for where a transaction stands. */
const char *dtm_status(enum phase phase);
/* Was it begun by this protocol? Its kind then. */
bool dtm_kind_of(const struct row *row, enum dtm_kind *kind);
bool dtm_is(const struct view *view, enum dtm_kind kind); /* view: or NULL, which is nothing */

/* ---- reading (trans.c): false means that it has been answered ---------------------------- */

struct dtm *dtm_of(struct request *r); /* made when first asked for */
/* A parameter of the query; empty if it is not there. */
struct str dtm_param(const struct request *r, const char *name);
/* How long it waits between tries, of the options as the input keeps them: 1 s at least. */
int64_t dtm_interval_s(struct str options);
/* ?limit=, 100 unless given or 0, 1000 at most. */
bool dtm_read_limit(struct request *r, unsigned *limit);
bool dtm_body(struct request *r); /* r->body: an object; whatever its media type says */
/* As DTM finds members: names in any case of letters, null is absent, and of several the last
 * counts: a body of Java's client has one of them twice. */
const struct json *dtm_member(const struct json *object, const char *name);
/* Empty unless it is a string. */
struct str dtm_text(struct request *r, const struct json *object, const char *name);
bool dtm_read_trans(struct request *r);
/* The little that an abort needs; a kind that is none of DTM's is no error here. */
bool dtm_read_abort(struct request *r);
/* The gid of r->body or, where it is NULL, of the query; remembered in r->gid. */
bool dtm_read_gid(struct request *r, struct str gid);
bool dtm_branch_is_valid(struct str id);
/* What custom_data holds; NULL where it is empty. */
bool dtm_custom(struct request *r, const struct json **custom);
bool dtm_is_http(struct str url); /* by its scheme, in any case of letters */

/* ---- writing documents (document.c) ------------------------------------------------------ */

struct dtm_call {
	struct str         url; /* as the client gave it; empty: nothing is called */
	struct str         branch_id, op;
	const struct json *payload;    /* a string, sent as its text; or NULL */
	int                payload_at; /* 0 and above: it is that one of input.payloads */
	bool               post;       /* also without a payload */
	bool               reads_own;  /* what its answers mean is written behind it */
};

/* How long between two tries, to begin with. */
int64_t dtm_interval_ms(const struct request *r, const struct dtm_trans *t);
/* How long it may stay prepared: timeout_to_fail, or what DTM takes for it. */
int64_t dtm_patience_ms(const struct request *r, const struct dtm_trans *t);
/* {"mode":…,"defaults":{…} with what holds for all calls; a closing brace is wanted. */
void dtm_write_head(struct request *r, const char *mode, int64_t deadline_ms, struct buf *out);
/* The call as one object. */
void dtm_write_call(struct request *r, const struct dtm_call *call, struct buf *out);
/* The input: what only this façade wants to know again, and the payloads. */
void dtm_write_input(struct request *r, struct buf *out);
size_t dtm_payload_count(const struct dtm_trans *t);
const struct json *dtm_payload(const struct dtm_trans *t, size_t i);
struct str dtm_payload_text(struct request *r, size_t i); /* as it is sent; empty: it has none */

/* ---- topics (topics.c) ------------------------------------------------------------------- */

bool dtm_names_topics(struct request *r);
/* Reads the topics that a message's steps name, then calls `then`; at once if there are none. */
void dtm_with_topics(struct request *r, void (*then)(struct request *r));
/* The URLs behind an action; false: it names no topic. */
bool dtm_topic_urls(struct request *r, struct str action, const struct json **subscribers);

/* ---- the kinds: each writes a document; false: answered ---------------------------------- */

bool saga_document(struct request *r, struct buf *out);
bool msg_document(struct request *r, bool is_prepared, struct buf *out);
bool msg_delay(struct request *r, int64_t *ms);
void open_document(struct request *r, struct buf *out); /* tcc, xa: branches join */
/* What joins them: of r->body, a registration. */
bool branch_document(struct request *r, enum dtm_kind kind, struct buf *out);
void workflow_prepare(struct request *r, dtm_then *begun, dtm_then *exists);
bool workflow_branch(struct request *r, struct buf *out); /* the same, for a workflow */
void workflow_submit(struct request *r);
void workflow_show_branches(struct request *r, const struct view *view, uint64_t id,
                            struct buf *out);

/* ---- doing (begin.c, command.c, global.c, branches.c) ------------------------------------ */

/* Begins d->document. `exists` is called when the gid is taken. */
void dtm_begin(struct request *r, dtm_then *begun, dtm_then *exists);
/* Could a branch be called there? False: answered. */
bool dtm_url_is_sound(struct request *r, struct str url);
/* Success; with wait_result when it has ended. */
void dtm_answer_submitted(struct request *r, const struct view *view);
/* Is there a place for who wants to wait for the result? Asked before anything is begun; false: answered. */
bool dtm_may_wait(struct request *r);
/* Reads r->gid before anything is done to it; with NULL where this protocol began nothing. */
void dtm_find(struct request *r, dtm_then *then);
/* A command is for what the client takes it for: is it of that kind? Else it has been answered. */
bool dtm_is_same_kind(struct request *r, const struct view *view);
/* Was it begun with the steps of this request? Of what was prepared nobody asks. */
bool dtm_is_same_content(struct request *r, const struct view *view);
/* For r->gid; it lives as long as the request, which has one. */
struct command *dtm_command(struct request *r, enum command_kind kind);
/* Not an answer with a verdict: says what went wrong. */
void dtm_command_failed(struct request *r, enum command_result result, const struct err *err);
void dtm_new_gid(struct request *r);
/* These read r->body. */
void dtm_prepare(struct request *r);
void dtm_submit(struct request *r);
void dtm_abort(struct request *r);
void dtm_register(struct request *r, enum dtm_kind usual); /* usual: of clients that name none */
/* Calls `then`, now or later, when it is known why it was rolled back. */
void dtm_ask_reason(struct request *r, const struct view *view, dtm_then *then);

/* Why one was rolled back, or a workflow's result, as far as only the journal knows. */
struct reason {
	struct request *r;
	struct str      gid, refused; /* refused: the step whose answer tells; empty: a command */
	struct str      text;         /* once found; empty: there is none */
	void          (*found)(struct request *r, struct reason *why);
};

bool dtm_is_reason_elsewhere(const struct view *view);
struct reason *dtm_reason_of(struct request *r, const struct view *view);
/* Calls `found` later, unless the database is away: that has been answered then. */
void dtm_find_reason(struct reason *why, void (*found)(struct request *r, struct reason *why));

/* ---- answering (reply.c) ----------------------------------------------------------------- */

#define DTM_SAYS __attribute__((format(printf, 2, 3)))

void dtm_ok(struct request *r);
void dtm_data(struct request *r, struct buf *body); /* 200; takes the memory */
void dtm_failure(struct request *r, const char *fmt, ...) DTM_SAYS; /* 409 */
void dtm_ongoing(struct request *r, const char *fmt, ...) DTM_SAYS; /* 425 */
void dtm_error(struct request *r, const char *fmt, ...) DTM_SAYS;   /* 500 */
void dtm_away(struct request *r, enum log_result result);
void dtm_refuse_gid(struct request *r); /* it is taken, by what this request does not mean */
void dtm_refuse_place(struct request *r);
/* id: raw JSON; empty: it has none. */
void dtm_rpc_error(struct request *r, struct str id, int code, struct str message);

/* ---- showing (show.c) -------------------------------------------------------------------- */

void dtm_show_transaction(struct request *r, const struct view *view, struct buf *out);
/* {"id":…, the times of step i and the gid; members follow. answered_at: 0, it was not. */
void dtm_show_branch_times(struct buf *out, uint64_t id, const struct view *view, uint16_t i,
                           int64_t answered_at);
void dtm_show_data(struct buf *out, struct str bytes); /* ,"bin_data":… unless empty */
void dtm_show_branches(struct request *r, const struct view *view, struct buf *out);
/* Why it was rolled back, as far as the row tells, or d->reason; empty: it was not. */
struct str dtm_rollback_reason(struct request *r, const struct view *view);

#endif
