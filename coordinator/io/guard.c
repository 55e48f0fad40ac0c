/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { HOST_MAX = 255 };

/* ---- addresses -------------------------------------------------------------------------- */

static void map_v4(const void *v4, uint8_t out[16])
{
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, v4, 4);
}

/* An IPv4 address inside IPv6 is the same machine by another spelling. */
static bool read_address(const char *text, uint8_t out[16], bool *is_v4)
{
	struct in_addr v4;

	*is_v4 = inet_pton(AF_INET, text, &v4) == 1;
	if (*is_v4)
		map_v4(&v4, out);
	return *is_v4 || inet_pton(AF_INET6, text, out) == 1;
}

/* What a gateway would make an IPv4 packet of: NAT64 (RFC 6052), 6to4 (RFC 3056), and the old ::a.b.c.d. */
static bool unwrap(const uint8_t address[16], uint8_t out[16])
{
	static const uint8_t NAT64[12] = { 0x00, 0x64, 0xff, 0x9b }, COMPATIBLE[12] = { 0 };

	if (memcmp(address, NAT64, 12) == 0 || (memcmp(address, COMPATIBLE, 12) == 0 && address[12] != 0))
		map_v4(address + 12, out);
	else if (address[0] == 0x20 && address[1] == 0x02)
		map_v4(address + 2, out);
	else
		return false;
	return true;
}

static bool is_in(const struct guard_entry *net, const uint8_t address[16])
{
	size_t   whole = net->bits / 8;
	unsigned mask = 0xff00u >> net->bits % 8 & 0xff;

	if (memcmp(net->address, address, whole) != 0)
		return false;
	return mask == 0 || ((net->address[whole] ^ address[whole]) & mask) == 0;
}

static bool names_address(const struct guard_entry *list, size_t n, const uint8_t address[16], uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].name.n == 0 && (list[i].port == 0 || list[i].port == port) && is_in(&list[i], address))
			return true;
	return false;
}

static bool denies(const struct guard *g, enum guard_word word, const uint8_t address[16], uint16_t port)
{
	uint8_t inner[16];

	if (word == GUARD_REFUSED || names_address(g->deny, g->deny_n, address, port))
		return true;
	if (unwrap(address, inner) && names_address(g->deny, g->deny_n, inner, port))
		return true;
	return word == GUARD_BY_ADDRESS && !names_address(g->allow, g->allow_n, address, port);
}

bool guard_denies(const struct guard *g, enum guard_word word, const struct sockaddr *address)
{
	const struct sockaddr_in6 *v6 = (const void *)address;
	const struct sockaddr_in  *v4 = (const void *)address;
	uint8_t                    mapped[16];

	if (address->sa_family == AF_INET6)
		memcpy(mapped, &v6->sin6_addr, 16);
	else if (address->sa_family == AF_INET)
		map_v4(&v4->sin_addr, mapped);
	else
		return true;
	return denies(g, word, mapped, ntohs(address->sa_family == AF_INET6 ? v6->sin6_port : v4->sin_port));
}

bool guard_denies_text(const struct guard *g, enum guard_word word, const char *ip, uint16_t port)
{
	char    plain[INET6_ADDRSTRLEN];
	uint8_t mapped[16];
	bool    is_v4;

	/* Link-local addresses may carry a zone: fe80::1%eth0. */
	str_cstr(str_of(ip), plain, sizeof plain);
	plain[strcspn(plain, "%")] = '\0';
	return !read_address(plain, mapped, &is_v4) || denies(g, word, mapped, port);
}

/* ---- names -------------------------------------------------------------------------------- */

static bool is_named(const struct guard_entry *e, struct str host, uint16_t port)
{
	if (e->name.n == 0 || (e->port != 0 && e->port != port))
		return false;
	if (str_is(e->name, "*"))
		return true;
	if (e->name.p[0] != '.')
		return str_eq(e->name, host);
	return host.n > e->name.n &&
	       memcmp(host.p + host.n - e->name.n, e->name.p, e->name.n) == 0;
}

static bool names_host(const struct guard_entry *list, size_t n, struct str host, uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (is_named(&list[i], host, port))
			return true;
	return false;
}

/* 127.1, 0x7f.1 and 2130706433 are addresses to libcurl and to many a resolver. */
static bool read_literal(const char *host, uint8_t out[16])
{
	const char    *label = strrchr(host, '.');
	struct in_addr v4;
	bool           is_v4;

	if (read_address(host, out, &is_v4))
		return true;
	label = label ? label + 1 : host;
	if (*label < '0' || *label > '9' || inet_aton(host, &v4) == 0)
		return false;
	map_v4(&v4, out);
	return true;
}

enum guard_word guard_judge(const struct guard *g, struct str host, uint16_t port)
{
	const enum guard_word otherwise = g->allow_n == 0 ? GUARD_TAKEN : GUARD_BY_ADDRESS;
	char                  text[HOST_MAX + 1];
	uint8_t               address[16];

