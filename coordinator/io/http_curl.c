/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/http_internal.h"

#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"
#include "coordinator/io/curl_loop.h"
#include "coordinator/io/plain_request.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	POOL_MAX = 256,       /* idle easy handles kept */
	BODY_KEPT = 64 << 10, /* a body buffer larger than this is not kept */
	KEPT_S = 60,          /* older connections are not used again */
	WAITS_ABOVE = 1024,   /* bytes of a body: from here on libcurl may ask before it sends them */
	BUFFER_USUAL = 64 << 10, /* libcurl's, for what it sends */
	HEAD_USUAL = 48 << 10,   /* a longer head has one of its own */
	HEAD_BUFFER = 2 << 20,   /* libcurl has heads of a mebibyte at most */
	METHOD_KEPT = 16,
	LOOKED_AT_MAX = 16,   /* resting handles, for one that knows a site */
	HEADER_VALUE_MAX = 128
};

/* What the handle knows from the call before this one. At every call libcurl takes a URL to pieces
 * and puts it together again, but not one that it is given in pieces. */
struct curl_told {
	CURLU      *site;      /* scheme, host and port */
	struct buf  site_text; /* the same with its NUL; empty: the handle has a whole URL */
	char        method[METHOD_KEPT];
	bool        with_body;
	bool        has_buffer; /* of HEAD_BUFFER bytes */
	uint32_t    timeout_ms;
};

struct curl_transfer {
	struct transfer    base;
	struct curl_user   user;
	struct list        link;     /* on http_curl.active or .pool */
	struct http_curl  *http;
	struct curl_told   told;
	struct curl_slist *headers;  /* an array; libcurl only walks it */
	size_t             header_cap;
	struct buf         body;
	bool               too_big, withheld;
	bool               head_ended; /* the empty line behind the headers was read */
	char               saga_outcome[HEADER_VALUE_MAX], retry_after[HEADER_VALUE_MAX];
	uint64_t           started_ns;
	http_done         *done;
	void              *arg;
};

struct http_curl {
	struct curl_loop  *loop;
	struct http_config config; /* its deny list is not ours */
	struct list        active, pool;
	unsigned           pooled;
};

/* The last look before a request goes out: a connection from the pool was opened
 * by another transfer. */
static int on_prerequest(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct curl_transfer     *t = arg;
	const struct http_config *config = &t->http->config;

	(void)local_ip;
	(void)local_port;
	t->user.denied =
		guard_denies_text(curl_loop_guard(t->http->loop), t->user.word, ip, (uint16_t)port);
	/* libcurl asks here, too, when it repeats by itself what a closed connection swallowed. */
	t->withheld = config->may_send != NULL && !config->may_send(config->may_send_ctx);
	return t->user.denied || t->withheld ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* ---- what comes back ------------------------------------------------------------------ */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct curl_transfer *t = arg;

	if (size * n > t->http->config.response_max - t->body.n) {
		t->too_big = true;
		return 0; /* ends the transfer */
	}
	buf_add(&t->body, p, size * n);
	return size * n;
}

/* "Name: value" with this name? Then the trimmed value goes to out; a too long one is ignored. */
static void take_header(struct str line, struct str name, char *out)
{
	struct str v;

	if (line.n <= name.n || line.p[name.n] != ':' || strncasecmp(line.p, name.p, name.n) != 0)
		return;
	v = (struct str){ line.p + name.n + 1, line.n - name.n - 1 };
	for (; v.n > 0 && (v.p[0] == ' ' || v.p[0] == '\t'); v.p++)
		v.n--;
	while (v.n > 0 && strchr(" \t\r\n", v.p[v.n - 1]) != NULL)
		v.n--;
	if (v.n < HEADER_VALUE_MAX)
		str_cstr(v, out, HEADER_VALUE_MAX);
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct curl_transfer *t = arg;
	struct str       line = { p, size * n };

	if (str_starts(line, STR("HTTP/"))) { /* what a 1xx answer said does not count */
		t->saga_outcome[0] = t->retry_after[0] = '\0';
		t->head_ended = false;
	}
	if (t->head_ended) /* nor what trailers say: RFC 9110, 6.5.1 */
		return line.n;
	t->head_ended = str_is(line, "\r\n") || str_is(line, "\n");
	take_header(line, STR("Saga-Outcome"), t->saga_outcome);
	take_header(line, STR("Retry-After"), t->retry_after);
	return line.n;
}

