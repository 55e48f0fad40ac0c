/* SPDX-License-Identifier: Apache-2.0
 * admit.h - the way in: who asks, may he, and not too often. Decided when the headers are there and the body is not.
 */
#ifndef API_ADMIT_H
#define API_ADMIT_H

#include "api/request.h"

/* A route is found. Sets the principal, or what the request is refused with: false then. */
bool admit(struct request *r);
/* Answers a request that was refused. */
void admit_refuse(struct request *r);

#endif
