/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/wire.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int64_t wire_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Content-Length; no such line is no body. */
static size_t length_of(struct str head)
{
	static const char name[] = "\ncontent-length:";
	const size_t      n = sizeof name - 1;
	const char       *end = head.p + head.n;

	for (const char *p = head.p; p != NULL && (size_t)(end - p) > n; p = memchr(p + 1, '\n', (size_t)(end - p - 1))) {
		size_t length = 0;

		if (*p != '\n' || (p[1] | 32) != 'c' || strncasecmp(p, name, n) != 0)
			continue;
		for (p += n; *p == ' '; p++)
			continue;
		for (; *p >= '0' && *p <= '9'; p++)
			length = length * 10 + (size_t)(*p - '0');
		return length;
	}
	return 0;
}

bool wire_read(struct str bytes, struct wire_message *m)
{
	const char *end;
	size_t      length;

	if (bytes.p == NULL || (end = memmem(bytes.p, bytes.n, "\r\n\r\n", 4)) == NULL)
		return false;
	m->head = (struct str){ bytes.p, (size_t)(end - bytes.p) + 4 };
	length = length_of(m->head);
	if (bytes.n - m->head.n < length)
		return false;
	m->body = (struct str){ bytes.p + m->head.n, length };
	m->size = m->head.n + length;
	return true;
}

unsigned wire_status(struct str head)
{
	if (head.n < 13 || memcmp(head.p, "HTTP/1.1 ", 9) != 0)
		return 0;
	return (unsigned)(head.p[9] - '0') * 100 + (unsigned)(head.p[10] - '0') * 10 + (unsigned)(head.p[11] - '0');
}

struct str wire_path(struct str head)
{
	const char *p = memchr(head.p, ' ', head.n), *end;

	if (p == NULL)
		return (struct str){ 0 };
	p++;
	end = memchr(p, ' ', head.n - (size_t)(p - head.p));
	return (struct str){ p, end != NULL ? (size_t)(end - p) : 0 };
}

static bool exchange(int fd, struct buf *request, unsigned *status, struct buf *answer)
{
	struct wire_message m;
	struct buf          in = { 0 };
	ssize_t             n = 1;
	bool                whole = false;

	for (size_t sent = 0; sent < request->n; sent += (size_t)n) {
		n = send(fd, request->p + sent, request->n - sent, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	while (n > 0 && !whole) {
		buf_reserve(&in, 64 << 10);
		n = recv(fd, in.p + in.n, 64 << 10, 0);
		in.n += n > 0 ? (size_t)n : 0;
		whole = wire_read(buf_view(&in), &m);
	}
	if (whole) {
		*status = wire_status(m.head);
		if (answer != NULL)
			buf_str(answer, m.body);
	}
	buf_fini(&in);
	return whole;
}

bool wire_ask(const char *method, uint16_t port, const char *path, struct str body, unsigned *status, struct buf *answer)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct timeval     limit = { .tv_sec = 10 };
	struct buf         request = { 0 };
	int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool               done;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	buf_fmt(&request, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n"
	                  "Connection: close\r\nContent-Length: %zu\r\n\r\n", method, path, port, body.n);
	buf_str(&request, body);
	done = connect(fd, (struct sockaddr *)&at, sizeof at) == 0 && exchange(fd, &request, status, answer);
	close(fd);
	buf_fini(&request);
	return done;
}
