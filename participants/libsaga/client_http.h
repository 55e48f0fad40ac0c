/* SPDX-License-Identifier: Apache-2.0
 * client_http.h - requests and answers of a client, over libcurl.
 */
#ifndef LIBSAGA_CLIENT_HTTP_H
#define LIBSAGA_CLIENT_HTTP_H

#include "participants/libsaga/internal.h"
#include "participants/libsaga/saga/client.h"

#define http_send          saga_own_http_send
#define http_answer_fini   saga_own_http_answer_fini
#define client_ask         saga_own_client_ask
#define client_ask_txn     saga_own_client_ask_txn
#define text_txn_path      saga_own_text_txn_path
#define clock_ms           saga_own_clock_ms
#define sleep_ms           saga_own_sleep_ms
#define client_patience_ms saga_own_client_patience_ms

enum { HTTP_HEADERS_MAX = 16, HTTP_BODY_MAX = 16 << 20 };

struct http_ask {
	const char *method;
	const char *url;                        /* whole, or a path of sagad's */
	const char *body;                       /* JSON, or NULL */
	const char *headers[HTTP_HEADERS_MAX]; /* "Name: value"; up to the first NULL */
	int timeout_ms;
	bool no_token;                          /* it goes to somebody else */
};

struct http_answer {
	int status; /* 0: none came; failure says why */
	struct text body;
	char retry_after[64];
	bool replayed; /* Saga-Replayed: true */
	bool refused;  /* Saga-Outcome: refused */
	char failure[200];
};

/* One request, one answer, or none. */
void http_send(struct saga_client *client, const struct http_ask *ask, struct http_answer *out);
void http_answer_fini(struct http_answer *answer);

/* From replica to replica until one of them gives an answer that settles it, or patience_ms are
 * over. True: 2xx. Without a path: at ask->url. */
bool client_ask(struct saga_client *client, struct http_ask *ask, const char *path, int wait_ms,
		struct http_answer *out, struct saga_error *error) SAGA_USE;
/* The same with a transaction as the answer. */
bool client_ask_txn(struct saga_client *client, struct http_ask *ask, const char *path, int wait_ms,
		    struct saga_transaction *out, struct saga_error *error) SAGA_USE;

/* "/v1/transactions/" and the gid as a segment of a path, and what follows. */
void text_txn_path(struct text *t, const char *gid, const char *rest);

int64_t clock_ms(void); /* monotonic */
void sleep_ms(int64_t ms);
int client_patience_ms(const struct saga_client *client);

#endif
