/* SPDX-License-Identifier: Apache-2.0
 * plain_request.c - which URLs the plain client takes, and what it makes of them.
 */
#include "coordinator/io/plain_request.h"
#include "coordinator/io/resolver.h"

#include "tests/lib/tap.h"

#include <string.h>

static const struct {
	const char *url, *authority, *host, *path;
	unsigned    port;
	bool        names_port;
} taken[] = {
	{ "http://a", "a", "a", "/", 80, false },
	{ "http://a/", "a", "a", "/", 80, false },
	{ "http://a:80/x", "a:80", "a", "/x", 80, false },
	{ "http://a:8080/x?y=%20&z", "a:8080", "a", "/x?y=%20&z", 8080, true },
	{ "http://Hotel_1.svc-2.cluster.local:65535/a/../b", "Hotel_1.svc-2.cluster.local:65535", "Hotel_1.svc-2.cluster.local", "/a/../b", 65535, true },
	{ "http://10.0.0.1/x", "10.0.0.1", "10.0.0.1", "/x", 80, false },
	{ "http://[::1]:81/x", "[::1]:81", "::1", "/x", 81, true },
	{ "http://[fe80::1]", "[fe80::1]", "fe80::1", "/", 80, false },
	{ "https://a/x", "https://a", "a", "/x", 443, false },
	{ "https://a:443", "https://a:443", "a", "/", 443, false },
	{ "https://[::1]:80/?y", "https://[::1]:80", "::1", "/?y", 80, true },
	{ "http://a:443/", "a:443", "a", "/", 443, true },
	{ "http://1a.example/", "1a.example", "1a.example", "/", 80, false },
};

static const char *const left[] = {
	"", "http", "http:", "http://", "http:///x", "https:/a", "https://u@a/", "https://127.1/", "HTTPS://a/", "HTTP://a/", "ftp://a/", "//a/", "a/b",
	"http://u@a/", "http://u:p@a/", "http://a:/", "http://a:0/", "http://a:080/", "http://a:65536/", "http://a:8x/", "http://a:8:9/",
	"http://a b/", "http://a%20b/", "http://\xc3\xa4/", "http://.a/", "http://a./", "http://a?x", "http://a#x", "http://a/#x",
	"http://a/ ", "http://a/\n", "http://a/\x7f", "http://a/\xc3\xbc", "http://a\\b/",
	"http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://127.0.0.0x1/", "http://127.0.0.256/", "http://127.0.00.1/", "http://01.2.3.4/",
	"http://1.2..4/", "http://1.2.3.4a.5/", "http://1.2.3.4.5/",
	"http://[::1/", "http://[]/", "http://[::1]x/", "http://[::1]:/", "http://[0::1]/", "http://[fe80::1%25eth0]/", "http://[1.2.3.4]/",
	"http://::1/"
};

static void check_urls(void)
{
	struct plain_url u;
	char             url[300];

	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
		ok(plain_url_read(taken[i].url, &u) && str_is(u.authority, taken[i].authority) && str_is(u.host, taken[i].host) &&
		   str_is(u.path, taken[i].path) && u.port == taken[i].port && u.names_port == taken[i].names_port,
		   "taken: %s", taken[i].url);
	for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
		ok(!plain_url_read(left[i], &u), "left to libcurl: %s", left[i]);
	memset(url, 'a', sizeof url);
	memcpy(url, "http://", 7);
	url[7 + RESOLVER_NAME_MAX] = '\0';
	ok(plain_url_read(url, &u), "the longest name");
	url[7 + RESOLVER_NAME_MAX] = 'a';
	url[8 + RESOLVER_NAME_MAX] = '\0';
	ok(!plain_url_read(url, &u), "a longer one");
}

static void check_head(void)
{
	const char         *headers[] = { "Content-Type: application/json", "X-Empty;", "X-Gone:", "X-Blank: \t", "x-semi;colon: y", "a;b;" };
	struct http_request r = { .method = "POST", .headers = headers, .header_count = 6, .body = STR("{}") };
	struct plain_url    u;
	struct buf          b = { 0 };

	ok(plain_url_read("http://a:81/x", &u), "a URL");
	plain_head_write(&r, &u, &b);
	ok(str_is(buf_view(&b), "POST /x HTTP/1.1\r\nHost: a:81\r\nAccept: */*\r\nContent-Type: application/json\r\nX-Empty:\r\n"
	                        "x-semi;colon: y\r\n"
	                        "Content-Length: 2\r\n\r\n"), "a head: %s", b.p);
	buf_fini(&b);
}

int main(void)
{
	check_urls();
	check_head();
	return tap_done();
}
