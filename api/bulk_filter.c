/* SPDX-License-Identifier: Apache-2.0
 * bulk_filter.c - which transactions are meant, and what may be done to many of them.
 */
#include "api/bulk.h"

#include <string.h>

/* A replica's clock is the database's as far as a round trip tells, and transactions have the
 * replica's time: one that was answered before the action began may look younger than that. */
enum { CLOCKS_DIFFER_MS = 1000 };

bool bulk_action(struct str text, enum command_kind *out)
{
	static const enum command_kind ACTIONS[] = { COMMAND_PAUSE, COMMAND_UNPAUSE, COMMAND_RETRY,
		                                     COMMAND_CANCEL, COMMAND_RELEASE };

	for (size_t i = 0; i < sizeof ACTIONS / sizeof ACTIONS[0]; i++)
		if (str_is(text, command_name(ACTIONS[i]))) {
			*out = ACTIONS[i];
			return true;
		}
	return false;
}

static const char *read_phase(struct str text, struct list_filter *f)
{
	for (int i = 0; i < PHASE_COUNT; i++)
		if (str_is(text, phase_name((enum phase)i))) {
			f->phase = i;
			return NULL;
		}
	return "one of the phases of a transaction is wanted";
}

static const char *read_older_than(struct str text, int64_t created_at, struct list_filter *f)
{
	int64_t at, ms;

	if (text_to_ms(text, &ms))
		at = created_at - ms;
	else if (!text_to_time(text, &at))
		return "a duration like 10m, or a time like 2026-01-31T12:00:00Z is wanted";
	if (at < f->created_before)
		f->created_before = at;
	return NULL;
}

static const char *read_labels(const struct json *labels, struct arena *arena,
                               struct bulk_filter *f)
{
	if (labels->type != JSON_OBJECT || labels->n == 0)
		return "an object of strings, not empty, is wanted";
	for (const struct json *m = labels->first; m; m = m->next)
		if (m->type != JSON_STRING)
			return "an object of strings, not empty, is wanted";
	f->labels = labels;
	f->list.label_name = labels->first->key;
	f->list.label_value = json_text(labels->first, arena);
	return NULL;
}

static const char *read_member(const struct json *m, int64_t created_at, struct arena *arena,
                               struct bulk_filter *f)
{
	struct str text = m->type == JSON_STRING ? json_text(m, arena) : (struct str){ 0 };

	if (str_is(m->key, "labels"))
		return read_labels(m, arena, f);
	if (str_is(m->key, "stuck")) {
		f->list.stuck = m->type == JSON_TRUE;
		return m->type == JSON_TRUE || m->type == JSON_FALSE ? NULL
		                                                     : "true or false is wanted";
	}
	if (text.n == 0)
		return "a string, not empty, is wanted";
	if (str_is(m->key, "phase"))
		return read_phase(text, &f->list);
	if (str_is(m->key, "older_than"))
		return read_older_than(text, created_at, &f->list);
	if (str_is(m->key, "definition"))
		f->list.definition = text;
	else if (str_is(m->key, "participant"))
		f->list.participant = text;
	else
		return "phase, definition, stuck, older_than, participant and labels are known"
		       " here";
	return NULL;
}

const char *bulk_filter_read(const struct json *filter, int64_t created_at, struct arena *arena,
                             struct bulk_filter *out, struct str *pointer)
{
	*out = (struct bulk_filter){ .list = { .phase = -1, .stuck = -1,
		                                .created_before = created_at + CLOCKS_DIFFER_MS } };
	*pointer = (struct str){ 0 };
	if (filter->type != JSON_OBJECT || filter->n == 0)
		return "a filter names what is meant: an object, not empty";
	for (const struct json *m = filter->first; m; m = m->next) {
		const char *wrong = read_member(m, created_at, arena, out);

		*pointer = m->key;
		if (wrong)
			return wrong;
	}
	return NULL;
}

static bool has_label(const struct json *labels, const struct json *wanted, struct arena *arena)
{
	const struct json *have = json_find(labels, wanted->key);

	return have && have->type == JSON_STRING &&
	       str_eq(json_text(have, arena), json_text(wanted, arena));
}

bool bulk_filter_fits(const struct bulk_filter *f, const struct row *row)
{
	struct arena      arena = { 0 };
	struct json_error err;
	struct json      *labels;
	bool              fits = true;

	if (phase_is_ended(row->phase)) /* nothing can be asked of it */
		return false;
	if (!f->labels || f->labels->n < 2)
		return true;
	labels = json_parse(row->labels, &arena, &err);
	for (const struct json *m = f->labels->first; m && fits; m = m->next)
		fits = labels && has_label(labels, m, &arena);
	arena_fini(&arena);
	return fits;
}

/* ---- why some were refused -------------------------------------------------------------- */

void bulk_refusals_read(struct bulk_refusals *refusals, struct str text, struct arena *arena)
{
	struct json_error err;
	struct json      *top = json_parse(text, arena, &err);

	*refusals = (struct bulk_refusals){ 0 };
	for (const struct json *m = top ? top->first : NULL; m; m = m->next) {
		uint64_t n = 0;

		json_u64(m, &n);
		if (str_is(m->key, "unknown"))
			refusals->unknown = n;
		for (int v = 0; v < VERDICT_COUNT; v++)
			if (str_is(m->key, verdict_name((enum verdict)v)))
				refusals->by_verdict[v] = n;
	}
}

static void put_count(struct buf *out, const char *name, uint64_t n)
{
	if (n > 0)
		buf_fmt(out, "%s\"%s\":%llu", out->p[out->n - 1] == '{' ? "" : ",", name,
		        (unsigned long long)n);
}

void bulk_refusals_write(const struct bulk_refusals *refusals, struct buf *out)
{
	buf_clear(out);
	buf_char(out, '{');
	for (int v = 0; v < VERDICT_COUNT; v++)
		put_count(out, verdict_name((enum verdict)v), refusals->by_verdict[v]);
	put_count(out, "unknown", refusals->unknown);
	buf_char(out, '}');
}
