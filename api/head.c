/* SPDX-License-Identifier: Apache-2.0 */
#include "api/head.h"

#include <string.h>
#include <strings.h>

/* ---- where it ends -------------------------------------------------------------------- */

static bool is_empty_line(struct str line)
{
	return line.n == 0 || (line.n == 1 && line.p[0] == '\r');
}

/* A line without its LF; *at moves behind it. False: it is not complete. */
static bool next_line(struct str bytes, size_t *at, struct str *line)
{
	const char *end = *at < bytes.n ? memchr(bytes.p + *at, '\n', bytes.n - *at) : NULL;

	if (end == NULL)
		return false;
	*line = (struct str){ bytes.p + *at, (size_t)(end - bytes.p) - *at };
	*at = (size_t)(end - bytes.p) + 1;
	return true;
}

/* Where the first line begins: a client may put empty ones in front of it (RFC 9112, 2.2). */
static size_t skip_empty(struct str bytes)
{
	size_t at = 0;

	while (at < bytes.n && (bytes.p[at] == '\r' || bytes.p[at] == '\n'))
		at++;
	return at;
}

size_t head_end(struct str bytes, size_t *scanned)
{
	struct str line;
	size_t     at = skip_empty(bytes);

	if (at < *scanned)
		at = *scanned;
	*scanned = at;
	while (next_line(bytes, &at, &line)) {
		if (is_empty_line(line))
			return at;
		*scanned = at;
	}
	return 0;
}

/* ---- the first line ------------------------------------------------------------------- */

/* Visible: no blanks, no control characters. Bytes beyond ASCII are for whoever decodes it. */
static bool is_visible(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
			return false;
	return s.n > 0;
}

static struct str cut(struct str *rest, char mark)
{
	const char *end = rest->n > 0 ? memchr(rest->p, mark, rest->n) : NULL;
	struct str  part = *rest;

	if (end == NULL) {
		*rest = (struct str){ rest->p + rest->n, 0 };
		return part;
	}
	part.n = (size_t)(end - rest->p);
	*rest = (struct str){ end + 1, rest->n - part.n - 1 };
	return part;
}

static bool has_scheme(struct str target, struct str scheme)
{
	return target.n >= scheme.n && strncasecmp(target.p, scheme.p, scheme.n) == 0;
}

bool head_strip_host(struct str *target)
{
	const struct str http = STR("http://"), https = STR("https://");
	const size_t     from = has_scheme(*target, http)    ? http.n
	                        : has_scheme(*target, https) ? https.n
	                                                     : 0;
	size_t           at = from;

	if (from == 0)
		return true;
	while (at < target->n && target->p[at] != '/' && target->p[at] != '?')
		if (target->p[at++] == '@')
			return false;
	if (at == from)
		return false;
	*target = (struct str){ target->p + at, target->n - at };
	return true;
}

static const char *read_target(struct str target, struct request_head *out)
{
	const char *mark;

	if (!is_visible(target) || target.p[0] == '?' || !head_strip_host(&target))
		return "its first line is none of HTTP";
	mark = target.n > 0 ? memchr(target.p, '?', target.n) : NULL;
	out->path = cut(&target, '?');
	if (mark != NULL)
		out->query = target;
	if (out->path.n == 0)
		out->path = STR("/");
	return NULL;
}

/* RFC 9112, 3. */
static const char *read_first_line(struct str line, struct request_head *out)
{
	const char *wrong = "its first line is none of HTTP";
	struct str  method = cut(&line, ' '), target = cut(&line, ' ');

	if (!text_is_token(method))
		return wrong;
	out->method = method;
	wrong = read_target(target, out);
	if (wrong != NULL)
		return wrong;
	if (!str_starts(line, STR("HTTP/1.")) || line.n != 8 || line.p[7] < '0' || line.p[7] > '9')
		return "it is not HTTP/1.1";
	out->is_1_0 = line.p[7] == '0';
	return NULL;
}

/* ---- the fields ----------------------------------------------------------------------- */

static bool is_value(struct str s)
{
	if (text_is_printable(s))
		return true;
	for (size_t i = 0; i < s.n; i++)
		if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
			return false;
	return true;
}

struct reading {
	struct request_head *out;
	unsigned             hosts;
	bool                 says_close, says_keep_alive;
};

static void read_connection(struct reading *r, struct str list)
{
	while (list.n > 0) {
		struct str word = cut(&list, ',');

		text_trim(&word);
		r->says_close = r->says_close || text_is_word(word, STR("close"));
		r->says_keep_alive = r->says_keep_alive || text_is_word(word, STR("keep-alive"));
	}
}

