/* SPDX-License-Identifier: Apache-2.0
 * listen.h - listening sockets from texts like 127.0.0.1:7070, [::1]:7070 or :7070 (every address).
 */
#ifndef COORDINATOR_LISTEN_H
#define COORDINATOR_LISTEN_H

#include "coordinator/base/err.h"
#include "coordinator/base/text.h"

#include <stdint.h>

struct listen_address {
	char     host[256]; /* empty: every address */
	uint16_t port;      /* 0: the kernel chooses */
};

bool listen_parse(struct str text, struct listen_address *out, struct err *err)
	__attribute__((warn_unused_result));
/* A non-blocking, close-on-exec listening socket, the caller's to close. Not
 * shared with other programs: a port in use is an error that names it. */
bool listen_open(const struct listen_address *a, int *fd, struct err *err)
	__attribute__((warn_unused_result));
uint16_t listen_port(int fd); /* as bound; 0 if it cannot be asked */
bool     listen_is_local(int fd); /* only this machine can reach it */

#endif
