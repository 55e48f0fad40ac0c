/* SPDX-License-Identifier: Apache-2.0 */
#include "api/access.h"

const struct principal access_anyone = { { "anonymous", sizeof "anonymous" - 1 }, ~0u, false };

const char *role_name(enum role r)
{
	static const char *const NAMES[] = {
#define X(name, text, who) text,
		ROLES(X)
#undef X
	};

	return NAMES[r];
}

bool role_parse(struct str text, enum role *out)
{
	static const enum role HELD[] = { ROLE_SERVICE, ROLE_READER, ROLE_OPERATOR, ROLE_ADMIN };

	for (size_t i = 0; i < sizeof HELD / sizeof HELD[0]; i++)
		if (str_is(text, role_name(HELD[i]))) {
			*out = HELD[i];
			return true;
		}
	return false;
}

bool access_allows(unsigned roles, enum role wanted)
{
#define HAS(name) (1u << ROLE_##name)
	static const unsigned WHO[] = {
#define X(name, text, who) who,
		ROLES(X)
#undef X
	};
#undef HAS

	return WHO[wanted] == ~0u || (WHO[wanted] & roles) != 0;
}
