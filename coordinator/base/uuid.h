/* SPDX-License-Identifier: Apache-2.0
 * uuid.h - 128-bit identifiers (RFC 9562): version 7 for time-ordered ids, 4 for incarnations, 5 from a name.
 */
#ifndef COORDINATOR_BASE_UUID_H
#define COORDINATOR_BASE_UUID_H

#include "coordinator/base/text.h"

struct uuid {
	uint8_t b[16]; /* network order; all zero means "none" */
};

enum { UUID_TEXT = 36 };

bool        uuid_is_nil(struct uuid u);
bool        uuid_eq(struct uuid a, struct uuid b);
struct uuid uuid_v4(uint64_t random_a, uint64_t random_b);
struct uuid uuid_v7(int64_t unix_ms, uint64_t random_a, uint64_t random_b);
/* The first 16 bytes of a hash (version 5: SHA-1 over namespace and name), stamped. */
struct uuid uuid_v5(const uint8_t hash[16]);
const char *uuid_text(struct uuid u, char out[UUID_TEXT + 1]); /* returns out */
bool        uuid_parse(struct str text, struct uuid *out);     /* 8-4-4-4-12, any case */

#endif
