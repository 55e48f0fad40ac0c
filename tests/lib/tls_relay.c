/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/tls_relay.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE = 64 << 10, STACK = 256 << 10 };

struct relay {
	SSL_CTX *tls;
	int      to_port, fd; /* fd: of one connection */
};

/* ---- a certificate that vouches for itself ------------------------------------------------------ */

static void add_text(X509 *cert, int what, const char *text)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, what, text);

	X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
}

static X509 *make_certificate(EVP_PKEY *key)
{
	X509      *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"relay", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_set_pubkey(cert, key);
	add_text(cert, NID_basic_constraints, "critical,CA:TRUE");
	add_text(cert, NID_subject_alt_name, "IP:127.0.0.1,DNS:*.test");
	return X509_sign(cert, key, EVP_sha256()) > 0 ? cert : NULL;
}

static SSL_CTX *make_context(int ca_fd)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509     *cert = key != NULL ? make_certificate(key) : NULL;
	SSL_CTX  *tls = SSL_CTX_new(TLS_server_method());
	FILE     *file = fdopen(ca_fd, "w");

	if (cert == NULL || tls == NULL || file == NULL || PEM_write_X509(file, cert) != 1 || fclose(file) != 0 ||
	    SSL_CTX_use_certificate(tls, cert) != 1 || SSL_CTX_use_PrivateKey(tls, key) != 1)
		return NULL;
	X509_free(cert); /* the context holds both */
	EVP_PKEY_free(key);
	return tls;
}

/* ---- one connection ------------------------------------------------------------------------------- */

static int connect_to(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int                fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent < 0)
			return false;
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

/* Until one side ends: an orderly end is one on the other side, too. */
static void relay_bytes(SSL *ssl, int fd, char *piece)
{
	struct pollfd both[2] = { { .fd = SSL_get_fd(ssl), .events = POLLIN }, { .fd = fd, .events = POLLIN } };

	for (;;) {
		int n;

		if (SSL_pending(ssl) == 0 && poll(both, 2, -1) < 0)
			return;
		if (SSL_pending(ssl) > 0 || both[0].revents != 0) {
			n = SSL_read(ssl, piece, PIECE);
			if (n <= 0 || !send_all(fd, piece, (size_t)n))
				return;
		}
		if (both[1].revents == 0)
			continue;
		n = (int)recv(fd, piece, PIECE, 0);
		if (n == 0)
			SSL_shutdown(ssl);
		if (n <= 0 || SSL_write(ssl, piece, n) != n)
			return;
	}
}

static void *serve(void *arg)
{
	struct relay *r = arg;
	SSL          *ssl = SSL_new(r->tls);
	char         *piece = malloc(PIECE);
	int           fd = -1, on = 1;

	setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	SSL_set_fd(ssl, r->fd);
	if (SSL_accept(ssl) == 1)
		fd = connect_to(r->to_port);
	if (fd >= 0) {
		relay_bytes(ssl, fd, piece);
		close(fd);
	}
	free(piece);
	SSL_free(ssl);
	close(r->fd);
	free(r);
	return NULL;
}

/* ---- the process ------------------------------------------------------------------------------------ */

static void accept_all(int listener, SSL_CTX *tls, int to_port)
{
	pthread_attr_t attr;

	signal(SIGPIPE, SIG_IGN);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	for (;;) {
		struct relay *r = malloc(sizeof *r);
		pthread_t     thread;

		*r = (struct relay){ .tls = tls, .to_port = to_port, .fd = accept(listener, NULL, NULL) };
		if (r->fd < 0 || pthread_create(&thread, &attr, serve, r) != 0)
			_exit(1);
	}
}

bool tls_relay_start(struct tls_relay *r, int to_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t          n = sizeof a;
	int                listener = socket(AF_INET, SOCK_STREAM, 0), ca_fd;
	SSL_CTX           *tls;

	strcpy(r->ca_file, "/tmp/sagad-relay-XXXXXX");
	ca_fd = mkstemp(r->ca_file);
	tls = ca_fd >= 0 ? make_context(ca_fd) : NULL;
	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	if (tls == NULL || bind(listener, (struct sockaddr *)&a, n) != 0 || listen(listener, 1024) != 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &n) != 0 || (r->pid = fork()) < 0)
		return false;
	r->port = ntohs(a.sin_port);
	if (r->pid == 0)
		accept_all(listener, tls, to_port);
	close(listener);
	SSL_CTX_free(tls);
	return true;
}

void tls_relay_stop(struct tls_relay *r)
{
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	unlink(r->ca_file);
}
