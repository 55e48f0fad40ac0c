/* SPDX-License-Identifier: Apache-2.0
 * curl_loop.h - libcurl's multi interface on our loop, and what all its handles have in common:
 * the guard, who is believed, how sockets are opened and watched.
 */
#ifndef COORDINATOR_IO_CURL_LOOP_H
#define COORDINATOR_IO_CURL_LOOP_H

#include "coordinator/io/guard.h"
#include "coordinator/io/http.h"

#include <curl/curl.h>

struct curl_loop;
struct curl_group;
struct curl_user;

/* Told once, from the loop. The user is in the multi handle still, and may end itself or
 * others. */
typedef void curl_ended(struct curl_user *u, CURLcode code);

enum curl_sharing {
	CURL_SHARED, /* with others of this kind: it may use a connection of theirs */
	CURL_ALONE   /* its connection is its own */
};

struct curl_user { /* whoever owns an easy handle; memory is his */
	struct curl_loop  *loop;
	enum curl_sharing  sharing;
	struct curl_group *group; /* if shared, from start to end; else from open to close */
	CURL              *easy;
	curl_ended        *ended;
	enum guard_word   word;
	bool              denied;    /* an address may not be called */
	int               no_socket; /* errno: a socket could not be opened */
	char              said[CURL_ERROR_SIZE]; /* by libcurl, about a failure */
};

/* NULL with a sentence: the system refuses. guard lives as long; of config what stands in
 * http.h. */
struct curl_loop *curl_loop_open(uv_loop_t *loop, const struct guard *guard,
                                 const struct http_config *config, struct err *err);
/* All users are closed by then. Frees it some turns later, then calls closed. */
void curl_loop_close(struct curl_loop *l, http_closed *closed, void *arg);
/* Somebody else watches this socket from now on. */
void curl_loop_leave(struct curl_loop *l, int fd);
const struct guard *curl_loop_guard(const struct curl_loop *l);

/* The handle has its options then. */
void curl_user_open(struct curl_user *u, struct curl_loop *l, enum curl_sharing sharing,
                    curl_ended *ended);
void curl_user_start(struct curl_user *u, enum guard_word word);
void curl_user_end(struct curl_user *u); /* out of the multi handle, in which it was */
void curl_user_close(struct curl_user *u);

#endif
