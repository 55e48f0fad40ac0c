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

void places_check_base(struct request *r, struct str base_url)
{
	bool        tls = str_starts(base_url, STR("https://"));
	struct str  rest = { base_url.p + (tls ? 8 : 7), base_url.n - (tls ? 8 : 7) };
	const char *slash = memchr(rest.p, '/', rest.n), *port;
	struct buf  target = { 0 };

	if (slash)
		rest.n = (size_t)(slash - rest.p);
	port = rest.p + rest.n;
	while (port > rest.p && port[-1] != ':' && port[-1] != ']')
		port--;
	buf_str(&target, rest);
	if (port == rest.p || port[-1] != ':')
		buf_cstr(&target, tls ? ":443" : ":80");
	if (is_refused(r, buf_view(&target)))
		request_error(r, "/base_url", REFUSED, (int)target.n, target.p);
	buf_fini(&target);
}
