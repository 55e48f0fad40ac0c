/* SPDX-License-Identifier: Apache-2.0
 * sign.c - signatures as the Standard Webhooks specification 1.0.0 wants them.
 */
#include "participants/libsaga/internal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECRET_MAX = 1024, WINDOW_S = 300 };

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Of at most SECRET_MAX bytes; the padding may be missing. */
static bool unbase64(const char *p, unsigned char out[SECRET_MAX], size_t *n)
{
	unsigned bits = 0, have = 0;

	*n = 0;
	for (; *p && *p != '='; p++) {
		int v = base64_value(*p);

		if (v < 0 || *n == SECRET_MAX)
			return false;
		bits = (bits << 6 | (unsigned)v) & 0xfff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[(*n)++] = (unsigned char)(bits >> have);
		}
	}
	return have < 6 && !p[strspn(p, "=")];
}

static bool read_secret(const char *text, unsigned char out[SECRET_MAX], size_t *n)
{
	if (!strncmp(text, "whsec_", 6))
		return unbase64(text + 6, out, n) && *n;
	*n = strlen(text);
	if (!*n || *n > SECRET_MAX)
		return false;
	memcpy(out, text, *n);
	return true;
}

bool saga_sign(const char *secret, const char *webhook_id, int64_t unix_s, const char *body,
	       size_t body_size, char out[SAGA_SIGNATURE_MAX])
{
	unsigned char key[SECRET_MAX], mac[EVP_MAX_MD_SIZE];
	unsigned mac_size = 0;
	size_t key_size;
	struct text signed_text = { 0 };
	bool ok = false;

	out[0] = '\0';
	if (!read_secret(secret, key, &key_size))
		return false;
	text_printf(&signed_text, "%s.%lld.", webhook_id, (long long)unix_s);
	text_add(&signed_text, body, body_size);
	if (!signed_text.failed)
		ok = HMAC(EVP_sha256(), key, (int)key_size, (unsigned char *)signed_text.p,
			  signed_text.n, mac, &mac_size) != NULL;
	text_free(&signed_text);
	OPENSSL_cleanse(key, sizeof(key));
	if (!ok)
		return false;
	memcpy(out, "v1,", 3);
	EVP_EncodeBlock((unsigned char *)out + 3, mac, (int)mac_size);
	return true;
}

void saga_webhook_id(const char *gid, const char *step, enum saga_op op,
                     char out[SAGA_WEBHOOK_ID_MAX])
{
	char named[SAGA_GID_MAX + SAGA_STEP_MAX + 16];
	unsigned char hash[EVP_MAX_MD_SIZE];
	int n = snprintf(named, sizeof(named), "%s:%s:%s", gid, step, saga_op_name(op));

	out[0] = '\0';
	if (n < 0 || (size_t)n >= sizeof(named) ||
	    !EVP_Digest(named, (size_t)n, hash, NULL, EVP_sha256(), NULL))
		return;
	strcpy(out, "msg_");
	for (int i = 0; i < 16; i++)
		snprintf(out + 4 + 2 * i, 3, "%02x", hash[i]);
}

/* Is one of the signatures, which are separated by blanks, this one? */
static bool among(const char *signatures, const char *wanted)
{
	size_t n = strlen(wanted);
	bool found = false;

	while (*signatures) {
		size_t word = strcspn(signatures, " ");

		found |= word == n && !CRYPTO_memcmp(signatures, wanted, n);
		signatures += word + (signatures[word] == ' ');
	}
	return found;
}

enum saga_fault saga_verify(const struct saga_trust *trust, int64_t now_s, const char *webhook_id,
			    const char *webhook_timestamp, const char *webhook_signature,
			    const char *body, size_t body_size)
{
	int64_t window_s = trust->window_s ? trust->window_s : WINDOW_S;
	uint64_t at;
	bool found = false;

	if (!webhook_id || !webhook_timestamp || !webhook_signature)
		return SAGA_FAULT_UNSIGNED;
	if (!slice_number(slice_trim(slice(webhook_timestamp)), INT64_MAX / 2, &at) ||
	    (int64_t)at > now_s + window_s || (int64_t)at < now_s - window_s)
		return SAGA_FAULT_TIME;
	for (size_t i = 0; i < trust->secret_count; i++) {
		char wanted[SAGA_SIGNATURE_MAX];

		if (saga_sign(trust->secrets[i], webhook_id, (int64_t)at, body, body_size, wanted))
			found |= among(webhook_signature, wanted);
	}
	return found ? SAGA_FAULT_NONE : SAGA_FAULT_SIGNATURE;
}
