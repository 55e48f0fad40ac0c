/* SPDX-License-Identifier: Apache-2.0
 * pack.h - memory that is mostly zeros, without them: a struct as it is, byte for byte, in a
 * fraction of its room.
 */
#ifndef COORDINATOR_BASE_PACK_H
#define COORDINATOR_BASE_PACK_H

#include <stddef.h>

/* What n bytes become at most. */
#define PACK_MAX(n) (((n) + 7) / 8 * 9)

/* Each word of 8 bytes becomes a byte whose bits say which bytes of it are not zero, and those
 * bytes; behind a word of zeros stands how many more of them follow. `to` holds PACK_MAX(n);
 * says how many bytes were used. */
size_t pack(void *to, const void *from, size_t n);
/* Gives back the n bytes that pack() was given; says how many packed ones they were. Only for
 * what pack() made. */
size_t unpack(void *to, size_t n, const void *from);

#endif
