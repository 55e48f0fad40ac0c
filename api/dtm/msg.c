/* SPDX-License-Identifier: Apache-2.0
 * msg.c - a message of DTM: prepared it is a message of ours, with its back-check; submitted
 * without that it is a saga whose steps must all succeed.
 */
#include "api/dtm/dtm.h"

/* `before`: the branch written last, and then this one. */
static void write_branch(struct request *r, struct str url, size_t i, struct str id,
                         struct buf *before, struct buf *out)
{
	const struct dtm_trans *t = &dtm_of(r)->trans;
	const struct dtm_call   call = { .url = url,
		                         .op = STR("action"),
		                         .branch_id = id,
		                         .payload = dtm_payload(t, i),
		                         .payload_at = (int)i };

	buf_fmt(out, "%s\"branch-%.*s\":{\"kind\":\"retriable\",", before->n > 0 ? "," : "",
	        (int)id.n, id.p);
	if (before->n > 0 && !t->concurrent)
		buf_fmt(out, "\"after\":[\"branch-%s\"],", before->p);
	buf_cstr(out, "\"action\":");
	dtm_write_call(r, &call, out);
	buf_char(out, '}');
	buf_clear(before);
	buf_str(before, id);
}

/* A topic is a branch for each who wants it: 01 if that is one, else 01-01, 01-02, … */
static void write_step(struct request *r, const struct json *step, size_t i, struct buf *before,
                       struct buf *out)
{
	struct str         action = dtm_text(r, step, "action");
	const struct json *subscribers;
	struct buf         id = { 0 };
	size_t             k = 0;

	buf_fmt(&id, "%02zu", i + 1);
	if (!dtm_topic_urls(r, action, &subscribers)) {
		write_branch(r, action, i, buf_view(&id), before, out);
		buf_fini(&id);
		return;
	}
	for (const struct json *it = subscribers->first; it != NULL; it = it->next) {
		if (subscribers->n > 1) {
			buf_clear(&id);
			buf_fmt(&id, "%02zu-%02zu", i + 1, ++k);
		}
		write_branch(r, dtm_text(r, it, "url"), i, buf_view(&id), before, out);
	}
	buf_fini(&id);
}

static void write_check(struct request *r, struct buf *out)
{
	struct dtm_call call = { .url = dtm_of(r)->trans.query_prepared,
		                 .branch_id = STR("00"),
		                 .op = STR("msg"),
		                 .payload_at = -1 };

	buf_cstr(out, ",\"check\":");
	dtm_write_call(r, &call, out);
}

bool msg_document(struct request *r, bool is_prepared, struct buf *out)
{
	const struct dtm_trans *t = &dtm_of(r)->trans;
	const struct json      *step = t->steps != NULL ? t->steps->first : NULL;
	struct buf              before = { 0 };

	/* Whoever is asked too soon says no, and then his own commit fails. */
	dtm_write_head(r, is_prepared ? "message" : "saga",
	               is_prepared ? dtm_patience_ms(r, t) : 0, out);
	if (is_prepared)
		write_check(r, out);
	buf_cstr(out, ",\"steps\":{");
	if (step == NULL)
		buf_cstr(out, "\"none\":{\"kind\":\"retriable\",\"action\":{\"nothing\":true}}");
	for (size_t i = 0; step != NULL; step = step->next, i++)
		write_step(r, step, i, &before, out);
	buf_fini(&before);
	buf_cstr(out, "}}");
	return true;
}

bool msg_delay(struct request *r, int64_t *ms)
{
	const struct json *custom, *delay;
	uint64_t           seconds;

	*ms = 0;
	if (!dtm_custom(r, &custom))
		return false;
	delay = dtm_member(custom, "delay");
	if (delay == NULL)
		return true;
	if (!json_u64(delay, &seconds) || seconds > 3650ull * 86400) {
		dtm_error(r, "delay is a whole number of seconds, at most ten years");
		return false;
	}
	*ms = (int64_t)seconds * r->api->config.dtm_second_ms;
	return true;
}
