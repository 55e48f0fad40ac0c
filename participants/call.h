/* SPDX-License-Identifier: Apache-2.0
 * call.h - the contract with services: what a call looks like, and what an answer teaches.
 */
#ifndef PARTICIPANTS_CALL_H
#define PARTICIPANTS_CALL_H

#include "coordinator/base/digest.h"
#include "participants/definition.h"
#include "participants/trace.h"

struct call_spec {
	struct scope scope;
	uint16_t     step;       /* or TXN_CHECK */
	enum op      op;
	uint32_t     attempt;    /* from 1 */
	uint64_t     epoch;
	int64_t      deadline_at;
	struct str   traceparent; /* of the starter, or empty */
	uint64_t     span;       /* trace_attempt_span() */
};

struct call_rules { /* of the daemon */
	struct str callback_base; /* advertised base URL, no slash at the end */
	struct str callback_key;  /* HMAC key of callback URLs */
	struct digest_key *callback_ready; /* the same made ready, or NULL: it takes longer */
	const struct trace_rules *traces;  /* NULL: no traces are recorded here */
};

/* Base URL of a participant by name, or the empty slice. */
typedef struct str participant_base(void *ctx, struct str name);

struct call_text { /* all memory is the arena's, but target is the definition's */
	struct str        method, url;  /* NUL-terminated behind their end */
	const char      **headers;      /* "Name: value", NUL-terminated strings, no body-length */
	size_t            header_count;
	struct str        body;         /* empty: no body */
	uint32_t          timeout_ms;
	struct str        target;       /* as definition_target() */
};

/* Renders all but the webhook signature. False: a template cannot be rendered (an output is
 * missing, a value does not fit its place): treat as misconfigured. ERR_NOT_FOUND: the
 * participant's name is unknown. Without callback_base or callback_key no Saga-Callback is sent. */
bool call_render(const struct call_spec *spec, const struct call_rules *rules,
                 participant_base *base, void *base_ctx, struct arena *arena,
                 struct call_text *out, struct err *err);

struct call_reply { /* what came back */
	int        status;         /* 0: nothing */
	struct str saga_outcome;   /* header Saga-Outcome, or empty */
	struct str retry_after;    /* header, or empty */
	struct str body;           /* at most the size cap */
	bool       body_too_big;
	struct str failure;        /* why there is no status: one line */
};

struct call_lesson { /* the same fields as the engine's call_answer */
	enum outcome outcome;
	bool         bare_conflict, gone, stale_epoch;
	int64_t      retry_after_ms;
	struct str   output;       /* slice of body */
	char         error[200];   /* short line, valid UTF-8 */
};

void call_learn(const struct definition *d, uint16_t step, enum op op,
                const struct call_reply *reply, int64_t now_ms, struct call_lesson *out);

/* Callback URLs: /v1/transactions/{gid}/steps/{step}/complete?op=…&sig=…; sig is hex
 * HMAC-SHA256 over "gid:step:op". */
void callback_sign(struct str key, struct str gid, struct str step, enum op op, char out[65]);
void callback_sign_ready(struct digest_key *key, struct str gid, struct str step, enum op op, char out[65]);
bool callback_verify(struct str key, struct str gid, struct str step, enum op op, struct str sig);

/* A replica's word to another about a gid, for a minute, in one header: "MS HEX", HMAC-SHA256 over "replica MS GID". The
 * spaces keep it apart from what callbacks sign, should the key be the same. out holds 96 bytes. */
#define REPLICA_HEADER "Saga-Replica"
void replica_sign(struct str key, struct str gid, int64_t now_ms, char out[96]);
bool replica_verify(struct str key, struct str gid, int64_t now_ms, struct str word);

/* Standard Webhooks: "v1,BASE64(HMAC-SHA256(secret, id.timestamp.body))"; out holds 64 bytes. */
void webhook_sign(struct str secret, struct str id, int64_t unix_s, struct str body, char out[64]);
/* webhook-id, the same in every attempt: "msg_" and 32 hex digits. */
void webhook_id(struct str gid, struct str step, enum op op, char out[40]);
/* The bytes of a secret as written: "whsec_BASE64", else the text itself. False: no
 * base64, or empty. */
bool webhook_secret(struct str text, struct buf *out);

#endif
