/* SPDX-License-Identifier: Apache-2.0 */
#include "api/public.h"

#include "api/request.h"

static const char *const NOTHING[] = { NULL };

void handle_public_openapi(struct request *r)
{
	struct buf body = { 0 };

	if (!request_only(r, NOTHING))
		return;
	buf_add(&body, api_openapi, api_openapi_size);
	request_answer_as(r, 200, "application/yaml", &body);
}

void handle_public_schema(struct request *r)
{
	struct buf body = { 0 };

	if (!request_only(r, NOTHING))
		return;
	buf_add(&body, api_schema, api_schema_size);
	request_answer_as(r, 200, "application/schema+json", &body);
}

void handle_public_problems(struct request *r)
{
	struct buf body = { 0 };

	if (!request_only(r, NOTHING))
		return;
	for (unsigned i = 0; i < PROBLEM_COUNT; i++) {
		request_item(&body);
		problem_describe(&body, (enum problem)i);
	}
	request_answer_page(r, &body, 0, (struct str){ 0 });
}

void handle_public_problem(struct request *r)
{
	struct buf   body = { 0 };
	enum problem p;

	if (!request_only(r, NOTHING))
		return;
	if (!problem_find(request_param(r, 0), &p)) {
		request_problem(r, PROBLEM_NOT_FOUND, "There is no such error code; GET /problems lists them all.");
		return;
	}
	problem_describe(&body, p);
	buf_char(&body, '\n');
	request_answer(r, 200, &body);
}
