/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

bool listen_parse(struct str text, struct listen_address *out, struct err *err)
{
	size_t   colon = text.n;
	uint64_t port;

	while (colon > 0 && text.p[colon - 1] != ':')
		colon--;
	if (colon == 0 || !text_to_u64((struct str){ text.p + colon, text.n - colon }, &port) ||
	    port > UINT16_MAX)
		return err_set(err, ERR_INVALID, "\"%.*s\" is no address to listen on: write host:port, "
		               "for instance 127.0.0.1:7070", (int)text.n, text.p);
	struct str host = { text.p, colon - 1 };
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct str){ host.p + 1, host.n - 2 };
	if (host.n >= sizeof out->host)
		return err_set(err, ERR_INVALID, "the host name in the listen address is too long");
	str_cstr(host, out->host, sizeof out->host);
	out->port = (uint16_t)port;
	return true;
}

/* Whose machine has gone without a word is found out, though he may be waiting for a day to be answered. What
 * is accepted here has it from the listener. */
static void keep_alive(int fd)
{
	const int on = 1, idle_s = 60, every_s = 15, times = 4;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
}

static int try_bind(const struct addrinfo *ai)
{
	int one = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	keep_alive(fd);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

bool listen_open(const struct listen_address *a, int *fd, struct err *err)
{
	struct addrinfo  hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *list;
	char             port[8];

	snprintf(port, sizeof port, "%u", a->port);
	int rc = getaddrinfo(a->host[0] ? a->host : NULL, port, &hints, &list);
	if (rc != 0)
		return err_set(err, ERR_REFUSED, "cannot listen on %s: %s", a->host, gai_strerror(rc));
	*fd = -1;
	for (struct addrinfo *ai = list; ai != NULL && *fd < 0; ai = ai->ai_next)
		*fd = try_bind(ai);
	int saved = errno;
	freeaddrinfo(list);
	if (*fd >= 0)
		return true;
	if (saved == EADDRINUSE)
		return err_set(err, ERR_REFUSED, "port %u is in use: stop what listens there (see: ss -ltnp) "
		               "or choose another port", a->port);
	return err_set(err, ERR_REFUSED, "cannot listen on %s:%u: %s", a->host, a->port, strerror(saved));
}

union address {
	struct sockaddr     any;
	struct sockaddr_in  v4;
	struct sockaddr_in6 v6;
};

static bool address_of(int fd, union address *a)
{
	socklen_t n = sizeof *a;

	return getsockname(fd, &a->any, &n) == 0;
}

uint16_t listen_port(int fd)
{
	union address a;

	if (!address_of(fd, &a))
		return 0;
	return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

static bool is_loopback(const struct in6_addr *v6)
{
	return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

bool listen_is_local(int fd)
{
	union address a;

	if (!address_of(fd, &a))
		return false;
	if (a.any.sa_family == AF_INET6)
		return is_loopback(&a.v6.sin6_addr);
	return a.any.sa_family == AF_INET && ntohl(a.v4.sin_addr.s_addr) >> 24 == 127;
}
