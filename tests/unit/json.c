/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/json.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

static const char *const good[] = {
	"null",
	"true",
	"false",
	"0",
	"-0",
	"-1.5e+10",
	"1E400",
	"123456789012345678901234567890.10",
	"\"\"",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"",
	"\"\\ud83d\\ude00\"",
	"\"\xf0\x9f\x98\x80\"",
	"[]",
	"{}",
	" [ 1 , [ ] , { } ] ",
	"{\"a\":1,\"A\":2,\"\":3}",
	"\t\r\n{ \"a\" : [ 1 ] }\n",
	"[\"\x7f\"]",
};

static const struct {
	const char *why, *text, *pointer;
	size_t      at;
} bad[] = {
	{ "nothing at all", "", "", 0 },
	{ "blanks alone", "  ", "", 2 },
	{ "two values", "1 2", "", 2 },
	{ "a word cut short", "nul", "", 0 },
	{ "a word of another language", "{\"a\":NaN}", "/a", 5 },
	{ "a leading zero", "[1,01]", "/1", 3 },
	{ "a plus sign", "+1", "", 0 },
	{ "no digit behind the point", "[1.]", "/0", 3 },
	{ "no digit before the point", ".5", "", 0 },
	{ "no digit in the exponent", "1e+", "", 3 },
	{ "a minus alone", "-", "", 0 },
	{ "a hexadecimal number", "0x10", "", 1 },
	{ "a closing comma in an array", "[1,]", "/1", 3 },
	{ "a closing comma in an object", "{\"a\":1,}", "", 7 },
	{ "the wrong bracket", "{\"a\":[1}}", "/a", 7 },
	{ "an array never closed", "{\"a\":[1", "/a", 7 },
	{ "an object never closed", "{\"a\":1", "", 6 },
	{ "a name without a value", "{\"a\"}", "", 4 },
	{ "a name without quotes", "{a:1}", "", 1 },
	{ "a name in single quotes", "{'a':1}", "", 1 },
	{ "a name that is a number", "{1:1}", "", 1 },
	{ "a name twice", "{\"x\":{\"a\":1,\"b\":2,\"a\":3}}", "/x/a", 18 },
	{ "a name twice, written differently", "{\"a\":1,\"\\u0061\":2}", "/a", 7 },
	{ "a comment", "/* no */ 1", "", 0 },
	{ "a string never closed", "[\"abc", "/0", 5 },
	{ "a string ending in a backslash", "\"\\", "", 1 },
	{ "an unknown escape", "\"\\x41\"", "", 1 },
	{ "a raw line feed in a string", "\"a\nb\"", "", 2 },
	{ "an escaped NUL", "[\"a\\u0000\"]", "/0", 3 },
	{ "half a surrogate pair", "\"\\ud83d\"", "", 1 },
	{ "the second half alone", "\"\\ude00\"", "", 1 },
	{ "a pair in the wrong order", "\"\\ude00\\ud83d\"", "", 1 },
	{ "two second halves", "\"\\ude00\\ude00\"", "", 1 },
	{ "a short \\u", "\"\\u12\"", "", 1 },
	{ "a byte that is no UTF-8", "{\"a\":\"\xff\"}", "/a", 6 },
	{ "an overlong form", "\"\xc0\xaf\"", "", 1 },
	{ "a surrogate in UTF-8", "\"\xed\xa0\x80\"", "", 1 },
	{ "a name twice, the first one", "{\"m\":1,\"m\":2}", "/m", 7 },
	{ "a name twice further in", "[{\"a\":[\"b\"],\"\\u0062\" : 1,\"b\":{}}]", "/0/b", 25 },
	{ "a byte order mark", "\xef\xbb\xbf{}", "", 0 },
	{ "a pointer's own characters", "{\"a/b~c\":[0,{\"d\":x}]}", "/a~1b~0c/1/d", 17 },
};

static bool parses(struct str text, struct json_error *err)
{
	struct arena a = { 0 };
	bool         fine = json_parse(text, &a, err) != NULL;

	arena_fini(&a);
	return fine;
}

