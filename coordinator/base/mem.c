/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check(void *p)
{
	if (p != NULL)
		return p;
	fputs("sagad: out of memory\n", stderr);
	abort();
}

/* glibc's calloc() knows nothing of the thread's own lists before 2.41: what is small is had quicker without it. */
enum { SMALL = 1024 };

void *mem_alloc(size_t size)
{
	void *p;

	if (size > SMALL || size == 0)
		return check(calloc(1, size ? size : 1));
	p = check(malloc(size));
	__asm__("" : "+r"(p)); /* else the compiler makes a calloc() of malloc() and memset() */
	return memset(p, 0, size);
}

void *mem_array(size_t n, size_t size)
{
	return check(calloc(n ? n : 1, size ? size : 1));
}

void *mem_grow(void *p, size_t n, size_t size)
{
	if (size != 0 && n > SIZE_MAX / size)
		check(NULL);
	size *= n;
	return check(realloc(p, size > 0 ? size : 1));
}

void *mem_copy(const void *p, size_t n)
{
	char *copy = check(malloc(n + 1));

	if (n > 0)
		memcpy(copy, p, n);
	copy[n] = '\0';
	return copy;
}
