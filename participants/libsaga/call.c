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

const char *saga_op_methods(enum saga_op op)
{
	return op == SAGA_CHECK ? "POST, PUT, PATCH, DELETE, GET" : "POST, PUT, PATCH, DELETE";
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

/* X(NAME, "as it is written", the fault when it stands there twice). */
#define HEADERS(X)                                            \
	X(ID, "Saga-Id", ID)                                  \
	X(STEP, "Saga-Step", STEP)                            \
	X(OP, "Saga-Op", OP)                                  \
	X(ATTEMPT, "Saga-Attempt", ATTEMPT)                   \
	X(EPOCH, "Saga-Epoch", EPOCH)                         \
	X(ACCEPTED, "Saga-Accepted", ACCEPTED)                \
	X(DEADLINE, "Saga-Deadline", DEADLINE)                \
	X(CALLBACK, "Saga-Callback", CALLBACK)                \
	X(KEY, "Idempotency-Key", KEY)                        \
	X(TRACEPARENT, "traceparent", NONE)                   \
	X(WEBHOOK_ID, "webhook-id", WEBHOOK_ID)               \
	X(WEBHOOK_TIME, "webhook-timestamp", WEBHOOK_TIME)    \
	X(WEBHOOK_SIGNATURE, "webhook-signature", WEBHOOK_SIGNATURE)

#define X(name, text, twice) HEADER_##name,
enum header { HEADERS(X) };
#undef X
#define X(...) +1
enum { HEADER_COUNT = 0 HEADERS(X) };
#undef X

struct found {
	const char *value[HEADER_COUNT]; /* NULL: not there */
};

static enum saga_fault find_headers(const struct saga_request *request, struct found *out)
{
	static const struct {
		const char *name;
		enum saga_fault twice;
	} known[] = {
#define X(name, text, twice) { text, SAGA_FAULT_##twice },
		HEADERS(X)
#undef X
	};

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < request->header_count; i++) {
		const struct saga_header *h = &request->headers[i];
		int at = 0;

		while (at < HEADER_COUNT && strcasecmp(h->name, known[at].name) != 0)
			at++;
		if (at == HEADER_COUNT)
			continue;
		if (out->value[at] && known[at].twice != SAGA_FAULT_NONE)
			return known[at].twice;
		if (!out->value[at])
			out->value[at] = h->value;
	}
	return SAGA_FAULT_NONE;
}

static struct saga_slice header(const struct found *found, enum header which)
{
	return slice_trim(slice(found->value[which]));
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
static enum saga_fault read_rest(const struct found *found, struct saga_call *out)
{
	struct saga_slice s;
	uint64_t v;

	s = header(found, HEADER_ATTEMPT);
	if (s.p && (!slice_number(s, UINT32_MAX, &v) || !v))
		return SAGA_FAULT_ATTEMPT;
	out->attempt = s.p ? (uint32_t)v : 0;
	s = header(found, HEADER_EPOCH);
	if (s.p && !slice_number(s, INT64_MAX, &v))
		return SAGA_FAULT_EPOCH;
	out->epoch = s.p ? (int64_t)v : -1;
	s = header(found, HEADER_ACCEPTED);
	out->accepted_ms = SAGA_NO_TIME;
	if (s.p && !slice_time(s, &out->accepted_ms))
		return SAGA_FAULT_ACCEPTED;
	s = header(found, HEADER_DEADLINE);
	out->deadline_ms = SAGA_NO_TIME;
	if (s.p && !slice_time(s, &out->deadline_ms))
		return SAGA_FAULT_DEADLINE;
	out->callback = header(found, HEADER_CALLBACK);
	out->traceparent = header(found, HEADER_TRACEPARENT);
	out->key = header(found, HEADER_KEY);
	if (out->key.n >= 2 && out->key.p[0] == '"' && out->key.p[out->key.n - 1] == '"') {
		out->key.p++;
		out->key.n -= 2;
	}
	return SAGA_FAULT_NONE;
}

/* The signature covers webhook-id, time and body. The other headers are bound to it by the id,
 * which is made of gid, step and op: else a try that was overheard could be sent as a cancel. */
static enum saga_fault verify(const struct saga_request *request, const struct found *found,
			      const struct saga_trust *trust, int64_t now_s,
			      const struct saga_call *call)
{
	const char *id = found->value[HEADER_WEBHOOK_ID];
	char wanted[SAGA_WEBHOOK_ID_MAX];
	enum saga_fault fault;

	fault = saga_verify(trust, now_s, id, found->value[HEADER_WEBHOOK_TIME],
			    found->value[HEADER_WEBHOOK_SIGNATURE], request->body,
			    request->body_size);
	if (fault != SAGA_FAULT_NONE)
		return fault;
	saga_webhook_id(call->gid, call->step, call->op, wanted);
	return strcmp(id, wanted) ? SAGA_FAULT_OTHER_CALL : SAGA_FAULT_NONE;
}

static bool is_method_of(enum saga_op op, const char *method)
{
	struct saga_slice left = slice(saga_op_methods(op));
	size_t n = method ? strlen(method) : 0;

	while (n && left.n >= n) {
		size_t word = strcspn(left.p, ",");

		if (word == n && !memcmp(left.p, method, n))
			return true;
		word += strspn(left.p + word, ", ");
		left.p += word;
		left.n -= word;
	}
	return false;
}

enum saga_fault saga_call_read(const struct saga_request *request, const struct saga_trust *trust,
			       int64_t now_s, struct saga_call *out)
{
	enum saga_fault fault;
	struct found found;

	*out = (struct saga_call){ .body = request->body, .body_size = request->body_size };
	fault = find_headers(request, &found);
	if (fault != SAGA_FAULT_NONE)
		return fault;
	if (!read_gid(header(&found, HEADER_ID), out->gid))
		return SAGA_FAULT_ID;
	if (!read_step(header(&found, HEADER_STEP), out->step))
		return SAGA_FAULT_STEP;
	if (!read_op(header(&found, HEADER_OP), &out->op))
		return SAGA_FAULT_OP;
	fault = read_rest(&found, out);
	if (fault == SAGA_FAULT_NONE && !is_method_of(out->op, request->method))
		fault = SAGA_FAULT_METHOD;
	if (fault == SAGA_FAULT_NONE && trust && trust->secrets)
		fault = verify(request, &found, trust, now_s, out);
	return fault;
}
