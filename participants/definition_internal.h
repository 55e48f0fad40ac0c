/* SPDX-License-Identifier: Apache-2.0
 * definition_internal.h - the compiled form of a document, and the compiler's state.
 */
#ifndef PARTICIPANTS_DEFINITION_INTERNAL_H
#define PARTICIPANTS_DEFINITION_INTERNAL_H

#include "coordinator/base/json.h"
#include "participants/definition_call.h"
#include "participants/template.h"

enum {
	NAME_MAX_LEN = 128, /* of definitions and participants */
	STEP_NAME_MAX_LEN = 64,
	HEADERS_MAX = 64,        /* of one call */
	HEADER_NAME_MAX = 100,
	STEP_OPS = OP_CANCEL + 1 /* try, confirm, cancel: what a step can have */
};

/* ---- what stays ------------------------------------------------------------------ */

struct header_template {
	struct str       name;
	struct template *value;
};

struct status_outcome {
	uint16_t status;
	uint8_t  outcome;
};

struct word_outcome {
	struct str word;
	uint8_t    outcome;
};

enum { MEMBER_STEPS_MAX = 8 };

/* A member of an answer that is JSON, and what its values mean. */
struct member_rule {
	struct str           path[MEMBER_STEPS_MAX]; /* names, or indexes of arrays */
	struct word_outcome *values;
	uint16_t             depth, value_n;
	int8_t               other; /* an outcome of every other value; -1: it tells nothing */
};

/* What the document says of answers. */
struct answer_rules {
	struct status_outcome *outcomes; /* by status */
	struct word_outcome   *words;    /* as they stand in the document */
	struct member_rule    *members;  /* likewise */
	uint16_t               outcome_n, word_n, member_n;
	int8_t                 other;    /* an outcome of every other status; -1: the convention */
};

struct call_plan {
	struct str              method;
	struct str              participant; /* empty: url */
	struct str              origin;      /* http://host:port; empty: participant */
	struct str              target;
	struct template        *path; /* begins with a slash */
	struct str              url;  /* origin and path, where path is constant */
	struct header_template *headers;
	size_t                  header_n;
	bool                    nothing; /* is not made: it is ok at once */
	bool                    no_body; /* GET, DELETE */
	struct template        *body;    /* NULL: data, else the input */
	struct str              data;    /* of a step that joined: its JSON text */
	uint32_t                timeout_ms;
	struct answer_rules     answers;
	struct template_paths   paths; /* what all of its templates read */
};

struct step_calls {
	struct str        name;
	struct str        document; /* of a step that joined, as it was stored */
	struct call_plan *calls[STEP_OPS];
};

struct definition {
	unsigned              count;
	struct arena          arena;
	struct str            name, document;
	struct plan           plan;
	struct plan_step     *plan_steps;
	struct step_calls    *steps;
	struct call_plan     *check;
	struct literal_headers literal; /* of all calls */
	int64_t               deadline_ms, retention_ms;
	struct template      *output; /* or NULL */
	struct template_paths output_paths;
};

/* ---- the compiler ---------------------------------------------------------------- */

struct call_defaults {
	uint32_t            timeout_ms, poll_ms;
	struct retry        retry;
	const struct json  *headers; /* sound: read before; or NULL */
	struct answer_rules answers;
};

/* A template reads the output of `step`; checked when the graph is known. */
struct output_read {
	const struct json *node;
	uint16_t           reader; /* step whose call it is; TXN_CHECK: the output of all */
	enum op            op;
	uint16_t           step;
	bool               defaulted;
};

struct compiler {
	struct definition   *d;
	struct findings     *findings;
	struct arena         scratch; /* the tree of the document */
	enum definition_use  use;
	bool                 strict;
	bool                 quiet; /* no warnings: they were told when the step joined */
	struct call_defaults defaults;
	const struct json   *nodes[TXN_STEPS_MAX]; /* of the steps, for pointers */
	uint16_t            *edges;
	size_t               edge_n;
	struct output_read  *reads;
	size_t               read_n, read_cap;
	uint16_t             step; /* whose call is being compiled */
	enum op              op;
};

/* findings.c */
void finding_add(struct compiler *c, const struct json *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void finding_warn(struct compiler *c, const struct json *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void finding_put(struct findings *f, struct str pointer, bool warning, struct str detail);

/* definition_fields.c: each reports what is wrong and leaves *out alone then. NULL nodes are fine.
 */
bool field_is(struct compiler *c, const struct json *node, enum json_type type);
/* An object with no other members than these (NULL-terminated). */
bool fields_known(struct compiler *c, const struct json *node, const char *const *names);
void field_duration(struct compiler *c, const struct json *node, int64_t min, int64_t max,
		    int64_t *out);
void field_duration32(struct compiler *c, const struct json *node, int64_t min, int64_t max,
		      uint32_t *out);
void field_count(struct compiler *c, const struct json *node, uint64_t min, uint64_t max,
		 uint32_t *out);
void field_bool(struct compiler *c, const struct json *node, bool *out);
void field_text(struct compiler *c, const struct json *node); /* any string */
/* One of the words word(0) .. word(n - 1). */
void field_word(struct compiler *c, const struct json *node, const char *(*word)(int), int n,
		int *out);
bool name_is_valid(struct str name, size_t max, bool dots);
void field_retry(struct compiler *c, const struct json *node, struct retry *retry);

/* definition_parse_call.c: NULL without a node; never NULL with one. */
struct call_plan *parse_call(struct compiler *c, const struct json *node, uint16_t step, enum op op,
			     const char *const *fields);
extern const char *const call_fields[], *const check_fields[];
/* Reports what is wrong with the headers of all calls. */
bool check_headers(struct compiler *c, const struct json *node);
struct template_compiler template_compiler_of(struct compiler *c, struct template_paths *paths);

/* definition_literal.c */
void parse_literal_headers(struct compiler *c, const struct json *node);

/* definition_answers.c: NULL nodes leave what was there. */
void parse_outcomes(struct compiler *c, const struct json *node, enum op op, struct answer_rules *rules);
void parse_words(struct compiler *c, const struct json *node, enum op op, struct answer_rules *rules);
void parse_members(struct compiler *c, const struct json *node, enum op op, struct answer_rules *rules);
int  outcome_of_members(const struct answer_rules *rules, struct str body); /* -1: they tell nothing */

/* definition_step.c */
void parse_steps(struct compiler *c, const struct json *steps);
void parse_joined(struct compiler *c, const struct json *joined);

/* definition_check.c: what only the whole shows. */
void check_graph(struct compiler *c);

#endif
