/* SPDX-License-Identifier: Apache-2.0
 * definition_call.h - the calls of a compiled definition: what a template renders to, what an
 * answer means.
 */
#ifndef PARTICIPANTS_DEFINITION_CALL_H
#define PARTICIPANTS_DEFINITION_CALL_H

#include "participants/definition.h"

struct definition_header {
	struct str name, value; /* value: printable, no line breaks; name: an RFC 9110 token */
};

/* "Name: value", or "Name;" for one that is empty; each with a NUL behind it. */
struct literal_headers {
	const struct str *lines;
	size_t            n;
	bool              has_type, has_accept; /* Content-Type, Accept are among them */
};

/* One call as the document wants it; all memory is the arena's, the scope's or the definition's. */
struct definition_call {
	struct str method;                 /* POST, PUT, PATCH, DELETE or GET */
	struct str participant;            /* its name; empty: url is absolute */
	struct str url;                    /* http(s)://host[:port]/… , or with a participant the
					    * path and query, with its leading slash */
	struct definition_header *headers; /* the document's own; none of ours among them */
	size_t                    header_count;
	const struct literal_headers *literal; /* further ones, of all calls; never NULL */
	struct str                body;       /* JSON; empty: none */
	uint32_t                  timeout_ms; /* 10 .. 600000 */
};

/* step may be TXN_CHECK with OP_CHECK. */
bool definition_has_call(const struct definition *d, uint16_t step, enum op op);
/* False and a sentence: an output is missing, a value does not fit its place, or it grew too large.
 * The same scope renders to the same bytes, always. */
bool definition_render(const struct scope *scope, uint16_t step, enum op op, struct arena *arena,
		       struct definition_call *out, struct err *err);
uint32_t definition_timeout_ms(const struct definition *d, uint16_t step,
			       enum op op); /* 0: no such call */
/* What the document's `outcomes`, `words` and `members` say of an answer: an enum outcome, or -1: the convention holds. A
 * word says more than a status, but of one that says ongoing. */
int definition_outcome(const struct definition *d, uint16_t step, enum op op, int status, struct str body);
bool definition_has_words(const struct definition *d, uint16_t step, enum op op); /* its answers are read as texts */
bool definition_has_members(const struct definition *d, uint16_t step, enum op op); /* as JSON, for what they mean */
/* Does the coordinator, or HTTP itself, say it? Then no document can. */
bool definition_header_is_ours(struct str name);
/* Is this call ok without being made? */
bool definition_calls_nothing(const struct definition *d, uint16_t step, enum op op);

#endif