static void test_texts(void)
{
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		ok(parses(str_of(good[i]), NULL), "is JSON: value %zu", i);
		ok(json_is_valid(str_of(good[i])), "is valid: value %zu", i);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct json_error err = { .at = 999 };

		ok(!parses(str_of(bad[i].text), &err), "refused: %s", bad[i].why);
		ok(err.at == bad[i].at, "and says at which byte: %zu", err.at);
		ok(strcmp(err.pointer, bad[i].pointer) == 0, "and where: \"%s\"", err.pointer);
		ok(err.text[0] != '\0', "and why: %s", err.text);
		ok(!json_is_valid(str_of(bad[i].text)), "and is not valid without a tree");
	}
	ok(!parses((struct str){ "[1\0]", 4 }, NULL), "refused: a NUL byte between values");
	ok(!parses((struct str){ "\"\0\"", 3 }, NULL), "refused: a NUL byte in a string");
	ok(!parses((struct str){ NULL, 0 }, NULL), "refused: the empty slice");
}

/* n times open, a zero, n times close. */
static char *nested(size_t n)
{
	char *text = malloc(2 * n + 2);

	memset(text, '[', n);
	text[n] = '0';
	memset(text + n + 1, ']', n);
	text[2 * n + 1] = '\0';
	return text;
}

static void test_limits(void)
{
	struct json_error err;
	char             *fits = nested(JSON_DEPTH_MAX), *deep = nested(JSON_DEPTH_MAX + 1);
	char             *bottomless = malloc(5000000);
	struct buf        many = { 0 };

	ok(parses(str_of(fits), NULL) && json_is_valid(str_of(fits)), "64 levels are allowed");
	ok(!parses(str_of(deep), &err) && !json_is_valid(str_of(deep)), "65 levels are not");
	ok(err.at == JSON_DEPTH_MAX, "and the error stands at the bracket too many");
	memset(bottomless, '[', 5000000);
	ok(!parses((struct str){ bottomless, 5000000 }, &err), "five million brackets are refused");
	free(fits);
	free(deep);
	free(bottomless);

	buf_char(&many, '[');
	for (int i = 0; i < JSON_NODES_MAX - 2; i++)
		buf_cstr(&many, "1,");
	buf_cstr(&many, "1]");
	ok(parses(buf_view(&many), NULL), "100,000 values are allowed, the array counted");
	many.n--;
	buf_cstr(&many, ",1]");
	ok(!parses(buf_view(&many), &err) && !json_is_valid(buf_view(&many)), "one more is not");
	ok(strcmp(err.pointer, "/99999") == 0, "and the error names it: %s", err.pointer);
	buf_fini(&many);
}

static void test_many_names(void)
{
	struct buf        b = { 0 };
	struct json_error err;

	for (int i = 0; i < 50000; i++)
		buf_fmt(&b, "%s\"n%d\":%d", i ? "," : "{", i, i);
	buf_cstr(&b, ",\"n31415\":0}");
	ok(!parses(buf_view(&b), &err), "a name twice among 50,000 is found");
	ok(strcmp(err.pointer, "/n31415") == 0, "and named: %s", err.pointer);
	b.n -= strlen(",\"n31415\":0}");
	buf_char(&b, '}');
	ok(parses(buf_view(&b), NULL), "50,000 different names are fine");
	buf_fini(&b);
	ok(parses(STR("{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":2}}"), NULL),
	   "a name may stand again further in");
}

static void test_loose(void)
{
	struct arena      a = { 0 };
	struct json_error err;
	struct json      *root = json_parse_loose(STR("{\"a\":1,\"b\":{\"a\":2},\"a\":3}"), &a, &err);

	ok(root != NULL && root->n == 3 && str_is(root->first->next->next->key, "a"),
	   "loosely read, an outermost name may stand twice");
	root = json_parse_loose(STR("{\"a\":{\"b\":1,\"b\":2},\"a\":3}"), &a, &err);
	ok(root == NULL && strcmp(err.pointer, "/a/b") == 0, "but none further in: %s", err.pointer);
	root = json_parse_loose(STR("[{\"b\":1,\"b\":2}]"), &a, &err);
	ok(root == NULL && strcmp(err.pointer, "/0/b") == 0, "nor in an array: %s", err.pointer);
	arena_fini(&a);
}

