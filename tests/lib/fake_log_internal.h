/* SPDX-License-Identifier: Apache-2.0
 * fake_log_internal.h - what the files of the fake log share.
 */
#ifndef TESTS_LIB_FAKE_LOG_INTERNAL_H
#define TESTS_LIB_FAKE_LOG_INTERNAL_H

#include "coordinator/base/arena.h"
#include "tests/lib/fake_log.h"

/* SENT: on its way. WAITING: for a row lock. LANDING: holds its row locks. OVER: done, or never will be. */
enum fake_stage { STAGE_SENT, STAGE_WAITING, STAGE_LANDING, STAGE_OVER };

struct fake_op {
	struct list      link;        /* of the client, until it has been answered */
	struct list      server_link; /* of the database, until it is over */
	struct fake_db  *db;
	struct fake_log *log;         /* NULL: nobody waits for the answer */
	struct arena     arena;       /* question and answer */
	enum fake_verb   verb;
	enum fake_stage  stage;
	struct fake_fate fate;
	bool             cut;         /* its connection broke first */
	unsigned         events;      /* that name it */

	struct batch     batch;
	struct uuid      me, other;
	struct str      *gids;
	struct uuid     *ids;
	size_t           n;
	struct str       after;
	unsigned         limit;
	bool             all;         /* of a sweep */
	enum danger      danger;
	int64_t          key, mark;
	int64_t          doubted;     /* of the log, when it was sent */
	double           speed, load;
	struct row      *known;      /* to be restored; holds their definitions */
	struct inbox_row inbox;
	struct member    member;

	enum log_result   result;
	bool             *begun, *changed, barred;
	struct row       *rows;
	struct inbox_row *inbox_rows;
	struct settled   *verdicts;
	struct member    *members;
	size_t            found;
	struct look       look;

	union {
		batch_done    *batch;
		rows_done     *rows;
		look_done     *look;
		log_done      *log;
		inbox_done    *inbox;
		verdicts_done *verdicts;
		members_done  *members;
	} done;
	void *arg;
};

struct fake_inbox {
	struct inbox_row row;
	bool             settled;
	enum verdict     verdict;
	int64_t          settled_at;
};

/* An incarnation that has reported: it was enrolled, and acted. */
struct fake_acted {
	struct uuid id;
	bool        swept;
};

/* What stood in the database before a write. */
struct fake_past {
	struct row    *rows;
	struct member *members;
	struct uuid   *settled; /* commands of the inbox that had a verdict */
	size_t         row_n, member_n, settled_n;
};

enum { FAKE_PAST = 12 };

struct fake_db {
	size_t                long_waits; /* commits that were blocked, and not hasty */
	size_t                abreast;    /* commits sent while another of the same replica was under way */
	struct fake_db_config config;
	struct list           ops;  /* on the server or on their way, oldest first */
	struct list           logs;
	struct row           *rows; /* in order of gid */
	size_t                row_n, row_cap;
	struct fake_inbox    *inbox;
	size_t                inbox_n, inbox_cap;
	struct member        *members; /* in order of id */
	size_t                member_n, member_cap;
	struct entry         *entries;
	size_t                entry_n, entry_cap;
	struct fake_acted    *acted; /* on this timeline */
	size_t                acted_n, acted_cap;
	struct fake_past      past[FAKE_PAST]; /* oldest first */
	size_t                past_n;
	uint64_t              first_epoch; /* of this timeline; 0: no failover yet */
};

/* fake_copy.c: deep copies; rows in answers hold their definition until fake_op_free(). */
struct batch  fake_copy_batch(struct arena *a, const struct batch *b);
struct row    fake_copy_row(struct arena *a, const struct row *r);
struct member fake_copy_member(struct arena *a, const struct member *m);
struct row    fake_keep_row(const struct row *r);
void          fake_free_row(struct row *r);
void          fake_op_free(struct fake_op *op);

/* fake_past.c */
void fake_past_note(struct fake_db *db, enum fake_verb verb);
void fake_past_free(struct fake_db *db);

/* fake_check.c */
void fake_check_batch(const struct fake_db *db, const struct batch *b);
void fake_check_apart(const struct fake_db *db, const struct batch *one, const struct batch *other);
bool fake_check_gid(struct str gid);
bool fake_is_storable(const struct fake_db *db, const struct batch *b);

/* fake_db.c: the effect of a request, at one instant. */
void fake_db_apply(struct fake_op *op);

/* fake_wait.c */
bool fake_db_must_wait(const struct fake_op *op);
bool fake_db_is_locked(const struct fake_op *op, struct str gid);

#endif
