/* SPDX-License-Identifier: Apache-2.0
 * places.h - where a document sends calls, against where calls may go.
 */
#ifndef API_PLACES_H
#define API_PLACES_H

#include "api/request.h"
#include "participants/definition.h"

/* Appends an error, with its pointer, for every call whose URL is refused; how many. */
unsigned places_check(const struct request *r, const struct definition *d, struct buf *errors);
/* False, with an error noted at the pointer: calls to that host are refused. What is no URL is let through: others say
 * what is wrong with it. */
bool     places_check_url(struct request *r, const char *pointer, struct str url);
/* The same for all URLs of a step that is to join. */
bool     places_check_step(struct request *r, const struct json *step);

#endif
