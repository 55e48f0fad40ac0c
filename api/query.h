/* SPDX-License-Identifier: Apache-2.0
 * query.h - the small languages of a request: query string, Prefer, ETag, Idempotency-Key, cursor, names.
 */
#ifndef API_QUERY_H
#define API_QUERY_H

#include "coordinator/base/arena.h"

enum {
	QUERY_MAX = 16,
	WAIT_MAX_MS = 60000, /* of our own API */
	GID_MAX = 128,
	NAME_MAX_BYTES = 128,
	IDEMPOTENCY_KEY_MAX = 255,
	BASE_URL_MAX = 2048,
	PAGE_MAX = 200,
	PAGE_DEFAULT = 50
};

struct query {
	struct str name[QUERY_MAX], value[QUERY_MAX];
	size_t     n;
};

/* Decodes and adds one pair, as sent. What is wrong with it, or NULL. */
const char *query_add(struct query *q, struct arena *arena, struct str name, struct str value);
/* NULL if absent. */
const struct str *query_get(const struct query *q, const char *name);
/* The first name that is not among `known` (NULL-terminated), or NULL; names that end
 * in a dot stand for all that start so. */
const struct str *query_unknown(const struct query *q, const char *const *known);

/* Does an Accept header want this media type, at least as much as the usual one? Wildcards mean the usual one. */
bool accept_prefers(struct str header, const char *type, const char *usual);

#define WAIT_ENDLESS INT64_MAX /* until it ends, or who waits leaves, or this replica */

struct prefer { /* RFC 7240; what we do not know is ignored, as it says */
	bool    wait, minimal; /* minimal: return=minimal */
	int64_t wait_ms;       /* 0 .. WAIT_MAX_MS, or WAIT_ENDLESS, or what a façade takes for it */
	int64_t asked_ms;      /* as it was asked for, of any length */
};
void prefer_read(struct str header, struct prefer *out);
/* "20s", "1m", "250ms"; longer than WAIT_MAX_MS is cut. */
bool wait_read(struct str text, int64_t *ms);

/* One entity tag, quoted or bare, or `*` (any). */
struct etag {
	bool     given, any;
	uint64_t version;
};
bool etag_read(struct str header, struct etag *out); /* empty header: not given */
bool etag_fits(const struct etag *e, uint64_t version);

/* The key without its quotes: 1 .. 255 printable ASCII. */
bool idempotency_key_read(struct str header, struct arena *arena, struct str *key);
/* W3C trace context, version 00. */
bool traceparent_is_valid(struct str header);
bool gid_is_valid(struct str gid);   /* 1 .. 128 printable ASCII without space, quotes, backslash */
bool given_name_is_valid(struct str name); /* of definitions, participants: [A-Za-z][A-Za-z0-9._-]{0,127} */
/* Base URL of a participant or replica: http(s)://host[:port][/path], nothing else, at most BASE_URL_MAX bytes. */
bool base_url_is_valid(struct str url);
/* application/json, with or without parameters, or +json. */
bool media_type_is_json(struct str header);

/* A cursor says where to go on, and for which filters it was made. */
void cursor_write(uint64_t filters, struct str after, struct buf *out);
bool cursor_read(struct str text, uint64_t filters, struct arena *arena, struct str *after);

#endif
