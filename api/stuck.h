/* SPDX-License-Identifier: Apache-2.0
 * stuck.h - transactions that need a person, grouped by what keeps them: one cause, one line.
 */
#ifndef API_STUCK_H
#define API_STUCK_H

#include "coordinator/base/arena.h"
#include "coordinator/engine/engine.h"

enum { STUCK_GROUPS_MAX = 100 };

struct stuck_group {
	enum stuck reason;
	struct str definition; /* empty: inline steps */
	struct str step;       /* empty: the row as a whole */
	int        op;         /* -1 then */
	struct str participant;
	int        status;
	struct str error;      /* of the sample */
	struct str alike;      /* the error without its numbers: what makes two of them one */
	struct str sample;     /* gid of the one that has been stuck for longest */
	int64_t    since;      /* of it */
	uint64_t   count;
};

struct stuck_groups {
	struct arena      *arena;  /* of the texts */
	struct stuck_group items[STUCK_GROUPS_MAX];
	size_t             n;
	uint64_t           examined, others; /* others: had no place of their own */
};

void stuck_add(struct stuck_groups *g, const struct view *view);
/* The largest first. */
void stuck_sort(struct stuck_groups *g);
/* [{…},…], at most max of them. */
void stuck_show(const struct stuck_groups *g, size_t max, struct buf *out);

#endif
