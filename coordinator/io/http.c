/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/http_internal.h"

#include "coordinator/base/mem.h"
#include "coordinator/io/curl_loop.h"
#include "coordinator/io/plain_request.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct http {
	struct guard      guard;
	struct curl_loop *loop;
	struct http_curl *curl;
	struct plain     *plain;   /* NULL: libcurl only */
	unsigned          closing; /* parts still to be closed */
	http_closed      *closed;
	void             *closed_arg;
};

/* Probes where nothing is under way, and a bound for what is sent and never acknowledged. */
void http_keep_alive(int fd)
{
	const int on = 1, idle_s = HTTP_ALIVE_IDLE_S, every_s = HTTP_ALIVE_EVERY_S, ms = HTTP_ALIVE_MS;

	/* None of them is needed for an answer. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

static void on_closed(void *arg)
{
	struct http *h = arg;

	if (--h->closing > 0)
		return;
	if (h->closed != NULL)
		h->closed(h->closed_arg);
	guard_fini(&h->guard);
	free(h);
}

struct http *http_open(uv_loop_t *loop, const struct http_config *config, struct err *err)
{
	struct http *h = mem_alloc(sizeof *h);

	if (!guard_parse(&h->guard, config->deny, config->allow, err))
		goto no_guard;
	h->loop = curl_loop_open(loop, &h->guard, config, err);
	if (h->loop == NULL)
		goto no_loop;
	h->curl = http_curl_open(h->loop, config);
	if (config->client != HTTP_CURL) {
		h->plain = plain_open(loop, h->loop, &h->guard, config, err);
		if (h->plain == NULL)
			goto no_plain;
	}
	return h;
no_plain:
	h->closing = 1; /* the loop frees it */
	http_curl_close(h->curl);
	curl_loop_close(h->loop, on_closed, h);
	return NULL;
no_loop:
	guard_fini(&h->guard);
no_guard:
	free(h);
	return NULL;
}

bool http_may_call(const struct http *h, struct str target)
{
	size_t     colon = target.n;
	uint64_t   port;
	struct str host;

	while (colon > 0 && target.p[colon - 1] != ':')
		colon--;
	if (colon == 0 || !text_to_u64((struct str){ target.p + colon, target.n - colon }, &port) || port > UINT16_MAX)
		return false;
	host = (struct str){ target.p, colon - 1 };
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct str){ host.p + 1, host.n - 2 };
	return guard_judge(&h->guard, host, (uint16_t)port) != GUARD_REFUSED;
}

/* What its URL says, where that counts; addresses are looked at when they are called. */
static enum guard_word judge(const struct http *h, const struct http_request *r)
{
	struct plain_url url;
	char             host[256];
	uint16_t         port;

	if (!h->guard.reads_urls || r->to_replica)
		return GUARD_TAKEN;
	if (plain_url_read(r->url, &url))
		return guard_judge(&h->guard, url.host, url.port);
	if (http_curl_read_url(r->url, host, &port))
		return guard_judge(&h->guard, str_of(host), port);
	return GUARD_BY_ADDRESS; /* libcurl refuses it, and says why */
}

struct transfer *http_start(struct http *h, const struct http_request *request, http_done *done,
                            void *arg)
{
	const enum guard_word word = judge(h, request);
	struct transfer      *t = NULL;

	assert(h->closing == 0 && request->timeout_ms > 0);
	if (h->plain != NULL)
		t = plain_start(h->plain, request, word, done, arg);
	return t != NULL ? t : http_curl_start(h->curl, request, word, done, arg);
}

void http_abort(struct http *h, struct transfer *t)
{
	if (t->is_plain)
		plain_abort(h->plain, t);
	else
		http_curl_abort(h->curl, t);
}

void http_close(struct http *h, http_closed *closed, void *arg)
{
	h->closing = h->plain != NULL ? 2 : 1;
	h->closed = closed;
	h->closed_arg = arg;
	if (h->plain != NULL)
		plain_close(h->plain, on_closed, h);
	http_curl_close(h->curl);
	curl_loop_close(h->loop, on_closed, h);
}
