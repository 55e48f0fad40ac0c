/* SPDX-License-Identifier: Apache-2.0
 * webhook.c - signatures as the Standard Webhooks specification 1.0.0 wants them.
 */
#include "coordinator/base/digest.h"
#include "participants/call.h"

#include <string.h>

void webhook_sign(struct str secret, struct str id, int64_t unix_s, struct str body, char out[64])
{
	struct buf text = { 0 };
	uint8_t    mac[32];

	buf_str(&text, id);
	buf_char(&text, '.');
	buf_i64(&text, unix_s);
	buf_char(&text, '.');
	buf_str(&text, body);
	digest_hmac_sha256(secret, buf_view(&text), mac);
	memcpy(out, "v1,", 3);
	digest_base64(mac, sizeof mac, out + 3);
	buf_fini(&text);
}

/* The same in every attempt, as the receiver drops what it has seen. Hashed, since
 * a gid may hold the full stop that separates the signed parts. */
void webhook_id(struct str gid, struct str step, enum op op, char out[40])
{
	struct buf text = { 0 };
	uint8_t    hash[32];

	buf_str(&text, gid);
	buf_char(&text, ':');
	buf_str(&text, step);
	buf_char(&text, ':');
	buf_cstr(&text, op_name(op));
	digest_sha256(buf_view(&text), hash);
	memcpy(out, "msg_", 4);
	digest_hex(hash, 16, out + 4);
	buf_fini(&text);
}

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

static bool unbase64(struct str text, struct buf *out)
{
	unsigned bits = 0, n = 0;

	while (text.n > 0 && text.p[text.n - 1] == '=')
		text.n--;
	for (size_t i = 0; i < text.n; i++) {
		int v = base64_value(text.p[i]);

		if (v < 0)
			return false;
		bits = (bits << 6 | (unsigned)v) & 0xfff;
		n += 6;
		if (n >= 8) {
			n -= 8;
			buf_char(out, (char)(bits >> n & 0xff));
		}
	}
	return n < 6;
}

bool webhook_secret(struct str text, struct buf *out)
{
	const struct str prefix = STR("whsec_");

	buf_clear(out);
	if (!str_starts(text, prefix)) {
		buf_str(out, text);
		return text.n > 0;
	}
	return unbase64((struct str){ text.p + prefix.n, text.n - prefix.n }, out) && out->n > 0;
}
