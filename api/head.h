/* SPDX-License-Identifier: Apache-2.0
 * head.h - the head of a request (RFC 9112, 3 and 5) and a body in chunks (7.1). No I/O. Strict
 * wherever two readers may differ about where a request ends: what stands behind it could be
 * another one to one of them.
 */
#ifndef API_HEAD_H
#define API_HEAD_H

#include "coordinator/base/arena.h"

enum { HEAD_FIELDS_MAX = 100 };

struct head_field {
	struct str name, value; /* both NUL-terminated; of the value no white space around it */
};

struct request_head {
	struct str         method, path; /* as sent, but without http://host */
	struct str         query;        /* behind the first ?; p == NULL: none */
	struct head_field *fields;
	size_t             field_count;
	bool               keep_alive;   /* the client wants to go on with its connection */
	bool               is_1_0;
	bool               says_expect;  /* Expect: 100-continue */
	bool               is_chunked, has_length;
	bool               is_unclear;   /* two lengths, or a length and chunks */
	bool               has_many;     /* more than HEAD_FIELDS_MAX: none was read */
	uint64_t           length;
};

/* How many bytes the head has, the empty line behind it included, or 0 while that has not come.
 * Empty lines in front belong to it. *scanned: 0 at first; what it was left at when there are
 * more bytes. */
size_t head_end(struct str bytes, size_t *scanned);

/* A whole head, of which a copy is made in the arena: all slices point there. NULL, or what is
 * wrong with it; method and path are set as far as they could be read. */
const char *head_read(struct str bytes, struct arena *arena, struct request_head *out);

/* Proxies are asked for http://host/path, and every server has to take it (RFC 9112, 3.2.2): leaves
 * the path, which may be empty, and what is behind it. Whoever serves one host need not know its
 * name. False: it names no host, or a user; nothing was done. */
bool head_strip_host(struct str *target);

/* Method and path of a head that is too long to be read as a whole. *in_url: its first line is
 * what is too long. */
void head_glance(struct str bytes, struct arena *arena, struct request_head *out, bool *in_url);

/* ---- chunks -------------------------------------------------------------------------- */

enum { CHUNKS_EXCESS_MAX = 16 * 1024 };

enum chunks_state {
	CHUNKS_SIZE,
	CHUNKS_EXTENSION,
	CHUNKS_SIZE_LF,
	CHUNKS_DATA,
	CHUNKS_DATA_CR,
	CHUNKS_DATA_LF,
	CHUNKS_TRAILER,
	CHUNKS_TRAILER_REST,
	CHUNKS_TRAILER_LF,
	CHUNKS_LAST_LF,
	CHUNKS_DONE,
	CHUNKS_BROKEN
};

struct chunks { /* zeroed: at the start */
	enum chunks_state state;
	unsigned          digits;
	uint64_t          left;
	size_t            excess; /* bytes that are no data, beyond what honest clients need */
};

/* Cuts some bytes off the front of *in, until there are data or *in is empty or the state is
 * DONE or BROKEN. Gives the data among them, empty if there are none. */
struct str chunks_take(struct chunks *c, struct str *in);

#endif
