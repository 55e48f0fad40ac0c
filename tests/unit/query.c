/* SPDX-License-Identifier: Apache-2.0
 * query.c - the small languages of a request, and what a start may say.
 */
#include "api/query.h"
#include "api/start.h"
#include "tests/lib/tap.h"

#include <string.h>

static struct arena arena;

/* ---- the query string ---------------------------------------------------------- */

static void test_query(void)
{
	struct query      q = { 0 };
	const char *const known[] = { "phase", "label.", NULL };

	ok(!query_add(&q, &arena, STR("phase"), STR("try%69ng")), "a pair is taken");
	ok(str_is(*query_get(&q, "phase"), "trying"), "its value is percent-decoded");
	ok(!query_get(&q, "limit"), "an absent one is NULL");
	ok(query_add(&q, &arena, STR("%70hase"), STR("x")), "a name given twice is refused, however written");
	ok(query_add(&q, &arena, STR("a"), STR("%")), "half an escape is refused");
	ok(query_add(&q, &arena, STR("a"), STR("%zz")), "a false escape is refused");
	ok(query_add(&q, &arena, STR("a"), STR("%00")), "a NUL is refused");
	ok(query_add(&q, &arena, STR("a"), STR("%ff")), "bad UTF-8 is refused");
	ok(!query_unknown(&q, known), "all are known so far");
	ok(!query_add(&q, &arena, STR("label.colour"), STR("red")), "a label is taken");
	ok(!query_unknown(&q, known), "names that begin like a known one with a dot are known");
	ok(!query_add(&q, &arena, STR("colour"), STR("red")), "another is taken");
	ok(str_is(*query_unknown(&q, known), "colour"), "but is not known");
	for (char name[] = "0"; q.n < QUERY_MAX; name[0]++)
		if (query_add(&q, &arena, str_of(name), STR("")))
			break;
	ok(q.n == QUERY_MAX && query_add(&q, &arena, STR("more"), STR("")), "there is a limit on parameters");
}

static void test_waits(void)
{
	const char *const bad[] = { "", "soon", "-1s", "1.5s", "20", "1s1s" };
	int64_t           ms;

	ok(wait_read(STR("20s"), &ms) && ms == 20000, "20s is 20 s");
	ok(wait_read(STR("250ms"), &ms) && ms == 250, "250ms is 250 ms");
	ok(wait_read(STR("2h"), &ms) && ms == WAIT_MAX_MS, "more than the limit is cut to it");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ok(!wait_read(str_of(bad[i]), &ms), "'%s' is no wait", bad[i]);
}

/* ---- headers ---------------------------------------------------------------------- */

static struct prefer prefer(const char *header)
{
	struct prefer p;

	prefer_read(str_of(header), &p);
	return p;
}

static void test_prefer(void)
{
	ok(!prefer("").wait, "no Prefer: no wait");
	ok(prefer("wait=20").wait_ms == 20000, "wait=20 is 20 s");
	ok(prefer("respond-async, Wait = 7 ; x=y").wait_ms == 7000, "among others, with white space and parameters");
	ok(prefer("wait=99999999999999999").wait_ms == WAIT_MAX_MS, "a huge wait is cut");
	ok(prefer("wait=3600").asked_ms == 3600000 && prefer("wait=99999999999999999").asked_ms > 0,
	   "what was asked for is remembered, of any length");
	ok(prefer("wait=3, wait=9").wait_ms == 3000, "the first of a name counts");
	ok(!prefer("wait=soon").wait && !prefer("wait").wait, "what cannot be read is ignored");
	ok(prefer("return=minimal").minimal && !prefer("return=representation").minimal, "return=minimal");
	ok(prefer("wait=\"5\"").wait_ms == 5000, "a quoted value is a value");
}

static void test_etags(void)
{
	struct etag e;

	ok(etag_read(STR(""), &e) && !e.given && etag_fits(&e, 7), "no header fits everything");
	ok(etag_read(STR("\"7\""), &e) && e.given && etag_fits(&e, 7) && !etag_fits(&e, 8), "\"7\" fits 7 alone");
	ok(etag_read(STR(" W/\"7\" "), &e) && etag_fits(&e, 7), "a weak tag is the same to us");
	ok(etag_read(STR("7"), &e) && etag_fits(&e, 7), "a bare one too");
	ok(etag_read(STR("*"), &e) && e.any && etag_fits(&e, 99), "* fits everything");
	ok(!etag_read(STR("\"x\""), &e) && !etag_read(STR("\"1\", \"2\""), &e), "others are refused");
}

