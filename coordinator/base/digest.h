/* SPDX-License-Identifier: Apache-2.0
 * digest.h - hashes and their printed forms, by libcrypto.
 */
#ifndef COORDINATOR_BASE_DIGEST_H
#define COORDINATOR_BASE_DIGEST_H

#include "coordinator/base/text.h"
#include "coordinator/base/uuid.h"

void        digest_sha256(struct str data, uint8_t out[32]);
void        digest_hmac_sha256(struct str key, struct str data, uint8_t out[32]);
/* A key made ready once: a signature costs a sixth of what the call above takes. */
struct digest_key;
struct digest_key *digest_key_open(struct str key);
void        digest_key_sign(struct digest_key *k, struct str data, uint8_t out[32]); /* HMAC-SHA256 */
void        digest_key_close(struct digest_key *k);   /* harmless on NULL */
/* UUID version 5 of name in the namespace of sagad's idempotency keys. */
struct uuid digest_uuid_v5(struct str name);
void        digest_hex(const uint8_t *bytes, size_t n, char *out);    /* 2 n + 1 bytes */
void        digest_base64(const uint8_t *bytes, size_t n, char *out); /* 4 ceil(n / 3) + 1 bytes */
bool        digest_same(const void *a, const void *b, size_t n);      /* in constant time */
void        digest_random(void *out, size_t n);

#endif
