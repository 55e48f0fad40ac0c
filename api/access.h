/* SPDX-License-Identifier: Apache-2.0
 * access.h - who may use which route. Pure: decides, and knows nothing of HTTP or files.
 */
#ifndef API_ACCESS_H
#define API_ACCESS_H

#include "coordinator/base/text.h"

/* What a principal may hold, and what a route asks for: each with those who may use such a route. A service begins
 * and decides; a reader looks; an operator does what keeps every promise; an admin may do what breaks
 * one (with the gid typed again) and says where calls go. Each of the last three may do what those before it may. */
#define ROLES(X)                                                                \
	X(PUBLIC,              "public",           ~0u)                         \
	X(SERVICE,             "service",          HAS(SERVICE))                \
	X(READER,              "reader",           HAS(READER) | HAS(OPERATOR) | HAS(ADMIN)) \
	X(OPERATOR,            "operator",         HAS(OPERATOR) | HAS(ADMIN))  \
	X(ADMIN,               "admin",            HAS(ADMIN))                  \
	X(REPLICA,             "replica",          HAS(REPLICA))                \
	X(SERVICE_OR_READER,   "service/reader",   HAS(SERVICE) | HAS(READER) | HAS(OPERATOR) | HAS(ADMIN)) \
	X(SERVICE_OR_OPERATOR, "service/operator", HAS(SERVICE) | HAS(OPERATOR) | HAS(ADMIN))

#define X(name, ...) ROLE_##name,
enum role { ROLES(X) };
#undef X
#define X(...) + 1
enum { ROLE_COUNT = 0 ROLES(X) };
#undef X

struct principal {
	struct str name;      /* "anonymous" without a token */
	unsigned   roles;     /* a set of 1 << enum role */
	bool       is_known;  /* a token or a certificate said so: the name can be relied on */
};

const char *role_name(enum role r);
/* Service, reader, operator or admin: what one can be given. */
bool        role_parse(struct str text, enum role *out);
bool        access_allows(unsigned roles, enum role wanted);
/* Where nobody is asked who he is: everything is allowed. */
extern const struct principal access_anyone;

#endif
