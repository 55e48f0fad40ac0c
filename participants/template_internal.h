/* SPDX-License-Identifier: Apache-2.0
 * template_internal.h - the compiled form, shared by the compiler and the filler.
 */
#ifndef PARTICIPANTS_TEMPLATE_INTERNAL_H
#define PARTICIPANTS_TEMPLATE_INTERNAL_H

#include "participants/template.h"

enum template_root { ROOT_NONE, ROOT_INPUT, ROOT_OUTPUT, ROOT_GID, ROOT_DEFINITION, ROOT_NOW };

/* A child stands behind its parent in template_paths.nodes. */
struct template_node {
	enum template_root root; /* ROOT_NONE: a name or an index below the parent */
	unsigned           step; /* ROOT_OUTPUT */
	struct str         name;
	bool               by_index;
	uint32_t           index;
	uint16_t           child; /* first; 0: none (node 0 is nobody's child) */
	uint16_t           next;  /* sibling; 0: none */
	uint16_t           children;
};

struct template_operand {
	struct str literal; /* JSON text; p == NULL: a reference */
	uint16_t   node;
};

struct template_part {
	struct str                     text;     /* literal, or the hole's source for messages */
	const struct template_operand *operands; /* NULL: literal */
	uint8_t                        n;
	bool whole; /* TEMPLATE_JSON: the value stands for the whole string */
};

/* One "${…}" while it is being compiled. */
struct template_hole {
	struct template_compiler *c;
	const struct json        *node; /* what errors are about */
	struct str                text; /* from the start of "${" */
	size_t                    at;
	struct template_operand   operands[TEMPLATE_OPERANDS_MAX];
	int                       steps[TEMPLATE_OPERANDS_MAX]; /* whose output it reads, or -1 */
	uint8_t                   n;
};

/* Reads the hole at the start of h->text; h->at then stands behind it. False: reported. */
bool template_read_hole(struct template_hole *h);

bool template_header_char(unsigned char c); /* may it stand in a header's value? */

struct template {
	enum template_place   place;
	struct template_part *parts;
	size_t                n;
};

#endif
