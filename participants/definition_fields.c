/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/definition_internal.h"

#include <string.h>

enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS };

bool field_is(struct compiler *c, const struct json *node, enum json_type type)
{
	if (node->type == type)
		return true;
	finding_add(c, node, "must be %s, not %s", json_type_name(type),
		    json_type_name(node->type));
	return false;
}

static bool is_listed(const char *const *names, struct str name)
{
	for (; *names != NULL; names++)
		if (str_is(name, *names))
			return true;
	return false;
}

static void add_unknown(struct compiler *c, const struct json *member, const char *const *names)
{
	struct buf known = { 0 };

	for (size_t i = 0; names[i] != NULL; i++)
		buf_fmt(&known, "%s%s", i ? ", " : "", names[i]);
	finding_add(c, member, "unknown field; known here are %s", known.p);
	buf_fini(&known);
}

bool fields_known(struct compiler *c, const struct json *node, const char *const *names)
{
	if (!field_is(c, node, JSON_OBJECT))
		return false;
	for (const struct json *member = node->first; member != NULL; member = member->next)
		if (!is_listed(names, member->key))
			add_unknown(c, member, names);
	return true;
}

void field_duration(struct compiler *c, const struct json *node, int64_t min, int64_t max,
		    int64_t *out)
{
	char    low[32], high[32];
	int64_t ms;

	if (node == NULL || !field_is(c, node, JSON_STRING))
		return;
	if (!text_to_ms(json_text(node, &c->scratch), &ms))
		finding_add(c, node, "must be a duration like 250ms, 3s, 10m, 1h30m or 7d");
	else if (ms < min || ms > max)
		finding_add(c, node, "must be between %s and %s", text_of_ms(min, low),
			    text_of_ms(max, high));
	else
		*out = ms;
}

void field_duration32(struct compiler *c, const struct json *node, int64_t min, int64_t max,
		      uint32_t *out)
{
	int64_t ms = *out;

	field_duration(c, node, min, max, &ms);
	*out = (uint32_t)ms;
}

void field_count(struct compiler *c, const struct json *node, uint64_t min, uint64_t max,
		 uint32_t *out)
{
	uint64_t v;

	if (node == NULL || !field_is(c, node, JSON_NUMBER))
		return;
	if (!json_u64(node, &v) || v < min || v > max)
		finding_add(c, node, "must be a whole number between %llu and %llu",
			    (unsigned long long)min, (unsigned long long)max);
	else
		*out = (uint32_t)v;
}

void field_bool(struct compiler *c, const struct json *node, bool *out)
{
	if (node == NULL)
		return;
	if (node->type != JSON_TRUE && node->type != JSON_FALSE)
		finding_add(c, node, "must be true or false, not %s", json_type_name(node->type));
	else
		*out = node->type == JSON_TRUE;
}

void field_text(struct compiler *c, const struct json *node)
{
	if (node != NULL)
		field_is(c, node, JSON_STRING);
}

void field_word(struct compiler *c, const struct json *node, const char *(*word)(int), int n,
		int *out)
{
	struct buf known = { 0 };
	struct str text;

	if (node == NULL || !field_is(c, node, JSON_STRING))
		return;
	text = json_text(node, &c->scratch);
	for (int i = 0; i < n; i++)
		if (str_is(text, word(i))) {
			*out = i;
			return;
		}
	for (int i = 0; i < n; i++)
		buf_fmt(&known, "%s%s", i ? ", " : "", word(i));
	finding_add(c, node, "must be one of %s", known.p);
	buf_fini(&known);
}

bool name_is_valid(struct str name, size_t max, bool dots)
{
	if (name.n == 0 || name.n > max)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!letter && (i == 0 || ((c < '0' || c > '9') && c != '_' && c != '-' &&
					   !(dots && c == '.'))))
			return false;
	}
	return true;
}

/* 2, 1.5, 2.25: thousandths, exactly. */
static bool to_milli(struct str raw, uint32_t *out)
{
	const char *dot = memchr(raw.p, '.', raw.n);
	struct str  whole = { raw.p, dot ? (size_t)(dot - raw.p) : raw.n }, rest = { 0 };
	uint64_t    v, part = 0;

	if (dot != NULL) {
		rest = (struct str){ dot + 1, raw.n - whole.n - 1 };
		if (rest.n > 3 || !text_to_u64(rest, &part))
			return false;
		for (size_t i = rest.n; i < 3; i++)
			part *= 10;
	}
	if (!text_to_u64(whole, &v) || v > 1000000)
		return false;
	*out = (uint32_t)(v * 1000 + part);
	return true;
}

static void field_factor(struct compiler *c, const struct json *node, uint32_t *milli)
{
	uint32_t v;

	if (node == NULL || !field_is(c, node, JSON_NUMBER))
		return;
	if (!to_milli(node->raw, &v) || v < 1000 || v > 100000)
		finding_add(c, node,
			    "must be a number between 1 and 100 with at most three decimals");
	else
		*milli = v;
}

static const char *jitter_name(int i)
{
	return i ? "full" : "none";
}

void field_retry(struct compiler *c, const struct json *node, struct retry *retry)
{
	static const char *const fields[] = {
		"initial", "factor", "max", "jitter", "attempts", NULL
	};
	int jitter = retry->jitter;

	if (node == NULL || !fields_known(c, node, fields))
		return;
	field_duration32(c, json_get(node, "initial"), 1, HOUR_MS, &retry->initial_ms);
	field_duration32(c, json_get(node, "max"), 1, DAY_MS, &retry->max_ms);
	field_factor(c, json_get(node, "factor"), &retry->factor_milli);
	field_word(c, json_get(node, "jitter"), jitter_name, 2, &jitter);
	field_count(c, json_get(node, "attempts"), 0, 1000000, &retry->attempts);
	retry->jitter = jitter != 0;
	if (retry->max_ms < retry->initial_ms)
		finding_add(c, node, "max must not be below initial");
}