	if (host.n == 0 || host.n > HOST_MAX)
		return GUARD_REFUSED;
	for (size_t i = 0; i < host.n; i++)
		text[i] = host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] + 32) : host.p[i];
	host = (struct str){ text, host.n - (host.n > 1 && text[host.n - 1] == '.') };
	text[host.n] = '\0';
	text[strcspn(text, "%")] = '\0';
	if (names_host(g->deny, g->deny_n, host, port))
		return GUARD_REFUSED;
	enum guard_word word = names_host(g->allow, g->allow_n, host, port) ? GUARD_TAKEN : otherwise;
	return read_literal(text, address) && denies(g, word, address, port) ? GUARD_REFUSED : word;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static bool read_net(struct str text, struct guard_entry *out)
{
	char     address[INET6_ADDRSTRLEN];
	size_t   slash = 0;
	uint64_t bits = 128;
	bool     is_v4;

	while (slash < text.n && text.p[slash] != '/')
		slash++;
	if (slash >= sizeof address)
		return false;
	str_cstr((struct str){ text.p, slash }, address, sizeof address);
	if (!read_address(address, out->address, &is_v4))
		return false;
	if (slash < text.n) {
		if (!text_to_u64((struct str){ text.p + slash + 1, text.n - slash - 1 }, &bits))
			return false;
		if (bits > (is_v4 ? 32 : 128))
			return false;
		bits += is_v4 ? 96 : 0;
	}
	out->bits = (unsigned)bits;
	return true;
}

/* Of labels with letters in the last: what ends in digits is an address that somebody mistyped. */
static bool is_name(struct str s)
{
	size_t label = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
		      c == '.'))
			return false;
		if (c == '.')
			label = i + 1;
	}
	return s.n > 0 && s.n <= HOST_MAX && label < s.n && !(s.p[label] >= '0' && s.p[label] <= '9');
}

static bool read_name(struct str text, struct arena *arena, struct guard_entry *out)
{
	char *lower;

	if (text.n > 1 && text.p[0] == '*' && text.p[1] == '.')
		text = (struct str){ text.p + 1, text.n - 1 };
	if (!str_is(text, "*") && !is_name(text))
		return false;
	out->name = arena_str(arena, text);
	lower = (char *)(uintptr_t)out->name.p;
	for (size_t i = 0; i < text.n; i++)
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] + 32);
	return true;
}

/* Cuts ":port" off the end; an IPv6 address has more colons than one, and is bracketed if a port follows. */
static bool cut_port(struct str *text, uint16_t *port)
{
	const char *colon = memchr(text->p, ':', text->n), *close = memchr(text->p, ']', text->n);
	uint64_t    n;

	if (text->p[0] == '[') {
		if (close == NULL)
			return false;
		struct str behind = { close + 1, (size_t)(text->p + text->n - close) - 1 };
		*text = (struct str){ text->p + 1, (size_t)(close - text->p) - 1 };
		if (behind.n == 0)
			return true;
		colon = behind.p;
		close = behind.p + behind.n;
	} else {
		close = text->p + text->n;
		if (colon == NULL || memchr(colon + 1, ':', (size_t)(close - colon) - 1) != NULL)
			return true;
		text->n = (size_t)(colon - text->p);
	}
	if (*colon != ':' || !text_to_u64((struct str){ colon + 1, (size_t)(close - colon) - 1 }, &n) || n == 0 ||
	    n > UINT16_MAX)
		return false;
	*port = (uint16_t)n;
	return true;
}

static bool read_entry(struct str text, struct arena *arena, struct guard_entry *out)
{
	*out = (struct guard_entry){ 0 };
	return cut_port(&text, &out->port) && (read_net(text, out) || read_name(text, arena, out));
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == ',';
}

static bool read_list(struct guard *g, struct str list, struct guard_entry *out, size_t *n, struct err *err)
{
	for (size_t at = 0; at < list.n;) {
		size_t start = at;

		if (is_space(list.p[at])) {
			at++;
			continue;
		}
		while (at < list.n && !is_space(list.p[at]))
			at++;
		if (*n == GUARD_MAX)
			return err_set(err, ERR_INVALID, "a list of where calls may go has more than %d elements", GUARD_MAX);
		if (!read_entry((struct str){ list.p + start, at - start }, &g->arena, &out[(*n)++]))
			return err_set(err, ERR_INVALID, "\"%.*s\" is no network, address or name; write 10.0.0.0/8, "
			               "[fe80::/10]:443, pay.internal or *.internal:8080", (int)(at - start), list.p + start);
	}
	return true;
}

bool guard_parse(struct guard *g, struct str deny, struct str allow, struct err *err)
{
	*g = (struct guard){ 0 };
	if (str_is(deny, "none"))
		deny = (struct str){ 0 };
	if (!read_list(g, deny, g->deny, &g->deny_n, err) || !read_list(g, allow, g->allow, &g->allow_n, err)) {
		guard_fini(g);
		return false;
	}
	g->reads_urls = g->allow_n > 0;
	for (size_t i = 0; i < g->deny_n; i++)
		g->reads_urls = g->reads_urls || g->deny[i].name.n > 0;
	return true;
}

void guard_fini(struct guard *g)
{
	arena_fini(&g->arena);
}
