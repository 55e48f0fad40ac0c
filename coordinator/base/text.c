/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/text.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MS_MAX (10ll * 366 * 86400 * 1000)

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int    c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str a, struct str prefix)
{
	return a.n >= prefix.n && str_eq((struct str){ a.p, prefix.n }, prefix);
}

char *str_cstr(struct str a, char *out, size_t size)
{
	assert(size > 0);
	size_t n = a.n < size - 1 ? a.n : size - 1;

	if (n > 0)
		memcpy(out, a.p, n);
	out[n] = '\0';
	return out;
}

struct str str_dup(struct str a)
{
	return (struct str){ mem_copy(a.p, a.n), a.n };
}

/* FNV-1a with a final mix. Keys from outside are hashed with a random seed. */
uint64_t str_hash(struct str a, uint64_t seed)
{
	uint64_t h = seed ^ 0xcbf29ce484222325u;

	for (size_t i = 0; i < a.n; i++)
		h = (h ^ (unsigned char)a.p[i]) * 0x100000001b3u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ (h >> 32);
}

/* ---- what bytes may stand where ------------------------------------------ */

/* Eight at once: each byte that is no printable ASCII, and perhaps one behind it, gets its top bit set. The sum
 * is about DEL. */
static uint64_t unprintable(uint64_t v)
{
	const uint64_t ones = 0x0101010101010101u;

	return (v | (v - ones * ' ') | (v + ones)) & ones << 7;
}

