/* SPDX-License-Identifier: Apache-2.0
 * base.c - text, memory, containers, ids and digests.
 */
#include "coordinator/base/arena.h"
#include "coordinator/base/digest.h"
#include "coordinator/base/err.h"
#include "coordinator/base/heap.h"
#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"
#include "coordinator/base/pack.h"
#include "coordinator/base/pool.h"
#include "coordinator/base/table.h"
#include "coordinator/base/uuid.h"
#include "tests/lib/tap.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- text ---------------------------------------------------------------- */

static const struct {
	const char *text;
	int64_t     ms; /* -1: refused */
	const char *shortest;
} durations[] = {
	{ "250ms", 250, "250ms" },
	{ "3s", 3000, "3s" },
	{ "90s", 90000, "1m30s" },
	{ "1h30m", 5400000, "1h30m" },
	{ "7d", 604800000, "7d" },
	{ "0s", 0, "0s" },
	{ "1d2h3m4s5ms", 93784005, "1d2h3m4s5ms" },
	{ "", -1, NULL },
	{ "3", -1, NULL },
	{ "s", -1, NULL },
	{ "-3s", -1, NULL },
	{ "1.5s", -1, NULL },
	{ "3 s", -1, NULL },
	{ "1m1h", -1, NULL },
	{ "1s1s", -1, NULL },
	{ "3S", -1, NULL },
	{ "3w", -1, NULL },
	{ "3661d", -1, NULL },
	{ "99999999999999999999s", -1, NULL },
};

static void test_durations(void)
{
	char out[32];

	for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
		int64_t ms = -1;
		bool    good = text_to_ms(str_of(durations[i].text), &ms);

		ok(good == (durations[i].ms >= 0) && ms == durations[i].ms, "the duration \"%s\" is %s",
		   durations[i].text, good ? "read" : "refused");
		if (good)
			ok(strcmp(text_of_ms(ms, out), durations[i].shortest) == 0,
			   "and its shortest form is %s", durations[i].shortest);
	}
}

static const struct {
	const char *text;
	int64_t     ms;
	bool        good;
} times[] = {
	{ "1970-01-01T00:00:00Z", 0, true },
	{ "2026-11-23T08:40:54.123Z", 1795423254123, true },
	{ "2026-11-23T10:40:54.1234567+02:00", 1795423254123, true },
	{ "2026-11-23t03:40:54.123-05:00", 1795423254123, true },
	{ "2026-11-23T08:40:54", 0, false },
	{ "2026-11-23 08:40:54Z", 0, false },
	{ "2026-13-23T08:40:54Z", 0, false },
	{ "2026-11-23T25:40:54Z", 0, false },
	{ "2026-11-23T08:40:54.Z", 0, false },
	{ "2026-11-23T08:40:54+2:00", 0, false },
	{ "2026-11-23T08:40:54Zjunk", 0, false },
	{ "", 0, false },
};

static void test_times(void)
{
	char    out[32];
	int64_t again;

	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		int64_t ms = 0;
		bool    good = text_to_time(str_of(times[i].text), &ms);

		ok(good == times[i].good && (!good || ms == times[i].ms), "the time \"%s\" is %s",
		   times[i].text, good ? "read" : "refused");
	}
	ok(strcmp(text_of_time(1795423254123, out), "2026-11-23T08:40:54.123Z") == 0,
	   "a time is written with milliseconds, in UTC");
	ok(text_to_time(str_of(text_of_time(-1, out)), &again) && again == -1,
	   "a time before the epoch comes back as it was");
	ok(strcmp(text_of_time(951782399999, out), "2000-02-28T23:59:59.999Z") == 0 &&
	   strcmp(text_of_time(951782400000, out), "2000-02-29T00:00:00.000Z") == 0 &&
	   strcmp(text_of_time(4107542400000, out), "2100-03-01T00:00:00.000Z") == 0, "leap years are those of the calendar");
	ok(strcmp(text_of_time(INT64_MIN, out), "0000-01-01T00:00:00.000Z") == 0 &&
	   strcmp(text_of_time(INT64_MAX, out), "9999-12-31T23:59:59.999Z") == 0, "what cannot be written is cut");
	bool as_libc = true;
	for (int64_t day = -719528; day < 2932897; day += 11) {
		time_t    s = (time_t)(day * 86400 + 3661);
		struct tm tm;
		char      want[64];

		gmtime_r(&s, &tm);
		snprintf(want, sizeof want, "%04d-%02d-%02dT01:01:01.007Z", (tm.tm_year + 1900) % 10000, tm.tm_mon + 1,
		         tm.tm_mday);
		as_libc &= strcmp(text_of_time((int64_t)s * 1000 + 7, out), want) == 0;
	}
	ok(as_libc, "every eleventh day of ten thousand years is as the C library has it");
}