static void test_long_pointer(void)
{
	struct json_error err;
	struct buf        b = { 0 };

	buf_cstr(&b, "{\"");
	for (int i = 0; i < 1000; i++)
		buf_char(&b, '~');
	buf_cstr(&b, "\":?}");
	ok(!parses(buf_view(&b), &err) && strlen(err.pointer) == sizeof err.pointer - 1,
	   "a long pointer is cut");
	buf_fini(&b);
}

static void test_looking(void)
{
	const char *text =
	    "{\"name\":\"a\\u00e4\\n\\ud83d\\ude00\",\"n\":1.10,\"list\":[7,{\"x/y\":true}],"
	    "\"\\u006bey\":-9223372036854775808,\"big\":18446744073709551615,\"z\":-0}";
	struct arena a = { 0 };
	struct buf   b = { 0 };
	struct json *root = json_parse(str_of(text), &a, NULL);
	uint64_t     u;
	int64_t      i;

	ok(root != NULL && root->n == 6 && str_is(root->raw, text), "the root is the whole text");
	ok(str_is(json_text(json_get(root, "name"), &a), "a\xc3\xa4\n\xf0\x9f\x98\x80"),
	   "escapes are decoded");
	ok(str_is(json_get(root, "n")->raw, "1.10"), "a number stays as it was written");
	ok(json_get(root, "nothing") == NULL && json_get(json_get(root, "n"), "x") == NULL,
	   "what is not there is NULL");
	ok(json_find(root, STR("key")) != NULL, "a name is found whatever its spelling");
	ok(json_i64(json_get(root, "key"), &i) && i == INT64_MIN, "the least number is read");
	ok(!json_u64(json_get(root, "key"), &u), "and is not taken for a positive one");
	ok(json_u64(json_get(root, "big"), &u) && u == UINT64_MAX, "the greatest number is read");
	ok(!json_i64(json_get(root, "big"), &i), "and is not taken for a signed one");
	ok(json_i64(json_get(root, "z"), &i) && i == 0, "minus zero is zero");
	ok(!json_u64(json_get(root, "n"), &u) && !json_u64(json_get(root, "name"), &u) &&
	       !json_u64(NULL, &u),
	   "a fraction, a string, nothing: no whole numbers");

	struct json *list = json_get(root, "list");
	ok(list->n == 2 && str_is(list->raw, "[7,{\"x/y\":true}]"), "a container keeps its text");
	ok(str_is(json_at(list, 0)->raw, "7") && json_at(list, 2) == NULL &&
	       json_at(root, 0) == NULL,
	   "elements by index");
	json_pointer(json_get(json_at(list, 1), "x/y"), &b);
	ok(str_is(buf_view(&b), "/list/1/x~1y"), "the pointer of a node: %s", b.p);
	buf_clear(&b);
	json_pointer(root, &b);
	ok(b.n == 0, "the pointer of the root is empty");
	buf_fini(&b);
	arena_fini(&a);
}

static void test_members(void)
{
	struct str raw = { 0 };

	ok(json_member(STR(" { \"a\" : [1, {\"b\":2}] , \"b\" : \"}\\\"\" } "), "b", &raw) &&
	       str_is(raw, "\"}\\\"\""),
	   "a member is found behind another one's inside");
	ok(json_member(STR("{\"\\u0062\":1.0 }"), "b", &raw) && str_is(raw, "1.0"),
	   "also when its name is escaped");
	ok(json_member(STR("{\"a\":{\"x\":[]} }"), "a", &raw) && str_is(raw, "{\"x\":[]}"),
	   "a container is taken whole");
	ok(!json_member(STR("{\"a\":{\"b\":1}}"), "b", &raw), "deeper members are not members");
	ok(!json_member(STR("{}"), "b", &raw) && !json_member(STR("[\"b\",1]"), "b", &raw) &&
	       !json_member(STR("\"b\""), "b", &raw) && !json_member((struct str){ 0 }, "b", &raw),
	   "what has no members has none");
	ok(!json_member(STR("{\"bb\":1,\"\\u0062b\":2,\"\":3}"), "b", &raw), "no half names");
	ok(str_is(json_trim(STR(" \t\r\n{\"a\": \" \" } \n")), "{\"a\": \" \" }") && str_is(json_trim(STR("1")), "1") &&
	       json_trim(STR(" \n ")).n == 0 && json_trim((struct str){ 0 }).n == 0,
	   "space around a value is none of it");
}

