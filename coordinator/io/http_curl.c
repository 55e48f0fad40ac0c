/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/http_internal.h"

#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"
#include "coordinator/io/watch.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
	POOL_MAX = 256,          /* idle easy handles kept */
	BODY_KEPT = 64 << 10,    /* a body buffer larger than this is not kept */
	CONNECTIONS_KEPT = 1024, /* open ones, used or not, beyond which the oldest idle one is closed */
	KEPT_S = 60,             /* older ones are not used again */
	HEADER_VALUE_MAX = 128
};

struct curl_transfer {
	struct transfer    base;
	struct list        link;     /* on http_curl.active or .pool */
	struct http_curl  *http;
	CURL              *easy;
	struct curl_slist *headers;  /* an array; libcurl only walks it */
	size_t             header_cap;
	struct buf         body;
	enum guard_word    word;
	bool               too_big, denied, withheld;
	bool               head_ended; /* the empty line behind the headers was read */
	char               saga_outcome[HEADER_VALUE_MAX], retry_after[HEADER_VALUE_MAX];
	char               error[CURL_ERROR_SIZE];
	uint64_t           started_ns;
	http_done         *done;
	void              *arg;
};

struct http_curl {
	uv_loop_t   *loop;
	CURLM       *multi;
	struct watch watch;
	uv_timer_t   timer;
	const struct guard *guard;
	struct http_config config;     /* its deny list is not ours */
	struct list  active, pool;
	unsigned     pooled;
	unsigned     closing;        /* loop handles still to be closed */
	http_closed *closed;
	void        *closed_arg;
};

/* ---- what libcurl tells us about sockets and time ------------------------------------ */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http_curl *h = arg;

	(void)easy;
	(void)socket_arg;
	watch_set(&h->watch, fd, what == CURL_POLL_IN || what == CURL_POLL_INOUT,
	          what == CURL_POLL_OUT || what == CURL_POLL_INOUT);
	return 0;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct curl_transfer *t = arg;
	int              fd;

	(void)purpose;
	if (guard_denies(t->http->guard, t->word, &a->addr)) {
		t->denied = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	watch_opened(&t->http->watch, fd);
	return fd;
}

/* libuv aborts when a descriptor is closed that it still watches; the table must forget it, too. */
static int on_close_socket(void *arg, curl_socket_t fd)
{
	struct http_curl *h = arg;

	watch_closing(&h->watch, fd);
	return close(fd);
}

/* The last look before a request goes out: a connection from the pool was opened
 * by another transfer. */
static int on_prerequest(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct curl_transfer     *t = arg;
	const struct http_config *config = &t->http->config;

	(void)local_ip;
	(void)local_port;
	t->denied = guard_denies_text(t->http->guard, t->word, ip, (uint16_t)port);
	/* libcurl asks here, too, when it repeats by itself what a closed connection swallowed. */
	t->withheld = config->may_send != NULL && !config->may_send(config->may_send_ctx);
	return t->denied || t->withheld ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static void finish_ended(struct http_curl *h);

static void on_timer(uv_timer_t *timer)
{
	struct http_curl *h = timer->data;
	int               running;

	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	finish_ended(h);
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
	struct http_curl *h = arg;

	(void)multi;
	if (ms < 0)
		uv_timer_stop(&h->timer);
	else
		uv_timer_start(&h->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

static void on_ready(void *arg, int fd, bool in, bool out, bool broken)
{
	struct http_curl *h = arg;
	int          running;

	curl_multi_socket_action(h->multi, fd,
	                         (in ? CURL_CSELECT_IN : 0) | (out ? CURL_CSELECT_OUT : 0) |
	                                 (broken ? CURL_CSELECT_ERR : 0),
	                         &running);
	finish_ended(h);
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

static void set_lasting(struct curl_transfer *t)
{
	CURL *e = t->easy;

	curl_easy_setopt(e, CURLOPT_PRIVATE, t);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L); /* what was signed and logged is what is called */
	if (t->http->config.ca_file != NULL && t->http->config.ca_file[0] != '\0')
		curl_easy_setopt(e, CURLOPT_CAINFO, t->http->config.ca_file);
	curl_easy_setopt(e, CURLOPT_PROXY, ""); /* a proxy would go round the guard */
	/* Cleartext HTTP/2 of libcurl 7.88 fails on the second request of a connection; over TLS it
	 * costs more than HTTP/1.1 on both sides. */
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)KEPT_S);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error);
	/* Else a time-out or an abort waits for the resolver's thread, and all others with it. */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, t->http);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_prerequest);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
}

static struct curl_transfer *take_transfer(struct http_curl *h)
{
	struct list     *node = list_pop(&h->pool);
	struct curl_transfer *t;

	if (node != NULL) {
		h->pooled--;
		t = list_entry(node, struct curl_transfer, link);
	} else {
		t = mem_alloc(sizeof *t);
		t->http = h;
		t->easy = curl_easy_init();
		if (t->easy == NULL)
			abort(); /* out of memory */
		set_lasting(t);
	}
	list_push(&h->active, &t->link);
	return t;
}

static void free_transfer(struct curl_transfer *t)
{
	list_remove(&t->link);
	curl_easy_cleanup(t->easy);
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
	list_push(&h->pool, &t->link);
	h->pooled++;
	if (t->body.cap > BODY_KEPT)
		buf_fini(&t->body);
	t->done = NULL;
}

/* libcurl would add headers of its own for a body: "Expect" costs a round trip, and the
 * media type would be a lie. */
