/* SPDX-License-Identifier: Apache-2.0
 * access.c - who may use which route, what a tokens file says, and how often one caller may ask.
 */
#include "api/access.h"
#include "api/limiter.h"
#include "api/tokens.h"
#include "coordinator/base/digest.h"
#include "tests/lib/tap.h"

#include <string.h>

/* ---- roles --------------------------------------------------------------------------------- */

static const struct {
	const char *held;
	const char *may; /* one letter each: s r o a, R replica, and S = service/reader, O = service/operator */
} held[] = {
	{ "service",          "sSO" },
	{ "reader",           "rS" },
	{ "operator",         "roSO" },
	{ "admin",            "roaSO" },
	{ "service,reader",   "srSO" },
	{ "service,operator", "sroSO" },
	{ "reader,admin",     "roaSO" },
};

static void check_roles(void)
{
	static const struct {
		char      letter;
		enum role role;
	} routes[] = { { 's', ROLE_SERVICE }, { 'r', ROLE_READER }, { 'o', ROLE_OPERATOR }, { 'a', ROLE_ADMIN },
		       { 'R', ROLE_REPLICA }, { 'S', ROLE_SERVICE_OR_READER }, { 'O', ROLE_SERVICE_OR_OPERATOR } };
	unsigned roles;

	for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) {
		ok(roles_parse(str_of(held[i].held), &roles), "%s are roles", held[i].held);
		for (size_t k = 0; k < sizeof routes / sizeof routes[0]; k++) {
			bool may = strchr(held[i].may, routes[k].letter) != NULL;

			ok(access_allows(roles, routes[k].role) == may, "%s %s a route for %s", held[i].held,
			   may ? "may use" : "may not use", role_name(routes[k].role));
		}
		ok(access_allows(roles, ROLE_PUBLIC), "and what is public");
	}
	ok(access_allows(0, ROLE_PUBLIC) && !access_allows(0, ROLE_SERVICE_OR_READER), "nobody may use what is public, no more");
	ok(access_allows(access_anyone.roles, ROLE_ADMIN) && access_allows(access_anyone.roles, ROLE_REPLICA) &&
	   !access_anyone.is_known, "where nobody is asked, anyone may do everything");
	ok(!roles_parse(STR(""), &roles) && !roles_parse(STR("public"), &roles) && !roles_parse(STR("replica"), &roles) &&
	   !roles_parse(STR("service/reader"), &roles) && !roles_parse(STR("reader,"), &roles) &&
	   !roles_parse(STR("Reader"), &roles) && !roles_parse(STR("reader,,admin"), &roles), "nothing else can be given");
}

/* ---- tokens ----------------------------------------------------------------------------------- */

#define HEX "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"

static const char *const wrong[] = {
	"ada", "ada operator", "ada operator sha256:12", "ada operator md5:" HEX, "ada operator sha256:" HEX "0",
	"ada operator sha256:g" HEX, "ada root sha256:" HEX, "-ada operator sha256:" HEX, "a/b operator sha256:" HEX,
	"ada operator cert:", "ada operator cert:CN=", "ada operator cert:ada", "ada operator sha256:" HEX " 2027-01-01T00:00:00Z",
	"ada operator sha256:" HEX " until:soon", "ada operator sha256:" HEX " until:2027-01-01T00:00:00Z more",
	"ada operator, reader sha256:" HEX,
	"a234567890123456789012345678901234567890123456789012345678901234x operator sha256:" HEX,
};

static void check_lines(void)
{
	struct err err;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct buf text = { 0 };

		buf_fmt(&text, "# two lines\nok reader sha256:" HEX "\n%s\n", wrong[i]);
		err = (struct err){ 0 };
		ok(tokens_parse(buf_view(&text), &err) == NULL && strncmp(err.text, "line 3: ", 8) == 0, "\"%s\": %s", wrong[i],
		   err.text);
		buf_fini(&text);
	}
	struct token_set *s = tokens_parse(STR("\n  # nobody\r\n\t\n"), &err);
	ok(s != NULL && tokens_count(s) == 0, "an empty file lets nobody in");
	tokens_free(s);

	struct buf many = { 0 };
	for (int i = 0; i <= TOKENS_MAX; i++)
		buf_fmt(&many, "t%d reader sha256:" HEX "\n", i);
	ok(tokens_parse(buf_view(&many), &err) == NULL && err.kind == ERR_LIMIT, "too many: %s", err.text);
	buf_fini(&many);
}