static const struct {
	const char *bytes;
	size_t      n;
	bool        good;
} utf8[] = {
	{ "plain", 5, true },
	{ "\xc3\xa9", 2, true },
	{ "\xe2\x82\xac", 3, true },
	{ "\xf0\x9f\x98\x80", 4, true },
	{ "\xf4\x8f\xbf\xbf", 4, true },
	{ "\xc0\x80", 2, false },         /* overlong NUL */
	{ "\xe0\x80\xaf", 3, false },     /* overlong slash */
	{ "\xed\xa0\x80", 3, false },     /* surrogate */
	{ "\xf4\x90\x80\x80", 4, false }, /* beyond U+10FFFF */
	{ "\xf0\x9f\x98", 3, false },     /* cut short */
	{ "\x80", 1, false },
	{ "\xff", 1, false },
};

static void test_utf8(void)
{
	for (size_t i = 0; i < sizeof utf8 / sizeof utf8[0]; i++)
		ok(text_is_utf8((struct str){ utf8[i].bytes, utf8[i].n }) == utf8[i].good,
		   "byte sequence %zu is %s UTF-8", i, utf8[i].good ? "good" : "no");
}

static void test_buffers(void)
{
	struct buf b = { 0 };
	uint64_t   v;

	buf_json(&b, STR("a\"b\\c\n\x01\x7f\xc3\xa9\xff"));
	ok(str_is(buf_view(&b), "\"a\\\"b\\\\c\\n\\u0001\\u007f\xc3\xa9\xef\xbf\xbd\""),
	   "a JSON string escapes what it must and repairs what is no UTF-8");
	buf_clear(&b);
	buf_i64(&b, INT64_MIN);
	buf_char(&b, ' ');
	buf_u64(&b, UINT64_MAX);
	ok(str_is(buf_view(&b), "-9223372036854775808 18446744073709551615"),
	   "the outermost numbers are written whole");
	buf_clear(&b);
	for (int i = 0; i < 1000; i++)
		buf_fmt(&b, "%d,", i);
	ok(b.n == 3890 && b.p[b.n] == '\0', "a buffer grows and stays terminated");
	char *taken = buf_take(&b);
	ok(b.p == NULL && strlen(taken) == 3890, "a taken buffer leaves an empty one");
	free(taken);
	ok(!text_to_u64(STR("18446744073709551616"), &v) && text_to_u64(STR("18446744073709551615"), &v) &&
	   v == UINT64_MAX, "a number that is one too big is refused");
}

