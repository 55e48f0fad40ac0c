/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/client.h"

#include "sagactl/verbatim.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { CONNECT_MS = 5000, TIMEOUT_MS = 30000 };

static const char DEFAULT_URL[] = "http://127.0.0.1:7070";

/* ---- settings ------------------------------------------------------------------------- */

static bool read_urls(struct client *c, const char *text, struct err *err)
{
	while (*text) {
		size_t     n = strcspn(text, ",");
		struct str url = { text, n };

		while (url.n > 0 && url.p[url.n - 1] == '/')
			url.n--;
		if (!str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
			return err_set(err, ERR_INVALID, "--url: http://host:port or https://host:port is wanted, not `%.*s`",
			               (int)n, text);
		if (c->url_n == CLIENT_URLS_MAX)
			return err_set(err, ERR_INVALID, "--url: at most %d replicas", CLIENT_URLS_MAX);
		c->urls[c->url_n++] = url;
		text += n + (text[n] == ',');
	}
	return c->url_n > 0 || err_set(err, ERR_INVALID, "--url is empty");
}

static bool read_token(struct client *c, const char *path, struct err *err)
{
	FILE *file = fopen(path, "r");
	size_t n;

	if (!file)
		return err_set(err, ERR_INVALID, "--token-file: %s: %s", path, strerror(errno));
	n = fread(c->token, 1, sizeof c->token - 1, file);
	fclose(file);
	while (n > 0 && strchr(" \t\r\n", c->token[n - 1]))
		n--;
	c->token[n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (c->token[i] <= ' ' || c->token[i] == 0x7f)
			n = 0;
	return n > 0 || err_set(err, ERR_INVALID, "--token-file: %s: one line with a token is wanted", path);
}

bool client_open(struct client *c, const struct args *a, struct err *err)
{
	const char *url = a->values[FLAG_url], *timeout = a->values[FLAG_timeout], *token = a->values[FLAG_token_file];

	*c = (struct client){ .cacert = a->values[FLAG_cacert], .cert = a->values[FLAG_cert], .key = a->values[FLAG_key],
		              .timeout_ms = TIMEOUT_MS };
	if (!read_urls(c, url ? url : DEFAULT_URL, err) || (token && !read_token(c, token, err)))
		return false;
	if (timeout && (!text_to_ms(str_of(timeout), &c->timeout_ms) || c->timeout_ms < 1))
		return err_set(err, ERR_INVALID, "--timeout: a duration like 30s is wanted, not `%s`", timeout);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	c->curl = curl_easy_init();
	if (!c->curl)
		abort();
	return true;
}

void client_close(struct client *c)
{
	if (c->curl) {
		curl_easy_cleanup(c->curl);
		curl_global_cleanup();
	}
	explicit_bzero(c->token, sizeof c->token);
	c->curl = NULL;
}

void answer_fini(struct answer *a)
{
	buf_fini(&a->body);
	json_decref(a->json);
	*a = (struct answer){ 0 };
}

/* ---- one request ------------------------------------------------------------------------ */

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;

	if (a->body.n + size * n > CLIENT_ANSWER_MAX)
		return 0;
	buf_add(&a->body, bytes, size * n);
	return size * n;
}

static void keep_header(const char *line, size_t n, const char *name, char *out, size_t size)
{
	size_t     m = strlen(name);
	struct str value;

	if (n <= m || strncasecmp(line, name, m) != 0)
		return;
	value = (struct str){ line + m, n - m };
	while (value.n > 0 && strchr(" \t\r\n", value.p[value.n - 1]))
		value.n--;
	while (value.n > 0 && (*value.p == ' ' || *value.p == '\t'))
		value = (struct str){ value.p + 1, value.n - 1 };
	str_cstr(value, out, size);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	char           text[64] = "", date[64] = "", retry[64] = "";

	keep_header(line, size * n, "ETag:", a->etag, sizeof a->etag);
	keep_header(line, size * n, "Content-Type:", a->type, sizeof a->type);
	keep_header(line, size * n, "Saga-Replayed:", text, sizeof text);
	keep_header(line, size * n, "Date:", date, sizeof date);
	keep_header(line, size * n, "Retry-After:", retry, sizeof retry);
	a->replayed = a->replayed || strcmp(text, "true") == 0;
	if (*date && curl_getdate(date, NULL) > 0)
		a->date = (int64_t)curl_getdate(date, NULL) * 1000;
	if (*retry)
		a->retry_after_s = strtol(retry, NULL, 10);
	return size * n;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, struct str value)
{
	struct buf line = { 0 };

	if (value.n == 0)
		return list;
	buf_fmt(&line, "%s: %.*s", name, (int)value.n, value.p);
	list = curl_slist_append(list, line.p);
	buf_fini(&line);
	return list;
}

static struct curl_slist *make_headers(const struct client *c, const struct ask *ask)
{
	struct curl_slist *list = NULL;
	struct buf         bearer = { 0 };

	if (*c->token)
		buf_fmt(&bearer, "Bearer %s", c->token);
	list = add_header(list, "Authorization", buf_view(&bearer));
	list = add_header(list, "Content-Type", ask->body.n ? STR("application/json") : STR(""));
	list = add_header(list, "Accept", str_of(ask->accept ? ask->accept : "application/json"));
	list = add_header(list, "If-Match", ask->if_match);
	list = add_header(list, "If-None-Match", ask->if_none_match);
	list = add_header(list, "Idempotency-Key", str_of(ask->idempotency_key));
	list = curl_slist_append(list, "Expect:");
	buf_fini(&bearer);
	return list;
}

static void set_body(CURL *curl, const struct ask *ask)
{
	if (strcmp(ask->method, "GET") == 0) {
		curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
		return;
	}
	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->body.n);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->body.n ? ask->body.p : "");
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
}

