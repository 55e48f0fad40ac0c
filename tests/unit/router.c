/* SPDX-License-Identifier: Apache-2.0
 * router.c - every route is found and no other; with --list, the table for tests of the documents.
 */
#include "api/problem.h"
#include "api/router.h"
#include "tests/lib/tap.h"

#include <stdlib.h>
#include <string.h>

static struct arena arena;

static enum router_answer find(const char *method, const char *path, struct route_match *m)
{
	return router_find(LISTENER_MAIN, str_of(method), str_of(path), &arena, m);
}

/* The pattern with something in the place of each parameter. */
static struct str example_of(const char *pattern)
{
	struct buf path = { 0 };
	struct str copy;

	for (const char *p = pattern; *p; p++) {
		if (*p != '{') {
			buf_char(&path, *p);
			continue;
		}
		buf_cstr(&path, "x1");
		p = strchr(p, '}');
	}
	copy = arena_str(&arena, buf_view(&path));
	buf_fini(&path);
	return copy;
}

static void test_every_route(void)
{
	for (unsigned i = 0; i < ROUTE_COUNT; i++) {
		const struct route_fact *f = route_fact((enum route)i);
		enum listener            at = i < ROUTE_MAIN_COUNT ? LISTENER_MAIN : LISTENER_OPS;
		enum listener            other = at == LISTENER_MAIN ? LISTENER_OPS : LISTENER_MAIN;
		struct str               path = example_of(f->pattern);
		struct route_match       m;

		ok(router_find(at, str_of(f->method), path, &arena, &m) == ROUTER_FOUND && m.route == i,
		   "%s %.*s is %s", f->method, (int)path.n, path.p, f->name);
		bool both = f->role == ROLE_REPLICA;
		ok(router_find(other, str_of(f->method), path, &arena, &m) == (both ? ROUTER_FOUND : ROUTER_NONE),
		   "and %s on the other listener", both ? "also" : "not");
		ok(router_find(at, STR("BREW"), path, &arena, &m) == ROUTER_METHOD && m.allowed,
		   "no other method finds it");
		ok(router_find(at, STR("OPTIONS"), path, &arena, &m) == ROUTER_OPTIONS, "OPTIONS is answered");
	}
}

static void test_paths(void)
{
	static char        big[ROUTE_PATH_MAX + 2];
	struct route_match m;
	struct buf         allow = { 0 };

	ok(find("GET", "/v1/transactions/a%2Fb%20c", &m) == ROUTER_FOUND && str_is(m.params[0], "a/b c"),
	   "a slash may be data");
	ok(find("POST", "/v1/transactions/g/steps/s/fail", &m) == ROUTER_FOUND && str_is(m.params[0], "g") &&
	   str_is(m.params[1], "s"), "two parameters, in order");
	ok(find("HEAD", "/v1/transactions", &m) == ROUTER_FOUND && m.route == ROUTE_transaction_list, "HEAD is a GET");
	ok(find("POST", "/v1/definitions/validate", &m) == ROUTER_FOUND && m.route == ROUTE_definition_validate,
	   "a word beats a parameter");
	ok(find("GET", "/v1/definitions/validate", &m) == ROUTER_FOUND && m.route == ROUTE_definition_get,
	   "for its own method only");
	ok(find("GET", "/v1/transactions/", &m) == ROUTER_NONE, "an empty segment is nothing");
	ok(find("POST", "/api/dtmsvr//submit", &m) == ROUTER_FOUND && m.route == ROUTE_dtm_submit &&
	   find("DELETE", "/api/dtmsvr//topic/t", &m) == ROUTER_FOUND && str_is(m.params[0], "t"),
	   "but behind the base URL of DTM's clients, once");
	ok(find("POST", "/api/dtmsvr///submit", &m) == ROUTER_NONE && find("POST", "/api//dtmsvr/submit", &m) == ROUTER_NONE &&
	   find("POST", "//api/dtmsvr/submit", &m) == ROUTER_NONE && find("POST", "/api/dtmsvr/submit/", &m) == ROUTER_NONE &&
	   find("GET", "/api/dtmsvr//", &m) == ROUTER_NONE && find("GET", "/v1//transactions", &m) == ROUTER_NONE &&
	   find("DELETE", "/api/dtmsvr/topic//t", &m) == ROUTER_NONE, "and nowhere else");
	ok(find("GET", "/", &m) == ROUTER_NONE && find("GET", "", &m) == ROUTER_NONE &&
	   find("GET", "*", &m) == ROUTER_NONE && find("GET", "/v1/transactions/a/b/c/d/e/f/g/h", &m) == ROUTER_NONE,
	   "what no pattern fits");
	ok(find("GET", "/v1/transactions/%", &m) == ROUTER_BAD_PATH &&
	   find("GET", "/v1/transactions/%00", &m) == ROUTER_BAD_PATH &&
	   find("GET", "/v1/transactions/%ff", &m) == ROUTER_BAD_PATH, "bad escapes");
	memset(big, 'x', sizeof big - 1);
	big[0] = '/';
	ok(find("GET", big, &m) == ROUTER_BAD_PATH, "too long");
	ok(find("DELETE", "/v1/transactions", &m) == ROUTER_METHOD, "DELETE is not known there");
	router_allow(m.allowed, &allow);
	ok(str_is(buf_view(&allow), "GET, HEAD, POST, OPTIONS"), "what is allowed is told: %s", allow.p);
	buf_fini(&allow);
}

