/* SPDX-License-Identifier: Apache-2.0
 * mem.h - allocation that cannot fail: out of memory aborts, and another replica adopts our work.
 */
#ifndef COORDINATOR_BASE_MEM_H
#define COORDINATOR_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);             /* zeroed; free() it */
void *mem_array(size_t n, size_t size);   /* zeroed; aborts on overflow */
void *mem_grow(void *p, size_t n, size_t size); /* realloc; new part not zeroed */
void *mem_copy(const void *p, size_t n);  /* n bytes plus a closing NUL */

#endif
