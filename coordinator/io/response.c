/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/response.h"

#include <string.h>

enum { CHUNK_DIGITS_MAX = 15 };

static const char version[] = "HTTP/1.";

static void fail(struct response *r, const char *why)
{
	r->state = RESPONSE_FAILED;
	r->failure = why;
}

/* ---- lines ------------------------------------------------------------------------- */

/* The next line without its end, or p == NULL while it is not complete. *used tells how
 * far it was read. A line that came in pieces is put together in r->line. */
static struct str take_line(struct response *r, const char *p, size_t n, size_t *used)
{
	const char *end = memchr(p, '\n', n);
	struct str  line = { p, end != NULL ? (size_t)(end - p) : n };

	*used = line.n + (end != NULL);
	if (line.n > RESPONSE_LINE_MAX - r->line.n) {
		fail(r, "a line of it is too long");
		return (struct str){ 0 };
	}
	if (end == NULL || r->line.n > 0) {
		buf_add(&r->line, line.p, line.n);
		line = buf_view(&r->line);
	}
	return end != NULL ? line : (struct str){ 0 };
}

static bool has(struct str s, char c)
{
	return s.n > 0 && memchr(s.p, c, s.n) != NULL;
}

/* ---- the head ---------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 9112, 4. The reason may be missing, and with it the space before it: many leave both out. */
static void take_status(struct response *r, struct str s)
{
	const char *code = s.p + 9;

	if (s.n < 12 || (s.p[7] != '0' && s.p[7] != '1') || s.p[8] != ' ' || code[0] < '1' ||
	    !is_digit(code[0]) || !is_digit(code[1]) || !is_digit(code[2]) ||
	    (s.n > 12 && s.p[12] != ' ')) {
		fail(r, "its status line is wrong");
		return;
	}
	r->is_1_0 = s.p[7] == '0';
	r->status = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
	r->says_close = r->says_keep_alive = r->has_length = r->is_chunked = false;
	r->saga_outcome[0] = r->retry_after[0] = '\0'; /* what an interim answer said does not count */
	r->state = RESPONSE_FIELDS;
}

static void take_value(struct str value, char out[RESPONSE_VALUE_MAX])
{
	if (value.n < RESPONSE_VALUE_MAX)
		str_cstr(value, out, RESPONSE_VALUE_MAX);
}

static void take_connection(struct response *r, struct str list)
{
	while (list.n > 0) {
		const char *comma = memchr(list.p, ',', list.n);
		struct str  word = { list.p, comma != NULL ? (size_t)(comma - list.p) : list.n };

		list.p += word.n + (comma != NULL);
		list.n -= word.n + (comma != NULL);
		text_trim(&word);
		r->says_close = r->says_close || text_is_word(word, STR("close"));
		r->says_keep_alive = r->says_keep_alive || text_is_word(word, STR("keep-alive"));
	}
}

/* Two lengths, even equal ones: somebody on the way may believe the other (RFC 9112, 6.3). */
static void take_length(struct response *r, struct str value)
{
	if (r->has_length)
		fail(r, "it has two lengths");
	else if (!text_to_u64(value, &r->left))
		fail(r, "its Content-Length is no number");
	r->has_length = true;
}

static void take_coding(struct response *r, struct str value)
{
	if (r->is_chunked || !text_is_word(value, STR("chunked")))
		fail(r, "its Transfer-Encoding is none that was asked for");
	r->is_chunked = true;
}

static void take_field(struct response *r, struct str name, struct str value)
{
	switch (name.n) {
	case 10:
		if (text_is_word(name, STR("Connection")))
			take_connection(r, value);
		break;
	case 11:
		if (text_is_word(name, STR("Retry-After")))
			take_value(value, r->retry_after);
		break;
	case 12:
		if (text_is_word(name, STR("Saga-Outcome")))
			take_value(value, r->saga_outcome);
		break;
	case 14:
		if (text_is_word(name, STR("Content-Length")))
			take_length(r, value);
		break;
	case 17:
		if (text_is_word(name, STR("Transfer-Encoding")))
			take_coding(r, value);
		break;
	}
}

/* A line that begins with white space goes on with the one before (obs-fold): old, and
 * read differently by different programs. It fails here for want of a name. */
