/* SPDX-License-Identifier: Apache-2.0
 * saga/client.h - transactions begun, watched and decided: sagad's API for services.
 */
#ifndef SAGA_CLIENT_H
#define SAGA_CLIENT_H

#include "call.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a client ---------------------------------------------------------------------------- */

/* May be shared by threads. */
struct saga_client;

struct saga_client_options { /* zero and NULL mean the default */
	const char *urls;    /* of the replicas, separated by commas; any of them will do */
	const char *token;   /* sent as Authorization: Bearer */
	const char *ca_file; /* PEM, for https:// */
	const char *cert_file, *key_file;
	int timeout_ms;      /* of one request beside what it waits for [5000] */
	int patience_ms;     /* of one function: so long it goes from replica to replica [15000] */
};

SAGA_API struct saga_client *saga_client_open(const struct saga_client_options *options,
					      struct saga_error *error) SAGA_USE;
SAGA_API void saga_client_close(struct saga_client *client);

/* ---- definitions ------------------------------------------------------------------------- */

/* Registers document (JSON) under a name; the same as the newest version changes nothing.
 * *version may be NULL. Needs the role operator. */
SAGA_API bool saga_define(struct saga_client *client, const char *name, const char *document,
			  int64_t *version, struct saga_error *error) SAGA_USE;

/* ---- transactions ------------------------------------------------------------------------ */

struct saga_transaction { /* as sagad told it last; saga_transaction_fini() it */
	char gid[SAGA_GID_MAX + 1];
	char phase[16];           /* trying, confirmed, … */
	char result[16];          /* succeeded, cancelled, mixed; empty: it has not ended */
	bool ended;
	bool stuck, paused;       /* it needs a person; a person stopped it */
	bool replayed;            /* this start had been made before */
	int64_t version;
	char deadline[40];        /* 2026-11-23T08:50:54.123Z; empty: it has none */
	struct saga_slice output; /* JSON, of json; n is 0: none */
	char *json;               /* all of it */
	size_t json_size;
};

SAGA_API void saga_transaction_fini(struct saga_transaction *txn);

struct saga_start {
	const char *gid;         /* NULL: a new UUIDv7 */
	const char *definition;  /* a registered one, or NULL and document */
	unsigned version;        /* 0: the newest */
	const char *document;    /* JSON object: mode, steps, deadline … of one of its own */
	const char *input;       /* JSON; NULL: {} */
	const char *labels;      /* JSON object of strings, or NULL */
	const char *deadline;    /* "10m", or NULL */
	const char *start_at;    /* a time, or NULL */
	const char *traceparent; /* or NULL */
	int wait_ms;             /* for its end, at most 60000 */
};

/* Begins it, or finds what the same start has begun before. A lost answer is asked for again
 * under the same gid, so it begins once however often it is sent. True: it is durable. On
 * SAGA_E_UNKNOWN out->gid is what it was sent as: start it again under that. */
SAGA_API bool saga_start(struct saga_client *client, const struct saga_start *start,
			 struct saga_transaction *out, struct saga_error *error) SAGA_USE;
/* As it is now. */
SAGA_API bool saga_get(struct saga_client *client, const char *gid, struct saga_transaction *out,
		       struct saga_error *error) SAGA_USE;
/* Until it has ended or timeout_ms are over: out->ended says which. */
SAGA_API bool saga_wait(struct saga_client *client, const char *gid, int timeout_ms,
			struct saga_transaction *out, struct saga_error *error) SAGA_USE;
/* Decides, and waits at most wait_ms for the end of it. reason may be NULL. Problems: "decided"
 * (the other way), "in_doubt", "not_ready", "not_open". */
SAGA_API bool saga_confirm(struct saga_client *client, const char *gid, int wait_ms,
			   struct saga_transaction *out, struct saga_error *error) SAGA_USE;
SAGA_API bool saga_cancel(struct saga_client *client, const char *gid, const char *reason,
                          int wait_ms, struct saga_transaction *out,
                          struct saga_error *error) SAGA_USE;
/* Registers a step with an open transaction. step: a JSON object as docs/definitions.md has it. */
SAGA_API bool saga_join(struct saga_client *client, const char *gid, const char *step,
			struct saga_transaction *out, struct saga_error *error) SAGA_USE;

/* Reports the end of a call that was answered 202 to the Saga-Callback URL it
 * came with. done: what the output of its step shall be, JSON; NULL: it failed
 * (of a try: refused), because of reason. */
SAGA_API bool saga_report(struct saga_client *client, const char *callback, const char *done,
			  const char *reason, struct saga_error *error) SAGA_USE;

/* ---- TCC as a scope ---------------------------------------------------------------------- */

/* An open transaction of this process: tries are made, then all is confirmed, or all cancelled.
 * Used by one thread. */
struct saga_tcc;

struct saga_tcc_options {
	const char *gid;      /* NULL: a new UUIDv7 */
	const char *deadline; /* if nobody has decided by then, sagad cancels ["1m"] */
	const char *labels;   /* JSON object of strings, or NULL */
	int wait_ms;          /* for the end, once it is decided [10000] */
};

struct saga_branch { /* one participant's part */
	const char *name;                     /* of the step */
	const char *try_url;                  /* called by this process */
	const char *confirm_url, *cancel_url; /* called by sagad */
	const char *data;                     /* JSON: the body of all three; NULL: {} */
	const char *secret;                   /* signs the try, or NULL */
	int timeout_ms;                       /* of one attempt of the try [3000] */
	int attempts;                         /* as long as no answer comes [3] */
};

SAGA_API struct saga_tcc *saga_tcc_open(struct saga_client *client,
                                        const struct saga_tcc_options *options,
                                        struct saga_error *error) SAGA_USE;
SAGA_API const char *saga_tcc_gid(const struct saga_tcc *tcc);
/* Registers confirm and cancel, then calls the try. Anything but SAGA_DONE dooms the scope: it
 * can no longer be confirmed. answer may be NULL; else release it with saga_answer_fini(). */
SAGA_API enum saga_result saga_tcc_try(struct saga_tcc *tcc, const struct saga_branch *branch,
                                       struct saga_answer *answer,
                                       struct saga_error *error) SAGA_USE;
/* A step of any other kind, as saga_join(). */
SAGA_API bool saga_tcc_join(struct saga_tcc *tcc, const char *step,
                            struct saga_error *error) SAGA_USE;
/* Decides confirm. False: see error; on "decided" or for a doomed scope it is cancelled, on
 * SAGA_E_UNKNOWN ask again. out may be NULL. */
SAGA_API bool saga_tcc_confirm(struct saga_tcc *tcc, struct saga_transaction *out,
			       struct saga_error *error) SAGA_USE;
/* Decides cancel, and waits for the end of it. reason and out may be NULL. */
SAGA_API bool saga_tcc_cancel(struct saga_tcc *tcc, const char *reason,
                              struct saga_transaction *out, struct saga_error *error) SAGA_USE;
/* Cancels without waiting, unless a decision is known here. If sagad cannot be reached, the
 * deadline does it. */
SAGA_API void saga_tcc_close(struct saga_tcc *tcc);

#if defined(__GNUC__)
static inline void saga_tcc_leave(struct saga_tcc **tcc)
{
	if (*tcc)
		saga_tcc_close(*tcc);
}
/* SAGA_TCC_SCOPE struct saga_tcc *tcc = saga_tcc_open(…): closed, and so cancelled unless
 * confirmed, whichever way its block is left. */
#define SAGA_TCC_SCOPE __attribute__((cleanup(saga_tcc_leave)))
#endif

#ifdef __cplusplus
}
#endif
#endif