static CURLcode send_to(struct client *c, struct str base, const struct ask *ask, struct answer *out)
{
	CURL              *curl = c->curl;
	struct curl_slist *headers = make_headers(c, ask);
	struct buf         url = { 0 };
	CURLcode           code;

	buf_str(&url, base);
	buf_cstr(&url, ask->path);
	curl_easy_reset(curl);
	set_body(curl, ask);
	curl_easy_setopt(curl, CURLOPT_URL, url.p);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "sagactl/" SAGACTL_VERSION);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, NULL);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(c->timeout_ms + ask->wait_ms));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, out);
	if (c->cacert)
		curl_easy_setopt(curl, CURLOPT_CAINFO, c->cacert);
	if (c->cert)
		curl_easy_setopt(curl, CURLOPT_SSLCERT, c->cert);
	if (c->key)
		curl_easy_setopt(curl, CURLOPT_SSLKEY, c->key);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
	curl_slist_free_all(headers);
	buf_fini(&url);
	return code;
}

/* Nothing was sent, so nothing can have been done. */
static bool never_began(CURL *curl, CURLcode code)
{
	curl_off_t connected_us = 0;

	curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connected_us);
	if (code == CURLE_OPERATION_TIMEDOUT && connected_us == 0)
		return true;
	return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_SSL_CONNECT_ERROR ||
	       code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CERTPROBLEM ||
	       code == CURLE_SSL_CACERT_BADFILE || code == CURLE_URL_MALFORMAT;
}

static void understand(struct answer *a)
{
	struct buf   texts = { 0 };
	json_error_t err;

	if (a->date == 0)
		a->date = (int64_t)time(NULL) * 1000;
	if (!strstr(a->type, "json"))
		return;
	verbatim_numbers(buf_view(&a->body), &texts);
	a->json = json_loadb(texts.p ? texts.p : "", texts.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &err);
	buf_fini(&texts);
}

bool client_send(struct client *c, const struct ask *ask, struct answer *out, struct err *err)
{
	bool is_read = strcmp(ask->method, "GET") == 0;

	for (size_t i = 0; i < c->url_n; i++) {
		struct str base = c->urls[c->url_at];
		CURLcode   code;

		answer_fini(out);
		code = send_to(c, base, ask, out);
		if (code == CURLE_OK) {
			understand(out);
			return true;
		}
		err_set(err, ERR_UNAVAILABLE, "%.*s: %s%s", (int)base.n, base.p, curl_easy_strerror(code),
		        is_read || never_began(c->curl, code) ? "" : "; it may have been done: look before you try again");
		if (!is_read && !never_began(c->curl, code))
			break;
		c->url_at = (c->url_at + 1) % c->url_n;
	}
	answer_fini(out);
	return false;
}

/* ---- paths -------------------------------------------------------------------------------- */

static void percent(struct buf *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~:", c)))
			buf_char(out, (char)c);
		else
			buf_fmt(out, "%%%02X", c);
	}
}

void path_add(struct buf *path, struct str segment)
{
	buf_char(path, '/');
	/* A segment of dots alone would be taken for a step in the tree. */
	if (str_is(segment, ".") || str_is(segment, ".."))
		for (size_t i = 0; i < segment.n; i++)
			buf_cstr(path, "%2E");
	else
		percent(path, segment);
}

void query_add(struct buf *path, const char *name, struct str value)
{
	buf_char(path, path->p && strchr(path->p, '?') ? '&' : '?');
	percent(path, str_of(name));
	buf_char(path, '=');
	percent(path, value);
}
