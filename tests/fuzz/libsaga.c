/* SPDX-License-Identifier: Apache-2.0
 * libsaga.c - a request as it may come to a service: "Name: value" lines, an empty line, the body.
 */
#include "participants/libsaga/saga/call.h"
#include "participants/libsaga/saga/template.h"
#include "tests/fuzz/replay.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADERS_MAX = 32 };

/* Cuts text into headers; gives where the body begins. */
static char *cut(char *text, struct saga_request *request, struct saga_header *headers)
{
	while (request->header_count < HEADERS_MAX && *text && *text != '\n') {
		size_t n = strcspn(text, "\n"), colon = strcspn(text, ":\n");
		bool more = text[n] == '\n';

		text[n] = '\0';
		if (colon < n) {
			text[colon] = '\0';
			headers[request->header_count++] =
				(struct saga_header){ text, text + colon + 1 };
		}
		text += n + more;
	}
	return text + (*text == '\n');
}

static void check_call(const struct saga_request *request, enum saga_fault fault,
                       const struct saga_call *call)
{
	struct saga_answer answer = { 0 };

	if (fault != SAGA_FAULT_NONE) {
		saga_answer_fault(&answer, fault);
		assert(answer.status >= 400 &&
		       saga_json_valid((struct saga_slice){ answer.body, answer.body_size }));
		saga_answer_fini(&answer);
		return;
	}
	assert(*call->gid && memchr(call->gid, '\0', sizeof(call->gid)) &&
	       memchr(call->step, '\0', sizeof(call->step)));
	assert(call->op <= SAGA_CHECK && call->epoch >= -1 && call->body == request->body);
	for (enum saga_result r = SAGA_DONE; r <= SAGA_FAILED; r++) {
		answer.status = (int)call->attempt % 600;
		saga_answer_result(&answer, call->op, r);
		assert(answer.status >= 200 && answer.status < 600 &&
		       (r != SAGA_DONE || answer.status < 300));
		saga_answer_fini(&answer);
	}
}

/* Whatever a template is, what it becomes fits its place. */
static void check_template(const char *body)
{
	const struct saga_output outputs[] = { { "a", "[1, {\"b\": \"\\u00e4\"}]" },
		                               { "b", NULL } };
	struct saga_sources sources = { .input = "{\"a\": [1.10, null, \"x/\\\"y\"],"
		                                 " \"b\": \"..\"}",
		                        .outputs = outputs,
		                        .output_count = 2,
		                        .gid = "g/1" };

	for (enum saga_place place = SAGA_PLACE_JSON; place <= SAGA_PLACE_TEXT; place++) {
		struct saga_error error = { 0 };
		enum saga_filled is;
		char *out;

		is = saga_fill(body, place, &sources, &out, &error);
		assert((is == SAGA_FILL_DONE) == (out != NULL) && (out || *error.text));
		if (out && place == SAGA_PLACE_JSON)
			assert(saga_json_valid((struct saga_slice){ out, strlen(out) }));
		for (const char *p = out; p && *p && place == SAGA_PLACE_HEADER; p++)
			assert((unsigned char)*p >= ' ' && *p != '\x7f');
		free(out);
	}
}

/* What was found in a text is a part of it, and JSON itself. */
static void check_json(const char *body, size_t size)
{
	static const char *const names[] = { "a", "gid", "phase", "" };
	struct saga_slice json = { body, size }, v;
	char text[64];
	int64_t n;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (saga_json_find(json, names[i], &v)) {
			assert(saga_json_valid(json) && saga_json_valid(v));
			assert(v.p >= body && v.p + v.n <= body + size);
			if (saga_json_text(v, text, sizeof(text))) {
				char *quoted = saga_json_quote(text);
				char again[64];

				assert(quoted &&
				       saga_json_text((struct saga_slice){ quoted, strlen(quoted) },
				                      again, 64));
				assert(!strcmp(text, again));
				free(quoted);
			}
			saga_json_integer(v, &n);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const secrets[] = { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "plain" };
	struct saga_trust trust = { .secrets = secrets, .secret_count = 2 };
	struct saga_header headers[HEADERS_MAX];
	struct saga_request request = { "POST", "/", headers, 0, NULL, 0, false };
	struct saga_problem problem;
	struct saga_call call;
	char *text = malloc(size + 1), *body;

	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	request.body = body = cut(text, &request, headers);
	request.body_size = (size_t)(text + size - body);
	check_call(&request, saga_call_read(&request, NULL, 1795423254, &call), &call);
	check_call(&request, saga_call_read(&request, &trust, 1795423254, &call), &call);
	check_json(request.body, request.body_size);
	check_template(request.body);
	saga_problem_read(503, saga_request_header(&request, "Retry-After"), request.body,
	                  request.body_size, &problem);
	assert(problem.error_count <= SAGA_PROBLEM_ERRORS && problem.retry_after_s >= -1);
	free(text);
	return 0;
}

REPLAY("libsaga", 10)
