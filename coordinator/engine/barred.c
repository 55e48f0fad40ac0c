/* SPDX-License-Identifier: Apache-2.0
 * barred.c - gids that an open transaction of somebody else has begun: asked for again, they hold up nobody.
 */
#include "coordinator/base/mem.h"
#include "coordinator/engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

/* BARRED_GAP_MS: between two tries, of whichever. One costs the others the wait of a hasty commit. */
enum { BARRED_MAX = 256, BARRED_MS = 1000, BARRED_GAP_MS = 250 };

struct barred {
	struct list       link;        /* engine.barred, oldest first */
	struct table_node node;        /* engine.barred_gids */
	int64_t           until;       /* boot_ms */
	char              gid[GID_MAX + 1];
};

static struct barred *find(const struct engine *e, struct str gid)
{
	struct table_node *node = e->barred_gids.n > 0 ? table_get(&e->barred_gids, gid) : NULL;

	return node != NULL ? table_entry(node, struct barred, node) : NULL;
}

static void forget(struct engine *e, struct barred *b)
{
	table_remove(&e->barred_gids, &b->node);
	list_remove(&b->link);
	free(b);
}

static struct barred *make(struct engine *e, struct str gid)
{
	struct barred *b = mem_alloc(sizeof *b);

	if (e->barred_gids.n >= BARRED_MAX)
		forget(e, list_entry(e->barred.next, struct barred, link));
	memcpy(b->gid, gid.p, gid.n);
	list_init(&b->link);
	table_put(&e->barred_gids, &b->node, (struct str){ b->gid, gid.n });
	return b;
}

void barred_add(struct engine *e, struct str gid)
{
	struct barred *b = find(e, gid);

	if (b == NULL) {
		say(e, TRACE_WARN, "begin_blocked", gid,
		    "advice=\"somebody else's open transaction has begun it: see pg_locks\"");
		b = make(e, gid);
	}
	b->until = boot_ms(e) + BARRED_MS;
	list_remove(&b->link);
	list_push(&e->barred, &b->link);
}

bool barred_refuses(struct engine *e, struct str gid, bool *alone)
{
	const struct barred *b = find(e, gid);

	*alone = b != NULL;
	if (b == NULL)
		return false;
	if (boot_ms(e) < b->until || boot_ms(e) < e->barred_at)
		return true;
	e->barred_at = boot_ms(e) + BARRED_GAP_MS;
	return false;
}

void barred_forget(struct engine *e, struct str gid)
{
	struct barred *b = find(e, gid);

	if (b != NULL)
		forget(e, b);
}

void barred_fini(struct engine *e)
{
	while (!list_is_empty(&e->barred))
		forget(e, list_entry(e->barred.next, struct barred, link));
	table_fini(&e->barred_gids);
}