static void test_keys(void)
{
	struct str key;
	char       big[IDEMPOTENCY_KEY_MAX + 1];

	ok(idempotency_key_read(STR("\"a b\""), &arena, &key) && str_is(key, "a b"), "a quoted key");
	ok(idempotency_key_read(STR(" a b "), &arena, &key) && str_is(key, "a b"), "the same bare");
	ok(idempotency_key_read(STR("\"a\\\"b\""), &arena, &key) && str_is(key, "a\"b"), "escapes in a quoted one");
	ok(!idempotency_key_read(STR("\"k-1"), &arena, &key) && !idempotency_key_read(STR("\"k\";a=b"), &arena, &key) &&
	   !idempotency_key_read(STR("\"k\"1\""), &arena, &key) && !idempotency_key_read(STR("\""), &arena, &key),
	   "half a quoted one, or more than one, is refused");
	ok(idempotency_key_read(STR("k\"1"), &arena, &key) && str_is(key, "k\"1"), "a bare one may have quotes inside");
	ok(!idempotency_key_read(STR("\"\""), &arena, &key), "an empty key is refused");
	ok(!idempotency_key_read(STR("a\xc3\xa4"), &arena, &key), "one that is not ASCII too");
	memset(big, 'k', sizeof big);
	ok(!idempotency_key_read((struct str){ big, sizeof big }, &arena, &key), "one that is too long too");
	ok(idempotency_key_read((struct str){ big, sizeof big - 1 }, &arena, &key), "the longest is taken");
}

