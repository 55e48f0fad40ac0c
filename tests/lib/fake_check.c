/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fake_log_internal.h"

#include <string.h>

bool fake_check_gid(struct str gid)
{
	for (size_t i = 0; i < gid.n; i++)
		if (gid.p[i] < 0x20 || gid.p[i] > 0x7e)
			return false;
	return gid.n >= 1 && gid.n <= 128;
}

static const char *wrong_begin(const struct batch *b, const struct row *r)
{
	if (!fake_check_gid(r->gid))
		return "begin: gid is not 1 to 128 printable ASCII characters";
	if (!uuid_eq(r->owner, b->me) || r->epoch != 1 || r->version != 1)
		return "begin: owner, epoch or version is not that of a new row";
	if (phase_is_ended(r->phase) || r->ended_at != 0 || r->due_at != 0)
		return "begin: a new row has neither ended nor is it parked";
	if (r->adoptions != 0 || r->paused || r->stuck != STUCK_NONE)
		return "begin: a new row is neither adopted nor paused nor stuck";
	if (r->progress.n == 0)
		return "begin: no progress";
	return NULL;
}

static const char *wrong_change(const struct change *c)
{
	if (!fake_check_gid(c->gid))
		return "change: gid is not 1 to 128 printable ASCII characters";
	if (c->epoch == 0 || c->version == 0)
		return "change: epoch or version is 0";
	if (c->ended != phase_is_ended(c->phase))
		return "change: ended and phase differ";
	if (c->ended && c->release)
		return "change: both ended and released";
	if (c->release != (c->due_at != 0))
		return "change: due_at goes with a release";
	if (c->progress.n == 0)
		return "change: no progress";
	if (c->document.p != NULL && c->document.n == 0)
		return "change: an empty document";
	return NULL;
}

static unsigned count_gid(const struct batch *b, struct str gid)
{
	unsigned times = 0;

	for (size_t i = 0; i < b->begin_count; i++)
		times += str_eq(b->begins[i].gid, gid);
	for (size_t i = 0; i < b->change_count; i++)
		times += str_eq(b->changes[i].gid, gid);
	return times;
}

void fake_check_batch(const struct fake_db *db, const struct batch *b)
{
	const char *wrong = NULL;

	if (uuid_is_nil(b->me))
		wrong = "batch: nobody's";
	if (b->begin_count + b->change_count + b->entry_count + b->settled_count == 0)
		wrong = "batch: empty";
	for (size_t i = 0; i < b->begin_count && wrong == NULL; i++) {
		wrong = wrong_begin(b, &b->begins[i]);
		if (count_gid(b, b->begins[i].gid) > 1)
			wrong = "batch: one gid twice";
	}
	for (size_t i = 0; i < b->change_count && wrong == NULL; i++) {
		wrong = wrong_change(&b->changes[i]);
		if (count_gid(b, b->changes[i].gid) > 1)
			wrong = "batch: one gid twice";
	}
	for (size_t i = 0; i < b->entry_count && wrong == NULL; i++)
		if (b->entries[i].what.n == 0 || !fake_check_gid(b->entries[i].gid))
			wrong = "entry: without a gid or a word";
	if (wrong != NULL)
		db->config.bad(db->config.ctx, wrong);
}

void fake_check_apart(const struct fake_db *db, const struct batch *one, const struct batch *other)
{
	bool shared = false;

	for (size_t i = 0; i < one->begin_count; i++)
		shared = shared || count_gid(other, one->begins[i].gid) > 0;
	for (size_t i = 0; i < one->change_count; i++)
		shared = shared || count_gid(other, one->changes[i].gid) > 0;
	if (shared)
		db->config.bad(db->config.ctx, "one gid in two batches under way");
}

/* As a server with encoding UTF8 sees it. */
static bool is_text(const struct fake_db *db, struct str s)
{
	struct str no = db->config.unstorable;

	if (s.n > 0 && memchr(s.p, 0, s.n) != NULL)
		return false;
	if (no.n > 0 && s.n >= no.n && memmem(s.p, s.n, no.p, no.n) != NULL)
		return false;
	return text_is_utf8(s);
}

bool fake_is_storable(const struct fake_db *db, const struct batch *b)
{
	for (size_t i = 0; i < b->begin_count; i++) {
		const struct row *r = &b->begins[i];

		if (!is_text(db, r->input) || !is_text(db, r->labels) || !is_text(db, r->document) ||
		    !is_text(db, r->traceparent) || !is_text(db, r->progress))
			return false;
	}
	for (size_t i = 0; i < b->change_count; i++)
		if (!is_text(db, b->changes[i].progress) || !is_text(db, b->changes[i].document))
			return false;
	for (size_t i = 0; i < b->entry_count; i++)
		if (!is_text(db, b->entries[i].detail) || !is_text(db, b->entries[i].actor))
			return false;
	return true;
}
