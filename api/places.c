/* SPDX-License-Identifier: Apache-2.0 */
#include "api/places.h"

#include <stdio.h>
#include <string.h>

#define REFUSED "calls to %.*s are refused here (options calls.deny and calls.allow)"

static bool is_refused(const struct request *r, struct str target)
{
	const struct api_config *c = &r->api->config;

	return c->may_call && target.n > 0 && !str_starts(target, STR("participant:")) && !c->may_call(c->ctx, target);
}

static void add_error(const struct definition *d, uint16_t step, enum op op, struct str target, struct buf *errors)
{
	struct buf pointer = { 0 };
	char       detail[400];

	buf_cstr(&pointer, step == TXN_CHECK ? "/" : "/steps/");
	buf_str(&pointer, definition_step_name(d, step)); /* no ~ and no / in it */
	snprintf(detail, sizeof detail, "%s: " REFUSED, op_name(op), (int)target.n, target.p);
	problem_add_error(errors, buf_view(&pointer), str_of(detail));
	buf_fini(&pointer);
}

unsigned places_check(const struct request *r, const struct definition *d, struct buf *errors)
{
	const uint16_t steps = definition_plan(d)->step_count;
	unsigned       refused = 0;

	for (unsigned i = 0; i <= steps; i++)
		for (unsigned op = 0; op < OP_COUNT; op++) {
			uint16_t   step = i < steps ? (uint16_t)i : TXN_CHECK;
			struct str target = definition_target(d, step, (enum op)op);

			if (!is_refused(r, target))
				continue;
			add_error(d, step, (enum op)op, target, errors);
			refused++;
		}
	return refused;
}

/* host:port in lower case, as definition_target() gives it; false: not one. */
static bool read_target(struct str url, struct buf *target)
{
	bool        tls = str_starts(url, STR("https://"));
	size_t      start = tls ? 8 : 7, end = start;
	const char *port;
	struct str  rest;

	while (end < url.n && strchr("/?#", url.p[end]) == NULL)
		end++;
	if (end > url.n || !base_url_is_valid((struct str){ url.p, end }))
		return false;
	rest = (struct str){ url.p + start, end - start };
	for (size_t i = 0; i < rest.n; i++)
		buf_char(target, rest.p[i] >= 'A' && rest.p[i] <= 'Z' ? (char)(rest.p[i] + 32) : rest.p[i]);
	port = rest.p + rest.n;
	while (port > rest.p && port[-1] != ':' && port[-1] != ']')
		port--;
	if (port == rest.p || port[-1] != ':')
		buf_cstr(target, tls ? ":443" : ":80");
	return true;
}

bool places_check_url(struct request *r, const char *pointer, struct str url)
{
	struct buf target = { 0 };
	bool       refused = read_target(url, &target) && is_refused(r, buf_view(&target));

	if (refused)
		request_error(r, pointer, REFUSED, (int)target.n, target.p);
	buf_fini(&target);
	return !refused;
}

bool places_check_step(struct request *r, const struct json *step)
{
	static const char *const CALLS[] = { "action", "compensate", "try", "confirm", "cancel" };
	bool                     is_fine = true;
	char                     pointer[32];

	for (size_t i = 0; i < sizeof CALLS / sizeof CALLS[0]; i++) {
		const struct json *call = json_get(step, CALLS[i]), *url = call ? json_get(call, "url") : NULL;

		if (!url || url->type != JSON_STRING)
			continue;
		snprintf(pointer, sizeof pointer, "/%s/url", CALLS[i]);
		if (!places_check_url(r, pointer, json_text(url, request_arena(r))))
			is_fine = false;
	}
	return is_fine;
}
