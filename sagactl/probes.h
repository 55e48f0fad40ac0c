/* SPDX-License-Identifier: Apache-2.0
 * probes.h - what a participant has to stand, listed once: each probe is a few calls and what must
 * hold of their answers.
 */
#ifndef SAGACTL_PROBES_H
#define SAGACTL_PROBES_H

#include "coordinator/base/err.h"

#include <stdint.h>

/* ---- whom, and with what --------------------------------------------------------------------- */

struct verify;

struct verify_options { /* borrowed until verify_close */
	/* cancel_url NULL: try_url; confirm_url NULL: there are no confirms. */
	const char *try_url, *cancel_url, *confirm_url;
	const char *input, *refused;                    /* JSON; refused may be NULL */
	const char *state_url, *secret_file, *cacert;   /* each may be NULL */
	uint32_t    timeout_ms;
	int64_t     remember_ms;                        /* between a call and its last repeat */
};

struct verify *verify_open(const struct verify_options *o, struct err *err)
	__attribute__((warn_unused_result));
void           verify_close(struct verify *v); /* NULL is harmless */
/* Why it cannot be reached at all; empty: it can. */
const char    *verify_failure(const struct verify *v);
uint64_t       verify_calls(const struct verify *v); /* made so far */

/* ---- the probes ------------------------------------------------------------------------------ */

enum { NEED_CONFIRM = 1, NEED_REFUSED = 2, NEED_SECRET = 4, NEED_STATE = 8 };

/*        name             needs            what has to hold */
#define PROBES(X)                                                                                  \
	X(first_try,         0,            "a try is done, and its answer is JSON or empty")       \
	X(state,             NEED_STATE,   "what a try does shows at --state-url")                 \
	X(duplicate_try,     0,                                                                    \
	  "a try that comes twice is done once and answered alike")                                \
	X(tries_at_once,     0,            "tries that come at the same time are done once")       \
	X(abandoned_try,     0,            "a try whose caller has hung up can be asked again")    \
	X(two_steps,         0,                                                                    \
	  "two steps of one transaction are two calls, each of them done and undone")              \
	X(cancel,            0,            "a cancel undoes, however often it comes")              \
	X(try_after_cancel,  0,            "a try that comes after its cancel does nothing")       \
	X(abandoned_cancel,  0,                                                                    \
	  "a cancel whose caller has hung up can be asked again")                                  \
	X(cancel_first,      0,                                                                    \
	  "a cancel that comes before its try is fine, and forbids it")                            \
	X(cancel_overtakes,  0,            "a cancel and its try that meet leave nothing")         \
	X(old_epoch,         0,            "a call of an older epoch does no harm")                \
	X(refusal,           NEED_REFUSED, "a refusal is told again, and its cancel is fine")      \
	X(confirm,           NEED_CONFIRM, "a confirm is done once, however often it comes")       \
	X(cancel_confirmed,  NEED_CONFIRM, "a cancel after the confirm undoes nothing")            \
	X(confirm_cancelled, NEED_CONFIRM, "a confirm after the cancel does nothing")              \
	X(confirm_first,     NEED_CONFIRM, "a confirm without a try does nothing")                 \
	X(no_call,           0,            "what is no call of sagad is refused")                  \
	X(two_words,         0,                                                                    \
	  "a call whose headers say two things, or none, is refused")                              \
	X(method,            0,            "a call by GET does nothing")                           \
	X(signature,         NEED_SECRET,  "a call that is not signed by sagad is refused")        \
	X(memory,            0,            "what was done and undone is known some time later, too")

#define X(name, ...) PROBE_##name,
enum probe { PROBES(X) };
#undef X
#define X(...) + 1
enum { PROBE_COUNT = 0 PROBES(X) };
#undef X

/* HINT: it follows the contract, and could do better. */
#define PROBE_STATES(X) X(OK, "ok") X(WRONG, "wrong") X(HINT, "hint") X(SKIPPED, "skipped")
#define X(name, text) PROBE_STATE_##name,
enum probe_state { PROBE_STATES(X) };
#undef X

struct probe_result {
	enum probe_state state;
	char finding[400]; /* "a cancel that came before its try was answered 500"; empty when ok */
	const char      *advice;       /* what to do about it, or NULL */
};

const char *probe_name(enum probe p);
const char *probe_says(enum probe p);
const char *probe_state_name(enum probe_state s);
/* run: a word that no other run has had; gids begin with it. */
void probe_make(struct verify *v, enum probe p, const char *run, struct probe_result *out);

#endif
