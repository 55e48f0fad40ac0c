/* SPDX-License-Identifier: Apache-2.0
 * verbatim.h - what jansson would lose: numbers as they were written. Slices of valid JSON text.
 */
#ifndef SAGACTL_VERBATIM_H
#define SAGACTL_VERBATIM_H

#include "coordinator/base/text.h"

/* The value of an object's member; false: there is none, or it is no object. */
bool verbatim_member(struct str object, const char *name, struct str *value);
/* The items of an array, one after the other, from *at = 0 on; false: that was the last. */
bool verbatim_item(struct str array, size_t *at, struct str *item);
bool verbatim_is_number(struct str json);
/* The same JSON with texts for numbers: 1.10 becomes "1.10". jansson would make 1.1 of it, and
 * refuses 1e999 and 2^63. What is no number by RFC 8259 stays, for jansson to refuse. */
void verbatim_numbers(struct str json, struct buf *out);

#endif