static const char *read_length(struct request_head *out, struct str value)
{
	if (out->has_length)
		out->is_unclear = true;
	else if (!text_to_u64(value, &out->length))
		return "its Content-Length is no number";
	out->has_length = true;
	return NULL;
}

static const char *read_coding(struct request_head *out, struct str value)
{
	if (out->is_chunked || !text_is_word(value, STR("chunked")))
		return "its Transfer-Encoding is none that is known here";
	out->is_chunked = true;
	return NULL;
}

/* What says how the request goes on. */
static const char *read_meaning(struct reading *r, struct str name, struct str value)
{
	switch (name.n) {
	case 4:
		r->hosts += text_is_word(name, STR("Host"));
		break;
	case 6:
		if (text_is_word(name, STR("Expect")) && text_is_word(value, STR("100-continue")))
			r->out->says_expect = true;
		break;
	case 10:
		if (text_is_word(name, STR("Connection")))
			read_connection(r, value);
		break;
	case 14:
		if (text_is_word(name, STR("Content-Length")))
			return read_length(r->out, value);
		break;
	case 17:
		if (text_is_word(name, STR("Transfer-Encoding")))
			return read_coding(r->out, value);
		break;
	}
	return NULL;
}

/* A line that begins with white space goes on with the one before (obs-fold), and white space
 * before the colon was read in two ways: both fail here for want of a name (RFC 9112, 5.1 and
 * 5.2). */
static const char *read_field(struct reading *r, struct str line, struct head_field *field)
{
	const char *colon = memchr(line.p, ':', line.n);

	if (colon == NULL)
		return "a header line of it has no colon";
	field->name = (struct str){ line.p, (size_t)(colon - line.p) };
	field->value = (struct str){ colon + 1, line.n - field->name.n - 1 };
	if (!text_is_token(field->name))
		return "the name of a header of it is wrong";
	if (!is_value(field->value))
		return "a control character stands in a header of it";
	text_trim(&field->value);
	return read_meaning(r, field->name, field->value);
}

static const char *judge(struct reading *r)
{
	struct request_head *out = r->out;

	if (r->hosts > 1 || (r->hosts == 0 && !out->is_1_0))
		return "it has no Host, or more than one";
	if (out->is_chunked && out->is_1_0)
		return "it is chunked, which HTTP/1.0 cannot be";
	out->is_unclear = out->is_unclear || (out->is_chunked && out->has_length);
	out->keep_alive = !r->says_close && (!out->is_1_0 || r->says_keep_alive);
	out->says_expect = out->says_expect && !out->is_1_0;
	return NULL;
}

/* The copy is ours to write: each slice gets its NUL where a separator was. */
static void close_slice(struct str s)
{
	((char *)(uintptr_t)s.p)[s.n] = '\0';
}

static size_t count_fields(struct str bytes)
{
	struct str line;
	size_t     at = 0, n = 0;

	while (next_line(bytes, &at, &line) && !is_empty_line(line))
		n++;
	return n;
}

static void begin(struct request_head *out)
{
	*out = (struct request_head){ .method = STR(""), .path = STR("") };
}

static void drop_cr(struct str *line)
{
	/* A bare LF ends a line, too: RFC 9112, 2.2. */
	if (line->n > 0 && line->p[line->n - 1] == '\r')
		line->n--;
}

const char *head_read(struct str bytes, struct arena *arena, struct request_head *out)
{
	struct reading r = { .out = out };
	const char    *wrong;
	struct str     line;
	size_t         at, n;

	begin(out);
	bytes = arena_str(arena, bytes);
	at = skip_empty(bytes);
	if (!next_line(bytes, &at, &line))
		return "its first line is not complete";
	drop_cr(&line);
	wrong = read_first_line(line, out);
	if (wrong != NULL)
		return wrong;
	n = count_fields((struct str){ bytes.p + at, bytes.n - at });
	out->has_many = n > HEAD_FIELDS_MAX;
	if (out->has_many)
		return NULL;
	out->fields = arena_array(arena, n, sizeof *out->fields);
	while (next_line(bytes, &at, &line) && !is_empty_line(line)) {
		struct head_field *field = &out->fields[out->field_count];

		drop_cr(&line);
		wrong = read_field(&r, line, field);
		if (wrong != NULL)
			return wrong;
		close_slice(field->name);
		close_slice(field->value);
		out->field_count++;
	}
	return judge(&r);
}

