/* SPDX-License-Identifier: Apache-2.0
 * json_internal.h - what the scanner and the looking share.
 */
#ifndef COORDINATOR_BASE_JSON_INTERNAL_H
#define COORDINATOR_BASE_JSON_INTERNAL_H

#include "coordinator/base/json.h"

/* The code point of the \u at s.p[at]; a pair of surrogates is one. -1: there is none. */
int32_t    json_unicode_at(struct str s, size_t at, size_t *used);
char       json_unescaped(char c); /* of a one-letter escape; NUL: no such escape */
struct str json_decode(struct str inner, struct arena *arena);
void       json_pointer_key(struct buf *out, struct str key); /* /key, escaped */

#endif