static void test_encoding(void)
{
	struct buf b = { 0 };
	struct str back;

	percent_encode(STR("a:b/c?d%\"~"), &b);
	ok(str_is(buf_view(&b), "a:b%2Fc%3Fd%25%22~"), "encoded as a segment: %s", b.p);
	ok(percent_decode(buf_view(&b), &arena, &back) && str_is(back, "a:b/c?d%\"~"), "and back");
	buf_fini(&b);
}

static void test_problems(void)
{
	struct buf   b = { 0 };
	enum problem p;
	unsigned     odd = 0;

	for (unsigned i = 0; i < PROBLEM_COUNT; i++) {
		const struct problem_fact *f = problem_fact((enum problem)i);

		if (!problem_find(str_of(f->code), &p) || p != i || f->status < 400 || f->status > 599 || !*f->title ||
		    strpbrk(f->title, "\"\\") || strspn(f->code, "abcdefghijklmnopqrstuvwxyz_") != strlen(f->code))
			odd++;
	}
	ok(odd == 0, "every problem has one code of its own, an error status and a title");
	ok(!problem_find(STR("nonsense"), &p), "no other code is known");
	problem_write(&b, PROBLEM_DECIDED, &(struct problem_text){ .detail = STR("say \"x\""), .gid = STR("g") });
	ok(strstr(b.p, "\"type\":\"/problems/decided\"") && strstr(b.p, "\"status\":409") &&
	   strstr(b.p, "\"detail\":\"say \\\"x\\\"\"") && strstr(b.p, "\"gid\":\"g\""), "as RFC 9457 has it");
	buf_fini(&b);
}

/* METHOD PATH NAME ROLE LISTENER SUMMARY, then problem CODE STATUS TITLE; tab-separated, for routes.t. */
static void list(void)
{
	for (unsigned i = 0; i < ROUTE_COUNT; i++) {
		const struct route_fact *f = route_fact((enum route)i);

		printf("%s\t%s\t%s\t%s\t%s\t%s\n", f->method, f->pattern, f->name, role_name(f->role),
		       i < ROUTE_MAIN_COUNT ? "main" : "ops", f->summary);
	}
	for (unsigned i = 0; i < PROBLEM_COUNT; i++)
		printf("problem\t%s\t%u\t%s\n", problem_fact((enum problem)i)->code,
		       problem_fact((enum problem)i)->status, problem_fact((enum problem)i)->title);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--list") == 0) {
		list();
		return 0;
	}
	test_every_route();
	test_paths();
	test_encoding();
	test_problems();
	arena_fini(&arena);
	return tap_done();
}
