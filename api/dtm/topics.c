/* SPDX-License-Identifier: Apache-2.0
 * topics.c - who wants messages of a topic, and the keys and values in which DTM keeps that.
 */
#include "api/dtm/dtm.h"

#include "api/show.h"

#include <string.h>

#define CATEGORY STR("topics")
#define SCHEME "topic://"

enum { TRIES = 10 };

/* ---- subscribe and unsubscribe ----------------------------------------------------------- */

struct topic_change {
	struct str topic, url, remark;
	bool       add;
	unsigned   tries;
};

/* [{"url": …, "remark": …}, …] with one more, or one less. False: answered. */
static bool rewrite(struct request *r, const struct topic_change *c, struct str old,
                    struct buf *out)
{
	struct json_error  err;
	const struct json *list = json_parse(old.n ? old : STR("[]"), request_arena(r), &err);
	bool               found = false;

	buf_char(out, '[');
	for (const struct json *it = list ? list->first : NULL; it != NULL; it = it->next) {
		bool is_it = str_eq(dtm_text(r, it, "url"), c->url);

		found |= is_it;
		if (is_it && !c->add)
			continue;
		if (out->n > 1)
			buf_char(out, ',');
		buf_str(out, it->raw);
	}
	if (found == c->add) {
		dtm_error(r, "%s",
		          c->add                ? "this url exists"
		          : list && list->n > 0 ? "no such an url "
		                                : "this topic is empty");
		return false;
	}
	if (c->add) {
		buf_cstr(out, out->n > 1 ? ",{\"url\":" : "{\"url\":");
		buf_json(out, c->url);
		buf_cstr(out, ",\"remark\":");
		buf_json(out, c->remark);
		buf_char(out, '}');
	}
	buf_char(out, ']');
	return true;
}

static void look(struct request *r);

static void on_written(void *arg, enum log_result result, bool changed)
{
	struct request *r = arg;
	struct topic_change *c = dtm_of(r)->own;

	if (result != LOG_DONE)
		dtm_away(r, result);
	else if (changed)
		dtm_ok(r);
	else if (++c->tries < TRIES) /* somebody else was first: what he wrote is looked at */
		look(r);
	else
		dtm_error(r, "storage: UniqueKeyConflict");
}

static void on_topic(void *arg, enum log_result result, const struct dtm_kv_row *rows, size_t n)
{
	struct request    *r = arg;
	struct store_port *store = &r->api->store;
	struct topic_change *c = dtm_of(r)->own;
	struct buf         text = { 0 };

	if (result != LOG_DONE) {
		dtm_away(r, result);
	} else if (n == 0 && !c->add) {
		dtm_error(r, "no such a topic");
	} else if (rewrite(r, c, n > 0 ? rows[0].v : (struct str){ 0 }, &text)) {
		const struct dtm_kv_row row = { .cat = CATEGORY,
			                        .k = c->topic,
			                        .v = arena_str(request_arena(r), buf_view(&text)),
			                        .version = n > 0 ? rows[0].version : 0 };

		store->dtm_kv_write(store->ctx, &row, on_written, r);
	}
	buf_fini(&text);
}

static void look(struct request *r)
{
	struct store_port   *store = &r->api->store;
	const struct topic_change *c = dtm_of(r)->own;

	store->dtm_kv_read(store->ctx, CATEGORY, c->topic, (struct str){ 0 }, 1, on_topic, r);
}

static void change(struct request *r, bool add)
{
	struct topic_change *c = arena_alloc(request_arena(r), sizeof *c);

	*c = (struct topic_change){ .topic = dtm_param(r, "topic"),
		                    .url = dtm_param(r, "url"),
		                    .remark = dtm_param(r, "remark"),
		                    .add = add };
	dtm_of(r)->own = c;
	if (c->topic.n == 0)
		dtm_error(r, "empty topic");
	else if (c->url.n == 0)
		dtm_error(r, "empty url");
	else if (add && !dtm_is_http(c->url))
		dtm_error(r, "a subscriber's url begins with http:// or https://");
	else if (!add || dtm_url_is_sound(r, c->url))
		look(r);
}

void handle_dtm_subscribe(struct request *r)
{
	change(r, true);
}

void handle_dtm_unsubscribe(struct request *r)
{
	change(r, false);
}

static void on_deleted(void *arg, enum log_result result, bool changed)
{
	if (result != LOG_DONE)
		dtm_away(arg, result);
	else if (changed)
		dtm_ok(arg);
	else
		dtm_error(arg, "storage: NotFound");
}

void handle_dtm_topic_delete(struct request *r)
{
	struct store_port *store = &r->api->store;

	store->dtm_kv_delete(store->ctx, CATEGORY, request_param(r, 0), on_deleted, r);
}

/* ---- keys and values --------------------------------------------------------------------- */

static void show_kv(struct str cat, const struct dtm_kv_row *row, struct buf *out)
{
	buf_fmt(out, "{\"id\":%llu",
	        (unsigned long long)row->created_at << 12 | (str_hash(row->k, 0) & 0xfff));
	show_time(out, "create_time", row->created_at);
	show_time(out, "update_time", row->updated_at);
	show_text(out, "cat", cat);
	show_text(out, "k", row->k);
	show_text(out, "v", row->v);
	buf_fmt(out, ",\"version\":%llu}", (unsigned long long)row->version);
}

