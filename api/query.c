/* SPDX-License-Identifier: Apache-2.0 */
#include "api/query.h"

#include "api/router.h"
#include "coordinator/base/digest.h"

#include <string.h>
#include <strings.h>

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

static struct str trim(struct str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Cuts what stands before the first `mark` off the front of *rest. */
static struct str cut(struct str *rest, char mark)
{
	const char *at = rest->n ? memchr(rest->p, mark, rest->n) : NULL;
	struct str  head = *rest;

	if (!at) {
		*rest = (struct str){ 0 };
		return head;
	}
	head.n = (size_t)(at - rest->p);
	*rest = (struct str){ at + 1, rest->n - head.n - 1 };
	return head;
}

static bool same_word(struct str a, const char *word)
{
	return a.n == strlen(word) && strncasecmp(a.p, word, a.n) == 0;
}

static struct str unquote(struct str s)
{
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return (struct str){ s.p + 1, s.n - 2 };
	return s;
}

/* ---- the query string ---------------------------------------------------------- */

const char *query_add(struct query *q, struct arena *arena, struct str name, struct str value)
{
	struct str n, v;

	if (q->n == QUERY_MAX)
		return "the query has too many parameters";
	if (!percent_decode(name, arena, &n) || !percent_decode(value, arena, &v))
		return "a query parameter is not percent-encoded UTF-8 without control characters";
	for (size_t i = 0; i < q->n; i++)
		if (str_eq(q->name[i], n))
			return "a query parameter is given twice";
	q->name[q->n] = n;
	q->value[q->n++] = v;
	return NULL;
}

const struct str *query_get(const struct query *q, const char *name)
{
	for (size_t i = 0; i < q->n; i++)
		if (str_is(q->name[i], name))
			return &q->value[i];
	return NULL;
}

static bool is_known(struct str name, const char *const *known)
{
	for (; *known; known++) {
		struct str k = str_of(*known);

		if (str_eq(name, k) || (k.n && k.p[k.n - 1] == '.' && str_starts(name, k)))
			return true;
	}
	return false;
}

const struct str *query_unknown(const struct query *q, const char *const *known)
{
	for (size_t i = 0; i < q->n; i++)
		if (!is_known(q->name[i], known))
			return &q->name[i];
	return NULL;
}

/* ---- headers ---------------------------------------------------------------------- */

bool wait_read(struct str text, int64_t *ms)
{
	if (!text_to_ms(text, ms))
		return false;
	if (*ms > WAIT_MAX_MS)
		*ms = WAIT_MAX_MS;
	return true;
}

/* A weight in thousandths (RFC 9110, 12.4.2); what is none counts as nothing. */
static unsigned weight_of(struct str parameters)
{
	while (parameters.n) {
		struct str parameter = cut(&parameters, ';');
		struct str name = trim(cut(&parameter, '=')), value = trim(parameter);
		unsigned   thousandths = 0, unit = 1000;

		if (!same_word(name, "q"))
			continue;
		for (size_t i = 0; i < value.n && unit > 0; i++) {
			if (i == 1 && value.p[i] == '.')
				continue;
			if (!is_digit(value.p[i]))
				return 0;
			thousandths += (unsigned)(value.p[i] - '0') * unit;
			unit /= 10;
		}
		return thousandths;
	}
	return 1000;
}

bool accept_prefers(struct str header, const char *type, const char *usual)
{
	unsigned wanted = 0, other = 0;

	while (header.n) {
		struct str parameters = cut(&header, ',');
		struct str name = trim(cut(&parameters, ';'));

		if (same_word(name, type))
			wanted = wanted > weight_of(parameters) ? wanted : weight_of(parameters);
		else if (same_word(name, usual))
			other = other > weight_of(parameters) ? other : weight_of(parameters);
	}
	return wanted > 0 && wanted >= other;
}

void prefer_read(struct str header, struct prefer *out)
{
	uint64_t seconds;

	*out = (struct prefer){ 0 };
	while (header.n) {
		struct str item = cut(&header, ',');
		struct str preference = cut(&item, ';'); /* parameters are not ours */
		struct str name = trim(cut(&preference, '='));
		struct str value = unquote(trim(preference));

		/* The first of a name counts (RFC 7240, 2). */
		if (same_word(name, "wait") && !out->wait && text_to_u64(value, &seconds)) {
			out->wait = true;
			out->asked_ms = (seconds > INT32_MAX ? INT32_MAX : (int64_t)seconds) * 1000;
			out->wait_ms = out->asked_ms > WAIT_MAX_MS ? WAIT_MAX_MS : out->asked_ms;
		} else if (same_word(name, "return") && same_word(value, "minimal")) {
			out->minimal = true;
		}
	}
}

bool etag_read(struct str header, struct etag *out)
{
	struct str tag = trim(header);

	*out = (struct etag){ .given = header.n > 0 };
	if (!out->given)
		return true;
	if (str_is(tag, "*")) {
		out->any = true;
		return true;
	}
	if (str_starts(tag, STR("W/")))
		tag = (struct str){ tag.p + 2, tag.n - 2 };
	return text_to_u64(unquote(tag), &out->version);
}

bool etag_fits(const struct etag *e, uint64_t version)
{
	return !e->given || e->any || e->version == version;
}

bool idempotency_key_read(struct str header, struct arena *arena, struct str *key)
{
	struct str in = unquote(trim(header));
	bool       quoted = in.p != trim(header).p;
	char      *to = arena_alloc(arena, in.n + 1);
	size_t     n = 0;

	/* Half a string, or one with parameters: the key would silently be another than was meant. */
	if (!quoted && in.n > 0 && in.p[0] == '"')
		return false;
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (quoted && c == '"')
			return false;
		if (quoted && c == '\\' && i + 1 < in.n) /* a structured-field string (RFC 8941, 3.3.3) */
			c = in.p[++i];
		if (c < ' ' || c > '~')
			return false;
		to[n++] = c;
	}
	*key = (struct str){ to, n };
	return n >= 1 && n <= IDEMPOTENCY_KEY_MAX;
}

