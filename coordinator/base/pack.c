/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/pack.h"

#include <stdint.h>
#include <string.h>

enum { WORD = 8, ZEROS_MAX = 255 };

static size_t at_most(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many words of zeros begin here. */
static size_t count_zeros(const unsigned char *from, size_t n)
{
	static const unsigned char zeros[WORD];
	size_t                     words = 0;

	while (n > 0 && words <= ZEROS_MAX && memcmp(from, zeros, at_most(n, WORD)) == 0) {
		from += at_most(n, WORD);
		n -= at_most(n, WORD);
		words++;
	}
	return words;
}

size_t pack(void *to, const void *from, size_t n)
{
	const unsigned char *in = from, *end = in + n;
	unsigned char       *out = to;

	while (in < end) {
		size_t         zeros = count_zeros(in, (size_t)(end - in));
		unsigned char *bits = out++;

		*bits = 0;
		if (zeros > 0) {
			*out++ = (unsigned char)(zeros - 1);
			in += at_most(zeros * WORD, (size_t)(end - in));
			continue;
		}
		for (unsigned i = 0; i < WORD && in < end; i++, in++) {
			if (*in == 0)
				continue;
			*bits |= (unsigned char)(1u << i);
			*out++ = *in;
		}
	}
	return (size_t)(out - (unsigned char *)to);
}

size_t unpack(void *to, size_t n, const void *from)
{
	const unsigned char *in = from;
	unsigned char       *out = to, *end = out + n;

	memset(to, 0, n);
	while (out < end) {
		unsigned bits = *in++;

		if (bits == 0) {
			out += at_most(((size_t)*in++ + 1) * WORD, (size_t)(end - out));
			continue;
		}
		for (unsigned i = 0; i < WORD && out < end; i++, out++)
			if (bits & 1u << i)
				*out = *in++;
	}
	return (size_t)(in - (const unsigned char *)from);
}
