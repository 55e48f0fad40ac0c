/* SPDX-License-Identifier: Apache-2.0
 * request.h - one request on its way through a handler, and the ways to answer it.
 *
 * A handler is called once and sees to it that exactly one answer follows, now
 * or when engine or store answer. Everything lives in the exchange's arena.
 */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include "api/api.h"
#include "api/httpd.h"
#include "api/limiter.h"
#include "api/metrics.h"
#include "api/problem.h"
#include "api/query.h"
#include "api/router.h"
#include "api/tokens.h"
#include "coordinator/base/json.h"

/* How much was done until then. */
struct rate_sample {
	int64_t  at; /* ms of the clock of requests; 0: none yet */
	uint64_t begun, ended, calls;
};

struct api {
	struct rate_sample rates[2]; /* of a while ago, and of lately */
	struct api_config  config;
	struct engine     *engine;
	struct ports       ports;
	struct store_port  store;
	struct httpd      *httpd, *ops; /* ops NULL: none */
	struct counters    counters;
	struct tide        tide;
	struct process     process;
	unsigned           waiters;
	struct token_set  *tokens;     /* NULL: nobody is asked who he is */
	uint64_t           generation; /* of tokens */
	struct limiter    *limiter;    /* NULL: no limits per caller */
	struct bulk_run   *bulk;
	bool               draining;
	struct str         slow_response;
	uint64_t           request_seed, request_n; /* of request ids that we make */
};

struct request {
	struct api        *api;
	struct exchange   *x;
	enum listener      listener;
	bool               routed;      /* match is set */
	struct route_match match;
	enum router_answer found;
	struct principal   who;
	struct quota      *quota;       /* of who asks, or NULL */
	bool               waits;       /* counted there */
	bool               refused;     /* before its body was there: with this */
	enum problem       refusal;
	const char        *refusal_detail; /* or NULL: the table's sentence */
	unsigned           retry_after_s;  /* with 429 and 503 */
	struct str         request_id;
	struct query       query;
	struct prefer      prefer;      /* with ?wait= in it */
	struct etag        if_match;
	struct json       *body;        /* after request_json() */
	struct str         gid;         /* shown in problems once known */
	struct buf         errors;      /* for the problem */
	uint64_t           wait_handle; /* 0: does not wait */
	view_done         *wait_done;
	bool               gid_is_new;  /* we made it and nothing has it: no business of an error's */
	bool               replayed;    /* an earlier request began it */
	void              *own;         /* the handler's */
};

#define X(name, ...) void handle_##name(struct request *r);
ROUTES(X) OPS_ROUTES(X)
#undef X

struct api_database api_database(const struct api *a);
/* Every request comes by here: seldom enough what it finds is kept. */
void rates_note(struct api *a, int64_t now_ms);
/* What was done between two moments that are some seconds apart, the second of which is now. */
void rates_read(const struct api *a, int64_t now_ms, struct rate_sample *from, struct rate_sample *now);
/* Headers are there, the body is not. False: it will be refused, the body is of no interest. */
bool request_admit(struct api *api, enum listener listener, struct exchange *x);
/* Reads headers and query and calls the handler. */
void request_serve(struct api *api, enum listener listener, struct exchange *x);
void request_cut_off(struct request *r);     /* the api closes before the answer came */
void request_over(struct exchange *x); /* frees what is not the arena's */

struct arena *request_arena(struct request *r);
int64_t       request_now(const struct request *r);
struct str    request_param(const struct request *r, unsigned i);
/* Its text, which lives as long as the request; the buffer is empty then. */
struct str    request_keep(struct request *r, struct buf *text);
/* Is this the id of the incarnation that answers? */
bool          request_is_me(const struct request *r, struct str id);
/* Who asks. Where no tokens are configured: anonymous, with every role. Lives as long as the request. */
const struct principal *request_principal(const struct request *r);

/* ---- reading: false means that a problem has been answered ----------------------- */

/* The body must be a JSON object; empty counts as {} where optional. */
bool request_json(struct request *r, bool optional);
/* The same for large bodies of which only members, and members of those, are looked at. */
bool request_outline(struct request *r);
/* A gid from the path; remembered for problems. */
bool request_gid(struct request *r);
/* Only these query parameters (NULL-terminated). */
bool request_only(struct request *r, const char *const *known);
bool request_limit(struct request *r, unsigned *limit);
/* Members of a body: absent leaves *out as it is; a wrong type is noted among the errors. */
void request_text(struct request *r, const char *name, struct str *out);
/* Notes an error for every member that is not among `known` (NULL-terminated). */
void request_members(struct request *r, const char *const *known);
/* Answers invalid_request if errors were noted. */
bool request_is_clean(struct request *r);

/* ---- answering ------------------------------------------------------------------------ */

void request_error(struct request *r, const char *pointer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* fmt NULL: the table's sentence. */
void request_problem(struct request *r, enum problem p, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Takes the buffer's memory. */
void request_answer(struct request *r, unsigned status, struct buf *body);
void request_answer_as(struct request *r, unsigned status, const char *content_type, struct buf *body);
void request_header(struct request *r, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void request_number(struct request *r, const char *name, const char *before, uint64_t v,
                    const char *after);
void request_etag(struct request *r, uint64_t version);
/* Log results other than LOG_DONE. */
void request_away(struct request *r, enum log_result result);
/* What was looked for is there. False: answered, that the database is away or that nothing was found. */
bool request_found(struct request *r, enum log_result result, size_t n, enum problem unknown);
/* Before each item of a list, the first included. */
void request_item(struct buf *body);
/* The end of that list, which may have no items: there is more behind `after`, or (empty) nothing. */
void request_answer_page(struct request *r, struct buf *body, uint64_t filters, struct str after);

/* ---- waiting ---------------------------------------------------------------------------- */

/* May this request wait, if it wants to? */
bool request_may_wait(struct request *r);
/* The same, but for who answers himself; why: more than that all places are taken, or NULL. */
bool request_takes_place(struct request *r, const char **why);
/* done as engine_wait; the client's hang-up ends it without done. */
void request_wait(struct request *r, view_done *done);

#endif
