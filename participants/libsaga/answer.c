/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/libsaga/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- bodies ------------------------------------------------------------------------------ */

static void drop_body(struct saga_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
	answer->body_size = 0;
}

static bool take_text(struct saga_answer *answer, struct text *t)
{
	drop_body(answer);
	if (t->failed) {
		text_free(t);
		return false;
	}
	answer->body = t->p;
	answer->body_size = t->n;
	return true;
}

bool saga_answer_body(struct saga_answer *answer, const char *json, size_t size)
{
	struct text t = { 0 };

	text_add(&t, json, size);
	return take_text(answer, &t);
}

bool saga_answer_printf(struct saga_answer *answer, const char *format, ...)
{
	char *body = NULL;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (n >= 0)
		body = malloc((size_t)n + 1);
	if (body) {
		va_start(ap, format);
		vsnprintf(body, (size_t)n + 1, format, ap);
		va_end(ap);
	}
	free(answer->body);
	answer->body = body;
	answer->body_size = body ? (size_t)n : 0;
	return body != NULL;
}

bool saga_answer_error(struct saga_answer *answer, const char *text)
{
	struct text t = { 0 };

	text_cstr(&t, "{\"error\": ");
	text_json(&t, text);
	text_cstr(&t, "}");
	return take_text(answer, &t);
}

void saga_answer_fini(struct saga_answer *answer)
{
	free(answer->body);
	memset(answer, 0, sizeof(*answer));
}

/* ---- what a result is answered with ------------------------------------------------------ */

static int result_status(enum saga_op op, enum saga_result result)
{
	switch (result) {
#define X(name, of_try, of_confirm, of_cancel) \
	case SAGA_##name: \
		return op == SAGA_CONFIRM ? of_confirm : op == SAGA_CANCEL ? of_cancel : of_try;
		SAGA_RESULTS(X)
#undef X
	}
	return 500;
}

/* Does the status that a handler chose say what its result says? */
static bool status_fits(enum saga_op op, enum saga_result result, int status)
{
	switch (result) {
	case SAGA_DONE: return status == 200 || status == 201 || status == 204;
	case SAGA_REFUSED: return op != SAGA_CONFIRM && op != SAGA_CANCEL &&
				  (status == 409 || status == 422 || status == 424);
	case SAGA_ONGOING: return status == 202 || status == 425;
	case SAGA_GONE: return status == 410;
	case SAGA_FAILED: return status == 408 || status == 429 || status >= 500;
	}
	return false;
}

void saga_answer_result(struct saga_answer *answer, enum saga_op op, enum saga_result result)
{
	bool chosen = answer->status && status_fits(op, result, answer->status);

	if (answer->status && !chosen)
		snprintf(answer->log, sizeof(answer->log),
		         "status %d does not say how the handler's work ended", answer->status);
	if (!chosen)
		answer->status = result_status(op, result);
	if (result == SAGA_DONE && !chosen && !answer->body_size)
		answer->status = 204;
	if (answer->status == 204)
		drop_body(answer);
	if (answer->status == 500)
		snprintf(answer->log, sizeof(answer->log), "a %s cannot be refused",
		         saga_op_name(op));
	if (answer->status >= 400 && !answer->body_size)
		saga_answer_error(answer,
		                  result == SAGA_REFUSED
		                          ? answer->status == 500 ? "cannot be refused" : "refused"
		                  : result == SAGA_GONE ? "what was held is gone"
		                                        : "failed; nothing was done");
}

const char *saga_answer_outcome(const struct saga_answer *answer)
{
	return answer->status == 409 || answer->status == 422 || answer->status == 424 ? "refused"
	                                                                               : NULL;
}

void saga_answer_fault(struct saga_answer *answer, enum saga_fault fault)
{
	struct text t = { 0 };

	text_printf(&t, "{\"error\": \"%s: %s\"}", saga_fault_header(fault),
	            saga_fault_text(fault));
	take_text(answer, &t);
	answer->status = saga_fault_status(fault);
	snprintf(answer->log, sizeof(answer->log), "%s: %s", saga_fault_header(fault),
	         saga_fault_text(fault));
}
