/* SPDX-License-Identifier: Apache-2.0
 * client_http.c - handles that keep their connections, and which replica is asked next.
 */
#include "participants/libsaga/client_http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum {
	URLS_MAX = 32,
	KEPT_HANDLES = 16,
	TIMEOUT_MS = 5000,
	PATIENCE_MS = 15000,
	PAUSE_MAX_MS = 2000
};

struct saga_client {
	char *urls[URLS_MAX];
	unsigned url_count;
	char *authorization, *ca_file, *cert_file, *key_file;
	int timeout_ms, patience_ms;
	atomic_uint next; /* whom to ask first */
	pthread_mutex_t lock;
	CURL *kept[KEPT_HANDLES];
	unsigned kept_count;
};

/* ---- open and close ---------------------------------------------------------------------- */

static bool add_url(struct saga_client *c, const char *p, size_t n)
{
	while (n && p[n - 1] == '/')
		n--;
	if (c->url_count == URLS_MAX ||
	    (strncasecmp(p, "http://", 7) && strncasecmp(p, "https://", 8)))
		return false;
	c->urls[c->url_count] = strndup(p, n);
	return c->urls[c->url_count++] != NULL;
}

static bool add_urls(struct saga_client *c, const char *urls)
{
	while (*urls) {
		size_t blank = strspn(urls, ", "), n;

		urls += blank;
		n = strcspn(urls, ", ");
		if (n && !add_url(c, urls, n))
			return false;
		urls += n;
	}
	return c->url_count > 0;
}

static bool copy(char **to, const char *from)
{
	if (from)
		*to = strdup(from);
	return !from || *to;
}

struct saga_client *saga_client_open(const struct saga_client_options *options,
                                     struct saga_error *error)
{
	struct saga_client *c = calloc(1, sizeof(*c));
	struct text bearer = { 0 };

	if (!c || curl_global_init(CURL_GLOBAL_DEFAULT)) {
		free(c);
		saga_fail(error, SAGA_E_MEMORY, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&c->lock, NULL);
	c->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
	c->patience_ms = options->patience_ms > 0 ? options->patience_ms : PATIENCE_MS;
	if (options->token)
		text_printf(&bearer, "Authorization: Bearer %s", options->token);
	c->authorization = bearer.p;
	if (!add_urls(c, options->urls ? options->urls : "")) {
		saga_fail(error, SAGA_E_ARGUMENT,
		          "urls are 1 to %d of http:// or https://, separated by commas", URLS_MAX);
	} else if (bearer.failed || !copy(&c->ca_file, options->ca_file) ||
	           !copy(&c->cert_file, options->cert_file) ||
	           !copy(&c->key_file, options->key_file)) {
		saga_fail(error, SAGA_E_MEMORY, "out of memory");
	} else {
		return c;
	}
	saga_client_close(c);
	return NULL;
}

void saga_client_close(struct saga_client *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->kept_count; i++)
		curl_easy_cleanup(c->kept[i]);
	for (unsigned i = 0; i < c->url_count; i++)
		free(c->urls[i]);
	free(c->authorization);
	free(c->ca_file);
	free(c->cert_file);
	free(c->key_file);
	pthread_mutex_destroy(&c->lock);
	free(c);
	curl_global_cleanup();
}

int client_patience_ms(const struct saga_client *c)
{
	return c->patience_ms;
}

static CURL *handle_take(struct saga_client *c)
{
	CURL *h = NULL;

	pthread_mutex_lock(&c->lock);
	if (c->kept_count)
		h = c->kept[--c->kept_count];
	pthread_mutex_unlock(&c->lock);
	return h ? h : curl_easy_init();
}

static void handle_give(struct saga_client *c, CURL *h)
{
	curl_easy_reset(h); /* its connections stay */
	pthread_mutex_lock(&c->lock);
	if (c->kept_count < KEPT_HANDLES) {
		c->kept[c->kept_count++] = h;
		h = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (h)
		curl_easy_cleanup(h);
}

/* ---- one request ------------------------------------------------------------------------- */

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct text *body = ctx;

	(void)size;
	if (n > HTTP_BODY_MAX - body->n)
		return 0;
	text_add(body, p, n);
	return body->failed ? 0 : n;
}

static bool header_value(const char *p, size_t n, const char *name, char *out, size_t size)
{
	size_t at = strlen(name);
	struct saga_slice value;

	if (n <= at || p[at] != ':' || strncasecmp(p, name, at))
		return false;
	while (n > at && (p[n - 1] == '\r' || p[n - 1] == '\n'))
		n--;
	value = slice_trim((struct saga_slice){ p + at + 1, n - at - 1 });
	if (value.n >= size)
		return false;
	memcpy(out, value.p, value.n);
	out[value.n] = '\0';
	return true;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct http_answer *out = ctx;
	char word[16];

	header_value(p, size * n, "Retry-After", out->retry_after, sizeof(out->retry_after));
	if (header_value(p, size * n, "Saga-Replayed", word, sizeof(word)))
		out->replayed = !strcmp(word, "true");
	if (header_value(p, size * n, "Saga-Outcome", word, sizeof(word)))
		out->refused = !strcasecmp(word, "refused");
	return size * n;
}

static bool list_add(struct curl_slist **list, const char *header)
{
	struct curl_slist *longer = curl_slist_append(*list, header);

	if (longer)
		*list = longer;
	return longer != NULL;
}

static bool list_headers(const struct saga_client *c, const struct http_ask *ask,
                         struct curl_slist **list)
{
	bool ok = list_add(list, "Accept: application/json") && list_add(list, "Expect:");