bool traceparent_is_valid(struct str h)
{
	bool trace = false, span = false;

	if (h.n != 55 || !str_starts(h, STR("00-")) || h.p[35] != '-' || h.p[52] != '-')
		return false;
	for (size_t i = 3; i < h.n; i++) {
		if (i == 35 || i == 52)
			continue;
		if (!is_lower_hex(h.p[i]))
			return false;
		trace = trace || (i < 35 && h.p[i] != '0');
		span = span || (i > 35 && i < 52 && h.p[i] != '0');
	}
	return trace && span;
}

bool media_type_is_json(struct str header)
{
	struct str type = trim(cut(&header, ';'));

	return same_word(type, "application/json") ||
	       (type.n > 5 && same_word((struct str){ type.p + type.n - 5, 5 }, "+json"));
}

/* ---- names --------------------------------------------------------------------------- */

bool gid_is_valid(struct str gid)
{
	for (size_t i = 0; i < gid.n; i++) {
		char c = gid.p[i];

		if (c <= ' ' || c > '~' || c == '"' || c == '\'' || c == '\\')
			return false;
	}
	return gid.n >= 1 && gid.n <= GID_MAX;
}

bool given_name_is_valid(struct str name)
{
	if (name.n < 1 || name.n > NAME_MAX_BYTES || !is_alpha(name.p[0]))
		return false;
	for (size_t i = 1; i < name.n; i++)
		if (!is_alpha(name.p[i]) && !is_digit(name.p[i]) && name.p[i] != '_' && name.p[i] != '-' &&
		    name.p[i] != '.')
			return false;
	return true;
}

static bool port_is_valid(struct str text)
{
	uint64_t port;

	return text_to_u64(text, &port) && port >= 1 && port <= 65535;
}

