/* SPDX-License-Identifier: Apache-2.0
 * trial.h - one probe under way: its calls, its looks at the state, what it has found.
 */
#ifndef SAGACTL_TRIAL_H
#define SAGACTL_TRIAL_H

#include "sagactl/probes.h"
#include "sagactl/verify.h"

#define DO_ONCE \
	"remember each call by Saga-Id, Saga-Step and Saga-Op in the transaction of its effect " \
	"(docs/barrier.md)"

struct trial { /* of one probe */
	struct verify       *v;
	struct probe_result *result;
	char                 gid[129];
	const char          *step; /* NULL: the one of all probes */
	uint64_t             epoch;
	uint32_t             attempts;
	struct verify_call   last; /* the one asked last */
	struct buf           output, before, after; /* kept texts */
	bool                 has_output;
};

/* The first finding counts. Of what is wrong, see trial_wrong. */
void trial_find(struct trial *t, enum probe_state state, const char *advice, const char *fmt,
                ...) __attribute__((format(printf, 4, 5)));
#define trial_wrong(t, advice, ...) trial_find(t, PROBE_STATE_WRONG, advice, __VA_ARGS__)
bool trial_is_fine(const struct trial *t);
/* "answered 500 (500: sold out)" */
const char *trial_answered(const struct verify_call *c, char out[280]);
struct verify_call trial_call_of(struct trial *t, enum op op);
/* One call, whose answer lives until the next one. */
const struct verify_call *trial_ask(struct trial *t, enum op op);
const struct verify_call *trial_ask_call(struct trial *t, struct verify_call call);
/* As sagad does: again, while an answer settles nothing. */
const struct verify_call *trial_settle(struct trial *t, enum op op);
const struct verify_call *trial_settle_call(struct trial *t, struct verify_call call);
void trial_sleep(int64_t ms);
bool trial_is_refusal(const struct verify_call *c);
/* Its output counts for the URLs of what comes next, as it does for sagad. */
void trial_use_output(struct trial *t, struct str output);
void trial_keep_output(struct trial *t, const struct verify_call *c);
/* True if it is done; else that is found. */
bool trial_try(struct trial *t);
bool trial_cancel(struct trial *t);
/* Nothing, without --state-url. */
void trial_look(struct trial *t, struct buf *out);
bool trial_is_changed_since(struct trial *t, struct str then);
bool trial_is_changed(struct trial *t);
/* Since the last look into t->before. */
void trial_unchanged(struct trial *t, const char *advice, const char *what);
/* A try again may be told what the first one was told, or refused; and it does nothing. */
void trial_nothing_new(struct trial *t, const struct verify_call *c, const char *when);

#endif