static void test_accept(void)
{
	static const struct {
		const char *header;
		bool        drawn;
	} rows[] = {
		{ "text/vnd.mermaid", true }, { "Text/VND.mermaid; q=0.5", true }, { "text/vnd.mermaid, */*;q=0.8", true },
		{ "application/json;q=0.5, text/vnd.mermaid;v=1;q=0.75", true }, { "text/vnd.mermaid;q=1.000", true },
		{ "application/json, text/vnd.mermaid", true }, { "text/vnd.mermaid;q=0", false },
		{ "text/vnd.mermaid;q=0.000", false }, { "application/json, text/vnd.mermaid;q=0.1", false },
		{ "", false }, { "*/*", false }, { "text/*", false }, { "text/vnd.mermaids", false },
		{ "application/json", false }, { "text/vnd.mermaid;q=x", false }, { "text/vnd.mermaid;q=", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		ok(accept_prefers(str_of(rows[i].header), "text/vnd.mermaid", "application/json") == rows[i].drawn, "%s: %s",
		   rows[i].drawn ? "a drawing" : "no drawing", rows[i].header);
}

static void test_traceparent(void)
{
	ok(traceparent_is_valid(STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")), "W3C's example");
	ok(!traceparent_is_valid(STR("00-00000000000000000000000000000000-b7ad6b7169203331-01")), "no zero trace");
	ok(!traceparent_is_valid(STR("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01")), "no zero span");
	ok(!traceparent_is_valid(STR("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")), "lower case only");
	ok(!traceparent_is_valid(STR("rubbish")), "no rubbish");
}

static void test_names(void)
{
	char big[GID_MAX + 1], url[BASE_URL_MAX + 1];

	memset(big, 'g', sizeof big);
	ok(gid_is_valid(STR("a")) && gid_is_valid(STR("ord/1:2?x")), "gids are printable ASCII");
	ok(gid_is_valid((struct str){ big, GID_MAX }) && !gid_is_valid((struct str){ big, GID_MAX + 1 }), "up to 128");
	ok(!gid_is_valid(STR("")) && !gid_is_valid(STR("a b")) && !gid_is_valid(STR("a\"b")) &&
	   !gid_is_valid(STR("a'b")) && !gid_is_valid(STR("a\\b")) && !gid_is_valid(STR("\xc3\xa4")),
	   "without space, quotes, backslash");
	ok(given_name_is_valid(STR("book-trip_2")) && !given_name_is_valid(STR("2x")) && !given_name_is_valid(STR("a/b")) && given_name_is_valid(STR("a.b")) &&
	   !given_name_is_valid(STR("")) && !given_name_is_valid((struct str){ big, 129 }), "names");
	ok(base_url_is_valid(STR("http://a:80")) && base_url_is_valid(STR("https://[::1]:8/x")), "base URLs");
	ok(!base_url_is_valid(STR("http://")) && !base_url_is_valid(STR("ftp://a")) &&
	   !base_url_is_valid(STR("http://u@a")) && !base_url_is_valid(STR("http://a?b")) &&
	   !base_url_is_valid(STR("http://a/ b")), "what is none");
	ok(!base_url_is_valid(STR("http://a:99999")) && !base_url_is_valid(STR("http://a:0")) &&
	   !base_url_is_valid(STR("http://a:")) && !base_url_is_valid(STR("http://:80")) &&
	   !base_url_is_valid(STR("http://a:b:80")), "a port is a port, behind a host");
	ok(!base_url_is_valid(STR("http://[::1")) && !base_url_is_valid(STR("http://[::1]x")) &&
	   !base_url_is_valid(STR("http://::1")) && base_url_is_valid(STR("http://[::1]")), "brackets come in pairs");
	ok(!base_url_is_valid(STR("http://a/%zz")) && !base_url_is_valid(STR("http://a/%2")) &&
	   base_url_is_valid(STR("http://a/%2F")), "escapes are whole");
	ok(!base_url_is_valid(STR("http://a/..")) && !base_url_is_valid(STR("http://a/b/./c")) &&
	   !base_url_is_valid(STR("http://a/b/../")) && base_url_is_valid(STR("http://a/b.c/..d/...")) &&
	   base_url_is_valid(STR("http://a/b/")), "no dot segments");
	memset(url, 'a', sizeof url);
	memcpy(url, "http://", 7);
	ok(base_url_is_valid((struct str){ url, sizeof url - 1 }) &&
	   !base_url_is_valid((struct str){ url, sizeof url }), "and it has a limit");
	ok(media_type_is_json(STR("application/json; charset=utf-8")) &&
	   media_type_is_json(STR("Application/JSON")) && media_type_is_json(STR("application/x+json")) &&
	   !media_type_is_json(STR("text/plain")) && !media_type_is_json(STR("+json")), "media types");
}

static void test_cursors(void)
{
	struct buf b = { 0 };
	struct str after;

	cursor_write(0x1122334455667788, STR("gid-7"), &b);
	ok(cursor_read(buf_view(&b), 0x1122334455667788, &arena, &after) && str_is(after, "gid-7"), "a cursor comes back");
	ok(!cursor_read(buf_view(&b), 0x1122334455667789, &arena, &after), "not for other filters");
	b.p[b.n - 1] = 'g';
	ok(!cursor_read(buf_view(&b), 0x1122334455667788, &arena, &after), "not with a bad digit");
	ok(!cursor_read(STR(""), 0, &arena, &after) && !cursor_read(STR("00"), 0, &arena, &after), "not a short one");
	ok(!cursor_read(STR("000000000000000000"), 0, &arena, &after), "not one with a NUL");
	buf_fini(&b);
}

/* ---- what a start says ----------------------------------------------------------------- */

enum { NOW = 1700000000 };

static int64_t now_ms(void)
{
	return (int64_t)NOW * 1000;
}

/* The errors as text; empty: none. */
static struct buf start(const char *body, struct start *out)
{
	struct json_error err;
	struct buf        errors = { 0 };
	struct json      *tree = json_parse(str_of(body), &arena, &err);

	if (!tree || tree->type != JSON_OBJECT)
		buf_cstr(&errors, "no object");
	else
		start_read(tree, now_ms(), &arena, &errors, out);
	return errors;
}

static void starts(const char *body, struct start *out, const char *what)
{
	struct buf errors = start(body, out);

	if (!ok(errors.n == 0, "%s", what))
		printf("# %s\n", errors.p);
	buf_fini(&errors);
}

static void fails(const char *body, const char *pointer)
{
	struct start s;
	struct buf   errors = start(body, &s), want = { 0 };

	buf_fmt(&want, "{\"pointer\":\"%s\",", pointer);
	if (!ok(errors.n && strstr(errors.p, want.p), "%s is wrong at '%s'", body, pointer))
		printf("# %s\n", errors.n ? errors.p : "no error");
	buf_fini(&errors);
	buf_fini(&want);
}

static void test_starts(void)
{
	struct start s;

	starts("{\"gid\":\"g\",\"definition\":\"d\",\"version\":3,\"input\":{\"a\": 1.10},\"labels\":{\"k\":\"v\"}}", &s,
	       "a start by definition");
	ok(str_is(s.gid, "g") && str_is(s.definition, "d") && s.version == 3, "its names");
	ok(str_is(s.input, "{\"a\": 1.10}"), "its input is the text as it came");
	ok(str_is(s.labels, "{\"k\":\"v\"}") && s.start_at == 0 && s.deadline_at == 0, "labels, no times");

	starts("{\"definition\":\"d\",\"start_at\":\"1h\",\"deadline\":\"10m\"}", &s, "a start in an hour");
	ok(s.start_at == now_ms() + 3600000, "start_at may be a duration");
	ok(s.deadline_at == s.start_at + 600000, "a deadline counts from the start");
	starts("{\"definition\":\"d\",\"deadline\":\"2030-01-01T00:00:00Z\"}", &s, "a deadline may be a time");
	ok(s.deadline_at == 1893456000000, "and is that time");
	starts("{\"definition\":\"d\",\"start_at\":\"2020-01-01T00:00:00Z\"}", &s, "a start in the past");
	ok(s.start_at == 0, "is now");
	starts("{\"definition\":\"d\",\"deadline\":\"2020-01-01T00:00:00Z\"}", &s, "a deadline in the past");
	ok(s.is_too_late, "is known as such: a replay may still say it");

	starts("{\"mode\":\"tcc\",\"deadline\":\"2m\",\"input\":5,\"gid\":\"g\"}", &s, "an open TCC");
	ok(str_is(s.document, "{\"mode\":\"tcc\",\"deadline\":\"2m\"}"), "its document is what is no envelope");
	starts("{\"steps\":{\"a\": {\"n\": 1.0}}, \"labels\": {}, \"max_parallel\": 4}", &s, "steps of one's own");
	ok(str_is(s.document, "{\"steps\":{\"a\": {\"n\": 1.0}},\"max_parallel\":4}"), "are passed on as written");

	fails("{}", "");
	fails("{\"input\":1}", "");
	fails("{\"definition\":7}", "/definition");
	fails("{\"definition\":\"a b\"}", "/definition");
	fails("{\"definition\":\"d\",\"colour\":1}", "/colour");
	fails("{\"definition\":\"d\",\"steps\":{}}", "/definition");
	fails("{\"definition\":\"d\",\"version\":0}", "/version");
	fails("{\"definition\":\"d\",\"version\":1.5}", "/version");
	fails("{\"definition\":\"d\",\"version\":\"1\"}", "/version");
	fails("{\"mode\":\"tcc\",\"version\":1}", "/version");
	fails("{\"definition\":\"d\",\"gid\":\"a b\"}", "/gid");
	fails("{\"definition\":\"d\",\"gid\":\"\"}", "/gid");
	fails("{\"definition\":\"d\",\"labels\":{\"a\":1}}", "/labels/a");
	fails("{\"definition\":\"d\",\"labels\":{\"\":\"x\"}}", "/labels/");
	fails("{\"definition\":\"d\",\"labels\":[]}", "/labels");
	fails("{\"definition\":\"d\",\"start_at\":\"tomorrow\"}", "/start_at");
	fails("{\"definition\":\"d\",\"deadline\":5}", "/deadline");
	fails("{\"mode\":\"tcc\",\"deadline\":\"4060-01-01T00:00:00Z\"}", "/deadline");
	fails("{\"definition\":\"d\",\"start_at\":\"9999-12-31T23:59:59Z\"}", "/start_at");
}

int main(void)
{
	test_query();
	test_waits();
	test_prefer();
	test_etags();
	test_keys();
	test_accept();
	test_traceparent();
	test_names();
	test_cursors();
	test_starts();
	arena_fini(&arena);
	return tap_done();
}
