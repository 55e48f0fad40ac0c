/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/libsaga/internal.h"

#include <strings.h>

const char *saga_op_name(enum saga_op op)
{
	switch (op) {
#define X(name, text) \
	case SAGA_##name: return text;
		SAGA_OPS(X)
#undef X
	}
	return "";
}

int saga_fault_status(enum saga_fault fault)
{
	switch (fault) {
#define X(name, status, header, text) \
	case SAGA_FAULT_##name: return status;
		SAGA_FAULTS(X)
#undef X
	}
	return 500;
}

const char *saga_fault_header(enum saga_fault fault)
{
	switch (fault) {
#define X(name, status, header, text) \
	case SAGA_FAULT_##name: return header;
		SAGA_FAULTS(X)
#undef X
	}
	return "";
}

const char *saga_fault_text(enum saga_fault fault)
{
	switch (fault) {
#define X(name, status, header, text) \
	case SAGA_FAULT_##name: return text;
		SAGA_FAULTS(X)
#undef X
	}
	return "";
}

const char *saga_request_header(const struct saga_request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (!strcasecmp(request->headers[i].name, name))
			return request->headers[i].value;
	return NULL;
}

/* ---- the headers ------------------------------------------------------------------------- */

static struct saga_slice header(const struct saga_request *request, const char *name)
{
	return slice_trim(slice(saga_request_header(request, name)));
}

static bool read_gid(struct saga_slice s, char out[SAGA_GID_MAX + 1])
{
	if (!s.n || s.n > SAGA_GID_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"'\\", s.p[i]))
			return false;
	memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return true;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool read_step(struct saga_slice s, char out[SAGA_STEP_MAX + 1])
{
	if (!s.n || s.n > SAGA_STEP_MAX || !is_letter(s.p[0]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_letter(s.p[i]) && !(s.p[i] >= '0' && s.p[i] <= '9') && s.p[i] != '_' &&
		    s.p[i] != '-')
			return false;
	memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return true;
}

static bool read_op(struct saga_slice s, enum saga_op *out)
{
#define X(name, text)                                            \
	if (s.n == sizeof(text) - 1 && !memcmp(s.p, text, s.n)) { \
		*out = SAGA_##name;                              \
		return true;                                     \
	}
	SAGA_OPS(X)
#undef X
	return false;
}

/* What may be missing, but is not wrong: a header that is there and empty is. */
static enum saga_fault read_rest(const struct saga_request *request, struct saga_call *out)
{
	struct saga_slice s;
	uint64_t v;

	s = header(request, "Saga-Attempt");
	if (s.p && (!slice_number(s, UINT32_MAX, &v) || !v))
		return SAGA_FAULT_ATTEMPT;
	out->attempt = s.p ? (uint32_t)v : 0;
	s = header(request, "Saga-Epoch");
	if (s.p && !slice_number(s, INT64_MAX, &v))
		return SAGA_FAULT_EPOCH;
	out->epoch = s.p ? (int64_t)v : -1;
	s = header(request, "Saga-Accepted");
	out->accepted_ms = SAGA_NO_TIME;
	if (s.p && !slice_time(s, &out->accepted_ms))
		return SAGA_FAULT_ACCEPTED;
	s = header(request, "Saga-Deadline");
	out->deadline_ms = SAGA_NO_TIME;
	if (s.p && !slice_time(s, &out->deadline_ms))
		return SAGA_FAULT_DEADLINE;
	out->callback = header(request, "Saga-Callback");
	out->traceparent = header(request, "traceparent");
	out->key = header(request, "Idempotency-Key");
	if (out->key.n >= 2 && out->key.p[0] == '"' && out->key.p[out->key.n - 1] == '"') {
		out->key.p++;
		out->key.n -= 2;
	}
	return SAGA_FAULT_NONE;
}

/* The signature covers webhook-id, time and body. The other headers are bound to it by the id,
 * which is made of gid, step and op: else a try that was overheard could be sent as a cancel. */
static enum saga_fault verify(const struct saga_request *request, const struct saga_trust *trust,
			      int64_t now_s, const struct saga_call *call)
{
	const char *id = saga_request_header(request, "webhook-id");
	char wanted[SAGA_WEBHOOK_ID_MAX];
	enum saga_fault fault;

	fault = saga_verify(trust, now_s, id, saga_request_header(request, "webhook-timestamp"),
			    saga_request_header(request, "webhook-signature"), request->body,
			    request->body_size);
	if (fault != SAGA_FAULT_NONE)
		return fault;
	saga_webhook_id(call->gid, call->step, call->op, wanted);
	return strcmp(id, wanted) ? SAGA_FAULT_OTHER_CALL : SAGA_FAULT_NONE;
}

enum saga_fault saga_call_read(const struct saga_request *request, const struct saga_trust *trust,
			       int64_t now_s, struct saga_call *out)
{
	enum saga_fault fault;

	*out = (struct saga_call){ .body = request->body, .body_size = request->body_size };
	if (!read_gid(header(request, "Saga-Id"), out->gid))
		return SAGA_FAULT_ID;
	if (!read_step(header(request, "Saga-Step"), out->step))
		return SAGA_FAULT_STEP;
	if (!read_op(header(request, "Saga-Op"), &out->op))
		return SAGA_FAULT_OP;
	fault = read_rest(request, out);
	if (fault == SAGA_FAULT_NONE && trust && trust->secrets)
		fault = verify(request, trust, now_s, out);
	return fault;
}