/* ---- one transfer ----------------------------------------------------------------------- */

static void on_ended(struct curl_user *u, CURLcode code);

static void set_lasting(struct curl_transfer *t)
{
	CURL *e = t->user.easy;

	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_NOPROXY, "*"); /* else it looks for a list in the environment */
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L); /* what was signed and logged is what is called */
	curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)KEPT_S);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_prerequest);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
}

/* One of the next few that called this URL's site last: it need not be told of it again. */
static struct curl_transfer *find_resting(struct http_curl *h, const char *url)
{
	struct list *node = h->pool.next;

	for (unsigned i = 0; i < LOOKED_AT_MAX && node != &h->pool; i++, node = node->next) {
		struct curl_transfer *t = list_entry(node, struct curl_transfer, link);

		if (t->told.site_text.n > 0 && strncmp(t->told.site_text.p, url, t->told.site_text.n - 1) == 0)
			return t;
	}
	return list_is_empty(&h->pool) ? NULL : list_entry(h->pool.next, struct curl_transfer, link);
}

static struct curl_transfer *take_transfer(struct http_curl *h, const char *url)
{
	struct curl_transfer *t = find_resting(h, url);

	if (t != NULL) {
		h->pooled--;
		list_remove(&t->link);
	} else {
		t = mem_alloc(sizeof *t);
		t->http = h;
		curl_user_open(&t->user, h->loop, CURL_SHARED, on_ended);
		set_lasting(t);
	}
	list_push(&h->active, &t->link);
	return t;
}

static void free_transfer(struct curl_transfer *t)
{
	list_remove(&t->link);
	curl_user_close(&t->user);
	curl_url_cleanup(t->told.site);
	buf_fini(&t->told.site_text);
	buf_fini(&t->body);
	free(t->headers);
	free(t);
}

static void give_back(struct curl_transfer *t)
{
	struct http_curl *h = t->http;

	if (h->pooled >= POOL_MAX) {
		free_transfer(t);
		return;
	}
	list_remove(&t->link);
	list_push_first(&h->pool, &t->link); /* warm: the next to be taken */
	h->pooled++;
	if (t->body.cap > BODY_KEPT)
		buf_fini(&t->body);
	if (t->told.has_buffer) /* gives it back */
		curl_easy_setopt(t->user.easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER_USUAL);
	t->told.has_buffer = false;
	t->done = NULL;
}

/* libcurl would add headers of its own for a body: "Expect" costs a round trip, and the
 * media type would be a lie. */
static void set_headers(struct curl_transfer *t, const struct http_request *r, bool with_body)
{
	static const char no_expect[] = "Expect:", no_type[] = "Content-Type:";
	size_t            n = r->header_count;
	bool              typed = !with_body;

	if (t->header_cap < n + 2) {
		t->headers = mem_grow(t->headers, n + 2, sizeof t->headers[0]);
		t->header_cap = n + 2;
	}
	for (size_t i = 0; i < n; i++) {
		t->headers[i].data = (char *)(uintptr_t)r->headers[i];
		typed = typed || strncasecmp(r->headers[i], no_type, sizeof no_type - 1) == 0;
	}
	if (r->body.n >= WAITS_ABOVE)
		t->headers[n++].data = (char *)(uintptr_t)no_expect;
	if (!typed)
		t->headers[n++].data = (char *)(uintptr_t)no_type;
	for (size_t i = 0; i < n; i++)
		t->headers[i].next = i + 1 < n ? &t->headers[i + 1] : NULL;
	curl_easy_setopt(t->user.easy, CURLOPT_HTTPHEADER, n > 0 ? t->headers : NULL);
}

