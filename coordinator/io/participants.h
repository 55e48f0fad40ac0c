/* SPDX-License-Identifier: Apache-2.0
 * participants.h - who stands behind a name: a copy of the participant table, some seconds old.
 *
 * Secrets are files, one per name, in a directory; they are read again with every refresh. A file has a line per secret.
 */
#ifndef COORDINATOR_IO_PARTICIPANTS_H
#define COORDINATOR_IO_PARTICIPANTS_H

#include "coordinator/engine/port.h"

#include <uv.h>

enum { PARTICIPANTS_REFRESH_MS = 2000, PARTICIPANTS_SECRET_MAX = 4096, PARTICIPANT_SECRETS_MAX = 3 };

struct participants;

struct participant { /* borrowed until the next turn of the loop */
	struct str name, base_url;   /* no slash at the end of base_url */
	uint32_t   max_in_flight;    /* 0: the daemon's default */
	int        breaker_percent, retry_percent; /* -1: the daemon's default */
	/* Bytes of each; calls are signed with all of them: while one takes the place of another, either will do. */
	struct str secrets[PARTICIPANT_SECRETS_MAX];
	size_t     secret_count;     /* 0: calls are not signed */
	bool       secret_missing;   /* it names a secret that cannot be read here */
};

/* secrets_dir NULL or "": no secrets. */
struct participants *participants_open(uv_loop_t *loop, const struct store_port *store,
                                       const char *secrets_dir);
const struct participant *participants_find(const struct participants *p, struct str name);

/* Asks the store now, or joins the question under way if it began after this call.
 * done in a later turn: false if the store could not answer. */
struct participants_wait {
	struct participants_wait *next;
	void (*done)(void *arg, bool fresh);
	void *arg;
};
void participants_refresh(struct participants *p, struct participants_wait *wait);
void participants_unwait(struct participants *p, struct participants_wait *wait);
/* The table has changed: asks again at once, and tells nobody. */
void participants_look(struct participants *p);
/* It did so, and the answer is not there yet: what is found may be old. */
bool participants_are_changing(const struct participants *p);

/* The store must not call back after it. Frees itself some turns later, then calls
 * closed (may be NULL). */
void participants_close(struct participants *p, void (*closed)(void *arg), void *arg);

#endif
