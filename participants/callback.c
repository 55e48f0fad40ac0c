/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/digest.h"
#include "participants/call.h"

void callback_sign(struct str key, struct str gid, struct str step, enum op op, char out[65])
{
	struct buf text = { 0 };
	uint8_t    mac[32];

	buf_str(&text, gid);
	buf_char(&text, ':');
	buf_str(&text, step);
	buf_char(&text, ':');
	buf_cstr(&text, op_name(op));
	digest_hmac_sha256(key, buf_view(&text), mac);
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
