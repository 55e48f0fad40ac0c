/* SPDX-License-Identifier: Apache-2.0
 * err.h - one error value: a kind for programs, a sentence for people.
 */
#ifndef COORDINATOR_BASE_ERR_H
#define COORDINATOR_BASE_ERR_H

#include <stdbool.h>

enum err_kind {
	ERR_NONE,
	ERR_INVALID,     /* what came from outside is wrong; the sender must change it */
	ERR_LIMIT,       /* a limit of ours was reached */
	ERR_NOT_FOUND,
	ERR_CONFLICT,    /* true a moment ago, not now */
	ERR_UNAVAILABLE, /* the database or a peer is away: the same again may work later */
	ERR_REFUSED,     /* will not work until a person changes a setting */
	ERR_INTERNAL
};

struct err {
	enum err_kind kind;
	char          text[256]; /* one sentence that says what to do; may be cut */
};

/* Fills *err (which may be NULL) and returns false, so that a function can end
 * with `return err_set(err, ...)`. */
bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