	if (ask->body)
		ok = ok && list_add(list, "Content-Type: application/json");
	if (c->authorization && !ask->no_token)
		ok = ok && list_add(list, c->authorization);
	for (int i = 0; i < HTTP_HEADERS_MAX && ask->headers[i]; i++)
		ok = ok && list_add(list, ask->headers[i]);
	return ok;
}

static void set_options(const struct saga_client *c, CURL *h, const struct http_ask *ask,
                        struct curl_slist *list, struct http_answer *out)
{
	curl_easy_setopt(h, CURLOPT_URL, ask->url);
	curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, ask->method);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, list);
	if (ask->body) {
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, ask->body);
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(ask->body));
	}
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)ask->timeout_ms);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS,
	                 (long)(ask->timeout_ms < c->timeout_ms ? ask->timeout_ms : c->timeout_ms));
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, &out->body);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, out);
	if (c->ca_file)
		curl_easy_setopt(h, CURLOPT_CAINFO, c->ca_file);
	if (c->cert_file && !ask->no_token)
		curl_easy_setopt(h, CURLOPT_SSLCERT, c->cert_file);
	if (c->key_file && !ask->no_token)
		curl_easy_setopt(h, CURLOPT_SSLKEY, c->key_file);
}

void http_send(struct saga_client *c, const struct http_ask *ask, struct http_answer *out)
{
	char why[CURL_ERROR_SIZE] = "";
	struct curl_slist *list = NULL;
	CURL *h = handle_take(c);
	long status = 0;
	CURLcode rc;

	memset(out, 0, sizeof(*out));
	if (!h || !list_headers(c, ask, &list)) {
		snprintf(out->failure, sizeof(out->failure), "out of memory");
		curl_slist_free_all(list);
		if (h)
			handle_give(c, h);
		return;
	}
	set_options(c, h, ask, list, out);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, why);
	rc = curl_easy_perform(h);
	if (rc == CURLE_OK)
		curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
	else /* perhaps there were a status and half a body: that is no answer */
		snprintf(out->failure, sizeof(out->failure), "%.120s: %.70s", ask->url,
			 why[0] ? why : curl_easy_strerror(rc));
	out->status = (int)status;
	curl_slist_free_all(list);
	handle_give(c, h);
}

void http_answer_fini(struct http_answer *answer)
{
	text_free(&answer->body);
}

/* ---- one question to any replica --------------------------------------------------------- */

int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sleep_ms(int64_t ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (ms > 0 && nanosleep(&left, &left))
		continue;
}

/* Not "no", but "not now" or nothing at all: the next replica may know better. A
 * 409 is an answer. */
static bool ask_another(const struct http_answer *a, struct saga_error *error)
{
	if (!a->status) {
		memset(&error->problem, 0, sizeof(error->problem));
		saga_fail(error, SAGA_E_UNKNOWN, "%s", a->failure);
		return true;
	}
	saga_problem_read(a->status, a->retry_after, a->body.p, a->body.n, &error->problem);
	if (error->problem.retryable && a->status != 409) {
		saga_fail(error, SAGA_E_UNKNOWN, "HTTP %d: %s", a->status,
			  error->problem.detail[0] ? error->problem.detail : error->problem.title);
		return true;
	}
	if (!error->problem.code[0] && (a->status >= 500 || a->status < 200)) {
		saga_fail(error, SAGA_E_UNKNOWN, "HTTP %d, and not from sagad", a->status);
		return true;
	}
	saga_fail(error, SAGA_E_PROBLEM, "%s%s%s",
		  error->problem.code[0] ? error->problem.code : "HTTP answer without a code",
		  error->problem.detail[0] ? ": " : "", error->problem.detail);
	error->retryable = error->problem.retryable;
	return false;
}

static int64_t pause_ms(const struct saga_error *error, unsigned round)
{
	int64_t ms = 50ll << (round < 6 ? round : 6);

	if (error->problem.retry_after_s > 0)
		ms = error->problem.retry_after_s * 1000ll;
	return ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : ms;
}

/* One attempt at the replica whose turn it is, or at url. */
static bool attempt(struct saga_client *c, struct http_ask *ask, const char *url, const char *path,
		    struct http_answer *out)
{
	struct text whole = { 0 };

	text_printf(&whole, "%s%s", url, path);
	ask->url = whole.p;
	if (!whole.failed)
		http_send(c, ask, out);
	text_free(&whole);
	return !whole.failed;
}

bool client_ask(struct saga_client *c, struct http_ask *ask, const char *path, int wait_ms,
		struct http_answer *out, struct saga_error *error)
{
	int64_t until = clock_ms() + c->patience_ms + wait_ms;
	unsigned first = atomic_fetch_add(&c->next, 1), places = path ? c->url_count : 1;
	const char *elsewhere = ask->url;
	struct saga_error ignored;

	if (!error)
		error = &ignored;
	memset(error, 0, sizeof(*error));
	for (unsigned i = 0;; i++) {
		int64_t left = until - clock_ms();

		ask->timeout_ms = c->timeout_ms + wait_ms;
		if (left < ask->timeout_ms)
			ask->timeout_ms = left > 1 ? (int)left : 1;
		if (!attempt(c, ask, path ? c->urls[(first + i) % places] : elsewhere,
		             path ? path : "", out))
			return saga_fail(error, SAGA_E_MEMORY, "out of memory");
		if (out->status >= 200 && out->status < 300) {
			memset(error, 0, sizeof(*error));
			return true;
		}
		if (!ask_another(out, error) || clock_ms() >= until)
			break;
		http_answer_fini(out);
		/* All of them in turn at once, then with a pause. */
		if ((i + 1) % places == 0)
			sleep_ms(pause_ms(error, i / places));
	}
	http_answer_fini(out);
	return false;
}
