/* SPDX-License-Identifier: Apache-2.0
 * places.h - where a document sends calls, against where calls may go.
 */
#ifndef API_PLACES_H
#define API_PLACES_H

#include "api/request.h"
#include "participants/definition.h"

/* Appends an error, with its pointer, for every call whose URL is refused; how many. */
unsigned places_check(const struct request *r, const struct definition *d, struct buf *errors);
/* Notes an error at /base_url; the URL is valid. */
void     places_check_base(struct request *r, struct str base_url);

#endif
