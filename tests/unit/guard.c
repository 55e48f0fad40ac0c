/* SPDX-License-Identifier: Apache-2.0
 * guard.c - networks that are never called, in every spelling of an address.
 */
#include "coordinator/io/guard.h"
#include "coordinator/options.h"
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
	{ "localhost", "127.0.0.1", false },
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

static const char *const METADATA[] = {
	"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::169.254.169.254",
	"fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.255",
	"255.255.255.255", "ff02::1", "fe80::1", "64:ff9b::224.0.0.1",
};
static const char *const FINE[] = { "127.0.0.1", "::1", "10.0.0.1", "8.8.8.8", "2001:db8::1", "fd00:ec2::253", "64:ff9b::8.8.8.8",
	                            "2002:808:808::1", "192.0.0.193", "::ffff:10.0.0.1" };

static bool by_address(const struct guard *g, enum guard_word word, const char *ip, uint16_t port)
{
	struct sockaddr_in  v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1)
		return guard_denies(g, word, (const struct sockaddr *)&v4);
	inet_pton(AF_INET6, ip, &v6.sin6_addr);
	return guard_denies(g, word, (const struct sockaddr *)&v6);
}

static const char *const wrong[] = { "10.0.0.0/33", "fe80::/129", "10.0.0", "10.0.0.0/", "10.0.0.0/x", "/8", "10.0.0.0/8:0",
	                             "10.0.0.0/-1", "[fe80::/10", "[fe80::/10]443", "10.0.0.0/8;", "pay.internal:", "pay:65536", "*.", "a*b",
	                             "*pay", "pay.1", "1.2.3.4.5", "x.0x7f", ":80", "1111:2222:3333:4444:5555:6666:7777:8888:9999" };

/* deny | allow | host | port | word | an address it resolves to | may that be called */
static const struct {
	const char     *deny, *allow, *host;
	uint16_t        port;
	enum guard_word word;
	const char     *ip;
	bool            may;
} places[] = {
	{ "none", "", "pay.internal", 80, GUARD_TAKEN, "10.0.0.1", true },
	{ "10.0.0.0/8", "", "pay.internal", 80, GUARD_TAKEN, "10.0.0.1", false },
	{ "none", "pay.internal", "pay.internal", 80, GUARD_TAKEN, "10.0.0.1", true },
	{ "none", "pay.internal", "PAY.Internal.", 80, GUARD_TAKEN, "10.0.0.1", true },
	{ "none", "pay.internal", "mypay.internal", 80, GUARD_BY_ADDRESS, "10.0.0.1", false },
	{ "none", "*.internal", "pay.internal", 80, GUARD_TAKEN, "10.0.0.1", true },
	{ "none", "*.internal", "a.b.internal", 80, GUARD_TAKEN, "10.0.0.1", true },
	{ "none", "*.internal", "internal", 80, GUARD_BY_ADDRESS, "10.0.0.1", false },
	{ "none", "*.internal", "pay.internal.evil", 80, GUARD_BY_ADDRESS, "10.0.0.1", false },
	{ "none", "pay.internal:8080", "pay.internal", 8080, GUARD_TAKEN, "10.0.0.1", true },
	{ "none", "pay.internal:8080", "pay.internal", 22, GUARD_BY_ADDRESS, "10.0.0.1", false },
	{ "none", "*:443", "anything", 443, GUARD_TAKEN, "10.0.0.1", true },
	{ "none", "10.1.0.0/16", "pay.internal", 80, GUARD_BY_ADDRESS, "10.1.2.3", true },
	{ "none", "10.1.0.0/16", "pay.internal", 80, GUARD_BY_ADDRESS, "::ffff:10.1.2.3", true },
	{ "none", "10.1.0.0/16", "pay.internal", 80, GUARD_BY_ADDRESS, "10.2.2.3", false },
	{ "none", "10.1.0.0/16:80", "pay.internal", 80, GUARD_BY_ADDRESS, "10.1.2.3", true },
	{ "none", "10.1.0.0/16:80", "pay.internal", 81, GUARD_BY_ADDRESS, "10.1.2.3", false },
	{ "none", "[fd00::/8]:80", "pay.internal", 80, GUARD_BY_ADDRESS, "fd00::1", true },
	{ "10.1.0.0/16", "pay.internal", "pay.internal", 80, GUARD_TAKEN, "10.1.0.1", false },
	{ "10.1.0.0/16:22", "", "pay.internal", 22, GUARD_TAKEN, "10.1.0.1", false },
	{ "10.1.0.0/16:22", "", "pay.internal", 80, GUARD_TAKEN, "10.1.0.1", true },
	{ "*.internal", "", "pay.internal", 80, GUARD_REFUSED, "8.8.8.8", false },
	{ "*:25", "", "mail", 25, GUARD_REFUSED, "8.8.8.8", false },
	{ "none", "10.1.0.0/16", "10.1.2.3", 80, GUARD_BY_ADDRESS, "10.1.2.3", true },
	{ "none", "10.1.0.0/16", "10.2.2.3", 80, GUARD_REFUSED, "10.2.2.3", false },
	{ "169.254.0.0/16", "", "169.254.169.254", 80, GUARD_REFUSED, "169.254.169.254", false },
	{ "169.254.0.0/16", "", "0xa9fea9fe", 80, GUARD_REFUSED, "169.254.169.254", false },
	{ "169.254.0.0/16", "", "2852039166", 80, GUARD_REFUSED, "169.254.169.254", false },
	{ "169.254.0.0/16", "", "0251.0376.43518", 80, GUARD_REFUSED, "169.254.169.254", false },
	{ "169.254.0.0/16", "", "::ffff:169.254.169.254", 80, GUARD_REFUSED, "169.254.169.254", false },
	{ "fe80::/10", "", "fe80::1%25eth0", 80, GUARD_REFUSED, "fe80::1", false },
};