static bool split_field(struct response *r, struct str line, struct str *name, struct str *value)
{
	const char *colon = memchr(line.p, ':', line.n);

	if (colon == NULL) {
		fail(r, "a header line of it has no colon");
		return false;
	}
	*name = (struct str){ line.p, (size_t)(colon - line.p) };
	*value = (struct str){ colon + 1, line.n - name->n - 1 };
	if (!text_is_token(*name)) {
		fail(r, "the name of a header of it is wrong");
		return false;
	}
	text_trim(value);
	return true;
}

/* ---- how long the body is (RFC 9112, 6.3) ------------------------------------------ */

static bool framing_is_wrong(struct response *r)
{
	if (r->is_chunked && r->has_length)
		fail(r, "it has a length and is chunked, too");
	else if (r->is_chunked && r->is_1_0)
		fail(r, "it is chunked, which HTTP/1.0 cannot be");
	else if (r->status == 101)
		fail(r, "it changes to a protocol that nobody asked for");
	return r->state == RESPONSE_FAILED;
}

static void end_head(struct response *r)
{
	if (framing_is_wrong(r))
		return;
	if (r->status < 200) {
		r->state = RESPONSE_STATUS_LINE;
		return;
	}
	r->keep_alive = !r->says_close && (!r->is_1_0 || r->says_keep_alive);
	if (r->to_head || r->status == 204 || r->status == 304) {
		/* A 204 that announces a body may well send it: not on a connection of ours. */
		if (r->status == 204 && (r->is_chunked || (r->has_length && r->left > 0)))
			r->keep_alive = false;
		r->state = RESPONSE_DONE;
	} else if (r->is_chunked) {
		r->state = RESPONSE_CHUNK_SIZE;
	} else if (r->has_length) {
		r->state = r->left > 0 ? RESPONSE_BODY : RESPONSE_DONE;
	} else {
		r->keep_alive = false;
		r->state = RESPONSE_BODY_REST;
	}
}

static void take_head_line(struct response *r, struct str line)
{
	struct str name, value;

	r->head_bytes += line.n + 2;
	if (line.n > 0 && line.p[line.n - 1] == '\r') /* a bare LF ends a line, too: RFC 9112, 2.2 */
		line.n--;
	if (++r->lines > RESPONSE_LINES_MAX || r->head_bytes > RESPONSE_HEAD_MAX) {
		fail(r, "its head is too long");
	} else if (has(line, '\0') || has(line, '\r')) {
		fail(r, "a control character stands in its head");
	} else if (r->state == RESPONSE_STATUS_LINE) {
		take_status(r, line);
	} else if (r->state == RESPONSE_FIELDS) {
		if (line.n == 0)
			end_head(r);
		else if (split_field(r, line, &name, &value))
			take_field(r, name, value);
	} else if (line.n == 0) {
		r->state = RESPONSE_DONE;
	} else {
		split_field(r, line, &name, &value); /* what trailers say does not count: RFC 9110, 6.5.1 */
	}
}

/* ---- chunks (RFC 9112, 7.1) -------------------------------------------------------- */

/* Chunks of one byte with long extensions would keep us busy for ever within the limit of the
 * body; those of honest servers save more than they waste. */
static void count_excess(struct response *r, size_t line)
{
	const uint64_t saved = 16 + 2 * r->left;

	r->excess += line + 2;
	r->excess -= r->excess < saved ? r->excess : (size_t)saved;
	if (r->excess > RESPONSE_EXCESS_MAX)
		fail(r, "its chunks are mostly waste");
}

static void take_chunk_size(struct response *r, struct str line)
{
	const size_t whole = line.n;
	size_t       at = 0;
	int          digit;

	if (line.n == 0 || line.p[--line.n] != '\r' || has(line, '\0') || has(line, '\r')) {
		fail(r, "a chunk's size does not end as it should");
		return;
	}
	r->left = 0;
	for (; at < line.n && (digit = text_hex(line.p[at])) >= 0 && at < CHUNK_DIGITS_MAX; at++)
		r->left = r->left << 4 | (unsigned)digit;
	const size_t digits = at;
	while (at < line.n && (line.p[at] == ' ' || line.p[at] == '\t'))
		at++;
	if (digits == 0 || (at < line.n && line.p[at] != ';')) {
		fail(r, "a chunk's size is no number");
		return;
	}
	r->state = r->left > 0 ? RESPONSE_CHUNK : RESPONSE_TRAILERS;
	count_excess(r, whole);
}

