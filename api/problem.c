/* SPDX-License-Identifier: Apache-2.0 */
#include "api/problem.h"

static const struct problem_fact FACTS[PROBLEM_COUNT] = {
#define X(name, code, status, retryable, title, sentence) { code, title, sentence, status, retryable },
	PROBLEMS(X)
#undef X
};

const struct problem_fact *problem_fact(enum problem p)
{
	return &FACTS[p];
}

bool problem_find(struct str code, enum problem *out)
{
	for (unsigned i = 0; i < PROBLEM_COUNT; i++) {
		if (str_is(code, FACTS[i].code)) {
			*out = (enum problem)i;
			return true;
		}
	}
	return false;
}

static void add_text(struct buf *out, const char *name, struct str value)
{
	if (value.n == 0)
		return;
	buf_fmt(out, ",\"%s\":", name);
	buf_json(out, value);
}

/* Below it the protocol of others is spoken (api/dtm/): its clients look for a message. */
#define ELSEWHERE STR("/api/")

void problem_write(struct buf *out, enum problem p, const struct problem_text *t)
{
	const struct problem_fact *f = &FACTS[p];
	const struct str           detail = t->detail.n ? t->detail : str_of(f->sentence);

	buf_fmt(out, "{\"type\":\"/problems/%s\",\"title\":\"%s\",\"status\":%u", f->code, f->title, f->status);
	add_text(out, "detail", detail);
	add_text(out, "instance", t->instance);
	buf_fmt(out, ",\"code\":\"%s\",\"retryable\":%s", f->code, f->retryable ? "true" : "false");
	add_text(out, "gid", t->gid);
	add_text(out, "request_id", t->request_id);
	if (str_starts(t->instance, ELSEWHERE))
		add_text(out, "message", detail);
	if (t->errors.n) {
		buf_cstr(out, ",\"errors\":[");
		buf_str(out, t->errors);
		buf_char(out, ']');
	}
	buf_cstr(out, "}\n");
}

void problem_add_error(struct buf *errors, struct str pointer, struct str detail)
{
	buf_cstr(errors, errors->n ? ",{\"pointer\":" : "{\"pointer\":");
	buf_json(errors, pointer);
	buf_cstr(errors, ",\"detail\":");
	buf_json(errors, detail);
	buf_char(errors, '}');
}

void problem_describe(struct buf *out, enum problem p)
{
	const struct problem_fact *f = &FACTS[p];

	buf_fmt(out, "{\"type\":\"/problems/%s\",\"code\":\"%s\",\"status\":%u,\"retryable\":%s,\"title\":\"%s\",\"description\":",
	        f->code, f->code, f->status, f->retryable ? "true" : "false", f->title);
	buf_json(out, str_of(f->sentence));
	buf_char(out, '}');
}