static bool host_is_valid(struct str host)
{
	bool is_v6 = host.n > 3 && host.p[0] == '[' && host.p[host.n - 1] == ']';

	if (is_v6)
		host = (struct str){ host.p + 1, host.n - 2 };
	for (size_t i = 0; i < host.n; i++)
		if (is_v6 ? !strchr("0123456789abcdefABCDEF:.", host.p[i])
		          : !is_alpha(host.p[i]) && !is_digit(host.p[i]) && !strchr(".-_", host.p[i]))
			return false;
	return host.n > 0;
}

/* host, or host:port; the colons within an IPv6 address stand in brackets. */
static bool authority_is_valid(struct str text)
{
	size_t host_n = text.n;

	for (size_t i = text.n; i > 0 && text.p[i - 1] != ']'; i--)
		if (text.p[i - 1] == ':')
			host_n = i - 1;
	return host_is_valid((struct str){ text.p, host_n }) &&
	       (host_n == text.n ||
	        port_is_valid((struct str){ text.p + host_n + 1, text.n - host_n - 1 }));
}

static bool is_hex(char c)
{
	return is_lower_hex(c) || (c >= 'A' && c <= 'F');
}

static bool escapes_are_whole(struct str path)
{
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] == '%' && (path.n - i < 3 || !is_hex(path.p[i + 1]) || !is_hex(path.p[i + 2])))
			return false;
	return true;
}

/* Steps up and down: the base path is where a participant begins, and must be what it looks like. */
static bool has_dot_segment(struct str path)
{
	while (path.n > 0) {
		struct str segment = cut(&path, '/');

		if (str_is(segment, ".") || str_is(segment, ".."))
			return true;
	}
	return false;
}

bool base_url_is_valid(struct str url)
{
	struct str rest = url;

	if (url.n > BASE_URL_MAX)
		return false;
	if (str_starts(url, STR("http://")))
		rest.p += 7, rest.n -= 7;
	else if (str_starts(url, STR("https://")))
		rest.p += 8, rest.n -= 8;
	else
		return false;
	for (size_t i = 0; i < rest.n; i++)
		if (rest.p[i] <= ' ' || rest.p[i] > '~' || strchr("?#@\"\\<>^`{|}", rest.p[i]))
			return false;
	return authority_is_valid(cut(&rest, '/')) && escapes_are_whole(rest) && !has_dot_segment(rest);
}

/* ---- cursors: hex of 8 bytes of the filters' hash, then of the key to go on behind ------ */

static uint8_t filter_byte(uint64_t filters, size_t i)
{
	return (uint8_t)(filters >> (8 * i));
}

void cursor_write(uint64_t filters, struct str after, struct buf *out)
{
	char pair[3];

	for (size_t i = 0; i < 8 + after.n; i++) {
		uint8_t byte = i < 8 ? filter_byte(filters, i) : (uint8_t)after.p[i - 8];

		digest_hex(&byte, 1, pair);
		buf_add(out, pair, 2);
	}
}

bool cursor_read(struct str text, uint64_t filters, struct arena *arena, struct str *after)
{
	size_t n = text.n / 2;
	char  *bytes = arena_alloc(arena, n + 1);

	if (text.n % 2 != 0 || n < 8 || n > 8 + GID_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_lower_hex(text.p[2 * i]) || !is_lower_hex(text.p[2 * i + 1]))
			return false;
		bytes[i] = (char)(text_hex(text.p[2 * i]) << 4 | text_hex(text.p[2 * i + 1]));
	}
	for (size_t i = 0; i < 8; i++)
		if ((uint8_t)bytes[i] != filter_byte(filters, i))
			return false;
	*after = (struct str){ bytes + 8, n - 8 };
	for (size_t i = 0; i < after->n; i++)
		if (after->p[i] <= ' ' || after->p[i] > '~')
			return false;
	return true;
}
