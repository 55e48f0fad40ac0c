/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/libsaga/internal.h"

#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- text that grows --------------------------------------------------------------------- */

static bool text_reserve(struct text *t, size_t more)
{
	size_t room = t->room ? t->room : 256;
	char *p;

	if (t->failed || more > SIZE_MAX / 4 - t->n) {
		t->failed = true;
		return false;
	}
	while (room < t->n + more + 1)
		room *= 2;
	if (room == t->room)
		return true;
	p = realloc(t->p, room);
	if (!p) {
		t->failed = true;
		return false;
	}
	t->p = p;
	t->room = room;
	return true;
}

void text_add(struct text *t, const char *bytes, size_t n)
{
	if (!text_reserve(t, n))
		return;
	if (n)
		memcpy(t->p + t->n, bytes, n);
	t->n += n;
	t->p[t->n] = '\0';
}

void text_cstr(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void text_printf(struct text *t, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (n < 0 || !text_reserve(t, (size_t)n)) {
		t->failed = true;
		return;
	}
	va_start(ap, format);
	vsnprintf(t->p + t->n, (size_t)n + 1, format, ap);
	va_end(ap);
	t->n += (size_t)n;
}

void text_json(struct text *t, const char *s)
{
	t->failed |= !is_utf8(s, strlen(s));
	text_cstr(t, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			text_printf(t, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			text_printf(t, "\\u%04x", (unsigned char)*s);
		else
			text_add(t, s, 1);
	}
	text_cstr(t, "\"");
}

void text_free(struct text *t)
{
	free(t->p);
	*t = (struct text){ 0 };
}

/* ---- small readers ----------------------------------------------------------------------- */

struct saga_slice slice_trim(struct saga_slice s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

bool slice_number(struct saga_slice s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned)s.p[i] - '0';

		if (digit > 9 || v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = v;
	return s.n > 0 && v <= max;
}

/* Exactly width digits at *p, within lowest and highest. */
static bool take_digits(const char **p, const char *end, int width, int lowest, int highest,
                        int *out)
{
	struct saga_slice digits = { *p, (size_t)width };
	uint64_t v;

	if (end - *p < width || !slice_number(digits, (uint64_t)highest, &v) || (int)v < lowest)
		return false;
	*p += width;
	*out = (int)v;
	return true;
}

static bool take_char(const char **p, const char *end, const char *any)
{
	if (*p == end || !**p || !strchr(any, **p))
		return false;
	++*p;
	return true;
}

static void take_fraction(const char **p, const char *end, int *ms)
{
	int scale = 100;

	*ms = 0;
	for (; *p < end && **p >= '0' && **p <= '9'; ++*p, scale /= 10)
		*ms += (**p - '0') * scale;
}

/* Minutes east of Greenwich. */
static bool take_zone(const char **p, const char *end, int *minutes)
{
	int h, m, sign = *p < end && **p == '-' ? -1 : 1;

	*minutes = 0;
	if (take_char(p, end, "Zz"))
		return true;
	if (!take_char(p, end, "+-") || !take_digits(p, end, 2, 0, 23, &h) ||
	    !take_char(p, end, ":") || !take_digits(p, end, 2, 0, 59, &m))
		return false;
	*minutes = sign * (h * 60 + m);
	return true;
}

/* The first and the last moment that RFC 3339 can write and databases can keep. */
#define YEAR_1_MS    (-62135596800000)
#define YEAR_9999_MS 253402300799999

bool slice_time(struct saga_slice s, int64_t *ms)
{
	static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const char *p = s.p, *end = s.p + s.n, *dot;
	struct tm tm = { 0 };
	int year, month, fraction = 0, zone;
	int64_t found;
	bool leap;

	if (!s.n || !take_digits(&p, end, 4, 1, 9999, &year) || !take_char(&p, end, "-") ||
	    !take_digits(&p, end, 2, 1, 12, &month) || !take_char(&p, end, "-") ||
	    !take_digits(&p, end, 2, 1, days[month - 1], &tm.tm_mday) ||
	    !take_char(&p, end, "Tt") || !take_digits(&p, end, 2, 0, 23, &tm.tm_hour) ||
	    !take_char(&p, end, ":") || !take_digits(&p, end, 2, 0, 59, &tm.tm_min) ||
	    !take_char(&p, end, ":") || !take_digits(&p, end, 2, 0, 59, &tm.tm_sec))
		return false;
	leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (month == 2 && tm.tm_mday == 29 && !leap)
		return false;
	dot = p;
	if (take_char(&p, end, ".")) {
		take_fraction(&p, end, &fraction);
		if (p == dot + 1)
			return false;
	}
	if (!take_zone(&p, end, &zone) || p != end)
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	found = ((int64_t)timegm(&tm) - zone * 60) * 1000 + fraction;
	if (found < YEAR_1_MS || found > YEAR_9999_MS)
		return false;
	*ms = found;
	return true;
}

/* ---- errors, ids ------------------------------------------------------------------------- */

void one_line(char *text)
{
	size_t n = strlen(text);

	while (n && (unsigned char)text[n - 1] <= ' ')
		text[--n] = '\0';
	for (; *text; text++)
		if ((unsigned char)*text < ' ')
			*text = ' ';
}

bool saga_fail(struct saga_error *error, enum saga_errno code, const char *format, ...)
{
	va_list ap;

	if (!error)
		return false;
	error->code = code;
	error->retryable = code == SAGA_E_UNKNOWN || code == SAGA_E_DATABASE;
	va_start(ap, format);
	vsnprintf(error->text, sizeof(error->text), format, ap);
	va_end(ap);
	one_line(error->text);
	return false;
}

const char *saga_error_meaning(enum saga_errno code)
{
	switch (code) {
#define X(name, text) \
	case SAGA_E_##name: return text;
		SAGA_ERRORS(X)
#undef X
	}
	return "no such error";
}

bool uuid_make(char out[37])
{
	struct timespec now;
	unsigned char b[16];
	uint64_t ms;

	if (RAND_bytes(b, sizeof(b)) != 1)
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char)(ms >> (40 - 8 * i));
	b[6] = (unsigned char)(0x70 | (b[6] & 0x0f));
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	for (int i = 0, at = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[at++] = '-';
		at += snprintf(out + at, 3, "%02x", b[i]);
	}
	return true;
}