static uint64_t word_at(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

bool text_is_printable(struct str a)
{
	size_t i = 0;

	for (; i + 8 <= a.n; i += 8)
		if (unprintable(word_at(a.p + i)) != 0)
			return false;
	for (; i < a.n; i++)
		if (a.p[i] < ' ' || a.p[i] >= 0x7f)
			return false;
	return true;
}

bool text_is_token(struct str a)
{
	static const bool fits[256] = {
		['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['!'] = true, ['#' ... '\''] = true,
		['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true, ['^' ... '`'] = true, ['|'] = true, ['~'] = true
	};

	for (size_t i = 0; i < a.n; i++)
		if (!fits[(unsigned char)a.p[i]])
			return false;
	return a.n > 0;
}

/* Length of the well-formed sequence at p, or 0. Table 3-7 of the Unicode standard. */
static size_t utf8_at(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t        len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	if (p[0] == 0xed)
		high = 0x9f;
	if (p[0] == 0xf0)
		low = 0x90;
	if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

bool text_is_utf8(struct str a)
{
	const unsigned char *p = (const unsigned char *)a.p;

	for (size_t i = 0, step; i < a.n; i += step)
		if ((step = utf8_at(p + i, a.n - i)) == 0)
			return false;
	return true;
}

/* ---- numbers, durations, times ----------------------------------------- */

/* All eight at once: each half byte goes to a byte of its own, and those above nine get as much more as letters are
 * behind digits. */
void text_put_hex(uint32_t v, char out[8])
{
	uint64_t x = v;

	x = (x << 16 | x) & 0x0000ffff0000ffffu;
	x = (x << 8 | x) & 0x00ff00ff00ff00ffu;
	x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0fu;
	x += 0x3030303030303030u + ((x + 0x0606060606060606u) >> 4 & 0x0101010101010101u) * ('a' - '9' - 1);
	x = htobe64(x);
	memcpy(out, &x, sizeof x);
}

bool text_to_u64(struct str a, uint64_t *out)
{
	uint64_t v = 0;

	if (a.n == 0)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		unsigned d = (unsigned)(unsigned char)a.p[i] - '0';

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*out = v;
	return true;
}

struct str text_of_u64(uint64_t v, char out[20])
{
	size_t at = 20;

	for (; v >= 100; v /= 100) {
		const unsigned two = (unsigned)(v % 100);

		out[--at] = (char)('0' + two % 10);
		out[--at] = (char)('0' + two / 10);
	}
	if (v >= 10) {
		out[--at] = (char)('0' + v % 10);
		v /= 10;
	}
	out[--at] = (char)('0' + v);
	return (struct str){ out + at, 20 - at };
}

static const struct {
	const char *name;
	int64_t     ms;
} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };

enum { UNITS = sizeof units / sizeof units[0] };

bool text_to_ms(struct str a, int64_t *ms)
{
	size_t  i = 0, unit = 0;
	int64_t sum = 0;

	if (a.n == 0 || a.n > 64)
		return false;
	while (i < a.n) {
		size_t   start = i;
		uint64_t v;

		while (i < a.n && a.p[i] >= '0' && a.p[i] <= '9')
			i++;
		if (!text_to_u64((struct str){ a.p + start, i - start }, &v))
			return false;
		start = i;
		while (i < a.n && a.p[i] >= 'a' && a.p[i] <= 'z')
			i++;
		while (unit < UNITS && !str_is((struct str){ a.p + start, i - start }, units[unit].name))
			unit++;
		if (unit == UNITS || v > (uint64_t)(MS_MAX / units[unit].ms))
			return false;
		sum += (int64_t)v * units[unit++].ms;
		if (sum > MS_MAX)
			return false;
	}
	*ms = sum;
	return true;
}

const char *text_of_ms(int64_t ms, char *out)
{
	size_t n = 0;

	assert(ms >= 0 && ms <= MS_MAX);
	if (ms == 0)
		return strcpy(out, "0s");
	for (size_t i = 0; i < UNITS; i++) {
		if (ms < units[i].ms)
			continue;
		n += (size_t)snprintf(out + n, 32 - n, "%lld%s", (long long)(ms / units[i].ms),
		                      units[i].name);
		ms %= units[i].ms;
	}
	return out;
}

/* Years 0 to 9999, the ones that RFC 3339 can write. */
#define TIME_MIN_MS (-62167219200000)
#define YEAR_1_MS   (-62135596800000)
#define TIME_MAX_MS 253402300799999
#define DAY_MS      86400000

static char *put_two(char *out, unsigned v, char behind)
{
	out[0] = (char)('0' + v / 10);
	out[1] = (char)('0' + v % 10);
	out[2] = behind;
	return out + 3;
}

struct date {
	unsigned year, month, day;
};

/* Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March,
 * so that the leap day is their last. */
static struct date date_of(int64_t days)
{
	int64_t  z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned in_era = (unsigned)(z - era * 146097);
	unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * in_year + 2) / 153;
	unsigned m = month < 10 ? month + 3 : month - 9;

	return (struct date){ (unsigned)((int64_t)year + era * 400 + (m <= 2)), m,
		              in_year - (153 * month + 2) / 5 + 1 };
}

/* By hand: strftime and printf cost half a microsecond, and every answer shows several times. */
const char *text_of_time(int64_t ms, char *out)
{
	struct date date;
	char       *p = out;
	unsigned    in_day;

	ms = ms < TIME_MIN_MS ? TIME_MIN_MS : ms > TIME_MAX_MS ? TIME_MAX_MS : ms;
	ms -= TIME_MIN_MS; /* from here on nothing is negative */
	date = date_of(ms / DAY_MS + TIME_MIN_MS / DAY_MS);
	in_day = (unsigned)(ms % DAY_MS);
	p = put_two(p, date.year / 100, '-') - 1;
	p = put_two(p, date.year % 100, '-');
	p = put_two(p, date.month, '-');
	p = put_two(p, date.day, 'T');
	p = put_two(p, in_day / 3600000, ':');
	p = put_two(p, in_day / 60000 % 60, ':');
	p = put_two(p, in_day / 1000 % 60, '.');
	p = put_two(p, in_day % 1000 / 10, 'Z');
	p[-1] = (char)('0' + in_day % 10);
	p[0] = 'Z';
	p[1] = '\0';
	return out;
}

static bool digits(struct str a, size_t at, size_t n, int *out)
{
	uint64_t v;

	if (at + n > a.n || !text_to_u64((struct str){ a.p + at, n }, &v))
		return false;
	*out = (int)v;
	return true;
}

/* The offset behind a time: Z, +hh:mm or -hh:mm; in minutes. */
static bool offset(struct str a, size_t at, int *minutes)
{
	int h, m;

	if (at >= a.n)
		return false;
	*minutes = 0;
	if (a.p[at] == 'Z' || a.p[at] == 'z')
		return at + 1 == a.n;
	if ((a.p[at] != '+' && a.p[at] != '-') || at + 6 != a.n || a.p[at + 3] != ':' ||
	    !digits(a, at + 1, 2, &h) || !digits(a, at + 4, 2, &m) || h > 23 || m > 59)
		return false;
	*minutes = (h * 60 + m) * (a.p[at] == '-' ? -1 : 1);
	return true;
}

/* timegm() takes 30 February for 2 March. */
static bool is_day(int year, int month, int day)
{
	static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool             leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] &&
	       (leap || month != 2 || day <= 28);
}

/* Second 60 is refused: who sends it means a leap second, which this clock does not have. */
bool text_to_time(struct str a, int64_t *ms)
{
	struct tm tm = { 0 };
	int       fraction = 0, scale = 100, minutes;
	size_t    at = 19;
	int64_t   found;

	if (!digits(a, 0, 4, &tm.tm_year) || !digits(a, 5, 2, &tm.tm_mon) ||
	    !digits(a, 8, 2, &tm.tm_mday) || !digits(a, 11, 2, &tm.tm_hour) ||
	    !digits(a, 14, 2, &tm.tm_min) || !digits(a, 17, 2, &tm.tm_sec))
		return false;
	if (a.p[4] != '-' || a.p[7] != '-' || (a.p[10] != 'T' && a.p[10] != 't') ||
	    a.p[13] != ':' || a.p[16] != ':')
		return false;
	if (at < a.n && a.p[at] == '.') {
		size_t start = ++at;

		for (; at < a.n && a.p[at] >= '0' && a.p[at] <= '9'; at++, scale /= 10)
			fraction += (a.p[at] - '0') * scale;
		if (at == start)
			return false;
	}
	if (!offset(a, at, &minutes) || !is_day(tm.tm_year, tm.tm_mon, tm.tm_mday) ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	found = ((int64_t)timegm(&tm) - minutes * 60) * 1000 + fraction;
	if (found < YEAR_1_MS || found > TIME_MAX_MS)
		return false;
	*ms = found;
	return true;
}

/* ---- buffer ------------------------------------------------------------- */

void buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	if (b->p != NULL)
		b->p[0] = '\0';
}

void buf_reserve(struct buf *b, size_t more)
{
	size_t want = b->n + more + 1;

	if (want <= b->cap)
		return;
	b->cap = want < 2 * b->cap ? 2 * b->cap : want < 64 ? 64 : want;
	b->p = mem_grow(b->p, b->cap, 1);
}

void buf_u64(struct buf *b, uint64_t v)
{
	char digits[20];

	if (v < 10)
		buf_char(b, (char)('0' + v));
	else
		buf_str(b, text_of_u64(v, digits));
}

void buf_i64(struct buf *b, int64_t v)
{
	if (v < 0)
		buf_char(b, '-');
	buf_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int     n;

	buf_reserve(b, 128);
	va_start(ap, fmt);
	n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	if ((size_t)n >= b->cap - b->n) {
		buf_reserve(b, (size_t)n);
		va_start(ap, fmt);
		vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
		va_end(ap);
	}
	b->n += (size_t)n;
}

static void escape(struct buf *b, unsigned char c)
{
	switch (c) {
	case '"':  buf_cstr(b, "\\\""); break;
	case '\\': buf_cstr(b, "\\\\"); break;
	case '\n': buf_cstr(b, "\\n"); break;
	case '\r': buf_cstr(b, "\\r"); break;
	case '\t': buf_cstr(b, "\\t"); break;
	default:   buf_fmt(b, "\\u%04x", c); break;
	}
}

/* Eight bytes that stand in a JSON string as they are? */
static bool are_plain(const char *p)
{
	const uint64_t ones = 0x0101010101010101u, v = word_at(p);
	const uint64_t quotes = (v ^ ones * '"') - ones, slashes = (v ^ ones * '\\') - ones;

	return unprintable(v) == 0 && ((quotes | slashes) & ones << 7) == 0;
}

void buf_json(struct buf *b, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t               done = 0;

	buf_reserve(b, s.n + 2);
	buf_char(b, '"');
	for (size_t i = 0, step; i < s.n; i += step) {
		if (s.n - i >= 8 && are_plain(s.p + i)) {
			step = 8;
			continue;
		}
		step = utf8_at(p + i, s.n - i);
		if (step > 1 || (step == 1 && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' &&
		                 p[i] != 0x7f))
			continue;
		buf_add(b, s.p + done, i - done);
		if (step == 1) {
			escape(b, p[i]);
		} else {
			buf_cstr(b, "\xef\xbf\xbd");
			step = 1;
		}
		done = i + step;
	}
	if (done < s.n) /* the empty slice may have no address to count from */
		buf_add(b, s.p + done, s.n - done);
	buf_char(b, '"');
}

char *buf_take(struct buf *b)
{
	char *p = b->p ? b->p : mem_copy("", 0);

	*b = (struct buf){ 0 };
	return p;
}

void text_trim(struct str *s)
{
	for (; s->n > 0 && (s->p[0] == ' ' || s->p[0] == '\t'); s->p++)
		s->n--;
	while (s->n > 0 && (s->p[s->n - 1] == ' ' || s->p[s->n - 1] == '\t'))
		s->n--;
}

bool text_is_word(struct str s, struct str word)
{
	return s.n == word.n && strncasecmp(s.p, word.p, word.n) == 0;
}
