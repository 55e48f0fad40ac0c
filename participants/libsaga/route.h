/* SPDX-License-Identifier: Apache-2.0
 * route.h - paths of a service: segments that are there to the letter, and {names} for the others.
 */
#ifndef LIBSAGA_ROUTE_H
#define LIBSAGA_ROUTE_H

#include "participants/libsaga/saga/service.h"

#define route_fits saga_own_route_fits

/* encoded: path has percent signs, as in a URL; what is behind a ? is no part of it. */
bool route_fits(const char *route, const char *path, bool encoded);

#endif
