/* SPDX-License-Identifier: Apache-2.0
 * saga.c - a saga of DTM as one of ours: a chain, or with custom_data.concurrent as its orders say.
 */
#include "api/dtm/dtm.h"

struct orders { /* of custom_data */
	bool               concurrent;
	const struct json *before; /* {"2": [0, 1]}: step 2 comes after 0 and 1; or NULL */
};

/* A key that is no step would be a condition that nobody keeps. */
static bool are_steps(struct request *r, const struct json *orders)
{
	const size_t steps = dtm_payload_count(&dtm_of(r)->trans);
	uint64_t     i;

	for (const struct json *it = orders->first; it != NULL; it = it->next) {
		bool is_canonical = it->key.n > 0 && (it->key.p[0] != '0' || it->key.n == 1);

		if (is_canonical && text_to_u64(it->key, &i) && i < steps)
			continue;
		dtm_error(r, "orders: there is no step \"%.*s\"", (int)(it->key.n > 40 ? 40 : it->key.n),
		          it->key.p);
		return false;
	}
	return true;
}

static bool read_orders(struct request *r, struct orders *out)
{
	const struct json *custom, *concurrent;

	*out = (struct orders){ 0 };
	if (!dtm_custom(r, &custom))
		return false;
	concurrent = dtm_member(custom, "concurrent");
	out->concurrent = concurrent != NULL && concurrent->type == JSON_TRUE;
	if (concurrent != NULL && !out->concurrent && concurrent->type != JSON_FALSE) {
		dtm_error(r, "concurrent in custom_data is true or false");
		return false;
	}
	out->before = dtm_member(custom, "orders");
	if (out->before == NULL)
		return true;
	if (out->before->type == JSON_OBJECT)
		return are_steps(r, out->before);
	dtm_error(r, "orders is an object: {\"2\": [0, 1]}");
	return false;
}

static const struct json *prerequisites_of(const struct orders *o, size_t i)
{
	char name[24];
	struct buf text = { 0 };

	buf_u64(&text, i);
	str_cstr(buf_view(&text), name, sizeof name);
	buf_fini(&text);
	return dtm_member(o->before, name);
}

/* A prerequisite is one, however often it is named. */
static bool is_named_before(const struct json *list, const struct json *number)
{
	for (const struct json *it = list->first; it != number; it = it->next)
		if (str_eq(it->raw, number->raw))
			return true;
	return false;
}

/* 01, 02, … */
static void write_id(uint64_t number, struct buf *out)
{
	if (number < 10)
		buf_char(out, '0');
	buf_u64(out, number);
}

static void write_name(uint64_t number, struct buf *out)
{
	buf_cstr(out, "\"" DTM_BRANCH_PREFIX);
	write_id(number, out);
	buf_char(out, '"');
}

static bool write_after(struct request *r, const struct orders *o, size_t i, struct buf *out)
{
	const size_t       steps = dtm_of(r)->trans.steps->n;
	const struct json *list = o->concurrent ? prerequisites_of(o, i) : NULL;
	const char        *comma = "";
	uint64_t           before;

	if (!o->concurrent && i > 0) {
		buf_cstr(out, "\"after\":[");
		write_name(i, out);
		buf_cstr(out, "],");
	}
	if (list == NULL)
		return true;
	if (list->type != JSON_ARRAY) {
		dtm_error(r, "orders of step %zu: a list of numbers is wanted", i);
		return false;
	}
	buf_cstr(out, "\"after\":[");
	for (const struct json *it = list->first; it != NULL; it = it->next) {
		if (!json_u64(it, &before) || before >= steps) {
			dtm_error(r, "orders of step %zu: there is no step %.*s", i,
			          (int)(it->raw.n > 40 ? 40 : it->raw.n), it->raw.p);
			return false;
		}
		if (is_named_before(list, it))
			continue;
		buf_cstr(out, comma);
		write_name(before + 1, out);
		comma = ",";
	}
	buf_cstr(out, "],");
	return true;
}

static bool write_step(struct request *r, const struct orders *o, const struct json *step, size_t i,
                       struct buf *out)
{
	const struct dtm_trans *t = &dtm_of(r)->trans;
	struct buf              id = { 0 };
	struct dtm_call         call = { .url = dtm_text(r, step, "action"), .op = STR("action"),
		                         .payload = dtm_payload(t, i), .payload_at = (int)i };
	struct str              compensate = dtm_text(r, step, "compensate");
	bool                    fine;

	write_id(i + 1, &id);
	call.branch_id = buf_view(&id);
	buf_cstr(out, i > 0 ? "," : "");
	write_name(i + 1, out);
	buf_cstr(out, ":{");
	fine = write_after(r, o, i, out);
	buf_cstr(out, "\"action\":");
	dtm_write_call(r, &call, out);
	if (compensate.n > 0) {
		call.url = compensate;
		call.op = STR("compensate");
		buf_cstr(out, ",\"compensate\":");
		dtm_write_call(r, &call, out);
	}
	buf_char(out, '}');
	buf_fini(&id);
	return fine;
}

bool saga_document(struct request *r, struct buf *out)
{
	const struct dtm_trans *t = &dtm_of(r)->trans;
	const struct json      *step = t->steps != NULL ? t->steps->first : NULL;
	struct orders           orders;

	if (!read_orders(r, &orders))
		return false;
	dtm_write_head(r, "saga", t->timeout_to_fail, out);
	buf_cstr(out, ",\"steps\":{");
	if (step == NULL) /* it succeeds, as in DTM */
		buf_cstr(out, "\"none\":{\"action\":{\"nothing\":true}}");
	for (size_t i = 0; step != NULL; step = step->next, i++)
		if (!write_step(r, &orders, step, i, out))
			return false;
	buf_cstr(out, "}}");
	return true;
}
