/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/plain_request.h"

#include "coordinator/io/resolver.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' ||
	       c == '.' || c == '_';
}

/* Four numbers as inet_pton() takes them, which wants a copy. */
static bool is_v4(struct str s)
{
	unsigned number = 0, digits = 0, dots = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.' && digits > 0) {
			dots++;
			number = digits = 0;
		} else if (is_digit(s.p[i]) && (digits == 0 || number > 0)) {
			number = number * 10 + (unsigned)(s.p[i] - '0');
			digits++;
			if (number > 255)
				return false;
		} else {
			return false;
		}
	}
	return dots == 3 && digits > 0;
}

/* "127.1", "0x7f.1" and "2130706433" are addresses to libcurl, which writes them out in full: a
 * name whose last label begins with a digit is not one, unless it is a whole IPv4 address. */
static bool is_host(struct str s)
{
	size_t label = 0;

	if (s.n == 0 || s.n > RESOLVER_NAME_MAX || s.p[0] == '.' || s.p[s.n - 1] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!is_host_char(s.p[i]))
			return false;
		if (s.p[i] == '.')
			label = i + 1;
	}
	return !is_digit(s.p[label]) || is_v4(s);
}

static bool is_v6(struct str s)
{
	char            text[INET6_ADDRSTRLEN], again[INET6_ADDRSTRLEN];
	struct in6_addr v6;

	/* libcurl writes addresses in their shortest form: others are left to it. */
	return s.n < sizeof text &&
	       inet_pton(AF_INET6, str_cstr(s, text, sizeof text), &v6) == 1 &&
	       inet_ntop(AF_INET6, &v6, again, sizeof again) != NULL && strcmp(text, again) == 0;
}

static bool read_port(struct str s, struct plain_url *out)
{
	uint64_t port;

	if (s.n == 0 || s.p[0] == '0' || !text_to_u64(s, &port) || port > UINT16_MAX)
		return false;
	out->port = (uint16_t)port;
	out->names_port = port != (out->is_tls ? 443 : 80);
	return true;
}

static bool read_authority(struct str s, struct plain_url *out)
{
	const char *end = s.n > 0 && s.p[0] == '[' ? memchr(s.p, ']', s.n) : NULL;
	size_t      host_end;

	out->port = out->is_tls ? 443 : 80;
	out->names_port = false;
	out->is_v6 = end != NULL;
	if (end != NULL) {
		out->host = (struct str){ s.p + 1, (size_t)(end - s.p) - 1 };
		host_end = out->host.n + 2;
	} else {
		end = s.n > 0 ? memchr(s.p, ':', s.n) : NULL;
		host_end = end != NULL ? (size_t)(end - s.p) : s.n;
		out->host = (struct str){ s.p, host_end };
	}
	if (out->is_v6 ? !is_v6(out->host) : !is_host(out->host))
		return false;
	if (host_end == s.n)
		return true;
	return s.p[host_end] == ':' &&
	       read_port((struct str){ s.p + host_end + 1, s.n - host_end - 1 }, out);
}

bool plain_url_read(const char *url, struct plain_url *out)
{
	static const char plain[] = "http://", tls[] = "https://";
	struct str        place;
	size_t            n;

	out->is_tls = strncmp(url, tls, sizeof tls - 1) == 0;
	if (!out->is_tls && strncmp(url, plain, sizeof plain - 1) != 0)
		return false;
	n = (out->is_tls ? sizeof tls : sizeof plain) - 1;
	place = (struct str){ url + n, strcspn(url + n, "/?#") };
	n += place.n;
	out->authority = out->is_tls ? (struct str){ url, n } : place;
	out->path = str_of(url + n);
	if (out->path.n == 0)
		out->path = STR("/");
	if (out->path.p[0] != '/')
		return false;
	for (size_t i = 0; i < out->path.n; i++)
		if (out->path.p[i] <= ' ' || out->path.p[i] >= 0x7f || out->path.p[i] == '#')
			return false;
	return read_authority(place, out);
}

/* ---- the head ---------------------------------------------------------------------- */

/* libcurl's words: "Name:" sends nothing, "Name;" sends an empty header. */
static void write_header(const char *header, struct buf *out)
{
	const size_t n = strlen(header);
	const char  *value = memchr(header, ':', n);

	if (value != NULL) {
		while (value[1] == ' ' || value[1] == '\t')
			value++;
		if (value[1] == '\0')
			return;
		buf_add(out, header, n);
		buf_add(out, "\r\n", 2);
	} else if (n > 0 && memchr(header, ';', n) == header + n - 1) {
		buf_add(out, header, n - 1);
		buf_add(out, ":\r\n", 3);
	}
}

static void write_host(const struct plain_url *url, struct buf *out)
{
	buf_cstr(out, " HTTP/1.1\r\nHost: ");
	buf_cstr(out, url->is_v6 ? "[" : "");
	buf_str(out, url->host);
	buf_cstr(out, url->is_v6 ? "]" : "");
	if (url->names_port) {
		buf_char(out, ':');
		buf_u64(out, url->port);
	}
	buf_add(out, "\r\n", 2);
}

bool plain_has_body(const struct http_request *r)
{
	return r->body.p != NULL && strcmp(r->method, "HEAD") != 0;
}

void plain_head_write(const struct http_request *r, const struct plain_url *url, struct buf *out)
{
	bool accepts = false;

	buf_cstr(out, r->method);
	buf_char(out, ' ');
	buf_str(out, url->path);
	write_host(url, out);
	for (size_t i = 0; i < r->header_count && !accepts; i++)
		accepts = strncasecmp(r->headers[i], "Accept:", 7) == 0;
	if (!accepts)
		buf_cstr(out, "Accept: */*\r\n");
	for (size_t i = 0; i < r->header_count; i++)
		write_header(r->headers[i], out);
	if (plain_has_body(r) || strcmp(r->method, "POST") == 0) {
		buf_cstr(out, "Content-Length: ");
		buf_u64(out, r->body.n);
		buf_add(out, "\r\n", 2);
	}
	buf_add(out, "\r\n", 2);
}
