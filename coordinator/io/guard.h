/* SPDX-License-Identifier: Apache-2.0
 * guard.h - where calls may go (against requests forged through a definition's URL): a list that is never called, and
 * one that alone is, if it is given.
 */
#ifndef COORDINATOR_IO_GUARD_H
#define COORDINATOR_IO_GUARD_H

#include "coordinator/base/arena.h"
#include "coordinator/base/err.h"

#include <sys/socket.h>

enum { GUARD_MAX = 64 };

struct guard_entry {
	struct str name;        /* lower case; "*": any; ".x": whatever ends in it; empty: a network */
	uint8_t    address[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned   bits;
	uint16_t   port;        /* 0: any */
};

struct guard {
	struct guard_entry deny[GUARD_MAX], allow[GUARD_MAX];
	size_t             deny_n, allow_n;
	bool               reads_urls; /* host and port of a URL may decide: not only addresses count */
	struct arena       arena;
};

/* What is known from host and port alone. */
enum guard_word {
	GUARD_REFUSED,    /* not to be called */
	GUARD_TAKEN,      /* by its name: whatever it resolves to, unless that is denied */
	GUARD_BY_ADDRESS  /* if the address is allowed */
};

/* Elements like 10.0.0.0/8, [fd00::/8]:443, 192.0.2.7:8080, pay.internal, *.internal:443, *:80, with commas or spaces
 * between. deny "none" or empty: nothing is denied; allow empty: everything else is allowed. */
bool guard_parse(struct guard *g, struct str deny, struct str allow, struct err *err)
	__attribute__((warn_unused_result));
void guard_fini(struct guard *g);

/* host as in a URL, without brackets; numbers that stand for an address count as that. */
enum guard_word guard_judge(const struct guard *g, struct str host, uint16_t port);
/* Of an address that is about to be called. An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) is denied with the
 * one inside. Anything but IPv4 and IPv6 is denied. */
bool guard_denies(const struct guard *g, enum guard_word word, const struct sockaddr *address);
bool guard_denies_text(const struct guard *g, enum guard_word word, const char *ip, uint16_t port);

#endif
