/* SPDX-License-Identifier: Apache-2.0 */
/* EVP_Digest looks its algorithm up in locked tables each time, which costs as much as hashing 500 bytes. The functions
 * below it are the same code; libcrypto calls them old, not wrong. */
#define OPENSSL_API_COMPAT 0x10100000L
#include "coordinator/base/digest.h"

#include "coordinator/base/mem.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

/* A hash that libcrypto cannot compute means a broken installation: nothing sensible can follow. */
static void must(bool worked)
{
	if (!worked)
		abort();
}

void digest_sha256(struct str data, uint8_t out[32])
{
	SHA256_CTX c;

	must(SHA256_Init(&c) == 1 && SHA256_Update(&c, data.n ? data.p : "", data.n) == 1 && SHA256_Final(out, &c) == 1);
}

void digest_hmac_sha256(struct str key, struct str data, uint8_t out[32])
{
	unsigned n = 32;

	must(HMAC(EVP_sha256(), key.n ? key.p : "", (int)key.n,
	          (const unsigned char *)(data.n ? data.p : ""), data.n, out, &n) != NULL);
}

/* Looking up the algorithm by its name is most of what one signature costs. */
struct digest_key {
	EVP_MAC     *algorithm;
	EVP_MAC_CTX *ctx;
};

struct digest_key *digest_key_open(struct str key)
{
	char               name[] = "SHA256";
	const OSSL_PARAM   params[] = { OSSL_PARAM_construct_utf8_string("digest", name, 0),
		                        OSSL_PARAM_construct_end() };
	struct digest_key *k = mem_alloc(sizeof *k);

	k->algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
	must(k->algorithm != NULL);
	k->ctx = EVP_MAC_CTX_new(k->algorithm);
	must(k->ctx != NULL);
	must(EVP_MAC_init(k->ctx, (const unsigned char *)(key.n ? key.p : ""), key.n, params) == 1);
	return k;
}

/* Without a key, init begins anew with the one there is. */
void digest_key_sign(struct digest_key *k, struct str data, uint8_t out[32])
{
	size_t n;

	must(EVP_MAC_init(k->ctx, NULL, 0, NULL) == 1 &&
	     EVP_MAC_update(k->ctx, (const unsigned char *)(data.n ? data.p : ""), data.n) == 1 &&
	     EVP_MAC_final(k->ctx, out, &n, 32) == 1 && n == 32);
}

void digest_key_close(struct digest_key *k)
{
	if (k == NULL)
		return;
	EVP_MAC_CTX_free(k->ctx);
	EVP_MAC_free(k->algorithm);
	free(k);
}

struct uuid digest_uuid_v5(struct str name)
{
	/* A random namespace, fixed for good: the same key must give the same gid for ever. */
	static const uint8_t namespace[16] = { 0x6b, 0x1c, 0x0f, 0x52, 0x8e, 0x37, 0x4d, 0x5a,
		                               0x9f, 0x0e, 0x2d, 0x71, 0xc3, 0x58, 0xa6, 0x14 };
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t     hash[20];

	must(md != NULL && EVP_DigestInit_ex(md, EVP_sha1(), NULL) == 1 &&
	     EVP_DigestUpdate(md, namespace, sizeof namespace) == 1 &&
	     EVP_DigestUpdate(md, name.n ? name.p : "", name.n) == 1 &&
	     EVP_DigestFinal_ex(md, hash, NULL) == 1);
	EVP_MD_CTX_free(md);
	return uuid_v5(hash);
}

void digest_hex(const uint8_t *bytes, size_t n, char *out)
{
	size_t i = 0;

	for (; i + 4 <= n; i += 4, out += 8) {
		uint32_t four;

		memcpy(&four, bytes + i, sizeof four);
		text_put_hex(be32toh(four), out);
	}
	for (; i < n; i++) {
		*out++ = "0123456789abcdef"[bytes[i] >> 4];
		*out++ = "0123456789abcdef"[bytes[i] & 15];
	}
	*out = '\0';
}

void digest_base64(const uint8_t *bytes, size_t n, char *out)
{
	EVP_EncodeBlock((unsigned char *)out, bytes, (int)n);
}

bool digest_same(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

void digest_random(void *out, size_t n)
{
	must(RAND_bytes(out, (int)n) == 1);
}