static void set_url(struct curl_transfer *t, const char *url)
{
	CURL *e = t->user.easy;

	buf_clear(&t->told.site_text);
	curl_easy_setopt(e, CURLOPT_CURLU, NULL);
	curl_easy_setopt(e, CURLOPT_REQUEST_TARGET, NULL);
	curl_easy_setopt(e, CURLOPT_URL, url);
}

static bool set_site(struct curl_transfer *t, struct str site)
{
	struct curl_told *told = &t->told;

	if (told->site_text.n == site.n + 1 && memcmp(told->site_text.p, site.p, site.n) == 0)
		return true;
	if (told->site == NULL && (told->site = curl_url()) == NULL)
		abort(); /* out of memory */
	buf_clear(&told->site_text);
	buf_str(&told->site_text, site);
	buf_char(&told->site_text, '\0');
	if (curl_url_set(told->site, CURLUPART_URL, told->site_text.p, 0) != CURLUE_OK)
		return false;
	curl_easy_setopt(t->user.easy, CURLOPT_URL, NULL);
	curl_easy_setopt(t->user.easy, CURLOPT_CURLU, told->site);
	return true;
}

/* libcurl would not change what our own reader of URLs takes: such a path goes out as it stands. */
static void set_place(struct curl_transfer *t, const char *text, enum guard_word word)
{
	struct plain_url url;

	if (word == GUARD_REFUSED) /* by its name: that is not even looked up */
		set_url(t, "http://0.0.0.0/");
	else if (plain_url_read(text, &url) &&
	         set_site(t, (struct str){ text, (size_t)(url.authority.p + url.authority.n - text) }))
		curl_easy_setopt(t->user.easy, CURLOPT_REQUEST_TARGET, url.path.p);
	else
		set_url(t, text);
}

/* libcurl 7.88 stands still behind the first part of a head that its buffer does not hold, where no body follows. */
static void set_buffer(struct curl_transfer *t, const struct http_request *r)
{
	size_t n = strlen(r->url);

	for (size_t i = 0; i < r->header_count; i++)
		n += strlen(r->headers[i]);
	t->told.has_buffer = n > HEAD_USUAL;
	if (t->told.has_buffer)
		curl_easy_setopt(t->user.easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)HEAD_BUFFER);
}

/* In this order: each of these options changes the method. */
static void set_method(struct curl_transfer *t, const struct http_request *r, bool with_body)
{
	const bool is_get = strcmp(r->method, "GET") == 0, is_post = strcmp(r->method, "POST") == 0;
	const bool is_head = strcmp(r->method, "HEAD") == 0;
	CURL      *e = t->user.easy;

	if (t->told.with_body == with_body && strcmp(t->told.method, r->method) == 0)
		return;
	curl_easy_setopt(e, CURLOPT_NOBODY, 0L);
	curl_easy_setopt(e, with_body ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
	if (is_head)
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, is_post || (is_get && !with_body) ? NULL : r->method);
	t->told.with_body = with_body;
	str_cstr(strlen(r->method) < METHOD_KEPT ? str_of(r->method) : STR(""), t->told.method, METHOD_KEPT);
}

static void set_request(struct curl_transfer *t, const struct http_request *r, enum guard_word word)
{
	const bool with_body = strcmp(r->method, "HEAD") != 0 && (r->body.p != NULL || strcmp(r->method, "POST") == 0);
	CURL      *e = t->user.easy;

	set_headers(t, r, with_body);
	set_place(t, r->url, word);
	set_method(t, r, with_body);
	set_buffer(t, r);
	if (with_body) {
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body.p ? r->body.p : "");
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
	}
	if (t->told.timeout_ms != r->timeout_ms)
		curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
	t->told.timeout_ms = r->timeout_ms;
}