static struct str decoded(const char *raw, struct arena *a)
{
	const struct json string = { .type = JSON_STRING, .raw = str_of(raw) };

	return json_text(&string, a);
}

static void test_decoding(void)
{
	static const char plain[] = "\"no escape\"";
	struct arena      a = { 0 };

	ok(decoded(plain, &a).p == plain + 1, "without escapes nothing is copied");
	ok(str_is(decoded("\"\\\"a\\\"bc\\\\\\n\\u00e4d\"", &a), "\"a\"bc\\\n\xc3\xa4" "d"),
	   "escapes side by side, and at both sides of what has none");
	ok(str_is(decoded("\"tail\\t\"", &a), "tail\t") && str_is(decoded("\"\\thead\"", &a), "\thead"),
	   "one at the end, one in front");
	arena_fini(&a);
}

static void test_outline(void)
{
	static const char *const wrong[] = { "{\"a\":{\"b\":[{\"c\":1,\"c\":2}]}}", "{\"a\":[[[1,]]]}", "{\"a\":[[[\"\\x\"]]]}" };
	struct arena      arena = { 0 };
	struct json_error err;
	struct str        text = STR("{\"a\":{\"b\":[1,{\"c\":2}],\"d\":\"x\"},\"e\":[1,[2],3]}");
	struct json      *root = json_outline(text, 2, &arena, &err);
	const struct json *a = json_get(root, "a"), *e = json_get(root, "e");

	ok(root && root->n == 2 && a && e, "members are there");
	ok(a && a->n == 2 && a->first == NULL && str_is(a->raw, "{\"b\":[1,{\"c\":2}],\"d\":\"x\"}") && e && e->n == 3 &&
	       e->first == NULL && str_is(e->raw, "[1,[2],3]"),
	   "what is deeper is counted and kept as text");
	root = json_outline(text, 3, &arena, &err);
	ok(json_get(json_get(root, "a"), "d") && !json_get(json_get(json_get(root, "a"), "b"), "c"), "one level more");
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct json_error whole;

		ok(!json_outline(str_of(wrong[i]), 1, &arena, &err) && !json_parse(str_of(wrong[i]), &arena, &whole) &&
		       err.at == whole.at && strcmp(err.text, whole.text) == 0 && strcmp(err.pointer, whole.pointer) == 0,
		   "deep errors are found where they are: %s", err.pointer);
	}
	arena_fini(&arena);
}

/* Strings are read by eights: what is special must be seen wherever it stands. */
static void test_every_place(void)
{
	static const struct {
		const char *special;
		bool        good;
	} cases[] = { { "\x01", false }, { "\x1f", false }, { "\xff", false }, { "\xc3\xa9", true }, { "\\n", true },
		      { "\\x", false }, { "\x7f", true }, { "!", true }, { "#", true }, { "[", true }, { "]", true },
		      { "\"", false } };
	bool all = true;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (int before = 0; before < 20; before++)
			for (int behind = 0; behind < 20; behind++) {
				struct buf text = { 0 };

				buf_fmt(&text, "\"%.*s%s%.*s\"", before, "abcdefghijklmnopqrst", cases[i].special, behind,
				        "ABCDEFGHIJKLMNOPQRST");
				all &= json_is_valid(buf_view(&text)) == cases[i].good;
				buf_fini(&text);
			}
	ok(all, "what is special in a string is seen in every place");
}

int main(void)
{
	test_texts();
	test_limits();
	test_loose();
	test_many_names();
	test_long_pointer();
	test_looking();
	test_members();
	test_decoding();
	test_outline();
	test_every_place();
	return tap_done();
}
