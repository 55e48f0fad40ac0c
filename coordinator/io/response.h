/* SPDX-License-Identifier: Apache-2.0
 * response.h - an HTTP/1.x answer read piece by piece, strictly (RFC 9110, RFC 9112). No I/O.
 */
#ifndef COORDINATOR_IO_RESPONSE_H
#define COORDINATOR_IO_RESPONSE_H

#include "coordinator/base/text.h"

enum {
	RESPONSE_LINE_MAX = 16 << 10, /* bytes of one line */
	RESPONSE_HEAD_MAX = 64 << 10, /* of all lines: interim heads and trailers count, too */
	RESPONSE_LINES_MAX = 256,
	RESPONSE_EXCESS_MAX = 16 << 10, /* bytes that chunks may waste on their sizes and extensions */
	RESPONSE_VALUE_MAX = 128      /* a longer value of the two headers we read is ignored */
};

enum response_state {
	RESPONSE_STATUS_LINE,
	RESPONSE_FIELDS,
	RESPONSE_BODY,       /* as many bytes as announced */
	RESPONSE_BODY_REST,  /* until the server closes */
	RESPONSE_CHUNK_SIZE,
	RESPONSE_CHUNK,
	RESPONSE_CHUNK_END,
	RESPONSE_TRAILERS,
	RESPONSE_DONE,
	RESPONSE_FAILED
};

/* Zeroed memory is fit for response_begin(). */
struct response {
	enum response_state state;
	const char *failure;      /* of FAILED: what is wrong, for people */
	bool        begun;        /* a byte has come */
	bool        keep_alive;   /* of DONE: the connection may carry another request */
	bool        too_big;      /* of DONE: the body stops at body_max */
	int         status;
	char        saga_outcome[RESPONSE_VALUE_MAX], retry_after[RESPONSE_VALUE_MAX];
	struct buf  body;
	/* inside */
	size_t      body_max;
	bool        to_head;      /* the request was HEAD */
	bool        is_1_0, says_close, says_keep_alive, has_length, is_chunked;
	unsigned    lines;
	size_t      head_bytes, excess;
	uint64_t    left;         /* bytes of body, chunk or line end still to come */
	struct buf  line;         /* the beginning of a line whose end has not come */
};

/* Forgets what was read before, keeps the memory. */
void   response_begin(struct response *r, size_t body_max, bool to_head);
/* Returns how many bytes belong to this answer: all, unless it is DONE or FAILED now. */
size_t response_feed(struct response *r, const char *p, size_t n);
void   response_end(struct response *r); /* the server closed: DONE or FAILED now */
void   response_fini(struct response *r);

#endif
