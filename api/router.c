/* SPDX-License-Identifier: Apache-2.0 */
#include "api/router.h"

#include <string.h>

static const struct route_fact FACTS[ROUTE_COUNT] = {
#define X(name, method, pattern, role, summary) { #name, #method, pattern, summary, ROLE_##role, sizeof pattern - 1 },
	ROUTES(X) OPS_ROUTES(X)
#undef X
};

static const char *const METHOD_NAMES[METHOD_COUNT] = {
#define X(name) #name,
	METHODS(X)
#undef X
};

const struct route_fact *route_fact(enum route r)
{
	return &FACTS[r];
}

/* ---- percent-encoding (RFC 3986, 2.1) ------------------------------------------ */

bool percent_decode(struct str text, struct arena *arena, struct str *out)
{
	char  *to = arena_alloc(arena, text.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c == '%') {
			if (text.n - i < 3)
				return false;
			int high = text_hex(text.p[i + 1]), low = text_hex(text.p[i + 2]);
			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if ((unsigned char)c < ' ' || c == 0x7f)
			return false;
		to[n++] = c;
	}
	*out = (struct str){ to, n };
	return text_is_utf8(*out);
}

void percent_encode(struct str text, struct buf *out)
{
	static const char HEX[] = "0123456789ABCDEF";
	static const bool stays[256] = { ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true,
		                         ['.'] = true,         ['_'] = true,         ['~'] = true,         [':'] = true };

	size_t done = 0;

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (stays[c])
			continue;
		buf_add(out, text.p + done, i - done);
		buf_char(out, '%');
		buf_char(out, HEX[c >> 4]);
		buf_char(out, HEX[c & 15]);
		done = i + 1;
	}
	if (done < text.n)
		buf_add(out, text.p + done, text.n - done);
}

/* ---- the way to a route ------------------------------------------------------------ */

/* Cuts the next segment off the front of a path that starts with a slash. */
static struct str next_segment(struct str *path)
{
	struct str segment = { path->p + 1, 0 };

	while (segment.n + 1 < path->n && segment.p[segment.n] != '/')
		segment.n++;
	path->p += segment.n + 1;
	path->n -= segment.n + 1;
	return segment;
}

/* -1: no match. 1: by a parameter. 2: word for word: /v1/definitions/validate. */
static int fit(struct str pattern, const struct str *segments, size_t n, struct str *params)
{
	size_t param_n = 0;
	int    closeness = 2;

	for (size_t i = 0; i < n; i++) {
		if (pattern.n == 0)
			return -1;
		struct str want = next_segment(&pattern);
		if (want.n > 0 && want.p[0] == '{') {
			if (segments[i].n == 0)
				return -1;
			params[param_n++] = segments[i];
			closeness = 1;
		} else if (!str_eq(want, segments[i])) {
			return -1;
		}
	}
	return pattern.n == 0 ? closeness : -1;
}

/* Clients of DTM join a base URL that ends in a slash and a route that begins with one. */
static bool is_doubled(struct str path, const struct str *segments, int n)
{
	return n == 2 && path.n >= 2 && path.p[0] == '/' && path.p[1] == '/' &&
	       str_is(segments[0], "api") && str_is(segments[1], "dtmsvr");
}

static int split(struct str path, struct str *segments)
{
	int n = 0;

	if (path.n == 0 || path.p[0] != '/')
		return -1;
	while (path.n > 0) {
		if (n == ROUTE_SEGMENTS_MAX)
			return -1;
		if (is_doubled(path, segments, n))
			path = (struct str){ path.p + 1, path.n - 1 };
		segments[n++] = next_segment(&path);
	}
	return n;
}

static bool decode_params(struct route_match *m, struct arena *arena)
{
	for (size_t i = 0; i < ROUTE_PARAMS_MAX; i++)
		if (m->params[i].n > 0 && !percent_decode(m->params[i], arena, &m->params[i]))
			return false;
	return true;
}

static unsigned method_bit(const char *name)
{
	for (unsigned i = 0; i < METHOD_COUNT; i++)
		if (str_is(str_of(name), METHOD_NAMES[i]))
			return 1u << i;
	return 0;
}

/* What replicas say to each other is heard on both: workers share the first, so that only the second
 * tells one from another. */
static bool is_at(enum listener listener, unsigned i)
{
	return FACTS[i].role == ROLE_REPLICA || (listener == LISTENER_MAIN) == (i < ROUTE_MAIN_COUNT);
}

/* Most requests begin a transaction: a path without parameters needs no taking apart. */
static bool find_literally(enum listener listener, struct str method, struct str path, enum route *route)
{
	for (unsigned i = 0; i < ROUTE_COUNT; i++) {
		if (!str_eq(path, (struct str){ FACTS[i].pattern, FACTS[i].pattern_n }) ||
		    !str_is(method, FACTS[i].method) || !is_at(listener, i) || memchr(path.p, '{', path.n))
			continue;
		*route = (enum route)i;
		return true;
	}
	return false;
}

enum router_answer router_find(enum listener listener, struct str method, struct str path,
                               struct arena *arena, struct route_match *out)
{
	struct str segments[ROUTE_SEGMENTS_MAX];
	int        n, best = 0;

	*out = (struct route_match){ 0 };
	if (path.n > ROUTE_PATH_MAX)
		return ROUTER_BAD_PATH;
	if (find_literally(listener, method, path, &out->route))
		return ROUTER_FOUND;
	if ((n = split(path, segments)) < 0)
		return ROUTER_NONE;
	if (str_is(method, "HEAD"))
		method = STR("GET");
	for (unsigned i = 0; i < ROUTE_COUNT; i++) {
		if (!is_at(listener, i))
			continue;
		struct str params[ROUTE_PARAMS_MAX] = { { 0 } };
		struct str pattern = { FACTS[i].pattern, FACTS[i].pattern_n };
		int        how = fit(pattern, segments, (size_t)n, params);

		if (how < 0)
			continue;
		out->allowed |= method_bit(FACTS[i].method);
		if (how <= best || !str_is(method, FACTS[i].method))
			continue;
		best = how;
		out->route = (enum route)i;
		for (unsigned p = 0; p < ROUTE_PARAMS_MAX; p++)
			out->params[p] = params[p];
	}
	if (best > 0)
		return decode_params(out, arena) ? ROUTER_FOUND : ROUTER_BAD_PATH;
	if (out->allowed == 0)
		return ROUTER_NONE;
	return str_is(method, "OPTIONS") ? ROUTER_OPTIONS : ROUTER_METHOD;
}

void router_allow(unsigned allowed, struct buf *out)
{
	for (unsigned i = 0; i < METHOD_COUNT; i++) {
		if (!(allowed & 1u << i))
			continue;
		buf_cstr(out, METHOD_NAMES[i]);
		buf_cstr(out, i == METHOD_GET ? ", HEAD, " : ", ");
	}
	buf_cstr(out, "OPTIONS");
}