/* What looks at eight bytes at once says of each byte at each place what it says of it alone. */
static void test_eights(void)
{
	unsigned wrong_json = 0, wrong_print = 0, wrong_hex = 0, wrong_uuid = 0, wrong_token = 0, wrong_number = 0;

	for (unsigned c = 0; c < 256; c++)
		for (size_t at = 0; at < 19; at++) {
			char       text[20], one[] = { (char)c, '\0' };
			struct buf whole = { 0 }, parts = { 0 };
			struct str alone = { one, 1 };

			memset(text, 'a', sizeof text);
			text[at] = (char)c;
			text[at + 1] = '~';
			buf_json(&whole, (struct str){ text, sizeof text });
			buf_json(&parts, alone);
			wrong_json += whole.n != sizeof text + parts.n - 1 ||
			              memcmp(whole.p + 1 + at, parts.p + 1, parts.n - 2) != 0 ||
			              whole.p[1 + at + parts.n - 2] != '~';
			wrong_token += text_is_token(alone) != (c != 0 && (isalnum((int)c) || strchr("!#$%&'*+-.^_`|~", (int)c)));
			wrong_print += text_is_printable((struct str){ text, sizeof text }) != (c >= ' ' && c < 0x7f) ||
			               text_is_printable(alone) != (c >= ' ' && c < 0x7f);
			buf_fini(&whole);
			buf_fini(&parts);
		}
	for (uint64_t v = 0; v <= UINT32_MAX; v = v * 3 + 7) {
		char eight[9] = "", printed[20];

		text_put_hex((uint32_t)v, eight);
		snprintf(printed, sizeof printed, "%08x", (unsigned)v);
		wrong_hex += strcmp(eight, printed) != 0;
	}
	for (unsigned c = 0; c < 256; c++)
		for (size_t at = 0; at < UUID_TEXT; at++) {
			char        text[] = "01234567-89ab-cdef-FEDC-BA9876543210", lower[UUID_TEXT + 1], one[UUID_TEXT + 1];
			const bool  is_dash = text[at] == '-', fits = is_dash ? c == '-' : text_hex((char)c) >= 0;
			struct uuid u;

			text[at] = (char)c;
			for (size_t i = 0; i <= UUID_TEXT; i++)
				lower[i] = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] + 32) : text[i];
			wrong_uuid += uuid_parse((struct str){ text, UUID_TEXT }, &u) != fits ||
			              (fits && strcmp(uuid_text(u, one), lower) != 0);
		}
	ok(wrong_uuid == 0, "a UUID is read digit by digit, in capitals or not: %u wrong", wrong_uuid);
	ok(wrong_token == 0 && !text_is_token(STR("")) && text_is_token(STR("X-a")) && !text_is_token(STR("X a")),
	   "a token is what RFC 9110 says: %u wrong", wrong_token);
	for (uint64_t v = 1, back; v != 0; v = v <= UINT64_MAX / 3 ? v * 3 + v % 7 : 0) {
		char digits[20];

		wrong_number += !text_to_u64(text_of_u64(v, digits), &back) || back != v;
	}
	for (uint64_t v = 1; v != 0; v = v <= UINT64_MAX / 10 ? v * 10 : 0) {
		char below[20], at[20], printed[24];

		snprintf(printed, sizeof printed, "%llu", (unsigned long long)v);
		wrong_number += !str_is(text_of_u64(v, at), printed);
		snprintf(printed, sizeof printed, "%llu", (unsigned long long)v - 1);
		wrong_number += !str_is(text_of_u64(v - 1, below), printed);
	}
	ok(wrong_number == 0, "numbers of every length: %u wrong", wrong_number);
	ok(wrong_json == 0, "a byte is escaped wherever it stands: %u wrong", wrong_json);
	ok(wrong_print == 0, "and found where it cannot be printed: %u wrong", wrong_print);
	ok(wrong_hex == 0, "eight digits are those of printf: %u wrong", wrong_hex);
	ok(text_hex('9') == 9 && text_hex('a') == 10 && text_hex('F') == 15 && text_hex('g') == -1 && text_hex('@') == -1 &&
	   text_hex('/') == -1 && text_hex(':') == -1 && text_hex('\x10') == -1 && text_hex('\xc1') == -1, "and read");
}

/* As owned.c uses it: sizes that differ, given back in another order, zeroed whoever had them. */
static void test_pool(void)
{
	static const size_t sizes[] = { 1, 64, 65, 200, 992, POOL_UNIT * POOL_CLASSES, POOL_UNIT * POOL_CLASSES + 1, 70000 };
	enum { SIZES = sizeof sizes / sizeof sizes[0], EACH = 300 };
	static unsigned char *taken[SIZES][EACH];
	struct pool           p = { 0 };
	unsigned              dirty = 0, crooked = 0;

	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < SIZES; i++)
			for (size_t k = 0; k < EACH; k++) {
				taken[i][k] = pool_take(&p, sizes[i]);
				crooked += (uintptr_t)taken[i][k] % _Alignof(max_align_t) != 0;
				for (size_t n = 0; n < sizes[i]; n += n < 200 ? 1 : 61)
					dirty += taken[i][k][n] != 0;
				memset(taken[i][k], 0xaa, sizes[i]);
			}
		for (size_t i = 0; i < SIZES; i++)
			for (size_t k = 0; k < EACH; k++)
				pool_give(&p, taken[i][k], sizes[i]);
	}
	ok(dirty == 0 && crooked == 0, "what was used before is zeroed: %u, %u", dirty, crooked);
	ok(p.bytes <= POOL_KEPT, "no more is kept than a mebibyte: %zu", p.bytes);
	unsigned char *again = pool_take(&p, 992);
	pool_give(&p, NULL, 992);
	pool_give(&p, again, 992);
	pool_fini(&p);
	again = pool_take(&p, 0);
	ok(p.bytes == 0 && again != NULL, "an empty one is as good as new");
	free(again);
}