static void check_defaults(void)
{
	struct guard g;
	struct err   err;

	ok(guard_parse(&g, STR(CALLS_DENY), STR(""), &err), "the default can be read");
	for (size_t i = 0; i < sizeof METADATA / sizeof METADATA[0]; i++)
		ok(by_address(&g, GUARD_TAKEN, METADATA[i], 80) && guard_denies_text(&g, GUARD_TAKEN, METADATA[i], 80) &&
		   guard_judge(&g, str_of(METADATA[i]), 80) == GUARD_REFUSED, "%s is nobody's service", METADATA[i]);
	for (size_t i = 0; i < sizeof FINE / sizeof FINE[0]; i++)
		ok(!by_address(&g, GUARD_TAKEN, FINE[i], 80) && guard_judge(&g, str_of(FINE[i]), 80) == GUARD_TAKEN, "%s may be", FINE[i]);
	guard_fini(&g);
}

static void check_places(void)
{
	struct guard g;
	struct err   err;

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		bool parsed = guard_parse(&g, str_of(places[i].deny), str_of(places[i].allow), &err);
		enum guard_word word = parsed ? guard_judge(&g, str_of(places[i].host), places[i].port) : GUARD_REFUSED;

		ok(parsed && word == places[i].word && by_address(&g, word, places[i].ip, places[i].port) == !places[i].may,
		   "deny \"%s\", allow \"%s\": %s:%u at %s is %s", places[i].deny, places[i].allow, places[i].host,
		   places[i].port, places[i].ip, places[i].may ? "called" : "refused");
		guard_fini(&g);
	}
}

int main(void)
{
	struct guard       g;
	struct err         err;
	struct sockaddr_un other = { .sun_family = AF_UNIX };
	struct buf         many = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ok(guard_parse(&g, str_of(rows[i].list), STR(""), &err) &&
		   by_address(&g, GUARD_TAKEN, rows[i].ip, 80) == rows[i].denied &&
		   guard_denies_text(&g, GUARD_TAKEN, rows[i].ip, 80) == rows[i].denied, "\"%s\": %s is %s", rows[i].list,
		   rows[i].ip, rows[i].denied ? "denied" : "allowed");
		guard_fini(&g);
	}
	check_defaults();
	check_places();
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		ok(!guard_parse(&g, str_of(wrong[i]), STR(""), &err) && strstr(err.text, "10.0.0.0/8") != NULL &&
		   !guard_parse(&g, STR("none"), str_of(wrong[i]), &err), "\"%s\" is refused", wrong[i]);
	for (int i = 0; i <= GUARD_MAX; i++)
		buf_cstr(&many, "a.b ");
	ok(!guard_parse(&g, buf_view(&many), STR(""), &err) && strstr(err.text, "64") != NULL, "too many: %s", err.text);
	buf_fini(&many);
	ok(guard_parse(&g, STR("fe80::/10"), STR(""), &err) && guard_denies_text(&g, GUARD_TAKEN, "fe80::1%eth0", 80),
	   "a zone changes nothing");
	ok(guard_denies_text(&g, GUARD_TAKEN, "what", 80) && guard_denies_text(&g, GUARD_TAKEN, "", 80), "what is no address is denied");
	ok(guard_denies(&g, GUARD_TAKEN, (const struct sockaddr *)&other), "as are sockets of other kinds");
	guard_fini(&g);
	return tap_done();
}
