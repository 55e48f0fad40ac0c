/* SPDX-License-Identifier: Apache-2.0 */
#include "api/tls.h"

#include "coordinator/base/mem.h"

#include <assert.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES_MAX = 256 };

struct tls_keys {
	gnutls_certificate_credentials_t credentials;
	unsigned                         holders; /* sessions, and the tls while it is the newest */
};

struct tls {
	struct tls_config config;
	struct tls_keys  *newest;
};

/* ---- keys ------------------------------------------------------------------------------------ */

void tls_end(struct tls_keys *k)
{
	if (--k->holders > 0)
		return;
	gnutls_certificate_free_credentials(k->credentials);
	free(k);
}

/* In the handshake: a certificate that is shown must be good. Showing none may be allowed. */
static int verify_client(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
		                          .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };
	unsigned status = 0, n = 0;

	if (gnutls_certificate_get_peers(session, &n) == NULL || n == 0)
		return 0;
	if (gnutls_certificate_verify_peers(session, &purpose, 1, &status) != GNUTLS_E_SUCCESS || status != 0)
		return GNUTLS_E_CERTIFICATE_ERROR;
	return 0;
}

static bool read_files(const struct tls_config *c, struct tls_keys *k, struct err *err)
{
	int rc = gnutls_certificate_set_x509_key_file(k->credentials, c->cert, c->key, GNUTLS_X509_FMT_PEM);

	if (rc < 0)
		return err_set(err, ERR_INVALID, "certificate %s and key %s cannot be used: %s", c->cert, c->key,
		               gnutls_strerror(rc));
	if (c->client_ca[0] == '\0')
		return true;
	rc = gnutls_certificate_set_x509_trust_file(k->credentials, c->client_ca, GNUTLS_X509_FMT_PEM);
	if (rc <= 0)
		return err_set(err, ERR_INVALID, "%s holds no certificate: %s", c->client_ca, gnutls_strerror(rc));
	rc = c->client_crl[0] == '\0' ? 1 : gnutls_certificate_set_x509_crl_file(k->credentials, c->client_crl, GNUTLS_X509_FMT_PEM);
	if (rc <= 0)
		return err_set(err, ERR_INVALID, "%s holds no revocation list: %s", c->client_crl, gnutls_strerror(rc));
	gnutls_certificate_set_verify_function(k->credentials, verify_client);
	return true;
}

bool tls_reload(struct tls *t, struct err *err)
{
	struct tls_keys *k = mem_alloc(sizeof *k);

	k->holders = 1;
	if (gnutls_certificate_allocate_credentials(&k->credentials) != GNUTLS_E_SUCCESS)
		abort(); /* out of memory */
	if (!read_files(&t->config, k, err)) {
		tls_end(k);
		return false;
	}
	if (t->newest)
		tls_end(t->newest);
	t->newest = k;
	return true;
}

struct tls *tls_open(const struct tls_config *config, struct err *err)
{
	struct tls *t = mem_alloc(sizeof *t);

	t->config = *config;
	if (tls_reload(t, err))
		return t;
	free(t);
	return NULL;
}

void tls_close(struct tls *t)
{
	if (t == NULL)
		return;
	tls_end(t->newest);
	free(t);
}

/* ---- sessions ----------------------------------------------------------------------------------- */

struct tls_keys *tls_begin(struct tls *t, void *session)
{
	struct tls_keys *k = t->newest;

	k->holders++;
	if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, k->credentials) != GNUTLS_E_SUCCESS)
		abort(); /* out of memory */
	if (t->config.client_ca[0] != '\0')
		gnutls_certificate_server_set_request(session, t->config.must_show ? GNUTLS_CERT_REQUIRE
		                                                                   : GNUTLS_CERT_REQUEST);
	return k;
}

/* White space cannot stand in a tokens file, and NUL is how names are forged. */
static void add_name(const char *kind, const char *text, size_t n, struct arena *arena, struct str *names,
                     size_t *count)
{
	struct buf name = { 0 };

	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] == 0x7f)
			return;
	if (n == 0 || *count == TLS_NAMES_MAX)
		return;
	buf_cstr(&name, kind);
	buf_add(&name, text, n);
	names[(*count)++] = arena_str(arena, buf_view(&name));
	buf_fini(&name);
}

static const char *kind_of(int type)
{
	switch (type) {
	case GNUTLS_SAN_DNSNAME:    return "DNS=";
	case GNUTLS_SAN_URI:        return "URI=";
	case GNUTLS_SAN_RFC822NAME: return "EMAIL=";
	}
	return NULL;
}

static size_t names_of(gnutls_x509_crt_t crt, struct arena *arena, struct str *names)
{
	char   text[NAME_BYTES_MAX];
	size_t n = sizeof text, count = 0;
	int    type;

	if (gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, text, &n) == GNUTLS_E_SUCCESS)
		add_name("CN=", text, n, arena, names, &count);
	for (unsigned i = 0; i < TLS_NAMES_MAX; i++) {
		n = sizeof text;
		type = gnutls_x509_crt_get_subject_alt_name(crt, i, text, &n, NULL);
		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (type >= 0 && kind_of(type) != NULL)
			add_name(kind_of(type), text, n, arena, names, &count);
	}
	return count;
}

size_t tls_names(void *session, struct arena *arena, struct str names[TLS_NAMES_MAX])
{
	unsigned              n = 0;
	const gnutls_datum_t *shown = gnutls_certificate_get_peers(session, &n);
	gnutls_x509_crt_t     crt;
	size_t                count = 0;

	if (shown == NULL || n == 0 || gnutls_x509_crt_init(&crt) != GNUTLS_E_SUCCESS)
		return 0;
	if (gnutls_x509_crt_import(crt, shown, GNUTLS_X509_FMT_DER) == GNUTLS_E_SUCCESS)
		count = names_of(crt, arena, names);
	gnutls_x509_crt_deinit(crt);
	return count;
}

int tls_no_keys(void)
{
	return GNUTLS_E_NO_CERTIFICATE_FOUND;
}
