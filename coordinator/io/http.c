/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/http_internal.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct http {
	struct guard      guard;
	struct http_curl *curl;
	struct plain     *plain;   /* NULL: libcurl only */
	unsigned          closing; /* clients still to be closed */
	http_closed      *closed;
	void             *closed_arg;
};

static void on_closed(void *arg)
{
	struct http *h = arg;

	if (--h->closing > 0)
		return;
	if (h->closed != NULL)
		h->closed(h->closed_arg);
	free(h);
}

struct http *http_open(uv_loop_t *loop, const struct http_config *config, struct err *err)
{
	struct http *h = mem_alloc(sizeof *h);

	if (!guard_parse(&h->guard, config->deny, err))
		goto no_guard;
	h->curl = http_curl_open(loop, &h->guard, config, err);
	if (h->curl == NULL)
		goto no_guard;
	if (!config->curl_only) {
		h->plain = plain_open(loop, &h->guard, config, err);
		if (h->plain == NULL)
			goto no_plain;
	}
	return h;
no_plain:
	h->closing = 1; /* the loop frees it */
	http_curl_close(h->curl, on_closed, h);
	return NULL;
no_guard:
	free(h);
	return NULL;
}

struct transfer *http_start(struct http *h, const struct http_request *request, http_done *done,
                            void *arg)
{
	struct transfer *t = NULL;

	assert(h->closing == 0 && request->timeout_ms > 0);
	if (h->plain != NULL)
		t = plain_start(h->plain, request, done, arg);
	return t != NULL ? t : http_curl_start(h->curl, request, done, arg);
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
	http_curl_close(h->curl, on_closed, h);
}
