/* SPDX-License-Identifier: Apache-2.0
 * guard.h - networks that are never called (against requests forged through a definition's URL).
 */
#ifndef COORDINATOR_IO_GUARD_H
#define COORDINATOR_IO_GUARD_H

#include "coordinator/base/err.h"
#include "coordinator/base/text.h"

#include <sys/socket.h>

enum { GUARD_MAX = 64 };

struct guard_net {
	uint8_t  address[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;
};

struct guard {
	struct guard_net nets[GUARD_MAX];
	size_t           n;
};

/* "10.0.0.0/8, fe80::/10, 192.0.2.7"; empty or "none": nothing is denied. */
bool guard_parse(struct guard *g, struct str list, struct err *err)
	__attribute__((warn_unused_result));
/* Anything but IPv4 and IPv6 is denied. */
bool guard_denies(const struct guard *g, const struct sockaddr *address);
bool guard_denies_text(const struct guard *g, const char *ip);

#endif
