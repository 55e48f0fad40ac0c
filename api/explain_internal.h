/* SPDX-License-Identifier: Apache-2.0
 * explain_internal.h - what the files of an explanation share; nobody else includes it.
 */
#ifndef API_EXPLAIN_INTERNAL_H
#define API_EXPLAIN_INTERNAL_H

#include "api/explain.h"

struct explain_wait {
	enum why why;
	int64_t  until;
};

/* ---- explain.c -------------------------------------------------------------------------- */

struct str             explain_step_name(const struct explain_facts *f, int step);
const struct step     *explain_step(const struct explain_facts *f, int step);
const struct note     *explain_note(const struct explain_facts *f, int step);
struct str             explain_target(const struct explain_facts *f, int step, int op);
bool                   explain_find_target(const struct explain_facts *f, int step, int op, struct api_target *out);
const struct pause_row *explain_find_pause(const struct explain_facts *f, enum pause_kind kind, struct str name);
/* Of a step that waits for this op. */
struct explain_wait    explain_wait_of(const struct explain_facts *f, int step, int op);
/* The step has work left, and others go first. */
bool                   explain_waits_behind(const struct txn *t, uint16_t i);

/* ---- explain_say.c ------------------------------------------------------------------------ */

/* What one reason says; both files have a table of these, by reason. */
typedef void explain_say(const struct explain_facts *f, const struct explanation *x, struct buf *out);

/* "850 ms", "12 s", "3 min", "5 h", "4 d". */
const char *explain_span(int64_t ms, char out[32]);
/* "paused 60 s ago by ada (new disks)" */
void explain_say_pause(const struct explain_facts *f, const struct pause_row *p, struct buf *out);
void explain_say_step(const struct explain_facts *f, const struct explanation *x, struct buf *out);

/* ---- explain_more.c ----------------------------------------------------------------------- */

void explain_say_whole(const struct explain_facts *f, const struct explanation *x, struct buf *out);
void explain_say_more(const struct explain_facts *f, const struct explanation *x, struct buf *out);

#endif
