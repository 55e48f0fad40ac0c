/* SPDX-License-Identifier: Apache-2.0
 * problem.h - every error this API can answer, listed once (RFC 9457 problem details).
 */
#ifndef API_PROBLEM_H
#define API_PROBLEM_H

#include "coordinator/base/text.h"

/*        name                code                     status retryable title, and what to do */
#define PROBLEMS(X)                                                                                         \
	X(BAD_REQUEST,        "bad_request",            400, false, "The request cannot be understood",          \
	  "A header, the path or the query is not as the API describes it; `detail` and `errors` say where.")    \
	X(INVALID_JSON,       "invalid_json",           400, false, "The body is not valid JSON",                \
	  "Send one JSON value in UTF-8, without NUL and with no name twice in an object; `errors` says where it breaks.") \
	X(JSON_TOO_DEEP,      "json_too_deep",          400, false, "The body is nested too deep",               \
	  "Arrays and objects may be nested 64 deep.")                                                           \
	X(INVALID_REQUEST,    "invalid_request",        400, false, "The body does not fit",                     \
	  "A member is missing, unknown, or not of the right kind; `errors` points at each.")                    \
	X(UNAUTHENTICATED,    "unauthenticated",        401, false, "Nobody knows who you are",                  \
	  "Send Authorization: Bearer and a token of the tokens file, or a client certificate it names; `sagad token` makes one.") \
	X(FORBIDDEN,          "forbidden",              403, false, "Your roles do not allow this",              \
	  "`detail` says which role it needs and which you have; the tokens file gives them.")                  \
	X(CALLBACK_FORBIDDEN, "callback_forbidden",     403, false, "The callback is not signed by us",          \
	  "Use the Saga-Callback URL exactly as it was given to the participant, signature included.")           \
	X(NOT_FOUND,          "not_found",              404, false, "There is nothing at this path",             \
	  "GET /v1/openapi.yaml lists every path.")                                                              \
	X(TRANSACTION_UNKNOWN, "transaction_unknown",   404, false, "No such transaction",                       \
	  "It was never begun, or it has ended and its retention is over.")                                      \
	X(DEFINITION_UNKNOWN, "definition_unknown",     404, false, "No such definition",                        \
	  "Register it with PUT /v1/definitions/{name}, or ask for a version that exists.")                      \
	X(PARTICIPANT_UNKNOWN, "participant_unknown",   404, false, "No such participant",                       \
	  "Name one that is registered, or a host with its port, in lower case, as GET /v1/participants shows it.") \
	X(REPLICA_UNKNOWN,    "replica_unknown",        404, false, "No such live replica",                      \
	  "GET /v1/replicas lists them; one that starts anew has a new id.")                                      \
	X(BULK_UNKNOWN,       "bulk_unknown",           404, false, "No such bulk action",                       \
	  "GET /v1/bulk lists them; those that ended are kept for 30 days.")                                      \
	X(METHOD_NOT_ALLOWED, "method_not_allowed",     405, false, "This path does not take that method",       \
	  "The Allow header lists the methods it takes.")                                                        \
	X(TOO_SLOW,           "too_slow",               408, true,  "The request did not arrive in time",        \
	  "Send the whole request at once.")                                                                     \
	X(DECIDED,            "decided",                409, false, "The other decision is already logged",      \
	  "A decision once logged is never revised; GET the transaction to see it.")                             \
	X(DEFINITION_PAUSED,  "definition_paused",      409, true,  "This definition is paused",                 \
	  "Somebody has stopped new starts of it; those that run go on. GET it to see who and why.")             \
	X(IN_DOUBT,           "in_doubt",               409, true,  "The outcome of a pivot is not known yet",   \
	  "A pivot without cancel may have been done: its outcome decides. Ask again later.")                    \
	X(NOT_READY,          "not_ready",              409, true,  "A step is not ok yet",                      \
	  "A step that the coordinator tries has no ok answer yet; confirm again later, or cancel.")             \
	X(NOT_OPEN,           "not_open",               409, false, "The transaction is not open",               \
	  "Only a transaction begun as an open TCC, or a message, is decided by its caller; only an open TCC takes further steps.") \
	X(ENDED,              "ended",                  409, false, "The transaction has ended",                 \
	  "Nothing can be asked of it any more.")                                                                \
	X(NO_STEP,            "no_step",                409, false, "The step does not wait for this",           \
	  "There is no such step, or it does not wait for that op now.")                                         \
	X(UNSAFE,             "unsafe",                 409, false, "The step may have been tried",              \
	  "Its cancel has to go where its try went. If a person has undone it by hand, resolve the cancel.")      \
	X(VERSION_CONFLICT,   "version_conflict",       412, false, "It has changed meanwhile",                  \
	  "Read it again and send the new ETag as If-Match.")                                                    \
	X(BODY_TOO_LARGE,     "body_too_large",         413, false, "The body is too large",                     \
	  "The limit is the option max-body; keep big payloads elsewhere and send a reference.")                 \
	X(URI_TOO_LONG,       "uri_too_long",           414, false, "The URL is too long",                       \
	  "Request line and headers together have at most 16 kB, and most of it is the URL.")                    \
	X(MEDIA_TYPE,         "media_type",             415, false, "The body is not declared as JSON",          \
	  "Send Content-Type: application/json.")                                                                \
	X(DEFINITION_INVALID, "definition_invalid",     422, false, "The definition has errors",                 \
	  "`errors` lists all of them, each with a JSON Pointer into the document.")                             \
	X(URL_REFUSED,        "url_refused",            422, false, "Calls may not go there",                    \
	  "`errors` says to which host; the options calls.deny and calls.allow of every replica say where calls may go.") \
	X(TOO_MANY_STEPS,     "too_many_steps",         422, false, "Too many steps",                            \
	  "A transaction has at most 256 steps.")                                                                \
	X(KEY_REUSED,         "idempotency_key_reused", 422, false, "The key was used for other content",        \
	  "A gid, Idempotency-Key or step name stands for one content; choose a new one for new content.")       \
	X(PRECONDITION,       "precondition_required",  428, false, "If-Match is required",                      \
	  "Read the transaction, and send its ETag as If-Match.")                                                \
	X(HEADERS_TOO_LARGE,  "headers_too_large",      431, false, "The headers are too large",                 \
	  "Request line and headers together have at most 16 kB, the headers at most 100 lines.")                \
	X(TOO_MANY_WAITERS,   "too_many_waiters",       429, true,  "Too many requests wait already",            \
	  "Ask again without wait, or later.")                                                                   \
	X(TOO_MANY_TRANSACTIONS, "too_many_transactions", 429, true, "This replica is full",                     \
	  "It drives as many transactions as it may (option max-transactions); ask again later or another replica.") \
	X(TOO_MANY_REQUESTS,  "too_many_requests",      429, true,  "You ask too often",                         \
	  "Each caller has a rate (options limit.rate and limit.burst); Retry-After says when the next request is taken.") \
	X(INTERNAL,           "internal",               500, false, "The coordinator cannot do this",            \
	  "This is a fault of ours: report it with the request id.")                                             \
	X(UNAVAILABLE,        "unavailable",            503, true,  "The database cannot be reached",            \
	  "Nothing was done. The same request will work when the database is back.")                             \
	X(NOT_LIVE,           "not_live",               503, true,  "This replica holds no lease now",           \
	  "Nothing was done. Ask again, or ask another replica.")                                                \
	X(GID_BARRED,         "gid_barred",             503, true,  "An open transaction has begun this gid",    \
	  "Nothing was done. Somebody else's database transaction has begun it, by sagad.start() or a request to another replica, " \
	  "and is still open (see pg_locks). When that has ended, the same request finds it or begins it.")      \
	X(FATE_UNKNOWN,       "fate_unknown",           503, true,  "It may or may not have been done",          \
	  "The database connection broke in the commit. A start with the same gid may be repeated; before "      \
	  "anything else is, look at the transaction.")                                                          \
	X(OWNER_LATE,         "owner_late",             503, true,  "The owner has not answered yet",            \
	  "The command is stored and will be applied; asking again is safe.")

#define X(name, ...) PROBLEM_##name,
enum problem { PROBLEMS(X) };
#undef X
#define X(...) + 1
enum { PROBLEM_COUNT = 0 PROBLEMS(X) };
#undef X

struct problem_fact {
	const char *code, *title, *sentence;
	unsigned    status;
	bool        retryable;
};

const struct problem_fact *problem_fact(enum problem p);
bool problem_find(struct str code, enum problem *out);

struct problem_text { /* what is particular about one; empty slices are left out */
	struct str detail, instance, gid, request_id;
	struct str errors; /* members of a JSON array, with commas between */
};
void problem_write(struct buf *out, enum problem p, const struct problem_text *t);
/* Appends {"pointer": …, "detail": …} to such members. */
void problem_add_error(struct buf *errors, struct str pointer, struct str detail);

/* As served at /problems and /problems/{code}. */
void problem_describe(struct buf *out, enum problem p);

#endif
