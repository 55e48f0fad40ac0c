/* SPDX-License-Identifier: Apache-2.0
 * http_stub.h - a tiny HTTP/1.1 server on the test's own loop: it answers with the very bytes a test wants.
 */
#ifndef TESTS_LIB_HTTP_STUB_H
#define TESTS_LIB_HTTP_STUB_H

#include "coordinator/base/list.h"
#include "coordinator/base/text.h"

#include <uv.h>

struct stub_request { /* dies with the handler */
	struct str method, path; /* path with its query */
	struct str head;         /* all header lines */
	struct str body;
};

struct stub_answer {
	struct buf raw;      /* status line and all; the stub frees it */
	unsigned   delay_ms;
	bool       never;    /* no answer; the connection stays */
	bool       close;    /* after these bytes */
	bool       reset;    /* instead of them */
};
typedef void stub_handler(void *arg, const struct stub_request *r, struct stub_answer *out);

struct stub {
	uv_loop_t    *loop;
	uv_tcp_t      listener;
	int           port;
	size_t        answer_early; /* a body longer than this is answered when so much of it is there */
	stub_handler *handler;
	void         *arg;
	struct list   peers;
	unsigned      connections; /* accepted so far */
	unsigned      open, requests, open_requests, open_requests_max;
};

bool       stub_open(struct stub *s, uv_loop_t *loop, stub_handler *handler, void *arg);
void       stub_drop_all(struct stub *s); /* closes every connection */
void       stub_close(struct stub *s);    /* run the loop afterwards */
void       stub_speak(struct stub *s, const char *bytes); /* to all who are connected, unasked */
struct str stub_header(const struct stub_request *r, const char *name); /* value, or p == NULL */
/* A whole answer; extra: further header lines, each with \r\n, or "". */
void       stub_reply(struct stub_answer *out, int status, const char *extra, struct str body);

#endif
