/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/libsaga/route.h"
#include "participants/libsaga/internal.h"

/* The next segment of a path, without its slash. False: there is no more. */
static bool next_segment(const char **path, struct saga_slice *out)
{
	if (**path != '/')
		return false;
	out->p = ++*path;
	out->n = strcspn(out->p, "/?");
	*path += out->n;
	return true;
}

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at s, cut off. Below 0: a percent sign that stands for none. */
static int take_byte(struct saga_slice *s, bool encoded)
{
	int c = (unsigned char)*s->p, high, low;

	s->p++;
	s->n--;
	if (!encoded || c != '%')
		return c;
	if (s->n < 2)
		return -1;
	high = hex_of(s->p[0]);
	low = hex_of(s->p[1]);
	s->p += 2;
	s->n -= 2;
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Its name without the braces; n is 0: the segment stands for itself. */
static struct saga_slice name_of(struct saga_slice s)
{
	if (s.n > 2 && s.p[0] == '{' && s.p[s.n - 1] == '}')
		return (struct saga_slice){ s.p + 1, s.n - 2 };
	return (struct saga_slice){ 0 };
}

static bool is_any(struct saga_slice s)
{
	return name_of(s).n || (s.n == 1 && *s.p == '*');
}

/* Something that is text: a NUL would be the end of it in C. */
static bool is_value(struct saga_slice s, bool encoded)
{
	bool some = s.n > 0;

	while (s.n)
		if (take_byte(&s, encoded) <= 0)
			return false;
	return some;
}

static bool segment_fits(struct saga_slice wanted, struct saga_slice s, bool encoded)
{
	if (is_any(wanted))
		return is_value(s, encoded);
	while (s.n && wanted.n) {
		if (take_byte(&s, encoded) != (unsigned char)*wanted.p++)
			return false;
		wanted.n--;
	}
	return !s.n && !wanted.n;
}

bool route_fits(const char *route, const char *path, bool encoded)
{
	struct saga_slice wanted, s;

	while (next_segment(&route, &wanted))
		if (!next_segment(&path, &s) || !segment_fits(wanted, s, encoded))
			return false;
	return !*route && (!*path || *path == '?');
}

bool saga_call_param(const struct saga_call *call, const char *name, char *out, size_t size)
{
	const char *route = call->route ? call->route : "", *path = call->path;
	struct saga_slice wanted, s;
	size_t n = 0;

	while (next_segment(&route, &wanted) && next_segment(&path, &s)) {
		struct saga_slice known = name_of(wanted);

		if (!known.n || known.n != strlen(name) || memcmp(known.p, name, known.n) != 0)
			continue;
		while (s.n && n + 1 < size)
			out[n++] = (char)take_byte(&s, call->path_encoded);
		if (s.n || !size)
			return false;
		out[n] = '\0';
		return is_utf8(out, n);
	}
	return false;
}

/* ---- are they what they should be? ------------------------------------------------------- */

static bool is_name(struct saga_slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] == '_' || ((s.p[i] | 0x20) >= 'a' && (s.p[i] | 0x20) <= 'z') ||
		      (i && s.p[i] >= '0' && s.p[i] <= '9')))
			return false;
	return s.n > 0;
}

static bool is_path(const char *path)
{
	const char *rest = path;
	struct saga_slice s;

	while (next_segment(&rest, &s)) {
		bool marked = memchr(s.p, '{', s.n) || memchr(s.p, '}', s.n) ||
		              memchr(s.p, '*', s.n);

		if (marked && !is_name(name_of(s)) && !(s.n == 1 && *s.p == '*'))
			return false;
	}
	return *path && !*rest;
}

static bool has_handler(const struct saga_route *r)
{
	return r->handler || r->op == SAGA_CHECK || (r->prepared && r->op != SAGA_TRY);
}

bool saga_service_check(const struct saga_service *service, struct saga_error *error)
{
	for (size_t i = 0; i < service->route_count; i++) {
		const struct saga_route *r = &service->routes[i];

		if (!r->path || !is_path(r->path))
			return saga_fail(error, SAGA_E_ARGUMENT, "no path of a route: %s",
			                 r->path ? r->path : "NULL");
		if (!has_handler(r))
			return saga_fail(error, SAGA_E_ARGUMENT, "%s %s has no handler",
			                 saga_op_name(r->op), r->path);
		for (size_t k = 0; k < i; k++)
			if (service->routes[k].op == r->op &&
			    !strcmp(service->routes[k].path, r->path))
				return saga_fail(error, SAGA_E_ARGUMENT, "%s %s has two routes",
				                 saga_op_name(r->op), r->path);
	}
	if (service->route_count && !service->pool)
		return saga_fail(error, SAGA_E_ARGUMENT, "a service with routes has a pool");
	return true;
}