bool http_curl_read_url(const char *url, char host[256], uint16_t *port)
{
	CURLU   *u = curl_url();
	char    *name = NULL, *number = NULL;
	uint64_t n = 0;
	bool     read = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	            curl_url_get(u, CURLUPART_HOST, &name, 0) == CURLUE_OK &&
	            curl_url_get(u, CURLUPART_PORT, &number, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	            strlen(name) < 256 && text_to_u64(str_of(number), &n) && n <= UINT16_MAX;

	if (read) {
		struct str plain = str_of(name);

		if (plain.n >= 2 && plain.p[0] == '[')
			plain = (struct str){ plain.p + 1, plain.n - 2 };
		str_cstr(plain, host, 256);
		*port = (uint16_t)n;
	}
	curl_free(name);
	curl_free(number);
	curl_url_cleanup(u);
	return read;
}

struct transfer *http_curl_start(struct http_curl *h, const struct http_request *r, enum guard_word word,
                                 http_done *done, void *arg)
{
	struct curl_transfer *t = take_transfer(h, r->url);

	assert(r->timeout_ms > 0);
	t->done = done;
	t->arg = arg;
	t->too_big = t->withheld = t->head_ended = false;
	t->saga_outcome[0] = t->retry_after[0] = '\0';
	t->started_ns = uv_hrtime();
	buf_clear(&t->body);
	set_request(t, r, word);
	curl_user_start(&t->user, word);
	return &t->base;
}

void http_curl_abort(struct http_curl *h, struct transfer *base)
{
	struct curl_transfer *t = (struct curl_transfer *)(void *)base;

	(void)h;
	curl_user_end(&t->user);
	give_back(t);
}

static void describe(struct curl_transfer *t, CURLcode code, struct http_result *out)
{
	const char *why = t->user.said[0] != '\0' ? t->user.said : curl_easy_strerror(code);
	long        status = 0;

	*out = (struct http_result){ .took_us = (uv_hrtime() - t->started_ns) / 1000 };
	curl_easy_getinfo(t->user.easy, CURLINFO_RESPONSE_CODE, &status);
	if (t->user.denied && code != CURLE_OK) {
		out->unsendable = true;
		out->reply.failure = STR(HTTP_DENIED);
	} else if (t->withheld && code != CURLE_OK) {
		out->withheld = true;
		out->reply.failure = STR(HTTP_WITHHELD);
	} else if (code != CURLE_OK && !t->too_big) {
		out->unsendable = code == CURLE_URL_MALFORMAT;
		out->reply.failure = str_of(why);
	} else if (!t->head_ended) {
		/* To libcurl that is a whole answer without a body; 200 would be an ok. */
		out->reply.failure = STR("the connection ended within the headers of the answer");
	} else {
		out->reply = (struct call_reply){
			.status = (int)status, .saga_outcome = str_of(t->saga_outcome),
			.retry_after = str_of(t->retry_after), .body = buf_view(&t->body),
			.body_too_big = t->too_big
		};
	}
}

static void on_ended(struct curl_user *u, CURLcode code)
{
	struct curl_transfer *t = list_entry(u, struct curl_transfer, user);
	struct http_result    result;

	describe(t, code, &result);
	curl_user_end(u);
	t->done(t->arg, &result);
	give_back(t);
}

/* ---- opening and closing ------------------------------------------------------------------ */

struct http_curl *http_curl_open(struct curl_loop *loop, const struct http_config *config)
{
	struct http_curl *h = mem_alloc(sizeof *h);

	h->loop = loop;
	h->config = *config;
	list_init(&h->active);
	list_init(&h->pool);
	return h;
}

void http_curl_close(struct http_curl *h)
{
	list_each(it, after, &h->active)
		curl_user_end(&list_entry(it, struct curl_transfer, link)->user);
	list_each(it, after, &h->active)
		free_transfer(list_entry(it, struct curl_transfer, link));
	list_each(it, after, &h->pool)
		free_transfer(list_entry(it, struct curl_transfer, link));
	free(h);
}
