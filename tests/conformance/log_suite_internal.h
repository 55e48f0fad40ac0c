/* SPDX-License-Identifier: Apache-2.0
 * log_suite_internal.h - how the suite asks and remembers the answers.
 */
#ifndef TESTS_CONFORMANCE_LOG_SUITE_INTERNAL_H
#define TESTS_CONFORMANCE_LOG_SUITE_INTERNAL_H

#include "coordinator/base/arena.h"
#include "tests/conformance/log_suite.h"

enum { SUITE_ROWS_MAX = 2000 };

struct suite {
	const struct log_suite *given;
	struct arena            arena;   /* of one test */
	struct uuid             me, you; /* enrolled anew for each test, on a and b */
	int64_t                 my_key, your_key;
	const char             *test;

	/* The last answer; texts are copies in the arena. */
	bool              done;
	enum log_result   result;
	bool             *begun, *changed;
	struct row       *rows;
	struct inbox_row *inbox;
	struct settled   *verdicts;
	struct member    *members;
	struct look       look;
	size_t            n;
	bool              def_seen; /* of the first row */
	size_t            batch_begins, batch_changes;
};

/* ok(): names the test it belongs to. */
bool suite_ok(struct suite *s, bool pass, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct str    suite_gid(struct suite *s, const char *rest); /* prefix, test number and rest */
struct uuid   suite_id(struct suite *s);
struct str    suite_text(struct suite *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct row    suite_row(struct suite *s, struct str gid);   /* a begin of mine */
struct change suite_change(const struct row *r, const char *progress);

void suite_commit(struct suite *s, const struct log_port *p, const struct batch *b);
bool suite_begin(struct suite *s, struct str gid); /* by me, ordinary; did it insert? */
bool suite_apply(struct suite *s, const struct log_port *p, struct uuid me, struct change c); /* did it apply? */
void suite_reload(struct suite *s, struct uuid me, const struct str *gids, size_t n);
void suite_restore(struct suite *s, struct uuid me, const struct row *rows, size_t n);
void suite_restore_at(struct suite *s, const struct log_port *p, struct uuid me, const struct row *rows, size_t n);
void suite_mine(struct suite *s, struct uuid me, struct str after, unsigned limit);
void suite_adopt(struct suite *s, const struct log_port *p, struct uuid me, struct uuid dead, struct str after,
                 unsigned limit, enum danger danger);
void suite_look(struct suite *s, const struct log_port *p);
void suite_take_due(struct suite *s, struct uuid me, unsigned limit);
void suite_claim(struct suite *s, const struct log_port *p, struct uuid me, struct str gid);
void suite_read(struct suite *s, const struct str *gids, size_t n);
const struct row *suite_read_one(struct suite *s, struct str gid); /* or NULL */
void suite_ended(struct suite *s, const struct str *gids, size_t n);
void suite_inbox_put(struct suite *s, struct uuid id, struct str gid, const char *body);
void suite_inbox_read(struct suite *s, const struct log_port *p, struct uuid me, unsigned limit);
void suite_inbox_verdicts(struct suite *s, const struct uuid *ids, size_t n);
void suite_inbox_forget(struct suite *s, const struct uuid *ids, size_t n);
void suite_enroll(struct suite *s, const struct log_port *p, struct uuid id, int64_t key);
void suite_report(struct suite *s, struct uuid me, double speed, double load);
const struct member *suite_member(struct suite *s, struct uuid id); /* asks; or NULL */
void suite_fence(struct suite *s, struct uuid me, struct uuid dead, int64_t key);
void suite_still_live(struct suite *s, struct uuid me);
void suite_retire(struct suite *s, struct uuid me);
void suite_sweep(struct suite *s);

/* The tests, each with fresh replicas. */
void suite_commits(struct suite *s);
void suite_rows(struct suite *s);
void suite_ends(struct suite *s);
void suite_payloads(struct suite *s);
void suite_mixed(struct suite *s);
void suite_alike(struct suite *s);
void suite_pages(struct suite *s);
void suite_looks(struct suite *s);
void suite_parking(struct suite *s);
void suite_adoption(struct suite *s);
void suite_inbox(struct suite *s);
void suite_inbox_misses(struct suite *s);
void suite_inbox_newer(struct suite *s);
void suite_members(struct suite *s);
void suite_fencing(struct suite *s);
void suite_retirement(struct suite *s);
void suite_sweeping(struct suite *s);
void suite_restoring(struct suite *s);

#endif
