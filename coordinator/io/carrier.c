/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/carrier.h"

#include "coordinator/base/mem.h"

#include <errno.h>
#include <stdlib.h>

enum {
	READ_MAX = 64 << 10, /* libcurl reads no more at once */
	SLACK_MS = 100       /* whoever waits gives up himself, and says so in his own words */
};

struct carrier {
	struct curl_user user;
	carrier_ready   *ready;
	void            *arg;
};

static void note_failure(struct curl_user *u, CURLcode code)
{
	if (code != CURLE_OK && u->said[0] == '\0')
		str_cstr(str_of(curl_easy_strerror(code)), u->said, sizeof u->said);
}

static void on_ended(struct curl_user *u, CURLcode code)
{
	struct carrier *c = (struct carrier *)(void *)u;
	curl_socket_t   fd = CURL_SOCKET_BAD;

	note_failure(u, code);
	if (code == CURLE_OK)
		curl_easy_getinfo(u->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (fd != CURL_SOCKET_BAD)
		curl_loop_leave(u->loop, fd);
	c->ready(c->arg, fd != CURL_SOCKET_BAD ? fd : -1);
}

struct carrier *carrier_open(struct curl_loop *l, const char *url, enum guard_word word,
                             uint32_t timeout_ms, carrier_ready *ready, void *arg)
{
	struct carrier *c = mem_alloc(sizeof *c);

	curl_user_open(&c->user, l, CURL_ALONE, on_ended);
	c->ready = ready;
	c->arg = arg;
	curl_easy_setopt(c->user.easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(c->user.easy, CURLOPT_URL, url);
	/* By it libcurl decides how long one of several addresses is tried. */
	curl_easy_setopt(c->user.easy, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms + SLACK_MS);
	curl_easy_setopt(c->user.easy, CURLOPT_BUFFERSIZE, (long)READ_MAX);
	curl_user_start(&c->user, word);
	return c;
}

void carrier_close(struct carrier *c)
{
	curl_user_end(&c->user);
	curl_user_close(&c->user);
	free(c);
}

const char *carrier_failure(const struct carrier *c)
{
	return c->user.said;
}

bool carrier_was_denied(const struct carrier *c)
{
	return c->user.denied;
}

int carrier_no_socket(const struct carrier *c)
{
	return c->user.no_socket;
}

static ssize_t result(struct carrier *c, CURLcode code, size_t n)
{
	if (code == CURLE_OK)
		return (ssize_t)n;
	if (code != CURLE_AGAIN)
		note_failure(&c->user, code);
	errno = code == CURLE_AGAIN ? EAGAIN : 0;
	return -1;
}

ssize_t carrier_send(struct carrier *c, const char *p, size_t n)
{
	size_t         sent = 0;
	const CURLcode code = curl_easy_send(c->user.easy, p, n, &sent);

	return result(c, code, sent);
}

ssize_t carrier_recv(struct carrier *c, char *p, size_t n)
{
	size_t         got = 0;
	const CURLcode code = curl_easy_recv(c->user.easy, p, n, &got);

	return result(c, code, got);
}