static void test_slices(void)
{
	char small[4];

	ok(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("\xff"), STR("a")) > 0,
	   "slices are ordered bytewise, shorter first");
	ok(strcmp(str_cstr(STR("abcdef"), small, sizeof small), "abc") == 0, "a copy that does not fit is cut");
	ok(str_eq(str_of(NULL), STR("")), "no string is the empty slice");
	ok(str_starts(STR("abc"), STR("ab")) && !str_starts(STR("a"), STR("ab")), "a prefix is a prefix");
	ok(str_hash(STR("a"), 1) != str_hash(STR("a"), 2), "the seed changes the hash");
}

/* ---- containers ------------------------------------------------------------ */

static uint32_t next_random(uint32_t *x)
{
	*x = *x * 1664525u + 1013904223u;
	return *x >> 8;
}

static void test_heap(void)
{
	enum { N = 500 };
	static struct heap_node nodes[N];
	struct heap             h = { 0 };
	uint32_t                x = 7;
	int64_t                 last = INT64_MIN;
	uint64_t                last_seq = 0;
	bool                    ordered = true;

	for (int i = 0; i < N; i++)
		heap_put(&h, &nodes[i], next_random(&x) % 50);
	for (int i = 0; i < N; i += 3)
		heap_remove(&h, &nodes[i]);
	for (int i = 1; i < N; i += 3)
		heap_put(&h, &nodes[i], next_random(&x) % 50);
	size_t n = h.n;
	for (struct heap_node *node; (node = heap_first(&h)) != NULL;) {
		ordered = ordered && (node->at > last || (node->at == last && node->seq > last_seq));
		last = node->at;
		last_seq = node->seq;
		heap_remove(&h, node);
		n--;
	}
	ok(ordered && n == 0, "a heap gives the earliest first, ties in order of arming");
	heap_remove(&h, &nodes[0]);
	ok(h.n == 0, "removing what stands on no heap is harmless");
	heap_fini(&h);
}

static void test_table(void)
{
	enum { N = 1000 };
	static struct {
		struct table_node node;
		char              key[16];
	} items[N];
	struct table t = { .seed = 99 };
	bool         found = true;
	size_t       walked = 0;

	for (int i = 0; i < N; i++) {
		snprintf(items[i].key, sizeof items[i].key, "key-%d", i);
		table_put(&t, &items[i].node, str_of(items[i].key));
	}
	for (int i = 0; i < N; i += 2)
		table_remove(&t, &items[i].node);
	for (int i = 0; i < N; i++)
		found = found && (table_get(&t, str_of(items[i].key)) != NULL) == (i % 2 == 1);
	for (struct table_node *n = table_next(&t, NULL); n != NULL; n = table_next(&t, n))
		walked++;
	ok(found && t.n == N / 2, "a table finds what was put and not removed");
	ok(walked == N / 2, "a walk meets every node once");
	table_fini(&t);
	ok(table_get(&t, STR("key-1")) == NULL, "an empty table finds nothing");
}

/* Gids that differ only in what was counted up, as they come: whoever finds one must not walk past many others. */
static void test_table_spreads(void)
{
	enum { N = 4096, LONGEST = 12 };
	struct item {
		struct table_node node;
		char              key[48];
	} *items = mem_array(N, sizeof *items);
	struct table t = { .seed = 7 };
	size_t       used = 0, longest = 0;

	for (size_t i = 0; i < N; i++) {
		snprintf(items[i].key, sizeof items[i].key, "%.*s%04zx", (int)(i % 37),
		         "019ab3de-7c10-7000-8000-0000000000000", i);
		table_put(&t, &items[i].node, str_of(items[i].key));
	}
	for (size_t i = 0; i < t.cap; i++) {
		size_t n = 0;

		for (const struct table_node *node = t.slots[i]; node != NULL; node = node->next)
			n++;
		used += n > 0;
		longest = n > longest ? n : longest;
	}
	ok(used * 2 > t.cap, "keys of all lengths spread over the slots (%zu of %zu are used)", used, t.cap);
	ok(longest <= LONGEST, "and no slot has more than a few (%zu)", longest);
	table_fini(&t);
	free(items);
}

