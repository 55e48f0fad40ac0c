/* SPDX-License-Identifier: Apache-2.0
 * text.h - slices of text (struct str, owns nothing) and a growing buffer (struct buf, owns its bytes).
 */
#ifndef COORDINATOR_BASE_TEXT_H
#define COORDINATOR_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Not NUL-terminated. The empty slice may have p == NULL. */
struct str {
	const char *p;
	size_t      n;
};

#define STR(literal) ((struct str){ "" literal, sizeof(literal) - 1 })

/* Small ones stand here so that the length of a literal costs nothing. */

static inline struct str str_of(const char *cstring) /* NULL gives the empty slice */
{
	return (struct str){ cstring, cstring ? strlen(cstring) : 0 };
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_is(struct str a, const char *cstring)
{
	return str_eq(a, str_of(cstring));
}

int        str_cmp(struct str a, struct str b); /* bytewise, like collation "C" */
bool       str_starts(struct str a, struct str prefix);
/* Copies at most size - 1 bytes and a NUL into out; returns out. */
char      *str_cstr(struct str a, char *out, size_t size);
struct str str_dup(struct str a);       /* mem_copy; free((char *)result.p) */
uint64_t   str_hash(struct str a, uint64_t seed);

bool text_is_printable(struct str a);   /* ASCII from the blank to the tilde */
bool text_is_token(struct str a);       /* RFC 9110, 5.6.2: a method, a header's name; not empty */
bool text_is_utf8(struct str a);        /* RFC 3629: no surrogates, no overlong forms */
static inline int text_hex(char c)      /* the value of one hex digit, any case; -1: it is none */
{
	const unsigned digit = (unsigned)(unsigned char)c - '0';
	const unsigned letter = ((unsigned)(unsigned char)c | 0x20u) - 'a';

	return digit < 10 ? (int)digit : letter < 6 ? (int)letter + 10 : -1;
}
void text_put_hex(uint32_t v, char out[8]); /* its eight digits in lower case, no NUL */
/* Whole decimal number without sign; false on anything else or overflow. */
bool text_to_u64(struct str a, uint64_t *out);
void text_trim(struct str *s); /* no blanks and tabs at its ends */
bool text_is_word(struct str s, struct str word); /* in capitals or not */
/* In decimal, at the end of out. */
struct str text_of_u64(uint64_t v, char out[20]);

/* Durations as people write them: 250ms, 3s, 10m, 1h30m, 7d. Units ms s m h d,
 * at least one, each at most once and falling; whole numbers only.
 * Range 0 .. 10 years. */
bool text_to_ms(struct str a, int64_t *ms);
/* The shortest such form; out holds at least 32 bytes. */
const char *text_of_ms(int64_t ms, char *out);

/* RFC 3339 in UTC with milliseconds, as in 2026-11-23T08:40:54.123Z.
 * ms since the Unix epoch; out holds at least 32 bytes. */
const char *text_of_time(int64_t ms, char *out);
/* RFC 3339 with any offset; a fraction of any length is cut to ms. Years 1 to 9999 in UTC, no second
 * 60. participants/vectors/headers.json has what is one and what is not. */
bool text_to_time(struct str a, int64_t *ms);

/* Zeroed memory is an empty buffer. p is NUL-terminated whenever not NULL. */
struct buf {
	char  *p;
	size_t n, cap;
};

void       buf_fini(struct buf *b);
void       buf_clear(struct buf *b);    /* keeps the memory */
void       buf_reserve(struct buf *b, size_t more);
void       buf_i64(struct buf *b, int64_t v);
void       buf_u64(struct buf *b, uint64_t v);
void       buf_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD. */
void       buf_json(struct buf *b, struct str s);
char      *buf_take(struct buf *b);     /* the caller frees; b is empty again */

static inline struct str buf_view(const struct buf *b) /* valid until the next change */
{
	return (struct str){ b->p, b->n };
}

/* What is known when it is compiled costs a few moves, not a call. */
static inline void buf_add(struct buf *b, const void *p, size_t n)
{
	if (b->cap - b->n <= n)
		buf_reserve(b, n);
	if (n > 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

static inline void buf_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

static inline void buf_cstr(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

static inline void buf_char(struct buf *b, char c)
{
	if (b->cap - b->n < 2)
		buf_reserve(b, 1);
	b->p[b->n++] = c;
	b->p[b->n] = '\0';
}

#endif