struct scan {
	struct str cat;
	unsigned   limit;
	bool       pages;
};

static void on_kvs(void *arg, enum log_result result, const struct dtm_kv_row *rows, size_t n)
{
	struct request    *r = arg;
	const struct scan *s = dtm_of(r)->own;
	struct buf         body = { 0 };

	if (result != LOG_DONE) {
		dtm_away(r, result);
		return;
	}
	buf_cstr(&body, "{\"kv\":[");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_char(&body, ',');
		show_kv(s->cat, &rows[i], &body);
	}
	buf_char(&body, ']');
	if (s->pages) {
		buf_cstr(&body, ",\"next_position\":");
		buf_json(&body, n > 0 && n == s->limit ? rows[n - 1].k : (struct str){ 0 });
	}
	buf_char(&body, '}');
	dtm_data(r, &body);
}

static void read_kvs(struct request *r, struct str k, struct str after, unsigned limit, bool pages)
{
	struct store_port *store = &r->api->store;
	struct scan       *s = arena_alloc(request_arena(r), sizeof *s);

	*s = (struct scan){ .cat = dtm_param(r, "cat"), .limit = limit, .pages = pages };
	dtm_of(r)->own = s;
	store->dtm_kv_read(store->ctx, s->cat, k, after, limit, on_kvs, r);
}

void handle_dtm_scan_kv(struct request *r)
{
	unsigned limit;

	if (dtm_read_limit(r, &limit))
		read_kvs(r, (struct str){ 0 }, dtm_param(r, "position"), limit, true);
}

void handle_dtm_query_kv(struct request *r)
{
	struct str k = dtm_param(r, "key");

	if (k.n == 0)
		dtm_error(r, "empty key");
	else
		read_kvs(r, k, (struct str){ 0 }, 1, false);
}

/* ---- messages to topics ------------------------------------------------------------------ */

/* What a message's steps name, and who wants it. */
struct named {
	struct str         topic;
	const struct json *subscribers;
};
struct topics {
	struct named *named;
	size_t       n, at;
	void       (*then)(struct request *r);
};

static bool read_topic(struct str action, struct str *topic)
{
	if (!str_starts(action, STR(SCHEME)))
		return false;
	*topic = (struct str){ action.p + sizeof SCHEME - 1, action.n - sizeof SCHEME + 1 };
	return true;
}

static struct named *find_named(struct topics *t, struct str topic)
{
	for (size_t i = 0; i < t->n; i++)
		if (str_eq(t->named[i].topic, topic))
			return &t->named[i];
	return NULL;
}

bool dtm_topic_urls(struct request *r, struct str action, const struct json **subscribers)
{
	struct topics *t = dtm_of(r)->topics;
	struct str     topic;

	if (t == NULL || !read_topic(action, &topic))
		return false;
	*subscribers = find_named(t, topic)->subscribers;
	return true;
}

static void read_next(struct request *r);

static void on_subscribers(void *arg, enum log_result result, const struct dtm_kv_row *rows,
                           size_t n)
{
	struct request   *r = arg;
	struct topics    *t = dtm_of(r)->topics;
	struct json_error err;

	if (result != LOG_DONE) {
		dtm_away(r, result);
		return;
	}
	if (n > 0)
		t->named[t->at].subscribers =
			json_parse(arena_str(request_arena(r), rows[0].v), request_arena(r), &err);
	if (t->named[t->at].subscribers == NULL || t->named[t->at].subscribers->n == 0) {
		dtm_error(r, "topic not found");
		return;
	}
	t->at++;
	read_next(r);
}

static void read_next(struct request *r)
{
	struct store_port *store = &r->api->store;
	struct topics     *t = dtm_of(r)->topics;

	if (t->at < t->n)
		store->dtm_kv_read(store->ctx, CATEGORY, t->named[t->at].topic, (struct str){ 0 },
		                   1, on_subscribers, r);
	else
		t->then(r);
}

bool dtm_names_topics(struct request *r)
{
	const struct json *steps = dtm_of(r)->trans.steps;
	struct str         topic;

	for (const struct json *s = steps != NULL ? steps->first : NULL; s != NULL; s = s->next)
		if (read_topic(dtm_text(r, s, "action"), &topic))
			return true;
	return false;
}

void dtm_with_topics(struct request *r, void (*then)(struct request *r))
{
	struct topics    *t = arena_alloc(request_arena(r), sizeof *t);
	const struct json *steps = dtm_of(r)->trans.steps;
	struct str         topic;

	t->then = then;
	t->named = arena_array(request_arena(r), TXN_STEPS_MAX, sizeof *t->named);
	dtm_of(r)->topics = t;
	for (const struct json *s = steps != NULL ? steps->first : NULL; s != NULL; s = s->next) {
		if (!read_topic(dtm_text(r, s, "action"), &topic) || find_named(t, topic))
			continue;
		if (t->n == TXN_STEPS_MAX) { /* each has a subscriber at least */
			dtm_error(r, "too many branches: %d is the limit", TXN_STEPS_MAX);
			return;
		}
		if (topic.n == 0) {
			dtm_error(r, "topic not found");
			return;
		}
		t->named[t->n++].topic = topic;
	}
	read_next(r);
}
