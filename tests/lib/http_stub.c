/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/http_stub.h"

#include "coordinator/base/mem.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct peer {
	struct list        link;
	struct stub       *stub;
	uv_tcp_t           tcp;
	uv_timer_t         timer;
	struct buf         in;
	struct stub_answer answer;
	bool               busy, closing;
	int                handles;
};

struct written {
	uv_write_t   req;
	struct peer *peer;
	struct buf   bytes;
	bool         close;
};

static void on_handle_closed(uv_handle_t *h)
{
	struct peer *p = h->data;

	if (--p->handles > 0)
		return;
	buf_fini(&p->in);
	buf_fini(&p->answer.raw);
	free(p);
}

static void drop(struct peer *p)
{
	if (p->closing)
		return;
	p->closing = true;
	p->stub->open--;
	p->stub->open_requests -= p->busy;
	list_remove(&p->link);
	uv_close((uv_handle_t *)&p->tcp, on_handle_closed);
	uv_close((uv_handle_t *)&p->timer, on_handle_closed);
}

struct str stub_header(const struct stub_request *r, const char *name)
{
	struct str s = r->head;
	size_t     n = strlen(name);

	while (s.n > 0) {
		const char *end = memchr(s.p, '\n', s.n);
		size_t      line = end ? (size_t)(end - s.p) + 1 : s.n;

		if (line > n + 1 && s.p[n] == ':' && strncasecmp(s.p, name, n) == 0) {
			struct str v = { s.p + n + 1, line - n - 1 };

			for (; v.n > 0 && v.p[0] == ' '; v.p++)
				v.n--;
			while (v.n > 0 && (v.p[v.n - 1] == '\r' || v.p[v.n - 1] == '\n'))
				v.n--;
			return v;
		}
		s.p += line;
		s.n -= line;
	}
	return (struct str){ 0 };
}

static void next_request(struct peer *p);

static void on_written(uv_write_t *req, int status)
{
	struct written *w = (struct written *)(void *)req;
	struct peer    *p = w->peer;

	buf_fini(&w->bytes);
	if (w->close || status != 0)
		drop(p);
	free(w);
}

static void send_answer(struct peer *p)
{
	const struct linger hard = { .l_onoff = 1 };
	struct written     *w = mem_alloc(sizeof *w);
	uv_buf_t            b;
	uv_os_fd_t          fd;

	if (p->answer.reset && uv_fileno((uv_handle_t *)&p->tcp, &fd) == 0) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		free(w);
		drop(p);
		return;
	}
	w->peer = p;
	w->bytes = p->answer.raw;
	w->close = p->answer.close;
	p->answer = (struct stub_answer){ 0 };
	p->busy = false;
	p->stub->open_requests--;
	b = uv_buf_init(w->bytes.p ? w->bytes.p : (char *)"", (unsigned)w->bytes.n);
	if (uv_write(&w->req, (uv_stream_t *)&p->tcp, &b, 1, on_written) != 0) {
		buf_fini(&w->bytes);
		free(w);
		drop(p);
		return;
	}
	next_request(p);
}

static void on_delay(uv_timer_t *t)
{
	send_answer(t->data);
}

static bool parse(struct buf *in, size_t early, struct stub_request *r, size_t *used)
{
	char    *end = in->n ? memmem(in->p, in->n, "\r\n\r\n", 4) : NULL;
	char    *line, *space;
	uint64_t length = 0;
	size_t   head;

	if (end == NULL)
		return false;
	head = (size_t)(end - in->p) + 4;
	line = memchr(in->p, '\n', head);
	space = memchr(in->p, ' ', (size_t)(line - in->p));
	r->method = (struct str){ in->p, (size_t)(space - in->p) };
	r->path = (struct str){ space + 1, 0 };
	while (r->path.p[r->path.n] != ' ')
		r->path.n++;
	r->head = (struct str){ line + 1, head - (size_t)(line + 1 - in->p) - 2 };
	text_to_u64(stub_header(r, "Content-Length"), &length);
	if (early > 0 && length > early)
		length = early;
	if (in->n - head < length)
		return false;
	r->body = (struct str){ in->p + head, length };
	*used = head + length;
	return true;
}

static void next_request(struct peer *p)
{
	struct stub_request r;
	size_t              used;

	if (p->busy || p->closing || !parse(&p->in, p->stub->answer_early, &r, &used))
		return;
	p->busy = true;
	p->stub->requests++;
	if (++p->stub->open_requests > p->stub->open_requests_max)
		p->stub->open_requests_max = p->stub->open_requests;
	p->stub->handler(p->stub->arg, &r, &p->answer);
	memmove(p->in.p, p->in.p + used, p->in.n - used);
	p->in.n -= used;
	if (!p->answer.never)
		uv_timer_start(&p->timer, on_delay, p->answer.delay_ms, 0);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
	(void)h;
	*out = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct peer *p = stream->data;

	if (n > 0) {
		buf_add(&p->in, b->base, (size_t)n);
		next_request(p);
	}
	free(b->base);
	if (n < 0)
		drop(p);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct stub *s = listener->data;
	struct peer *p = mem_alloc(sizeof *p);

	(void)status;
	p->stub = s;
	p->handles = 2;
	p->tcp.data = p->timer.data = p;
	uv_tcp_init(s->loop, &p->tcp);
	uv_timer_init(s->loop, &p->timer);
	p->tcp.data = p->timer.data = p;
	list_push(&s->peers, &p->link);
	s->open++;
	if (uv_accept(listener, (uv_stream_t *)&p->tcp) != 0) {
		drop(p);
		return;
	}
	s->connections++;
	uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read);
}

bool stub_open(struct stub *s, uv_loop_t *loop, stub_handler *handler, void *arg)
{
	struct sockaddr_in a;
	int                n = sizeof a;

	*s = (struct stub){ .loop = loop, .handler = handler, .arg = arg };
	list_init(&s->peers);
	uv_tcp_init(loop, &s->listener);
	s->listener.data = s;
	uv_ip4_addr("127.0.0.1", 0, &a);
	if (uv_tcp_bind(&s->listener, (const struct sockaddr *)&a, 0) != 0 ||
	    uv_listen((uv_stream_t *)&s->listener, 1024, on_connection) != 0)
		return false;
	uv_tcp_getsockname(&s->listener, (struct sockaddr *)&a, &n);
	s->port = ntohs(a.sin_port);
	return true;
}

void stub_drop_all(struct stub *s)
{
	list_each(it, after, &s->peers)
		drop(list_entry(it, struct peer, link));
}

void stub_speak(struct stub *s, const char *bytes)
{
	uv_buf_t b = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)strlen(bytes));

	list_each(it, after, &s->peers)
		uv_try_write((uv_stream_t *)&list_entry(it, struct peer, link)->tcp, &b, 1);
}

void stub_close(struct stub *s)
{
	stub_drop_all(s);
	uv_close((uv_handle_t *)&s->listener, NULL);
}

void stub_reply(struct stub_answer *out, int status, const char *extra, struct str body)
{
	buf_fmt(&out->raw, "HTTP/1.1 %d Whatever\r\nContent-Length: %zu\r\n%s\r\n", status, body.n, extra);
	buf_str(&out->raw, body);
}
