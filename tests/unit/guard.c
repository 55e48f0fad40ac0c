/* SPDX-License-Identifier: Apache-2.0
 * guard.c - networks that are never called, in every spelling of an address.
 */
#include "coordinator/io/guard.h"
#include "tests/lib/tap.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

static const struct {
	const char *list, *ip;
	bool        denied;
} rows[] = {
	{ "169.254.0.0/16, fe80::/10", "169.254.169.254", true },
	{ "169.254.0.0/16, fe80::/10", "169.253.255.255", false },
	{ "169.254.0.0/16, fe80::/10", "169.255.0.0", false },
	{ "169.254.0.0/16, fe80::/10", "::ffff:169.254.169.254", true },
	{ "169.254.0.0/16, fe80::/10", "fe80::1", true },
	{ "169.254.0.0/16, fe80::/10", "febf::1", true },
	{ "169.254.0.0/16, fe80::/10", "fec0::1", false },
	{ "169.254.0.0/16, fe80::/10", "127.0.0.1", false },
	{ "10.0.0.0/9", "10.127.0.1", true },
	{ "10.0.0.0/9", "10.128.0.1", false },
	{ "192.0.2.7", "192.0.2.7", true },
	{ "192.0.2.7", "192.0.2.6", false },
	{ "::1", "::1", true },
	{ "::1", "::2", false },
	{ "0.0.0.0/0", "8.8.8.8", true },
	{ "0.0.0.0/0", "2001:db8::1", false },
	{ "::/0", "8.8.8.8", true },
	{ "", "169.254.169.254", false },
	{ "none", "169.254.169.254", false },
	{ " 10.0.0.0/8,,172.16.0.0/12  192.168.0.0/16 ", "192.168.3.4", true },
};

static bool by_address(const struct guard *g, const char *ip)
{
	struct sockaddr_in  v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1)
		return guard_denies(g, (const struct sockaddr *)&v4);
	inet_pton(AF_INET6, ip, &v6.sin6_addr);
	return guard_denies(g, (const struct sockaddr *)&v6);
}

static const char *const wrong[] = { "10.0.0.0/33", "fe80::/129", "10.0.0", "10.0.0.0/", "10.0.0.0/x", "/8", "all",
	                             "10.0.0.0/-1", "localhost", "10.0.0.0/8;", "1111:2222:3333:4444:5555:6666:7777:8888:9999" };

int main(void)
{
	struct guard       g;
	struct err         err;
	struct sockaddr_un other = { .sun_family = AF_UNIX };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		ok(guard_parse(&g, str_of(rows[i].list), &err) && by_address(&g, rows[i].ip) == rows[i].denied &&
		   guard_denies_text(&g, rows[i].ip) == rows[i].denied, "\"%s\": %s is %s", rows[i].list, rows[i].ip,
		   rows[i].denied ? "denied" : "allowed");
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		ok(!guard_parse(&g, str_of(wrong[i]), &err) && strstr(err.text, "10.0.0.0/8") != NULL, "\"%s\" is refused",
		   wrong[i]);
	ok(guard_parse(&g, STR("fe80::/10"), &err) && guard_denies_text(&g, "fe80::1%eth0"), "a zone changes nothing");
	ok(guard_denies_text(&g, "what") && guard_denies_text(&g, ""), "what is no address is denied");
	ok(guard_denies(&g, (const struct sockaddr *)&other), "as are sockets of other kinds");
	return tap_done();
}
