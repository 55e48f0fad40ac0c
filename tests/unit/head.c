/* SPDX-License-Identifier: Apache-2.0
 * head.c - requests of clients, honest and otherwise: where their heads end, what they say, and
 * bodies in chunks.
 */
#include "api/head.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

#define GET "GET /a?b=c HTTP/1.1\r\nHost: x\r\n"
#define POST "POST /a HTTP/1.1\r\nHost: x\r\n"

enum { KEEP = 1, CHUNKED = 2, LENGTH = 4, UNCLEAR = 8, EXPECT = 16, OLD = 32 };

static const struct {
	const char *raw, *why;
	const char *wrong;  /* NULL: it is read; else a part of the reason */
	int         flags;
	uint64_t    length;
	size_t      extra;  /* bytes behind the head */
} heads[] = {
	{ GET "\r\n", "a head", NULL, KEEP, 0, 0 },
	{ "\r\n\r\n" GET "\r\n", "empty lines in front of it", NULL, KEEP, 0, 0 },
	{ GET "\r\nmore", "what is behind it is not of it", NULL, KEEP, 0, 4 },
	{ "GET /a?b=c HTTP/1.1\nHost: x\n\n", "LF ends lines, too", NULL, KEEP, 0, 0 },
	{ POST "Content-Length: 5\r\n\r\nhello", "a length", NULL, KEEP | LENGTH, 5, 5 },
	{ POST "content-LENGTH:\t5 \t\r\n\r\n", "names in any case, white space around values", NULL, KEEP | LENGTH, 5, 0 },
	{ POST "Transfer-Encoding: Chunked\r\n\r\n", "chunks", NULL, KEEP | CHUNKED, 0, 0 },
	{ POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", "who asks first", NULL, KEEP | LENGTH | EXPECT, 1, 0 },
	{ GET "Connection: close\r\n\r\n", "who wants to go", NULL, 0, 0, 0 },
	{ GET "Connection: TE, Close , x\r\n\r\n", "the same in a list", NULL, 0, 0, 0 },
	{ GET "Connection: keep-alive\r\nConnection: close\r\n\r\n", "and in a second header", NULL, 0, 0, 0 },
	{ "GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 has no Host and no second request", NULL, OLD, 0, 0 },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "unless it says so", NULL, KEEP | OLD, 0, 0 },
	{ "GET / HTTP/1.7\r\nHost: x\r\n\r\n", "a newer HTTP/1", NULL, KEEP, 0, 0 },
	{ GET "X-Empty:\r\nX:y\r\n\r\n", "no value, and no white space", NULL, KEEP, 0, 0 },
	{ GET "X: \xc3\xa4\r\n\r\n", "a value beyond ASCII", NULL, KEEP, 0, 0 },
	/* whose end two readers may see at two places */
	{ POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n", "twice a length", NULL, KEEP | LENGTH | UNCLEAR, 2, 0 },
	{ POST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "a length and chunks", NULL, KEEP | LENGTH | CHUNKED | UNCLEAR, 2, 0 },
	{ POST "Content-Length: 2, 2\r\n\r\n", "a list of lengths", "no number", 0, 0, 0 },
	{ POST "Content-Length: +2\r\n\r\n", "a sign", "no number", 0, 0, 0 },
	{ POST "Content-Length: -5\r\n\r\n", "another sign", "no number", 0, 0, 0 },
	{ POST "Content-Length: 0x2\r\n\r\n", "hexadecimal", "no number", 0, 0, 0 },
	{ POST "Content-Length: 2 2\r\n\r\n", "two numbers", "no number", 0, 0, 0 },
	{ POST "Content-Length:\r\n\r\n", "no length after all", "no number", 0, 0, 0 },
	{ POST "Content-Length: 18446744073709551616\r\n\r\n", "2 to the 64th", "no number", 0, 0, 0 },
	{ POST "Transfer-Encoding: gzip, chunked\r\n\r\n", "a coding that is not known", "Transfer-Encoding", 0, 0, 0 },
	{ POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "chunks of chunks", "Transfer-Encoding", 0, 0, 0 },
	{ POST "Transfer-Encoding: \vchunked\r\n\r\n", "a coding with a control character", "control character", 0, 0, 0 },
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "chunks in HTTP/1.0", "HTTP/1.0", 0, 0, 0 },
	{ POST "Content-Length : 2\r\n\r\n", "white space before a colon", "name", 0, 0, 0 },
	{ POST "X: y\r\n Content-Length: 2\r\n\r\n", "a line that goes on with the one before", "name", 0, 0, 0 },
	{ POST "X: y\r\n\tz\r\n\r\n", "the same with a tab", "colon", 0, 0, 0 },
	{ POST ": y\r\n\r\n", "no name", "name", 0, 0, 0 },
	{ POST "X y\r\n\r\n", "no colon", "colon", 0, 0, 0 },
	{ POST "X: a\rb\r\n\r\n", "a CR in a value", "control character", 0, 0, 0 },
	{ "GET / HTTP/1.1\r\n\r\n", "no Host", "Host", 0, 0, 0 },
	{ GET "host: y\r\n\r\n", "two of them", "Host", 0, 0, 0 },
	/* first lines */
	{ "GET http://x/a HTTP/1.1\r\nHost: x\r\n\r\n", "as to a proxy", NULL, KEEP, 0, 0 },
	{ "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", "as to a proxy, of no host", "first line", 0, 0, 0 },
	{ "GET http://?a HTTP/1.1\r\nHost: x\r\n\r\n", "the same, without a path", "first line", 0, 0, 0 },
	{ "GET http://u:p@x/a HTTP/1.1\r\nHost: x\r\n\r\n", "with a user", "first line", 0, 0, 0 },
	{ "GET\r\n\r\n", "a method alone", "first line", 0, 0, 0 },
	{ "GET /\r\nHost: x\r\n\r\n", "HTTP/0.9", "not HTTP/1.1", 0, 0, 0 },
	{ "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "two spaces", "first line", 0, 0, 0 },
	{ "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "a space at the end", "not HTTP/1.1", 0, 0, 0 },
	{ "GET ?x HTTP/1.1\r\nHost: x\r\n\r\n", "a query without a path", "first line", 0, 0, 0 },
	{ "GET /\tx HTTP/1.1\r\nHost: x\r\n\r\n", "a tab in a path", "first line", 0, 0, 0 },
	{ "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", "a method that is no token", "first line", 0, 0, 0 },
	{ "GET / HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/2", "not HTTP/1.1", 0, 0, 0 },
	{ "GET / HTTP/1.10\r\nHost: x\r\n\r\n", "a version of two digits", "not HTTP/1.1", 0, 0, 0 },
	{ "GET / http/1.1\r\nHost: x\r\n\r\n", "in small letters", "not HTTP/1.1", 0, 0, 0 },
};

static int flags_of(const struct request_head *h)
{
	return (h->keep_alive ? KEEP : 0) | (h->is_chunked ? CHUNKED : 0) | (h->has_length ? LENGTH : 0) |
	       (h->is_unclear ? UNCLEAR : 0) | (h->says_expect ? EXPECT : 0) | (h->is_1_0 ? OLD : 0);
}

/* The same end, wherever the bytes were cut. */
static bool ends_at(struct str raw, size_t end)
{
	size_t scanned = 0;

	for (size_t n = 0; n < raw.n; n++) {
		size_t found = head_end((struct str){ raw.p, n + 1 }, &scanned);

		if (found != 0)
			return found == end;
	}
	return false;
}

static void check_heads(void)
{
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		const struct str    raw = str_of(heads[i].raw);
		struct arena        arena = { 0 };
		struct request_head h;
		size_t              scanned = 0, end = head_end(raw, &scanned);
		const char         *wrong = head_read((struct str){ raw.p, end }, &arena, &h);

		ok(end == raw.n - heads[i].extra && ends_at(raw, end), "%s: its end", heads[i].why);
		if (heads[i].wrong)
			ok(wrong && strstr(wrong, heads[i].wrong), "%s: %s", heads[i].why, wrong ? wrong : "read");
		else
			ok(!wrong && flags_of(&h) == heads[i].flags && h.length == heads[i].length,
			   "%s: %s", heads[i].why, wrong ? wrong : "read");
		arena_fini(&arena);
	}
}

static void check_slices(void)
{
	const struct str    raw = STR("PUT /a%2Fb?c=d+e&f?g HTTP/1.1\r\nHost: x\r\nX-One:  1 2 \r\nX-Two:\r\n\r\n");
	struct arena        arena = { 0 };
	struct request_head h;

	ok(head_read(raw, &arena, &h) == NULL && h.field_count == 3, "three headers");
	ok(str_is(h.method, "PUT") && str_is(h.path, "/a%2Fb") && str_is(h.query, "c=d+e&f?g"), "path and query as sent");
	ok(strcmp(h.fields[1].name.p, "X-One") == 0 && strcmp(h.fields[1].value.p, "1 2") == 0 &&
	   h.fields[2].value.n == 0 && *h.fields[2].value.p == '\0', "names and values have their NUL");
	ok(head_read(STR("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), &arena, &h) == NULL && h.query.p == NULL, "no query");
	ok(head_read(STR("GET /a? HTTP/1.1\r\nHost: x\r\n\r\n"), &arena, &h) == NULL && h.query.p != NULL && h.query.n == 0,
	   "an empty one");
	ok(head_read((struct str){ "GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n", 29 }, &arena, &h) != NULL, "a NUL in a value");
	arena_fini(&arena);
}

static void check_targets(void)
{
	static const struct {
		const char *target, *path, *query;
	} targets[] = {
		{ "http://x/a/b?c=/d", "/a/b", "c=/d" },
		{ "HTTP://[::1]:8080/a@b", "/a@b", NULL },
		{ "https://x", "/", NULL },
		{ "http://x?c", "/", "c" },
		{ "http://x?", "/", "" },
		{ "/http://x/a", "/http://x/a", NULL },
		{ "ftp://x/a", "ftp://x/a", NULL },
		{ "http:/a", "http:/a", NULL },
	};
	struct arena        arena = { 0 };
	struct request_head h;
	struct buf          raw = { 0 };

	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		const char *query = targets[i].query;

		buf_clear(&raw);
		buf_fmt(&raw, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i].target);
		ok(head_read(buf_view(&raw), &arena, &h) == NULL && str_is(h.path, targets[i].path) &&
		   (query ? h.query.p && str_is(h.query, query) : !h.query.p), "path and query of %s", targets[i].target);
	}
	buf_fini(&raw);
	arena_fini(&arena);
}

static void check_many(void)
{
	struct arena        arena = { 0 };
	struct request_head h;
	struct buf          raw = { 0 };

	buf_cstr(&raw, "GET /a HTTP/1.1\r\nHost: x\r\n");
	for (unsigned i = 1; i < HEAD_FIELDS_MAX; i++)
		buf_cstr(&raw, "a:\n");
	buf_cstr(&raw, "\r\n");
	ok(head_read(buf_view(&raw), &arena, &h) == NULL && !h.has_many && h.field_count == HEAD_FIELDS_MAX, "a hundred headers");
	raw.n -= 2;
	buf_cstr(&raw, "a:\n\r\n");
	ok(head_read(buf_view(&raw), &arena, &h) == NULL && h.has_many && h.field_count == 0 && str_is(h.path, "/a"),
	   "one more: none is read");
	buf_fini(&raw);
	arena_fini(&arena);
}

static void check_glances(void)
{
	struct arena        arena = { 0 };
	struct request_head h;
	bool                in_url;

	head_glance(STR("GET /long?bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"), &arena, &h, &in_url);
	ok(in_url && str_is(h.path, "/long") && str_is(h.method, "GET"), "what is too long is the URL");
	head_glance(STR("GET /short HTTP/1.1\r\nHost: x\r\nX: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"), &arena, &h, &in_url);
	ok(!in_url && str_is(h.path, "/short") && h.field_count == 0, "or the headers");
	head_glance(STR("\x16\x03\x01\x02"), &arena, &h, &in_url);
	ok(h.method.n == 0 && h.path.n == 0, "what is no HTTP has neither");
	arena_fini(&arena);
}

static const struct {
	const char *raw, *why, *data; /* data == NULL: broken */
	size_t      extra;
} bodies[] = {
	{ "2\r\nhi\r\n0\r\n\r\n", "a chunk", "hi", 0 },
	{ "0\r\n\r\n", "none", "", 0 },
	{ "1\r\nh\r\n01\r\ni\r\n000\r\n\r\nmore", "chunks, and bytes behind them", "hi", 4 },
	{ "a\r\n0123456789\r\nB\r\n01234567890\r\n0\r\n\r\n", "digits of both cases", "012345678901234567890", 0 },
	{ "2;a=b;c=\"d\"\r\nhi\r\n0 ; x\r\n\r\n", "extensions", "hi", 0 },
	{ "2\r\nhi\r\n0\r\nX: y\r\nZ: 1\r\n\r\n", "trailers", "hi", 0 },
	{ "2\r\nhigh\r\n0\r\n\r\n", "a chunk longer than it says", NULL, 0 },
	{ "2\r\nhi\n0\r\n\r\n", "a chunk that ends in LF", NULL, 0 },
	{ "2\nhi\r\n0\r\n\r\n", "a size that ends in LF", NULL, 0 },
	{ "2;x\nhi\r\n0\r\n\r\n", "an extension that ends in LF", NULL, 0 },
	{ "2\r\nhi\r\n0\r\nX: y\n\r\n", "a trailer that ends in LF", NULL, 0 },
	{ "2\r\nhi\r\n0\r\n\n", "an end that is LF", NULL, 0 },
	{ "\r\nhi\r\n0\r\n\r\n", "no size", NULL, 0 },
	{ "-2\r\nhi\r\n0\r\n\r\n", "a sign", NULL, 0 },
	{ "0x2\r\nhi\r\n0\r\n\r\n", "a prefix", NULL, 0 },
	{ "zzz\r\n", "letters", NULL, 0 },
	{ "0000000000000002\r\nhi\r\n0\r\n\r\n", "sixteen digits", NULL, 0 },
	{ "2\r\rhi\r\n0\r\n\r\n", "two CR", NULL, 0 },
};

/* The data, in pieces of at most `step` bytes; false: broken, or not over. */
static bool unchunk(struct str raw, size_t step, struct buf *data, size_t *extra)
{
	struct chunks c = { 0 };
	size_t        at = 0;

	buf_clear(data);
	while (at < raw.n && c.state < CHUNKS_DONE) {
		size_t     n = raw.n - at < step ? raw.n - at : step;
		struct str in = { raw.p + at, n };

		while (in.n > 0 && c.state < CHUNKS_DONE)
			buf_str(data, chunks_take(&c, &in));
		at += n - in.n;
	}
	*extra = raw.n - at;
	return c.state == CHUNKS_DONE;
}

static void check_chunks(void)
{
	struct buf data = { 0 };
	size_t     extra;

	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		const struct str raw = str_of(bodies[i].raw);
		bool             same = true;

		for (size_t step = 1; step <= raw.n; step++) {
			bool done = unchunk(raw, step, &data, &extra);

			same = same && (bodies[i].data ? done && str_is(buf_view(&data), bodies[i].data) && extra == bodies[i].extra
			                               : !done);
		}
		ok(same, "%s, however it is cut", bodies[i].why);
	}
	buf_fini(&data);
}

/* Is a body taken that begins so, n times this piece behind it, and then its end? */
static bool flood(const char *piece, unsigned n, const char *end)
{
	struct buf raw = { 0 }, data = { 0 };
	size_t     extra;
	bool       done;

	for (unsigned i = 0; i < n; i++)
		buf_cstr(&raw, piece);
	buf_cstr(&raw, end);
	done = unchunk(buf_view(&raw), 1000, &data, &extra);
	buf_fini(&raw);
	buf_fini(&data);
	return done;
}

static void check_waste(void)
{
	char piece[1100];

	memset(piece, 'x', sizeof piece);
	memcpy(piece, "1;x", 3);
	memcpy(piece + sizeof piece - 6, "\r\nx\r\n", 6);
	ok(flood(piece, 10, "0\r\n\r\n") && !flood(piece, 18, "0\r\n\r\n"), "what chunks waste has its limit");
	ok(flood("1\r\nx\r\n", 50000, "0\r\n\r\n"), "small chunks are no waste");
	ok(flood("0\r\n", 1, "X: y\r\n\r\n"), "a trailer is taken");
	memcpy(piece, "X: ", 3);
	memcpy(piece + sizeof piece - 3, "\r\n", 3);
	struct buf trailers = { 0 };
	buf_cstr(&trailers, "0\r\n");
	for (unsigned i = 0; i < 18; i++)
		buf_cstr(&trailers, piece);
	ok(!flood("", 0, trailers.p), "18 kB of them are not");
	buf_fini(&trailers);
}

int main(void)
{
	check_heads();
	check_slices();
	check_targets();
	check_many();
	check_glances();
	check_chunks();
	check_waste();
	return tap_done();
}
