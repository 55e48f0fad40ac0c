/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

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

static bool read_net(struct str text, struct guard_net *out)
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

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == ',';
}

bool guard_parse(struct guard *g, struct str list, struct err *err)
{
	*g = (struct guard){ 0 };
	if (str_is(list, "none"))
		return true;
	for (size_t at = 0; at < list.n;) {
		size_t start = at;

		if (is_space(list.p[at])) {
			at++;
			continue;
		}
		while (at < list.n && !is_space(list.p[at]))
			at++;
		if (g->n == GUARD_MAX)
			return err_set(err, ERR_INVALID, "more than %d networks to deny", GUARD_MAX);
		if (!read_net((struct str){ list.p + start, at - start }, &g->nets[g->n++]))
			return err_set(err, ERR_INVALID,
			               "\"%.*s\" is no network; write 10.0.0.0/8 or fe80::/10",
			               (int)(at - start), list.p + start);
	}
	return true;
}

static bool is_in(const struct guard_net *net, const uint8_t address[16])
{
	size_t   whole = net->bits / 8;
	unsigned mask = 0xff00u >> net->bits % 8 & 0xff;

	if (memcmp(net->address, address, whole) != 0)
		return false;
	return mask == 0 || ((net->address[whole] ^ address[whole]) & mask) == 0;
}

static bool denies(const struct guard *g, const uint8_t address[16])
{
	for (size_t i = 0; i < g->n; i++)
		if (is_in(&g->nets[i], address))
			return true;
	return false;
}

bool guard_denies(const struct guard *g, const struct sockaddr *address)
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
	return denies(g, mapped);
}

bool guard_denies_text(const struct guard *g, const char *ip)
{
	char    plain[INET6_ADDRSTRLEN];
	uint8_t mapped[16];
	bool    is_v4;

	/* Link-local addresses may carry a zone: fe80::1%eth0. */
	str_cstr(str_of(ip), plain, sizeof plain);
	plain[strcspn(plain, "%")] = '\0';
	return !read_address(plain, mapped, &is_v4) || denies(g, mapped);
}
