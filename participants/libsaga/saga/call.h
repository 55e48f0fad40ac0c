/* SPDX-License-Identifier: Apache-2.0
 * saga/call.h - a call of sagad: read from an HTTP request, proven, and answered. No I/O, no
 * library.
 */
#ifndef SAGA_CALL_H
#define SAGA_CALL_H

#include "error.h"
#include "json.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what comes in ------------------------------------------------------------------------ */

struct saga_header {
	const char *name, *value;
};

struct saga_request { /* of any HTTP server; it stays the caller's */
	const char *method, *path;
	const struct saga_header *headers;
	size_t header_count;
	const char *body;
	size_t body_size;
	bool path_encoded; /* path is as it stands in the URL, with percent signs and query */
};

/* The value, surrounding blanks and all; NULL: there is none. Names are compared without case. */
SAGA_API const char *saga_request_header(const struct saga_request *request, const char *name);

/* X(NAME, "as in Saga-Op"). A saga's action is its try, its compensation its cancel; check asks
 * the sender of a message whether its own commit happened. */
#define SAGA_OPS(X)           \
	X(TRY, "try")         \
	X(CONFIRM, "confirm") \
	X(CANCEL, "cancel")   \
	X(CHECK, "check")

enum saga_op {
#define X(name, text) SAGA_##name,
	SAGA_OPS(X)
#undef X
};

SAGA_API const char *saga_op_name(enum saga_op op);

enum { SAGA_GID_MAX = 128, SAGA_STEP_MAX = 64 };

struct saga_call {
	char gid[SAGA_GID_MAX + 1];
	char step[SAGA_STEP_MAX + 1];
	enum saga_op op;
	uint32_t attempt;              /* from 1; 0: not said */
	int64_t epoch;                 /* from 0; -1: not said */
	int64_t accepted_ms;           /* since 1970; SAGA_NO_TIME: not said */
	int64_t deadline_ms;           /* SAGA_NO_TIME: the transaction has none */
	struct saga_slice key;         /* Idempotency-Key without quotes. Slices of the request, */
	struct saga_slice callback;    /* where a 202 may report its end; n is 0 without one */
	struct saga_slice traceparent;
	const char *body;
	size_t body_size;
	const char *path, *route; /* those that saga_service_handle() has found, or NULL */
	bool path_encoded;
};

#define SAGA_NO_TIME INT64_MIN

/* What stands in the path where the route has {name}, decoded and terminated. False: the route has
 * no such name, it is longer than size - 1 bytes, or not UTF-8. */
SAGA_API bool saga_call_param(const struct saga_call *call, const char *name, char *out,
			      size_t size) SAGA_USE;

/* The methods that run the work of an op, as the header Allow lists them: those that definitions
 * may call with, but GET for a check alone: what may be cached must have no effect. */
SAGA_API const char *saga_op_methods(enum saga_op op);

/* What is wrong with a request. X(NAME, status to answer, "header", "what is wrong with it"). A
 * header that stands there twice is wrong, whatever it says: two readers would take one each. */
#define SAGA_FAULTS(X)                                                                             \
	X(NONE, 200, "", "nothing is wrong")                                                       \
	X(ID, 400, "Saga-Id",                                                                      \
	  "not one of 1 to 128 printable characters without space, quotes, backslash")             \
	X(STEP, 400, "Saga-Step", "not one name of a step")                                        \
	X(OP, 400, "Saga-Op", "not one of try, confirm, cancel and check")                         \
	X(ATTEMPT, 400, "Saga-Attempt", "not one number from 1")                                   \
	X(EPOCH, 400, "Saga-Epoch", "not one number from 0")                                       \
	X(ACCEPTED, 400, "Saga-Accepted", "not one time")                                          \
	X(DEADLINE, 400, "Saga-Deadline", "not one time")                                          \
	X(CALLBACK, 400, "Saga-Callback", "there twice")                                           \
	X(KEY, 400, "Idempotency-Key", "there twice")                                              \
	X(WEBHOOK_ID, 400, "webhook-id", "there twice")                                            \
	X(WEBHOOK_TIME, 400, "webhook-timestamp", "there twice")                                   \
	X(WEBHOOK_SIGNATURE, 400, "webhook-signature", "there twice")                              \
	X(METHOD, 405, "the method", "not one that calls are made with")                           \
	X(UNSIGNED, 401, "webhook-signature", "the call is not signed")                            \
	X(TIME, 401, "webhook-timestamp", "too long ago, or ahead of the clock here")              \
	X(SIGNATURE, 401, "webhook-signature", "not made with a secret that is known here")        \
	X(OTHER_CALL, 401, "webhook-id", "signed for another call")

