/* SPDX-License-Identifier: Apache-2.0
 * http_internal.h - what stands behind http.h: two clients, each with transfers of its own.
 */
#ifndef COORDINATOR_IO_HTTP_INTERNAL_H
#define COORDINATOR_IO_HTTP_INTERNAL_H

#include "coordinator/io/guard.h"
#include "coordinator/io/http.h"

/* The first member of both clients' transfers. */
struct transfer {
	bool is_plain;
};

#define HTTP_WITHHELD "not sent: this replica may not call anybody now"
#define HTTP_DENIED "its host, port or address may not be called: see the deny and allow lists (calls.deny, calls.allow)"

/* Of a new connection: that the machine behind it has gone is known half a minute later, however long an answer is waited
 * for. One that hangs is not. */
enum { HTTP_ALIVE_IDLE_S = 15, HTTP_ALIVE_EVERY_S = 5, HTTP_ALIVE_MS = 30000 };
void http_keep_alive(int fd);

/* Both: guard lives as long as the client; see http.h for the rest. */

struct curl_loop; /* libcurl's, for both: outlives them */

/* libcurl makes the whole call: takes everything. */
struct http_curl;
struct http_curl *http_curl_open(struct curl_loop *loop, const struct http_config *config);
struct transfer  *http_curl_start(struct http_curl *h, const struct http_request *r, enum guard_word word,
                                  http_done *done, void *arg);
/* Host without brackets, as libcurl will understand the URL; false if it will not. */
bool http_curl_read_url(const char *url, char host[256], uint16_t *port);
void http_curl_abort(struct http_curl *h, struct transfer *t);
void http_curl_close(struct http_curl *h);

/* Our own client; connections with TLS are libcurl's. Start gives NULL for what only libcurl understands. */
struct plain;
struct plain    *plain_open(uv_loop_t *loop, struct curl_loop *curl, const struct guard *guard,
                            const struct http_config *config, struct err *err);
struct transfer *plain_start(struct plain *p, const struct http_request *r, enum guard_word word,
                             http_done *done, void *arg);
void plain_abort(struct plain *p, struct transfer *t);
void plain_close(struct plain *p, http_closed *closed, void *arg);

#endif
