/* SPDX-License-Identifier: Apache-2.0
 * verify.h - calls to one participant, made as sagad makes them, but on purpose twice, late, at
 * once or wrong.
 */
#ifndef SAGACTL_VERIFY_H
#define SAGACTL_VERIFY_H

#include "participants/call.h"

enum { VERIFY_AT_ONCE_MAX = 8 };

enum verify_flaw { /* what is wrong with a call, on purpose */
	FLAW_NONE,
	FLAW_NO_ID,     /* no Saga-Id */
	FLAW_OP,        /* Saga-Op: explode */
	FLAW_TWO_IDS,   /* a second Saga-Id, of another transaction */
	FLAW_TWO_OPS,   /* Saga-Op: try, and Saga-Op: cancel */
	FLAW_TWO_EPOCHS,
	FLAW_TIME,      /* a Saga-Deadline that is no time */
	FLAW_METHOD,    /* GET, which has no body */
	FLAW_UNSIGNED,
	FLAW_SIGNATURE, /* made with another secret */
	FLAW_OLD,       /* signed an hour ago */
	FLAW_OF_GID,    /* signed well, but with the webhook-id of another gid, */
	FLAW_OF_STEP,   /* of another step, */
	FLAW_OF_OP      /* of a cancel */
};

struct verify_call {
	enum op          op;
	const char      *gid;
	const char      *step;       /* NULL: "verify", which URLs name too */
	uint64_t         epoch;
	uint32_t         attempt;
	const char      *input;      /* JSON; NULL: the one that is accepted */
	uint32_t         timeout_ms; /* 0: the usual one */
	enum verify_flaw flaw;
	struct call_lesson lesson;   /* what sagad would learn; output is a slice of body */
	int              status;     /* 0: no answer */
	char             saga_outcome[32], retry_after[64];
	struct buf       body;
};

struct verify {
	struct definition *def;         /* one step: "verify" */
	bool               has_confirm, has_cancel; /* given a URL of its own */
	const char        *input, *refused; /* JSON; refused may be NULL */
	const char        *state_url;       /* or NULL */
	struct buf         secret;          /* empty: calls are not signed */
	uint32_t           timeout_ms;
	int64_t            remember_ms;     /* until the last repeat of a call */
	const char        *cacert;
	void              *multi;           /* of libcurl */
	int64_t            accepted_ms;
	struct str         output;          /* of the last try done: for a compensation's URL */
	struct buf         output_text;
	uint64_t           calls;           /* made so far */
	struct arena       arena;           /* of requests, until the end */
	char               failure[200];    /* why it cannot be reached at all; empty: it can */
};

int64_t verify_now_ms(void);
bool    verify_http_open(struct verify *v) __attribute__((warn_unused_result));
void    verify_http_close(struct verify *v);
/* Makes all of them at once and waits for all. A call that cannot be rendered
 * has status 0 and says so. */
void verify_exchange(struct verify *v, struct verify_call *calls, size_t n);
void verify_call_fini(struct verify_call *c);
/* GET state_url. False: no 2xx. */
bool verify_state(struct verify *v, struct buf *out);

#endif
