/* SPDX-License-Identifier: Apache-2.0
 * response.c - answers of servers, honest and otherwise: whole, byte by byte, and cut at each place.
 */
#include "coordinator/io/response.h"

#include "coordinator/base/mem.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 20 };

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

/* Which request, what follows the bytes, and may the connection be used again? */
enum { KEEP = 1, CLOSED = 2, TO_HEAD = 4, BIG = 8, OPEN = 16 };

static const struct {
	const char *raw, *why;
	int         status; /* 0: refused, and body is a part of the reason */
	const char *body;
	int         flags;
	size_t      extra;  /* bytes behind the answer */
} rows[] = {
	/* lengths */
	{ OK "Content-Length: 2\r\n\r\nhi", "a length", 200, "hi", KEEP, 0 },
	{ OK "Content-Length: 0\r\n\r\n", "no body", 200, "", KEEP, 0 },
	{ OK "Content-Length: 2\r\n\r\nhi, you", "bytes behind an answer are not of it", 200, "hi", KEEP, 5 },
	{ OK "\r\nall the rest", "without a length the body ends with the connection", 200, "all the rest", CLOSED, 0 },
	{ OK "Connection: keep-alive\r\n\r\n", "even if it is to be kept", 200, "", CLOSED, 0 },
	{ OK "Content-Length: 20\r\n\r\n01234567890123456789", "a body as large as may be", 200, "01234567890123456789", KEEP, 0 },
	{ OK "Content-Length: 21\r\n\r\n012345678901234567890", "a larger one", 200, "01234567890123456789", BIG, 0 },
	{ OK "\r\n012345678901234567890", "a larger one without length", 200, "01234567890123456789", BIG, 0 },
	{ OK "content-LENGTH:\t 2 \t\r\n\r\nhi", "names in any case, white space around values", 200, "hi", KEEP, 0 },
	{ OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", "two lengths", 0, "two lengths", 0, 0 },
	{ OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "twice the same length", 0, "two lengths", 0, 0 },
	{ OK "Content-Length: 2, 2\r\n\r\nhi", "a list of lengths", 0, "no number", 0, 0 },
	{ OK "Content-Length: +2\r\n\r\nhi", "a sign", 0, "no number", 0, 0 },
	{ OK "Content-Length: 0x2\r\n\r\nhi", "hexadecimal", 0, "no number", 0, 0 },
	{ OK "Content-Length:\r\n\r\nhi", "no length after all", 0, "no number", 0, 0 },
	{ OK "Content-Length: 18446744073709551616\r\n\r\nhi", "2 to the 64th", 0, "no number", 0, 0 },
	{ OK "Content-Length: 4\r\n\r\nhi", "half a body", 0, "in the middle", CLOSED, 0 },
	{ OK "Content-Length: 4\r\n\r\nhi", "half a body, and no more yet", 200, "hi", OPEN, 0 },
	/* chunks */
	{ CHUNKED "2\r\nhi\r\n0\r\n\r\n", "a chunk", 200, "hi", KEEP, 0 },
	{ CHUNKED "0\r\n\r\n", "no chunk", 200, "", KEEP, 0 },
	{ CHUNKED "1\r\nh\r\n01\r\ni\r\n000\r\n\r\nmore", "chunks, and bytes behind them", 200, "hi", KEEP, 4 },
	{ CHUNKED "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "digits of both cases", 200, "01234567890123456789", KEEP, 0 },
	{ CHUNKED "2;a=b;c=\"d\"\r\nhi\r\n0 ; x\r\n\r\n", "extensions", 200, "hi", KEEP, 0 },
	{ CHUNKED "2 \t\r\nhi\r\n0\r\n\r\n", "white space behind a size", 200, "hi", KEEP, 0 },
	{ CHUNKED "2\r\nhi\r\n0\r\nSaga-Outcome: refused\r\nX: y\r\n\r\n", "what trailers say does not count", 200, "hi", KEEP, 0 },
	{ OK "transfer-encoding:  Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "Chunked", 200, "hi", KEEP, 0 },
	{ CHUNKED "15\r\n012345678901234567890\r\n0\r\n\r\n", "too large in chunks", 200, "01234567890123456789", BIG, 0 },
	{ CHUNKED "2\r\nhi\r\n", "no last chunk", 0, "in the middle", CLOSED, 0 },
	{ CHUNKED "2\r\nhi\r\n0\r\n", "no end of trailers", 0, "in the middle", CLOSED, 0 },
	{ CHUNKED "2\r\nhigh\r\n0\r\n\r\n", "a chunk longer than it says", 0, "longer than its size", 0, 0 },
	{ CHUNKED "2\r\nhi\n0\r\n\r\n", "a chunk that ends in LF", 0, "longer than its size", 0, 0 },
	{ CHUNKED "2\nhi\r\n0\r\n\r\n", "a size that ends in LF", 0, "does not end", 0, 0 },
	{ CHUNKED "\r\nhi\r\n0\r\n\r\n", "no size", 0, "no number", 0, 0 },
	{ CHUNKED " 2\r\nhi\r\n0\r\n\r\n", "white space before a size", 0, "no number", 0, 0 },
	{ CHUNKED "0x2\r\nhi\r\n0\r\n\r\n", "0x", 0, "no number", 0, 0 },
	{ CHUNKED "-2\r\nhi\r\n0\r\n\r\n", "a negative size", 0, "no number", 0, 0 },
	{ CHUNKED "2 2\r\nhi\r\n0\r\n\r\n", "two sizes", 0, "no number", 0, 0 },
	{ CHUNKED "ffffffffffffffff0\r\n", "a size beyond all bounds", 0, "no number", 0, 0 },
	{ CHUNKED "2;a\rb\r\nhi\r\n0\r\n\r\n", "a CR in an extension", 0, "does not end", 0, 0 },
	{ CHUNKED "0\r\nno colon\r\n\r\n", "a trailer that is none", 0, "no colon", 0, 0 },
	{ OK "Transfer-Encoding: gzip, chunked\r\n\r\n", "another coding", 0, "Transfer-Encoding", 0, 0 },
	{ OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked twice", 0, "Transfer-Encoding", 0, 0 },
	{ OK "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", "identity", 0, "Transfer-Encoding", 0, 0 },
	{ OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "a length and chunks", 0, "is chunked, too", 0, 0 },
	{ OK "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", "chunks and a length", 0, "is chunked, too", 0, 0 },
	{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "chunks in HTTP/1.0", 0, "HTTP/1.0", 0, 0 },
	/* status lines */
	{ "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", "no reason", 503, "", KEEP, 0 },
	{ "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", "an empty reason", 404, "", KEEP, 0 },
	{ "HTTP/1.1 299 \xc3\xa4h ja\r\nContent-Length: 0\r\n\r\n", "a reason that is not ASCII", 299, "", KEEP, 0 },
	{ "HTTP/1.1 2000 OK\r\n\r\n", "four digits", 0, "status line", 0, 0 },
	{ "HTTP/1.1 20 OK\r\n\r\n", "two digits", 0, "status line", 0, 0 },
	{ "HTTP/1.1 099 OK\r\n\r\n", "below 100", 0, "status line", 0, 0 },
	{ "HTTP/1.1  200 OK\r\n\r\n", "two spaces", 0, "status line", 0, 0 },
	{ "HTTP/1.2 200 OK\r\n\r\n", "a version that does not exist", 0, "status line", 0, 0 },
	{ "HTTP/2 200 OK\r\n\r\n", "HTTP/2", 0, "not HTTP/1.1", 0, 0 },
	{ "\r\nHTTP/1.1 200 OK\r\n\r\n", "an empty line first", 0, "not HTTP/1.1", 0, 0 },
	{ "220 mail.example.com ESMTP", "another protocol is told from its first byte", 0, "not HTTP/1.1", 0, 0 },
	{ "HTTP/1.", "a beginning", 0, "in the middle", CLOSED, 0 },
	{ "", "nothing", 0, "without one", CLOSED, 0 },
	/* heads */
	{ "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "lines that end in LF", 200, "hi", KEEP, 0 },
	{ OK "Content-Length : 2\r\n\r\nhi", "white space before the colon", 0, "name of a header", 0, 0 },
	{ OK "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "a folded line", 0, "no colon", 0, 0 },
	{ OK "X: a\r\n b: c\r\nContent-Length: 0\r\n\r\n", "a folded line with a colon", 0, "name of a header", 0, 0 },
	{ OK ": x\r\n\r\n", "no name", 0, "name of a header", 0, 0 },
	{ OK "x\r\n\r\n", "no colon", 0, "no colon", 0, 0 },
	{ OK "a(b): x\r\n\r\n", "a name that is no token", 0, "name of a header", 0, 0 },
	{ OK "X: a\rb\r\n\r\n", "a bare CR", 0, "control character", 0, 0 },
	{ OK "X: a\r\r\n\r\n", "two CR", 0, "control character", 0, 0 },
	{ OK "X: \x80\xff\x01\r\nContent-Length: 0\r\n\r\n", "other bytes in a value", 200, "", KEEP, 0 },
	{ OK "!#$%&'*+-.^_`|~09azAZ:\r\nContent-Length: 0\r\n\r\n", "every character of a token", 200, "", KEEP, 0 },
	{ OK "X: y", "the end in a head", 0, "in the middle", CLOSED, 0 },
	/* no body, whatever the head says */
	{ "HTTP/1.1 204 No\r\n\r\n", "204", 204, "", KEEP, 0 },
	{ "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "204 with no length", 204, "", KEEP, 0 },
	{ "HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi", "204 that announces a body", 204, "", 0, 2 },
	{ "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "204 in chunks", 204, "", 0, 5 },
	{ "HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n", "304", 304, "", KEEP, 0 },
	{ OK "Content-Length: 2\r\n\r\n", "HEAD", 200, "", KEEP | TO_HEAD, 0 },
	{ CHUNKED, "HEAD, in chunks", 200, "", KEEP | TO_HEAD, 0 },
	{ OK "\r\n", "HEAD, no length", 200, "", KEEP | TO_HEAD, 0 },
	/* interim answers */
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nSaga-Outcome: refused\r\nConnection: close\r\n"
	  "Content-Length: 7\r\n\r\n" OK "Content-Length: 2\r\n\r\nhi", "interim answers do not count", 200, "hi", KEEP, 0 },
	{ "HTTP/1.1 101 Switching\r\n\r\n", "101", 0, "protocol", 0, 0 },
	{ "HTTP/1.1 100 Continue\r\n\r\n", "nothing but an interim answer", 0, "in the middle", CLOSED, 0 },
	/* may it be kept? */
	{ OK "Connection: close\r\nContent-Length: 0\r\n\r\n", "close", 200, "", 0, 0 },
	{ OK "Connection: x, CLOSE ,y\r\nContent-Length: 0\r\n\r\n", "close in a list", 200, "", 0, 0 },
	{ OK "Connection: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "close in a second line", 200, "", 0, 0 },
	{ OK "Connection: closed, x-close\r\nContent-Length: 0\r\n\r\n", "other words", 200, "", KEEP, 0 },
	{ OK "Connection: keep-alive, close\r\nContent-Length: 0\r\n\r\n", "both", 200, "", 0, 0 },
	{ "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.0 closes", 200, "", 0, 0 },
	{ "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", "unless it says otherwise", 200, "", KEEP, 0 },
	{ "HTTP/1.0 200 OK\r\n\r\nrest", "HTTP/1.0 without a length", 200, "rest", CLOSED, 0 },
};

/* Fed in pieces that end at `cut` and `cut2`; step: all pieces of that size. */
static size_t feed(struct response *r, const char *raw, size_t n, size_t cut, size_t step, int flags)
{
	size_t used = 0;

	response_begin(r, BODY_MAX, flags & TO_HEAD);
	for (size_t at = 0; at < n;) {
		size_t end = at < cut ? cut : step ? at + step : n, got;
		char  *exact;

		end = end > n ? n : end;
		exact = mem_copy(raw + at, end - at); /* so that a sanitizer sees a read beyond */
		got = response_feed(r, exact, end - at);
		free(exact);
		used += got;
		if (got < end - at)
			break;
		at = end;
	}
	if (flags & CLOSED)
		response_end(r);
	return used;
}

static bool is_as_wanted(const struct response *r, size_t i, size_t used)
{
	const int  flags = rows[i].flags;
	const bool done = r->state == RESPONSE_DONE;

	if (rows[i].status == 0)
		return r->state == RESPONSE_FAILED && strstr(r->failure, rows[i].body) != NULL;
	return done == !(flags & OPEN) && r->status == rows[i].status &&
	       str_is(buf_view(&r->body), rows[i].body) && r->too_big == !!(flags & BIG) &&
	       (!done || r->keep_alive == !!(flags & KEEP)) && r->saga_outcome[0] == '\0' &&
	       (r->too_big || used + rows[i].extra == strlen(rows[i].raw));
}

static void check_rows(void)
{
	static struct response r;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *raw = rows[i].raw;
		size_t      n = strlen(raw), wrong = 0;
		bool        whole = is_as_wanted(&r, i, feed(&r, raw, n, 0, 0, rows[i].flags));

		ok(whole, "%s%s%s", rows[i].why, r.state == RESPONSE_FAILED ? ": " : "",
		   r.state == RESPONSE_FAILED ? r.failure : "");
		wrong += !is_as_wanted(&r, i, feed(&r, raw, n, 0, 1, rows[i].flags));
		for (size_t cut = 1; cut < n; cut++)
			wrong += !is_as_wanted(&r, i, feed(&r, raw, n, cut, 0, rows[i].flags));
		ok(wrong == 0, "the same in pieces");
	}
	response_fini(&r);
}

static void check_nul(void)
{
	static const char head[] = OK "X: a\0b\r\nContent-Length: 0\r\n\r\n", chunk[] = CHUNKED "2;\0\r\nhi\r\n0\r\n\r\n";
	struct response   r = { 0 };

	feed(&r, head, sizeof head - 1, 0, 0, 0);
	ok(r.state == RESPONSE_FAILED && strstr(r.failure, "control character"), "NUL in a head");
	feed(&r, chunk, sizeof chunk - 1, 0, 0, 0);
	ok(r.state == RESPONSE_FAILED, "NUL in a chunk's extension");
	response_fini(&r);
}

static void check_values(void)
{
	static const char raw[] = OK "saga-outcome: \t Refused \r\nRETRY-AFTER:7\r\nRetry-After-Not: 8\r\nContent-Length: 0\r\n\r\n";
	struct response   r = { 0 };
	struct buf        b = { 0 };

	feed(&r, raw, sizeof raw - 1, 0, 0, 0);
	ok(strcmp(r.saga_outcome, "Refused") == 0 && strcmp(r.retry_after, "7") == 0, "the headers that are read");
	buf_cstr(&b, OK "Saga-Outcome: ");
	for (int i = 0; i < RESPONSE_VALUE_MAX; i++)
		buf_char(&b, 'x');
	buf_cstr(&b, "\r\nContent-Length: 0\r\n\r\n");
	feed(&r, b.p, b.n, 0, 0, 0);
	ok(r.state == RESPONSE_DONE && r.saga_outcome[0] == '\0', "a value that is too long is none");
	buf_fini(&b);
	response_fini(&r);
}

/* The state after `n` times this piece behind a beginning. */
static enum response_state flood(const char *begin, const char *piece, unsigned n, const char *end)
{
	struct response     r = { 0 };
	struct buf          b = { 0 };
	enum response_state state;

	buf_cstr(&b, begin);
	for (unsigned i = 0; i < n; i++)
		buf_cstr(&b, piece);
	buf_cstr(&b, end);
	feed(&r, b.p, b.n, 0, 0, 0);
	state = r.state;
	for (size_t step = 1; step < 5000; step = step * 3 + 1) {
		feed(&r, b.p, b.n, 0, step, 0);
		if (r.state != state)
			state = RESPONSE_STATUS_LINE;
	}
	buf_fini(&b);
	response_fini(&r);
	return state;
}

static void check_limits(void)
{
	static const char end[] = "Content-Length: 0\r\n\r\n";
	char              extension[1100];

	ok(flood(OK "X: ", "x", RESPONSE_LINE_MAX - 4, "\r\nContent-Length: 0\r\n\r\n") == RESPONSE_DONE &&
	   flood(OK "X: ", "x", RESPONSE_LINE_MAX - 3, "\r\nContent-Length: 0\r\n\r\n") == RESPONSE_FAILED,
	   "a line has its limit");
	ok(flood(OK, "X: y\r\n", RESPONSE_LINES_MAX - 3, end) == RESPONSE_DONE &&
	   flood(OK, "X: y\r\n", RESPONSE_LINES_MAX - 2, end) == RESPONSE_FAILED, "so has the number of headers");
	ok(flood("", "HTTP/1.1 100 Continue\r\n\r\n", RESPONSE_LINES_MAX / 2 - 2, OK "Content-Length: 0\r\n\r\n") == RESPONSE_DONE &&
	   flood("", "HTTP/1.1 100 Continue\r\n\r\n", RESPONSE_LINES_MAX / 2, OK "Content-Length: 0\r\n\r\n") == RESPONSE_FAILED,
	   "and of interim answers");
	memset(extension, 'x', sizeof extension);
	memcpy(extension, "X: ", 3);
	strcpy(extension + sizeof extension - 3, "\r\n");
	ok(flood(OK, extension, 55, end) == RESPONSE_DONE && flood(OK, extension, 65, end) == RESPONSE_FAILED,
	   "and their bytes");
	memcpy(extension, "1;x", 3);
	memcpy(extension + sizeof extension - 6, "\r\nx\r\n", 6);
	ok(flood(CHUNKED, extension, 10, "0\r\n\r\n") == RESPONSE_DONE &&
	   flood(CHUNKED, extension, 18, "0\r\n\r\n") == RESPONSE_FAILED, "and what chunks waste");
}

int main(void)
{
	check_rows();
	check_nul();
	check_values();
	check_limits();
	return tap_done();
}
