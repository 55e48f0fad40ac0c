/* SPDX-License-Identifier: Apache-2.0
 * plain_request.h - which requests the plain client takes, and their bytes. No I/O.
 */
#ifndef COORDINATOR_IO_PLAIN_REQUEST_H
#define COORDINATOR_IO_PLAIN_REQUEST_H

#include "coordinator/io/http.h"

/* All slices are parts of the URL. */
struct plain_url {
	struct str authority;  /* https:// if it is that, host, and port if one is written: the key of a pool */
	struct str host;       /* without brackets */
	uint16_t   port;
	struct str path;       /* with the query; never empty */
	bool       names_port; /* in the Host header: it is not the scheme's own */
	bool       is_tls;
	bool       is_v6;
};

/* False: only libcurl knows what to do with it (user names, numbers that stand for addresses,
 * characters that need escaping, anything unusual). */
bool plain_url_read(const char *url, struct plain_url *out) __attribute__((warn_unused_result));

bool plain_has_body(const struct http_request *r); /* not with HEAD, whatever the request holds */
/* Everything before the body, byte for byte as libcurl writes it. */
void plain_head_write(const struct http_request *r, const struct plain_url *url, struct buf *out);

#endif