enum saga_fault {
#define X(name, status, header, text) SAGA_FAULT_##name,
	SAGA_FAULTS(X)
#undef X
};

SAGA_API int saga_fault_status(enum saga_fault fault);
SAGA_API const char *saga_fault_header(enum saga_fault fault);
SAGA_API const char *saga_fault_text(enum saga_fault fault);

struct saga_trust {
	/* Each "whsec_BASE64", or the plain text; the signature of one of them will do, so that
	 * a new one can take the place of an old one. NULL: calls are not signed. */
	const char *const *secrets;
	size_t secret_count;
	int window_s; /* between the signature's time and now; 0: 300 */
};

/* now_s: time(NULL). trust may be NULL. After SAGA_FAULT_METHOD gid, step and op are those of the
 * call, for saga_op_methods(). */
SAGA_API enum saga_fault saga_call_read(const struct saga_request *request,
					const struct saga_trust *trust, int64_t now_s,
					struct saga_call *out) SAGA_USE;

/* ---- what goes out -------------------------------------------------------------------------- */

/* How a handler's work ended. X(NAME, status of try, of confirm, of cancel). DONE without a body
 * is 204. A confirm or cancel cannot be refused: that is a mistake of the service. */
#define SAGA_RESULTS(X)           \
	X(DONE, 200, 200, 200)    \
	X(REFUSED, 422, 500, 500) \
	X(ONGOING, 202, 202, 202) \
	X(GONE, 410, 410, 410)    \
	X(FAILED, 503, 503, 503)

enum saga_result {
#define X(name, of_try, of_confirm, of_cancel) SAGA_##name,
	SAGA_RESULTS(X)
#undef X
};

struct saga_answer {
	int status;        /* 0: as the result says */
	int retry_after_s; /* header Retry-After; 0: none */
	const char *allow; /* header Allow, of a 405; or NULL. Not freed */
	char *body;        /* JSON, from malloc(), terminated; or NULL */
	size_t body_size;
	char log[200];     /* for the service's own log: why it is a 4xx or 5xx; never sent */
};

/* The answer of a handler's result: fills in status, and body where one is needed. */
SAGA_API void saga_answer_result(struct saga_answer *answer, enum saga_op op,
                                 enum saga_result result);
/* The header Saga-Outcome that goes with it ("refused" settles what a bare 409
 * leaves open), or NULL. */
SAGA_API const char *saga_answer_outcome(const struct saga_answer *answer);
/* A copy of a JSON text takes the place of the body. False: out of memory; the body is empty. */
SAGA_API bool saga_answer_body(struct saga_answer *answer, const char *json, size_t size);
/* The same, printed. Quote what is not yours with saga_json_quote(). */
SAGA_API bool saga_answer_printf(struct saga_answer *answer, const char *format, ...)
	SAGA_FORMAT(2, 3);
/* {"error": "text"} */
SAGA_API bool saga_answer_error(struct saga_answer *answer, const char *text);
/* What a request that is no call gets. */
SAGA_API void saga_answer_fault(struct saga_answer *answer, enum saga_fault fault);
SAGA_API void saga_answer_fini(struct saga_answer *answer); /* frees the body, clears all */

/* ---- signatures ------------------------------------------------------------------------------ */

enum { SAGA_SIGNATURE_MAX = 64, SAGA_WEBHOOK_ID_MAX = 40 };

/* Standard Webhooks 1.0.0: UNSIGNED (one is NULL), TIME, SIGNATURE or NONE. trust is not NULL:
 * without secrets nothing is right. */
SAGA_API enum saga_fault saga_verify(const struct saga_trust *trust, int64_t now_s,
                                     const char *webhook_id, const char *webhook_timestamp,
                                     const char *webhook_signature, const char *body,
                                     size_t body_size) SAGA_USE;
/* "v1,BASE64" of one secret, for whoever calls a participant itself. False: the secret is empty
 * or no base64. */
SAGA_API bool saga_sign(const char *secret, const char *webhook_id, int64_t unix_s,
                        const char *body, size_t body_size, char out[SAGA_SIGNATURE_MAX]);
/* The webhook-id of a call, the same in every attempt. */
SAGA_API void saga_webhook_id(const char *gid, const char *step, enum saga_op op,
			      char out[SAGA_WEBHOOK_ID_MAX]);

#ifdef __cplusplus
}
#endif
#endif
