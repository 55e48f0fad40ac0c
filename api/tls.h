/* SPDX-License-Identifier: Apache-2.0
 * tls.h - the server's side of TLS: certificate, key, and whose clients are believed. GnuTLS is behind it and nowhere
 * else; it does the same for libmicrohttpd.
 */
#ifndef API_TLS_H
#define API_TLS_H

#include "coordinator/base/arena.h"
#include "coordinator/base/err.h"

struct tls;
struct tls_keys; /* what a session was begun with; lives as long as that */

struct tls_config { /* PEM files; the texts live as long as the tls */
	const char *cert;      /* the server's certificate, and those between it and a root */
	const char *key;
	const char *client_ca; /* who signs clients' certificates; empty: no client is asked for one */
	const char *client_crl; /* whom of these it has revoked; empty: nobody */
	bool        must_show; /* a client without a certificate is refused */
};

/* Versions 1.2 and 1.3, ciphers of 128 bits and more. */
#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

struct tls *tls_open(const struct tls_config *config, struct err *err);
/* Reads the files again for sessions that begin from now on; false: they are broken, and nothing has changed. */
bool        tls_reload(struct tls *t, struct err *err) __attribute__((warn_unused_result));
void        tls_close(struct tls *t); /* after all sessions; harmless on NULL */

/* session is GnuTLS's, before its handshake. */
struct tls_keys *tls_begin(struct tls *t, void *session);
void             tls_end(struct tls_keys *k);
/* Names in the certificate that the client has proven: CN=…, DNS=…, URI=…, EMAIL=…; 0: it has shown none. */
enum { TLS_NAMES_MAX = 32 };
size_t           tls_names(void *session, struct arena *arena, struct str names[TLS_NAMES_MAX]);
/* For a server that is given its keys per session: it has none of its own. */
int              tls_no_keys(void);

#endif
