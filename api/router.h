/* SPDX-License-Identifier: Apache-2.0
 * router.h - every route of this API, listed once, and the way from a method and a path to one.
 */
#ifndef API_ROUTER_H
#define API_ROUTER_H

#include "api/access.h"
#include "coordinator/base/arena.h"

#define METHODS(X) X(GET) X(POST) X(PUT) X(PATCH) X(DELETE)

/* Callbacks are public: they prove with their signature that the caller was called.
 *
 *        name (handler is its lower-case namesake)    method path   role   summary */
#define ROUTES(X)                                                                                                                              \
	X(definition_put,        PUT,  "/v1/definitions/{name}",                     OPERATOR,            "Register a definition")             \
	X(definition_validate,   POST, "/v1/definitions/validate",                   SERVICE_OR_READER,   "Check a definition, store nothing") \
	X(definition_list,       GET,  "/v1/definitions",                            SERVICE_OR_READER,   "List definitions")                  \
	X(definition_get,        GET,  "/v1/definitions/{name}",                     SERVICE_OR_READER,   "The newest version of a definition") \
	X(definition_version,    GET,  "/v1/definitions/{name}/versions/{version}",  SERVICE_OR_READER,   "One version of a definition")       \
	X(definition_pause,      POST, "/v1/definitions/{name}/pause",               OPERATOR,            "Stop new starts of it")               \
	X(definition_resume,     POST, "/v1/definitions/{name}/resume",              OPERATOR,            "Let it be started again")             \
	X(transaction_begin,     POST, "/v1/transactions",                           SERVICE,             "Begin a transaction")               \
	X(transaction_list,      GET,  "/v1/transactions",                           READER,              "List transactions")                 \
	X(transaction_get,       GET,  "/v1/transactions/{gid}",                     SERVICE_OR_READER,   "One transaction as it is")          \
	X(transaction_journal,   GET,  "/v1/transactions/{gid}/journal",             READER,              "Failed attempts and what people did") \
	X(transaction_explain,   GET,  "/v1/transactions/{gid}/explain",             READER,              "Why it does not move")              \
	X(transaction_join,      POST, "/v1/transactions/{gid}/steps",               SERVICE,             "Add a step to an open transaction") \
	X(transaction_confirm,   POST, "/v1/transactions/{gid}/confirm",             SERVICE,             "Decide confirm")                    \
	X(transaction_cancel,    POST, "/v1/transactions/{gid}/cancel",              SERVICE_OR_OPERATOR, "Decide cancel")                     \
	X(transaction_pause,     POST, "/v1/transactions/{gid}/pause",               OPERATOR,            "Stop it until it is resumed")       \
	X(transaction_resume,    POST, "/v1/transactions/{gid}/resume",              OPERATOR,            "Let a paused one go on")            \
	X(transaction_retry,     POST, "/v1/transactions/{gid}/retry",               OPERATOR,            "Make every waiting call now")       \
	X(transaction_release,   POST, "/v1/transactions/{gid}/release",             OPERATOR,            "Hand it to another replica")          \
	X(transaction_abandon,   POST, "/v1/transactions/{gid}/abandon",             ADMIN,               "End it without cancelling")         \
	X(step_complete,         POST, "/v1/transactions/{gid}/steps/{step}/complete", PUBLIC,              "A participant reports success")   \
	X(step_fail,             POST, "/v1/transactions/{gid}/steps/{step}/fail",   PUBLIC,              "A participant reports refusal")     \
	X(step_resolve,          POST, "/v1/transactions/{gid}/steps/{step}/resolve", ADMIN,               "A person knows what really happened") \
	X(step_skip,             POST, "/v1/transactions/{gid}/steps/{step}/skip",   ADMIN,               "Go on as if the step had been done")  \
	X(step_patch,            PATCH, "/v1/transactions/{gid}/steps/{step}",        ADMIN,               "Change where or how one step is called") \
	X(participant_put,       PUT,  "/v1/participants/{name}",                    ADMIN,               "Name a participant")                \
	X(participant_list,      GET,  "/v1/participants",                           READER,              "Participants and how they do")      \
	X(participant_pause,     POST, "/v1/participants/{name}/pause",              OPERATOR,            "Stop calls to it")                    \
	X(participant_resume,    POST, "/v1/participants/{name}/resume",             OPERATOR,            "Let it be called again")              \
	X(overview,              GET,  "/v1/overview",                               READER,              "How it goes, on one page")          \
	X(stuck_list,            GET,  "/v1/stuck",                                  READER,              "What needs a person, grouped by what keeps it") \
	X(audit_list,            GET,  "/v1/audit",                                  READER,              "Who did what, when and why")          \
	X(bulk_begin,            POST, "/v1/bulk",                                   OPERATOR,            "Act on all that a filter matches")    \
	X(bulk_list,             GET,  "/v1/bulk",                                   READER,              "Actions on many, newest first")       \
	X(bulk_get,              GET,  "/v1/bulk/{id}",                              READER,              "How far one has come")                \
	X(bulk_cancel,           POST, "/v1/bulk/{id}/cancel",                       OPERATOR,            "Stop it where it is")                 \
	X(replica_list,          GET,  "/v1/replicas",                               READER,              "Replicas, their leases and load")   \
	X(doctor,                GET,  "/v1/doctor",                                 READER,              "What is wrong with the database and its settings") \
	X(replica_drain,         POST, "/v1/replicas/{id}/drain",                    OPERATOR,            "Make it leave")                       \
	X(replica_poke,          POST, "/internal/poke/{gid}",                       REPLICA,             "Another replica stored a command for this one") \
	X(replica_participants,  GET,  "/internal/participants/{id}",                REPLICA,             "Another replica asks how participants do as this one sees it") \
	X(replica_overview,      GET,  "/internal/overview/{id}",                    REPLICA,             "Another replica asks how it goes here") \
	X(replica_explain,       GET,  "/internal/explain/{gid}",                    REPLICA,             "Another replica is asked about a transaction of this one") \
	X(dtm_version,             GET,  "/api/dtmsvr/version",                         PUBLIC,              "DTM, the version of its protocol") \
	X(dtm_new_gid,             GET,  "/api/dtmsvr/newGid",                          SERVICE,             "DTM, a new gid") \
	X(dtm_prepare,             POST, "/api/dtmsvr/prepare",                         SERVICE,             "DTM, begin a tcc, an xa or a message that is not decided") \
	X(dtm_submit,              POST, "/api/dtmsvr/submit",                          SERVICE,             "DTM, begin a saga or a message, or decide what was prepared") \
	X(dtm_abort,               POST, "/api/dtmsvr/abort",                           SERVICE,             "DTM, decide that what was prepared is undone") \
	X(dtm_force_stop,          POST, "/api/dtmsvr/forceStop",                       ADMIN,               "DTM, end it without undoing anything") \
	X(dtm_register_branch,     POST, "/api/dtmsvr/registerBranch",                  SERVICE,             "DTM, add a branch") \
	X(dtm_register_tcc_branch, POST, "/api/dtmsvr/registerTccBranch",               SERVICE,             "DTM, add a branch, as old clients do") \
	X(dtm_register_xa_branch,  POST, "/api/dtmsvr/registerXaBranch",                SERVICE,             "DTM, add a branch of an xa, as old clients do") \
	X(dtm_prepare_workflow,    POST, "/api/dtmsvr/prepareWorkflow",                 SERVICE,             "DTM, begin a workflow, or tell how far it is") \
	X(dtm_query,               GET,  "/api/dtmsvr/query",                           SERVICE_OR_READER,   "DTM, one transaction and its branches") \
	X(dtm_reset_next_cron_time, POST, "/api/dtmsvr/resetNextCronTime",               OPERATOR,            "DTM, make every waiting call now") \
	X(dtm_all,                 GET,  "/api/dtmsvr/all",                             READER,              "DTM, transactions, newest first") \
	X(dtm_reset_cron_time,     GET,  "/api/dtmsvr/resetCronTime",                   OPERATOR,            "DTM, make the waiting calls of many now") \
	X(dtm_subscribe,           GET,  "/api/dtmsvr/subscribe",                       SERVICE,             "DTM, add a subscriber to a topic") \
	X(dtm_unsubscribe,         GET,  "/api/dtmsvr/unsubscribe",                     SERVICE,             "DTM, take a subscriber from a topic") \
	X(dtm_topic_delete,        DELETE, "/api/dtmsvr/topic/{name}",                    OPERATOR,            "DTM, forget a topic") \
	X(dtm_scan_kv,             GET,  "/api/dtmsvr/scanKV",                          SERVICE_OR_READER,   "DTM, what is kept, a page of it") \
	X(dtm_query_kv,            GET,  "/api/dtmsvr/queryKV",                         SERVICE_OR_READER,   "DTM, what is kept under one key") \
	X(dtm_metrics,             GET,  "/api/metrics",                                READER,              "DTM, numbers for Prometheus") \
	X(dtm_ping,                GET,  "/api/ping",                                   PUBLIC,              "DTM, is it there") \
	X(dtm_ping_post,           POST, "/api/ping",                                   PUBLIC,              "DTM, is it there, asked by POST") \
	X(dtm_json_rpc,            POST, "/api/json-rpc",                               SERVICE,             "DTM, the same as JSON-RPC") \
	X(public_openapi,        GET,  "/v1/openapi.yaml",                           PUBLIC,              "This API as OpenAPI 3.1")           \
	X(public_schema,         GET,  "/v1/definition.schema.json",                 PUBLIC,              "JSON Schema of definitions")        \
	X(public_problems,       GET,  "/problems",                                  PUBLIC,              "Every error code")                  \
	X(public_problem,        GET,  "/problems/{code}",                           PUBLIC,              "What an error code means")