static void take_chunk_end(struct response *r, char c)
{
	if (c != (r->left == 2 ? '\r' : '\n'))
		fail(r, "a chunk is longer than its size");
	else if (--r->left == 0)
		r->state = RESPONSE_CHUNK_SIZE;
}

/* ---- the body ---------------------------------------------------------------------- */

static void add_body(struct response *r, const char *p, size_t n)
{
	const size_t room = r->body_max - r->body.n;

	buf_add(&r->body, p, n < room ? n : room);
	if (n <= room)
		return;
	r->too_big = true;
	r->keep_alive = false;
	r->state = RESPONSE_DONE;
}

/* Some of what was announced; `then` follows when all of it is there. */
static size_t take_announced(struct response *r, const char *p, size_t n, enum response_state then)
{
	if (n > r->left)
		n = (size_t)r->left;
	add_body(r, p, n);
	r->left -= n;
	if (r->left == 0 && r->state != RESPONSE_DONE) {
		r->state = then;
		r->left = 2;
	}
	return n;
}

/* ---- pieces ------------------------------------------------------------------------ */

static size_t take_lines(struct response *r, const char *p, size_t n)
{
	size_t     used;
	struct str line = take_line(r, p, n, &used);
	struct str start = line;

	if (line.p == NULL)
		start = r->line.n > 0 ? buf_view(&r->line) : (struct str){ p, n };
	/* Told at once: whoever speaks something else may wait for us to speak. */
	if (r->state == RESPONSE_STATUS_LINE &&
	    memcmp(start.p, version, start.n < 7 ? start.n : 7) != 0)
		fail(r, "it is not HTTP/1.1");
	if (line.p == NULL || r->state == RESPONSE_FAILED)
		return used;
	if (r->state == RESPONSE_CHUNK_SIZE)
		take_chunk_size(r, line);
	else
		take_head_line(r, line);
	buf_clear(&r->line);
	return used;
}

static size_t take(struct response *r, const char *p, size_t n)
{
	switch (r->state) {
	case RESPONSE_STATUS_LINE:
	case RESPONSE_FIELDS:
	case RESPONSE_CHUNK_SIZE:
	case RESPONSE_TRAILERS:
		return take_lines(r, p, n);
	case RESPONSE_BODY:
		return take_announced(r, p, n, RESPONSE_DONE);
	case RESPONSE_BODY_REST:
		add_body(r, p, n);
		return n;
	case RESPONSE_CHUNK:
		return take_announced(r, p, n, RESPONSE_CHUNK_END);
	case RESPONSE_CHUNK_END:
		take_chunk_end(r, *p);
		return 1;
	case RESPONSE_DONE:
	case RESPONSE_FAILED:
		break;
	}
	return 0;
}

size_t response_feed(struct response *r, const char *p, size_t n)
{
	size_t at = 0;

	r->begun = r->begun || n > 0;
	while (at < n && r->state < RESPONSE_DONE)
		at += take(r, p + at, n - at);
	return at;
}

void response_end(struct response *r)
{
	switch (r->state) {
	case RESPONSE_BODY_REST:
		r->state = RESPONSE_DONE;
		break;
	case RESPONSE_DONE:
	case RESPONSE_FAILED:
		break;
	case RESPONSE_STATUS_LINE:
	case RESPONSE_FIELDS:
	case RESPONSE_BODY:
	case RESPONSE_CHUNK_SIZE:
	case RESPONSE_CHUNK:
	case RESPONSE_CHUNK_END:
	case RESPONSE_TRAILERS:
		fail(r, r->begun ? "the connection was closed in the middle of it" :
		                   "the connection was closed without one");
		break;
	}
}

void response_begin(struct response *r, size_t body_max, bool to_head)
{
	struct buf body = r->body, line = r->line;

	buf_clear(&body);
	buf_clear(&line);
	*r = (struct response){ .body = body, .line = line, .body_max = body_max, .to_head = to_head };
}

void response_fini(struct response *r)
{
	buf_fini(&r->body);
	buf_fini(&r->line);
}
