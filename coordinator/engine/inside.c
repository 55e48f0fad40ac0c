/* SPDX-License-Identifier: Apache-2.0
 * inside.c - what only the replica that drives a transaction knows of it, for people who ask why it does not move.
 */
#include "coordinator/engine/engine_internal.h"

bool engine_inside(const struct engine *e, struct str gid, struct engine_inside *out)
{
	const struct owned *o = owned_look(e, gid);

	*out = (struct engine_inside){ 0 };
	if (o == NULL)
		return false;
	*out = (struct engine_inside){
		.unborn = o->unborn, .doubt = o->doubt, .unproven = o->unproven, .held = o->held,
		.committing = o->commit != COMMIT_NONE, .open_calls = o->open_calls, .queued = o->queue_n,
		.doubt_ms = o->doubt ? boot_ms(e) - o->doubt_since : 0,
	};
	owned_view(o, &out->view);
	return true;
}

int64_t engine_call_ms(const struct engine *e, struct str gid, uint16_t step)
{
	const struct owned     *o = owned_look(e, gid);
	const struct open_call *c;

	if (o == NULL)
		return -1;
	if (step != TXN_CHECK && step >= o->room)
		return -1;
	c = step == TXN_CHECK ? o->check_call : o->calls[step];
	return c != NULL && c->handle != 0 ? now_ms(e) - c->started_at : -1;
}