/* The second listener, for health and numbers. */
#define OPS_ROUTES(X)                                                                                                                          \
	X(ops_livez,             GET,  "/livez",                                     PUBLIC,              "Is the process alive")              \
	X(ops_readyz,            GET,  "/readyz",                                    PUBLIC,              "Can it take work")                  \
	X(ops_metrics,           GET,  "/metrics",                                   READER,              "Numbers, for Prometheus")

#define X(name) METHOD_##name,
enum method { METHODS(X) };
#undef X
#define X(name, ...) ROUTE_##name,
enum route { ROUTES(X) OPS_ROUTES(X) };
#undef X
#define X(...) + 1
enum {
	METHOD_COUNT = 0 METHODS(X),
	ROUTE_MAIN_COUNT = 0 ROUTES(X),
	ROUTE_COUNT = ROUTE_MAIN_COUNT OPS_ROUTES(X)
};
#undef X

struct route_fact {
	const char *name, *method, *pattern, *summary;
	enum role   role;
	size_t      pattern_n; /* bytes of it: every request looks at every pattern */
};

enum { ROUTE_PARAMS_MAX = 2, ROUTE_SEGMENTS_MAX = 8, ROUTE_PATH_MAX = 2048 };

struct route_match {
	enum route  route;
	struct str  params[ROUTE_PARAMS_MAX]; /* decoded; in the order of the pattern */
	unsigned    allowed;                  /* with ROUTER_METHOD: set of 1 << enum method */
};

enum router_answer {
	ROUTER_FOUND,
	ROUTER_NONE,    /* no such path */
	ROUTER_METHOD,  /* the path exists, for other methods */
	ROUTER_OPTIONS, /* OPTIONS on a path that exists */
	ROUTER_BAD_PATH /* bad percent-encoding, no UTF-8, or too long */
};

enum listener { LISTENER_MAIN, LISTENER_OPS };

/* Routes of the role replica are on both listeners. HEAD finds the GET. Decoded parameters come from the arena. */
enum router_answer router_find(enum listener listener, struct str method, struct str path,
                               struct arena *arena, struct route_match *out);
const struct route_fact *route_fact(enum route r);
/* "GET, HEAD, OPTIONS" of a set of methods. */
void router_allow(unsigned allowed, struct buf *out);

/* Percent-decodes; false on a broken escape, NUL, control characters or no UTF-8. */
bool percent_decode(struct str text, struct arena *arena, struct str *out);
/* As a path segment; unreserved characters and ':' stay. */
void percent_encode(struct str text, struct buf *out);

#endif