static void set_headers(struct curl_transfer *t, const struct http_request *r)
{
	static const char no_expect[] = "Expect:", no_type[] = "Content-Type:";
	const size_t      n = r->header_count + 2;
	bool              typed = false;

	if (t->header_cap < n) {
		t->headers = mem_grow(t->headers, n, sizeof t->headers[0]);
		t->header_cap = n;
	}
	for (size_t i = 0; i < r->header_count; i++) {
		t->headers[i].data = (char *)(uintptr_t)r->headers[i];
		typed = typed || strncasecmp(r->headers[i], no_type, sizeof no_type - 1) == 0;
	}
	t->headers[n - 2].data = (char *)(uintptr_t)no_expect;
	t->headers[n - 1].data = (char *)(uintptr_t)no_type;
	for (size_t i = 0; i < n; i++)
		t->headers[i].next = i + 1 < n ? &t->headers[i + 1] : NULL;
	if (typed)
		t->headers[n - 2].next = NULL;
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

static void set_request(struct curl_transfer *t, const struct http_request *r)
{
	const bool is_get = strcmp(r->method, "GET") == 0, is_post = strcmp(r->method, "POST") == 0;
	CURL      *e = t->easy;

	set_headers(t, r);
	/* What is refused by its name is not even looked up. */
	curl_easy_setopt(e, CURLOPT_URL, t->word == GUARD_REFUSED ? "http://0.0.0.0/" : r->url);
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
	curl_easy_setopt(e, CURLOPT_NOBODY, 0L);
	if (r->body.p != NULL || is_post) {
		curl_easy_setopt(e, CURLOPT_POST, 1L);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body.p ? r->body.p : "");
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
	} else {
		curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
	}
	if (strcmp(r->method, "HEAD") == 0)
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST,
	                 is_post || (is_get && r->body.p == NULL) ? NULL : r->method);
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
	struct curl_transfer *t = take_transfer(h);

	assert(h->closing == 0 && r->timeout_ms > 0);
	t->done = done;
	t->arg = arg;
	t->word = word;
	t->too_big = t->denied = t->withheld = t->head_ended = false;
	t->saga_outcome[0] = t->retry_after[0] = t->error[0] = '\0';
	t->started_ns = uv_hrtime();
	buf_clear(&t->body);
	set_request(t, r);
	if (curl_multi_add_handle(h->multi, t->easy) != CURLM_OK)
		abort(); /* out of memory */
	return &t->base;
}

void http_curl_abort(struct http_curl *h, struct transfer *base)
{
	struct curl_transfer *t = (struct curl_transfer *)(void *)base;

	curl_multi_remove_handle(h->multi, t->easy);
	give_back(t);
}

static void describe(struct curl_transfer *t, CURLcode code, struct http_result *out)
{
	const char *why = t->error[0] != '\0' ? t->error : curl_easy_strerror(code);
	long        status = 0;

	*out = (struct http_result){ .took_us = (uv_hrtime() - t->started_ns) / 1000 };
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (t->denied && code != CURLE_OK) {
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

static void finish_ended(struct http_curl *h)
{
	CURLMsg *m;
	int      left;

	while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
		struct http_result    result;
		struct curl_transfer *t;
		CURLcode              code = m->data.result;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		describe(t, code, &result);
		curl_multi_remove_handle(h->multi, t->easy);
		t->done(t->arg, &result);
		give_back(t);
	}
}

/* ---- opening and closing ------------------------------------------------------------------ */

struct http_curl *http_curl_open(uv_loop_t *loop, const struct guard *guard,
                                 const struct http_config *config, struct err *err)
{
	struct http_curl *h = mem_alloc(sizeof *h);

	if (!watch_open(&h->watch, loop, on_ready, h)) {
		err_set(err, ERR_UNAVAILABLE, "outbound HTTP cannot start: no descriptor left");
		free(h);
		return NULL;
	}
	/* Counted by libcurl: one for each that is open. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		abort(); /* out of memory */
	h->loop = loop;
	h->guard = guard;
	h->config = *config;
	list_init(&h->active);
	list_init(&h->pool);
	uv_timer_init(loop, &h->timer);
	h->timer.data = h;
	h->multi = curl_multi_init();
	if (h->multi == NULL)
		abort(); /* out of memory */
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	/* Its own limit is four times the transfers of this moment: between two bursts it would close nearly all. */
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
	return h;
}

static void on_handle_closed(struct http_curl *h)
{
	if (--h->closing > 0)
		return;
	watch_free(&h->watch);
	curl_global_cleanup();
	if (h->closed != NULL)
		h->closed(h->closed_arg);
	free(h);
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;

	on_handle_closed(w->arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_handle_closed(handle->data);
}

void http_curl_close(struct http_curl *h, http_closed *closed, void *arg)
{
	list_each(it, after, &h->active)
		curl_multi_remove_handle(h->multi, list_entry(it, struct curl_transfer, link)->easy);
	list_each(it, after, &h->active)
		free_transfer(list_entry(it, struct curl_transfer, link));
	list_each(it, after, &h->pool)
		free_transfer(list_entry(it, struct curl_transfer, link));
	curl_multi_cleanup(h->multi);
	h->closing = 2;
	h->closed = closed;
	h->closed_arg = arg;
	uv_timer_stop(&h->timer);
	uv_close((uv_handle_t *)&h->timer, on_timer_closed);
	watch_close(&h->watch, on_watch_closed);
}