static void check_finding(void)
{
	struct buf        one = { 0 }, two = { 0 }, file = { 0 }, line = { 0 };
	struct err        err;
	const struct str  names[] = { STR("CN=x"), STR("DNS=billing.internal") };

	token_make(STR("ada"), STR("operator"), INT64_MAX, &one, &line);
	buf_fmt(&file, "%s # hers\r\n", line.p);
	buf_clear(&line);
	token_make(STR("ada"), STR("admin,service"), 1800000000000, &two, &line);
	buf_fmt(&file, "%s\nbilling service cert:DNS=billing.internal\nx reader cert:CN=x", line.p);
	ok(strstr(file.p, one.p) == NULL && strstr(file.p, one.p + 6) == NULL, "the file does not hold the token");
	ok(one.n == 70 && str_starts(buf_view(&one), STR("sagad_")) && strcmp(one.p, two.p) != 0, "tokens differ: 256 random bits");

	struct token_set   *s = tokens_parse(buf_view(&file), &err);
	const struct token *t = s ? tokens_find(s, buf_view(&one)) : NULL;
	ok(t != NULL && str_is(t->principal.name, "ada") && t->principal.roles == 1u << ROLE_OPERATOR && t->until == INT64_MAX &&
	   t->principal.is_known, "the first token is found");
	t = s ? tokens_find(s, buf_view(&two)) : NULL;
	ok(t != NULL && t->principal.roles == (1u << ROLE_ADMIN | 1u << ROLE_SERVICE) && t->until == 1800000000000,
	   "so is the second of the same name, with its roles and its end");
	two.p[two.n - 1] = two.p[two.n - 1] == '0' ? '1' : '0';
	ok(!tokens_find(s, buf_view(&two)) && !tokens_find(s, STR("")) && !tokens_find(s, (struct str){ one.p, one.n - 1 }),
	   "nothing else is");
	t = tokens_find_certificate(s, names, 2);
	ok(t != NULL && str_is(t->principal.name, "billing"), "of a certificate's names the first line of the file counts");
	ok(tokens_find_certificate(s, names, 1) != NULL && !tokens_find_certificate(s, names, 0), "none of them: nobody");
	tokens_free(s);
	buf_fini(&one);
	buf_fini(&two);
	buf_fini(&file);
	buf_fini(&line);
}

/* ---- rates --------------------------------------------------------------------------------------- */

static int64_t take(struct limiter *l, const char *caller, int64_t now_ms)
{
	struct quota *q;
	int64_t       wait = limiter_take(l, str_of(caller), now_ms, &q);

	limiter_leave(q, false);
	return wait;
}

static void check_rate(void)
{
	struct limiter *l = limiter_open(&(struct limiter_config){ .rate = 10, .burst = 3, .callers = 100, .seed = 7 });
	int64_t         first[4], later;

	for (int i = 0; i < 4; i++)
		first[i] = take(l, "a", 5000);
	ok(first[0] == 0 && first[1] == 0 && first[2] == 0 && first[3] == 100, "three at once, the fourth 100 ms later");
	ok(take(l, "b", 5000) == 0, "another caller has his own");
	later = take(l, "a", 5099);
	ok(later == 1 && take(l, "a", 5100) == 0 && take(l, "a", 5100) == 100, "then ten a second, to the millisecond");
	for (int64_t at = 5101; at < 6100; at++)
		first[1] = take(l, "a", at);
	int done = 0;
	for (int64_t at = 6100; at < 16100; at++)
		done += take(l, "a", at) == 0;
	ok(done == 100, "whoever asks every millisecond gets ten a second: %d in ten seconds", done);
	ok(take(l, "a", INT64_C(1) << 60) == 0 && take(l, "a", 3) == 0 && take(l, "a", 2) == 0 && take(l, "a", 1) > 0,
	   "a long silence gives no more than the burst, and time that stands still gives nothing");
	limiter_close(l);
}

static void check_callers(void)
{
	struct limiter *l = limiter_open(&(struct limiter_config){ .rate = 10, .burst = 2, .callers = 50, .seed = 7 });
	char            name[16];
	unsigned        taken = 0;

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "c%d", i);
		taken += take(l, name, 1000) == 0;
	}
	ok(limiter_callers(l) == 50, "no more callers are remembered than may be");
	ok(taken == 52, "the others share one quota: %u were taken", taken);
	ok(take(l, "new", 1100) == 0 && limiter_callers(l) == 50, "when one has his full burst again, he is forgotten for a new one");
	limiter_close(l);
}

static void check_waiters(void)
{
	struct limiter *l = limiter_open(&(struct limiter_config){ .burst = 1, .waiters = 2, .callers = 1, .seed = 7 });
	struct quota   *q[4];
	bool            waits[4];

	for (int i = 0; i < 3; i++) {
		ok(limiter_take(l, STR("a"), 1000, &q[i]) == 0, "no rate is no limit");
		waits[i] = limiter_wait(l, q[i]);
	}
	ok(waits[0] && waits[1] && !waits[2], "two may wait, the third not");
	limiter_take(l, STR("b"), 1000000, &q[3]);
	ok(q[3] != q[0] && q[0] == q[2], "whoever has requests under way is not forgotten");
	limiter_leave(q[3], false);
	limiter_leave(q[0], true);
	ok(limiter_wait(l, q[2]), "when one has left, another may");
	limiter_leave(q[2], true);
	limiter_leave(q[1], true);
	limiter_close(l);
}

int main(void)
{
	check_roles();
	check_lines();
	check_finding();
	check_rate();
	check_callers();
	check_waiters();
	return tap_done();
}
