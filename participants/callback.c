/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/digest.h"
#include "participants/call.h"

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