/* Those that stand in table, heap and list change places with others, which are then found instead. */
static void test_places(void)
{
	enum { N = 200 };
	static struct {
		struct table_node node;
		struct heap_node  timer;
		struct list       link;
		char              key[16];
	} items[2][N];
	struct table t = { .seed = 5 };
	struct heap  h = { 0 };
	struct list  head;
	bool         same = true;

	list_init(&head);
	for (int i = 0; i < N; i++) {
		list_push(&head, &items[0][i].link);
		list_init(&items[1][i].link);
		heap_put(&h, &items[0][i].timer, i / 10);
		snprintf(items[0][i].key, sizeof items[0][i].key, "key-%d", i);
		table_put(&t, &items[0][i].node, str_of(items[0][i].key));
	}
	for (int i = 0; i < N; i += 2) {
		list_replace(&items[0][i].link, &items[1][i].link);
		heap_replace(&h, &items[0][i].timer, &items[1][i].timer);
		table_replace(&t, &items[0][i].node, &items[1][i].node);
	}
	ok(list_is_empty(&items[0][0].link) && items[0][0].timer.index == 0, "who is replaced stands nowhere");
	for (int i = 0; i < N; i++) {
		same = same && list_pop(&head) == &items[i % 2 == 0][i].link;
		same = same && heap_first(&h) == &items[i % 2 == 0][i].timer;
		heap_remove(&h, heap_first(&h));
		same = same && table_get(&t, str_of(items[0][i].key)) == &items[i % 2 == 0][i].node;
		table_remove(&t, &items[i % 2 == 0][i].node);
	}
	ok(same && t.n == 0 && h.n == 0, "and who replaces him stands in his place, ties of the heap included");
	heap_replace(&h, &items[0][0].timer, &items[0][1].timer);
	ok(items[0][1].timer.index == 0, "who stands on no heap hands on no place");
	heap_fini(&h);
	table_fini(&t);
}

static void test_pack(void)
{
	enum { MAX = 5000 };
	static unsigned char from[MAX], packed[PACK_MAX(MAX) + 1], back[MAX + 1];
	uint32_t             x = 11;
	bool                 same = true, fits = true, ends = true;
	size_t               zeros = 0, dense = 0;

	for (size_t n = 0; n <= MAX; n += n < 40 ? 1 : 97) {
		for (unsigned mode = 0; mode < 4; mode++) { /* zeros; dense; one byte in so many; runs */
			for (size_t i = 0; i < n; i++)
				from[i] = (unsigned char)(mode == 0 ? 0 : mode == 1 ? 1 + i % 255
				                          : mode == 2 ? (next_random(&x) % 20 == 0 ? 200 : 0)
				                                      : (i / 700 % 2 ? 7 : 0));
			memset(packed, 0x55, sizeof packed);
			memset(back, 0x55, sizeof back);
			size_t m = pack(packed, from, n);
			fits = fits && m <= PACK_MAX(n) && packed[m] == 0x55;
			ends = ends && unpack(back, n, packed) == m;
			same = same && memcmp(back, from, n) == 0 && back[n] == 0x55;
			zeros = mode == 0 ? m : zeros;
			dense = mode == 1 ? m : dense;
		}
	}
	ok(same && ends, "what was packed comes back as it was, and not a byte more");
	ok(fits, "and takes no more room than it was promised");
	ok(zeros < 10 && dense > MAX, "zeros take hardly any");
}

static void test_list(void)
{
	struct list head, a, b, c;

	list_init(&head);
	list_push(&head, &a);
	list_push(&head, &b);
	list_push(&b, &c);
	ok(head.next == &a && a.next == &c && c.next == &b, "a push on a node goes in front of it");
	list_each(it, after, &head)
		list_remove(it);
	ok(list_is_empty(&head) && list_pop(&head) == NULL, "a walk may remove the node in hand");
}

static void test_arena(void)
{
	struct arena a = { 0 };
	struct str   s = arena_str(&a, STR("hello"));
	char        *big = arena_alloc(&a, 100000);
	char        *small = arena_alloc(&a, 1);

	ok(str_is(s, "hello") && s.p[5] == '\0', "a copied slice is terminated behind its end");
	ok(big[99999] == 0 && small[0] == 0, "memory comes zeroed");
	ok((uintptr_t)small % _Alignof(max_align_t) == 0, "and aligned for anything");
	arena_fini(&a);
	ok(a.blocks == NULL && a.used == 0, "a finished arena is an empty one");
}

