/* SPDX-License-Identifier: Apache-2.0
 * client.h - requests to sagad, one after the other, by libcurl.
 */
#ifndef SAGACTL_CLIENT_H
#define SAGACTL_CLIENT_H

#include "coordinator/base/text.h"
#include "sagactl/args.h"

#include <jansson.h>

enum { CLIENT_URLS_MAX = 16, CLIENT_ANSWER_MAX = 64 << 20 };

struct client {
	void       *curl;
	struct str  urls[CLIENT_URLS_MAX]; /* without a slash at the end */
	size_t      url_n, url_at;         /* the one that answered last */
	char        token[1024];
	const char *cacert, *cert, *key;
	int64_t     timeout_ms;
};

struct ask {
	const char *method, *path;     /* path: with its query, encoded */
	struct str  body;              /* JSON, or empty */
	struct str  if_match;          /* with quotes, or empty */
	struct str  if_none_match;
	const char *accept, *idempotency_key;
	int64_t     wait_ms;           /* on top of the time-out: how long the server may wait */
};

/* Zeroed memory is no answer. */
struct answer {
	long          status;
	struct buf    body;
	char          etag[64], type[64];
	bool          replayed;
	int64_t       date;    /* the server's clock, whole seconds; ours where it sent none */
	long          retry_after_s;
	json_t       *json;    /* numbers are texts in it, as they were written (verbatim.h); NULL: it is none */
};

bool client_open(struct client *c, const struct args *a, struct err *err) __attribute__((warn_unused_result));
void client_close(struct client *c);
/* False: no answer. What may be sent twice goes to the next replica then; anything does where no connection came
 * about. */
bool client_send(struct client *c, const struct ask *ask, struct answer *out, struct err *err)
	__attribute__((warn_unused_result));
void answer_fini(struct answer *a);

/* name=value of a query, percent-encoded; the first is led in by ?, others by &. */
void query_add(struct buf *path, const char *name, struct str value);
void path_add(struct buf *path, struct str segment); /* with its slash */

#endif
