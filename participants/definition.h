/* SPDX-License-Identifier: Apache-2.0
 * definition.h - a definition or inline document: compiled once, immutable, counted.
 *
 * Compiling reports every error at once, each with a JSON Pointer (RFC 6901).
 */
#ifndef PARTICIPANTS_DEFINITION_H
#define PARTICIPANTS_DEFINITION_H

#include "coordinator/base/arena.h"
#include "coordinator/base/err.h"
#include "coordinator/core/txn.h"

enum { DEFINITION_FINDINGS_MAX = 100, DEFINITION_BYTES_MAX = 1 << 20 };

struct finding {
	struct str pointer; /* "/steps/hotel/after/0" */
	struct str detail;  /* a sentence that says what to do */
	bool       warning;
};

struct findings { /* memory comes from the arena the caller gives */
	struct arena  *arena;
	struct finding items[DEFINITION_FINDINGS_MAX];
	size_t         n, errors; /* beyond the maximum only counted; warnings take half of it at most */
	bool           too_many_steps; /* one of the errors is this limit */
};

struct definition;

enum definition_use {
	DEFINITION_NAMED, /* a document to register: `name` may stand in it and must match; with an
			   * empty name the document's counts */
	DEFINITION_INLINE /* steps given with a transaction; also tcc without steps, where "joined"
			   * holds what definition_join() added, and with "literal_headers" (see
			   * definition_literal.c): refuse these members from outside */
};

/* NULL when findings has errors. document is copied. count is 1. */
struct definition *definition_compile(struct str document, enum definition_use use, struct str name,
				      struct findings *findings);
struct definition *definition_hold(struct definition *d);
void               definition_drop(struct definition *d); /* NULL is harmless */

const struct plan *definition_plan(const struct definition *d);
struct str         definition_name(const struct definition *d); /* empty: inline */
/* The text it was compiled from, grown by joins. */
struct str definition_document(const struct definition *d);
struct str definition_step_name(const struct definition *d, uint16_t step); /* TXN_CHECK: "check" */
int        definition_step_find(const struct definition *d, struct str name); /* index or -1 */
int64_t    definition_deadline_ms(const struct definition *d);                /* 0: none */
int64_t    definition_retention_ms(const struct definition *d);               /* default 7 days */
/* "host:port" or "participant:NAME" of a call, empty if the step has no such op. */
struct str definition_target(const struct definition *d, uint16_t step, enum op op);
bool definition_calls(const struct definition *d, struct str host); /* does any call go there? */

/* For open transactions: the definition plus one step {"name", "confirm", "cancel", ["try",
 * "call_try"], …} or {"name", "action", "compensate"}. 1 new (*grown, the caller's), 0 the same
 * step is there, -1 another content has that name, -2 invalid (findings). */
int definition_join(struct definition *d, struct str step_document, struct definition **grown,
		    struct findings *findings);

/* The definition with one step called otherwise: changes is {"op", "url", "timeout", "retry"}, url and timeout of the
 * call that op names, retry of the step. A count of its own; NULL: findings, whose pointers are into the changes or
 * into the changed document. */
struct definition *definition_patch(const struct definition *d, struct str step, struct str changes,
				    struct findings *findings);

/* What templates can see. */
struct scope {
	const struct definition *def;
	struct str               gid;
	int64_t                  now;     /* the stored time of acceptance */
	struct str               input;   /* JSON text; empty: null */
	const struct str        *outputs; /* per step, JSON text; empty: none */
};

/* The `output` template over an ended transaction; "null" if there is none. */
bool definition_output(const struct definition *d, const struct scope *scope, struct buf *out,
		       struct err *err);
/* The DAG as Mermaid flowchart text. */
void definition_mermaid(const struct definition *d, struct buf *out);

#endif