/* ---- ids and digests ---------------------------------------------------------- */

static void test_uuids(void)
{
	char        out[UUID_TEXT + 1];
	struct uuid u, v;

	u = uuid_v7(0x0123456789ab, 0xffff, 0xffffffffffffffff);
	ok(strcmp(uuid_text(u, out), "01234567-89ab-7fff-bfff-ffffffffffff") == 0,
	   "version 7 begins with the time and carries its marks");
	ok(uuid_parse(str_of(out), &v) && uuid_eq(u, v), "what was written is read back");
	ok(uuid_parse(STR("01234567-89AB-7FFF-BFFF-FFFFFFFFFFFF"), &v) && uuid_eq(u, v), "in capitals too");
	ok(!uuid_parse(STR("01234567-89ab-7fff-bfff-fffffffffff"), &v) &&
	   !uuid_parse(STR("01234567089ab-7fff-bfff-ffffffffffff"), &v) &&
	   !uuid_parse(STR("g1234567-89ab-7fff-bfff-ffffffffffff"), &v), "anything else is refused");
	ok(uuid_is_nil((struct uuid){ { 0 } }) && !uuid_is_nil(u), "nil is all zero");
	uuid_text(uuid_v4(0, 0), out);
	ok(strcmp(out, "00000000-0000-4000-8000-000000000000") == 0, "version 4 carries its marks");
}

static void check_ready_keys(void)
{
	static const char  text[] = "0192f3a1-7c3e-7b1a-9d7e-3a5b8c1d2e3f:hotel:try";
	static const size_t lengths[] = { 0, 1, 32, 64, 65, 300 };
	uint8_t             want[32], got[32];
	char                key[300];
	unsigned            wrong = 0;

	memset(key, 'k', sizeof key);
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct digest_key *k = digest_key_open((struct str){ key, lengths[i] });

		for (size_t n = 0; n < sizeof text; n += 9) { /* one key signs many texts */
			digest_hmac_sha256((struct str){ key, lengths[i] }, (struct str){ text, n }, want);
			digest_key_sign(k, (struct str){ text, n }, got);
			wrong += memcmp(want, got, 32) != 0;
		}
		digest_key_close(k);
	}
	digest_key_close(NULL);
	ok(wrong == 0, "a key made ready signs as the key itself");
}

static void test_digests(void)
{
	uint8_t hash[32];
	char    hex[65];

	digest_sha256(STR("abc"), hash); /* FIPS 180-4, example B.1 */
	digest_hex(hash, 32, hex);
	ok(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0,
	   "SHA-256 agrees with its standard");
	digest_hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), hash); /* RFC 4231, case 2 */
	digest_hex(hash, 32, hex);
	ok(strcmp(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843") == 0,
	   "HMAC-SHA256 agrees with RFC 4231");
	digest_base64((const uint8_t *)"foobar", 6, hex); /* RFC 4648, section 10 */
	ok(strcmp(hex, "Zm9vYmFy") == 0, "base64 agrees with RFC 4648");
	struct uuid a = digest_uuid_v5(STR("order-17")), b = digest_uuid_v5(STR("order-18"));
	ok(uuid_eq(a, digest_uuid_v5(STR("order-17"))) && !uuid_eq(a, b) && a.b[6] >> 4 == 5,
	   "the same key gives the same version 5 id");
	ok(digest_same("abc", "abc", 3) && !digest_same("abc", "abd", 3), "comparing tells same from different");
}

static void test_errors(void)
{
	struct err err = { 0 };

	ok(!err_set(&err, ERR_LIMIT, "%d is %s", 7, "too many") && err.kind == ERR_LIMIT &&
	   strcmp(err.text, "7 is too many") == 0, "an error is a kind and a sentence");
	ok(!err_set(NULL, ERR_LIMIT, "nobody asks"), "nobody needs to ask for it");
}

int main(void)
{
	test_durations();
	test_times();
	test_utf8();
	test_buffers();
	test_eights();
	test_pool();
	test_slices();
	test_heap();
	test_table();
	test_table_spreads();
	test_list();
	test_places();
	test_pack();
	test_arena();
	test_uuids();
	test_digests();
	check_ready_keys();
	test_errors();
	return tap_done();
}