void head_glance(struct str bytes, struct arena *arena, struct request_head *out, bool *in_url)
{
	const size_t at = skip_empty(bytes);
	struct str rest = { bytes.p + at, bytes.n - at }, first = cut(&rest, '\n'), method, target;

	begin(out);
	*in_url = first.n > bytes.n / 2;
	first = arena_str(arena, first);
	method = cut(&first, ' ');
	target = cut(&first, ' ');
	if (!text_is_token(method))
		return;
	out->method = method;
	(void)read_target(target, out);
}

/* ---- chunks (RFC 9112, 7.1) ------------------------------------------------------------ */

enum { DIGITS_MAX = 15, SPARE = 16 };

/* Chunks of one byte with long extensions would keep us busy for ever within the limit of the
 * body; those of honest clients save more than they waste. */
static void take_size(struct chunks *c, char b)
{
	const int digit = text_hex(b);

	if (digit >= 0 && c->digits < DIGITS_MAX) {
		c->left = c->left << 4 | (unsigned)digit;
		c->digits++;
	} else if (digit >= 0 || c->digits == 0) {
		c->state = CHUNKS_BROKEN;
	} else if (b == '\r') {
		c->state = CHUNKS_SIZE_LF;
	} else {
		c->state = b == ';' || b == ' ' || b == '\t' ? CHUNKS_EXTENSION : CHUNKS_BROKEN;
	}
}

static enum chunks_state only(char b, char want, enum chunks_state then)
{
	return b == want ? then : CHUNKS_BROKEN;
}

static enum chunks_state until_cr(char b, enum chunks_state now, enum chunks_state then)
{
	if (b == '\n' || b == '\0')
		return CHUNKS_BROKEN;
	return b == '\r' ? then : now;
}

static void end_size(struct chunks *c, char b)
{
	const size_t saved =
		c->left < CHUNKS_EXCESS_MAX ? SPARE + 2 * (size_t)c->left : CHUNKS_EXCESS_MAX;

	c->state = only(b, '\n', c->left > 0 ? CHUNKS_DATA : CHUNKS_TRAILER);
	c->excess -= c->excess < saved ? c->excess : saved;
	c->digits = 0;
}

/* A byte that is no data. */
static void take_byte(struct chunks *c, char b)
{
	if (++c->excess > CHUNKS_EXCESS_MAX) {
		c->state = CHUNKS_BROKEN;
		return;
	}
	switch (c->state) {
	case CHUNKS_SIZE:
		take_size(c, b);
		break;
	case CHUNKS_EXTENSION:
		c->state = until_cr(b, CHUNKS_EXTENSION, CHUNKS_SIZE_LF);
		break;
	case CHUNKS_SIZE_LF:
		end_size(c, b);
		break;
	case CHUNKS_DATA_CR:
		c->state = only(b, '\r', CHUNKS_DATA_LF);
		break;
	case CHUNKS_DATA_LF:
		c->state = only(b, '\n', CHUNKS_SIZE);
		break;
	case CHUNKS_TRAILER: /* the start of a line; what it says does not count: RFC 9110, 6.5.1 */
		c->state = b == '\r' ? CHUNKS_LAST_LF
		                     : until_cr(b, CHUNKS_TRAILER_REST, CHUNKS_BROKEN);
		break;
	case CHUNKS_TRAILER_REST:
		c->state = until_cr(b, CHUNKS_TRAILER_REST, CHUNKS_TRAILER_LF);
		break;
	case CHUNKS_TRAILER_LF:
		c->state = only(b, '\n', CHUNKS_TRAILER);
		break;
	case CHUNKS_LAST_LF:
		c->state = only(b, '\n', CHUNKS_DONE);
		break;
	case CHUNKS_DATA:
	case CHUNKS_DONE:
	case CHUNKS_BROKEN:
		break;
	}
}

struct str chunks_take(struct chunks *c, struct str *in)
{
	struct str data = { in->p, 0 };

	while (in->n > 0 && c->state < CHUNKS_DONE && c->state != CHUNKS_DATA) {
		take_byte(c, in->p[0]);
		*in = (struct str){ in->p + 1, in->n - 1 };
	}
	if (c->state != CHUNKS_DATA)
		return data;
	data = (struct str){ in->p, in->n < c->left ? in->n : (size_t)c->left };
	*in = (struct str){ in->p + data.n, in->n - data.n };
	c->left -= data.n;
	if (c->left == 0)
		c->state = CHUNKS_DATA_CR;
	return data;
}
