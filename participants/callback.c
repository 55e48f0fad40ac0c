/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/digest.h"
#include "participants/call.h"

#include <stdio.h>
#include <string.h>

enum { REPLICA_WORD_MS = 60 * 1000 };

static void write_text(struct str gid, struct str step, enum op op, struct buf *out)
{
	buf_reserve(out, gid.n + step.n + 16);
	buf_str(out, gid);
	buf_char(out, ':');
	buf_str(out, step);
	buf_char(out, ':');
	buf_cstr(out, op_name(op));
}

void callback_sign(struct str key, struct str gid, struct str step, enum op op, char out[65])
{
	struct buf text = { 0 };
	uint8_t    mac[32];

	write_text(gid, step, op, &text);
	digest_hmac_sha256(key, buf_view(&text), mac);
	digest_hex(mac, sizeof mac, out);
	buf_fini(&text);
}

void callback_sign_ready(struct digest_key *key, struct str gid, struct str step, enum op op,
                         char out[65])
{
	struct buf text = { 0 };
	uint8_t    mac[32];

	write_text(gid, step, op, &text);
	digest_key_sign(key, buf_view(&text), mac);
	digest_hex(mac, sizeof mac, out);
	buf_fini(&text);
}

bool callback_verify(struct str key, struct str gid, struct str step, enum op op, struct str sig)
{
	char want[65];

	if (key.n == 0 || sig.n != 64)
		return false;
	callback_sign(key, gid, step, op, want);
	return digest_same(want, sig.p, 64);
}

void replica_sign(struct str key, struct str gid, int64_t now_ms, char out[96])
{
	struct buf text = { 0 };
	uint8_t    mac[32];
	int        n = snprintf(out, 31, "%lld ", (long long)now_ms);

	buf_cstr(&text, "replica ");
	buf_cstr(&text, out);
	buf_str(&text, gid);
	digest_hmac_sha256(key, buf_view(&text), mac);
	digest_hex(mac, sizeof mac, out + n);
	buf_fini(&text);
}

bool replica_verify(struct str key, struct str gid, int64_t now_ms, struct str word)
{
	const char *space = word.n ? memchr(word.p, ' ', word.n) : NULL;
	char        want[96];
	uint64_t    ms;

	if (key.n == 0 || space == NULL || !text_to_u64((struct str){ word.p, (size_t)(space - word.p) }, &ms) ||
	    ms > INT64_MAX)
		return false;
	int64_t age = now_ms > (int64_t)ms ? now_ms - (int64_t)ms : (int64_t)ms - now_ms;
	if (age > REPLICA_WORD_MS)
		return false;
	replica_sign(key, gid, (int64_t)ms, want);
	return word.n == strlen(want) && digest_same(want, word.p, word.n);
}
