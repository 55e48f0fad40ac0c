/* SPDX-License-Identifier: Apache-2.0
 * main.c - the commands of sagad.
 */
#include "coordinator/io/pg.h"
#include "coordinator/listen.h"
#include "coordinator/replica.h"
#include "coordinator/token_file.h"
#include "coordinator/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum { DATABASE_WAIT_S = 30 };

struct sagad {
	struct options   options;
	struct pg_schema schema;
	int              api_fd;
	int              ops_fds[WORKERS_MAX];
	char             advertise[600];
	char             ops_host[300];
	bool             shown_password; /* the DSN's, where others see it */
};

static int fail(const struct err *err)
{
	fprintf(stderr, "sagad: %s\n", err->text);
	return EXIT_SETTINGS;
}

static int print(void (*write)(struct buf *out))
{
	struct buf out = { 0 };

	write(&out);
	fputs(out.p, stdout);
	buf_fini(&out);
	return EXIT_SUCCESS;
}

/* ---- sockets: bound before any worker starts, so that a port in use is one clear error ------- */

/* Every address is no place to call: callers on this machine find us on loopback. */
static const char *reachable_host(const struct listen_address *a, char out[300])
{
	const char *host = a->host;

	if (host[0] == '\0' || strcmp(host, "0.0.0.0") == 0)
		host = "127.0.0.1";
	else if (strcmp(host, "::") == 0)
		host = "::1";
	snprintf(out, 300, strchr(host, ':') ? "[%s]" : "%s", host);
	return out;
}

static bool open_api_socket(struct sagad *s, struct err *err)
{
	const char           *wanted = s->options.advertise;
	struct listen_address a;
	char                  host[300];

	if (!listen_parse(str_of(s->options.listen), &a, err) || !listen_open(&a, &s->api_fd, err))
		return false;
	size_t n = strlen(wanted);
	while (n > 0 && wanted[n - 1] == '/')
		n--;
	if (n >= sizeof s->advertise)
		return err_set(err, ERR_INVALID, "--advertise is too long: a base URL has at most %zu characters",
		               sizeof s->advertise - 1);
	if (n > 0)
		snprintf(s->advertise, sizeof s->advertise, "%.*s", (int)n, wanted);
	else
		snprintf(s->advertise, sizeof s->advertise, "%s://%s:%u", s->options.tls_cert[0] ? "https" : "http",
		         reachable_host(&a, host), listen_port(s->api_fd));
	return true;
}

static bool open_ops_sockets(struct sagad *s, struct err *err)
{
	struct listen_address a;

	if (!listen_parse(str_of(s->options.ops_listen), &a, err))
		return false;
	reachable_host(&a, s->ops_host);
	for (unsigned i = 0; i < s->options.workers; i++) {
		if (!listen_open(&a, &s->ops_fds[i], err))
			return false;
		if (a.port != 0 && ++a.port == 0 && i + 1 < s->options.workers)
			return err_set(err, ERR_INVALID, "--ops-listen leaves no ports for %u workers: "
			               "worker i takes port + i", s->options.workers);
	}
	return true;
}

/* ---- commands ---------------------------------------------------------------------------------- */

/* Workers share the API port, so only the port of their own tells one from another. */
static int run_worker(void *ctx, unsigned index)
{
	struct sagad *s = ctx;
	char          address[320];

	snprintf(address, sizeof address, "http://%s:%u", s->ops_host, listen_port(s->ops_fds[index]));
	for (unsigned i = 0; i < s->options.workers; i++)
		if (i != index)
			close(s->ops_fds[i]);
	const struct replica_config config = {
		.options = &s->options,
		.schema = s->schema,
		.api_fd = s->api_fd,
		.ops_fd = s->ops_fds[index],
		.advertise = s->advertise,
		.address = s->options.workers > 1 ? address : s->advertise,
	};
	return replica_run(&config);
}

static bool need_dsn(const struct sagad *s, struct err *err)
{
	if (s->shown_password)
		return err_set(err, ERR_INVALID, "a password in --dsn or SAGAD_DSN is seen by others: put the dsn into a "
		               "file that only sagad may read, and give --dsn-file or SAGAD_DSN_FILE");
	if (s->options.dsn[0] != '\0')
		return true;
	return err_set(err, ERR_INVALID, "no database is named: give --dsn, for instance "
	               "--dsn='host=/run/postgresql dbname=sagad', or SAGAD_DSN, or --dsn-file");
}

static bool check_database(struct sagad *s, struct err *err)
{
	enum pg_lease_mode mode = strcmp(s->options.lease_mode, "row") == 0 ? PG_LEASE_ROW : PG_LEASE_LOCK;

	return pg_check(s->options.dsn, mode, &s->schema, err);
}

/* Rolling start: a database that is away for a while must not end the process, or a whole
 * cluster restarted during a failover would stay down. What a person must change does end it. */
static bool prepare_database(struct sagad *s, struct err *err)
{
	for (unsigned waited_s = 0; !pg_migrate(s->options.dsn, &s->schema, err) || !check_database(s, err);
	     waited_s++) {
		if (err->kind != ERR_UNAVAILABLE || waited_s >= DATABASE_WAIT_S)
			return false;
		if (waited_s == 0)
			fprintf(stderr, "sagad: %s; trying again for %d s\n", err->text, DATABASE_WAIT_S);
		sleep(1);
	}
	return true;
}

/* What stands open to a network must ask who comes. */
static bool check_listening(const struct sagad *s, struct err *err)
{
	bool shown = s->options.tls_client_ca[0] != '\0'; /* without tokens every client must show a certificate */
	bool api = listen_is_local(s->api_fd) || shown;
	bool ops = listen_is_local(s->ops_fds[0]) || (shown && strcmp(s->options.ops_tls, "yes") == 0);

	if ((api && ops) || s->options.tokens_file[0] != '\0' || strcmp(s->options.insecure_listen, "yes") == 0)
		return true;
	return err_set(err, ERR_REFUSED, "%s is reachable from other machines, and nobody would be asked who he is: give "
	               "--tokens-file (see sagad token --help), or listen on 127.0.0.1, or say --insecure-listen=yes",
	               api ? s->options.ops_listen : s->options.listen);
}

/* A shorter second is for tests of applications: where other machines ask there are no tests, unless told so. */
static bool check_second(const struct sagad *s, struct err *err)
{
	if (s->options.dtm_second == 1000 || listen_is_local(s->api_fd) ||
	    strcmp(s->options.insecure_listen, "yes") == 0)
		return true;
	return err_set(err, ERR_REFUSED, "%s is reachable from other machines, and dtm.second is for tests: a second of "
	               "DTM's protocol is 1s there, unless --insecure-listen=yes says that it is a test", s->options.listen);
}

static bool check_tls(const struct sagad *s, struct err *err)
{
	const struct options *o = &s->options;

	if ((o->tls_cert[0] != '\0') != (o->tls_key[0] != '\0'))
		return err_set(err, ERR_INVALID, "tls.cert and tls.key belong together: give both or none");
	if (o->tls_client_ca[0] != '\0' && o->tls_cert[0] == '\0')
		return err_set(err, ERR_INVALID, "tls.client-ca needs tls.cert and tls.key: certificates are shown within TLS");
	if (o->tls_client_crl[0] != '\0' && o->tls_client_ca[0] == '\0')
		return err_set(err, ERR_INVALID, "tls.client-crl needs tls.client-ca: only its certificates can be revoked");
	if (strcmp(o->ops_tls, "yes") == 0 && o->tls_cert[0] == '\0')
		return err_set(err, ERR_INVALID, "ops-tls needs tls.cert and tls.key");
	return true;
}

/* A tokens file that cannot be read is told before any worker starts. */
static bool check_tokens(const struct sagad *s, struct err *err)
{
	struct token_file f = { .path = s->options.tokens_file };

	if (f.path[0] == '\0')
		return true;
	struct token_set *set = token_file_read(&f, err);
	tokens_free(set);
	return set != NULL;
}

static int run(struct sagad *s)
{
	struct err err = { 0 };

	if (!need_dsn(s, &err) || !check_tls(s, &err) || !check_tokens(s, &err) || !open_api_socket(s, &err) ||
	    !open_ops_sockets(s, &err) || !check_listening(s, &err) || !check_second(s, &err) ||
	    !prepare_database(s, &err))
		return fail(&err);
	if (s->options.workers == 1)
		return run_worker(s, 0);
	return workers_run(s->options.workers, run_worker, s);
}

static bool print_newer(const struct sagad *s)
{
	bool newer = s->schema.version > s->schema.known;

	if (newer)
		printf("the schema has version %d; this sagad knows %d, and can work with it\n", s->schema.version,
		       s->schema.known);
	return newer;
}

static int migrate(struct sagad *s)
{
	struct err err = { 0 };

	if (!need_dsn(s, &err) || !pg_migrate(s->options.dsn, &s->schema, &err))
		return fail(&err);
	if (!print_newer(s))
		puts("the schema is up to date");
	return EXIT_SUCCESS;
}

static int check(struct sagad *s)
{
	struct err err = { 0 };

	if (!need_dsn(s, &err) || !check_tls(s, &err) || !check_tokens(s, &err) || !check_database(s, &err))
		return fail(&err);
	print_newer(s);
	puts("settings and database are fit to run a replica");
	return EXIT_SUCCESS;
}

static void write_version(struct buf *out)
{
	buf_cstr(out, PACKAGE_STRING "\n");
}

static int dispatch(struct sagad *s)
{
	switch (s->options.command) {
	case OPTIONS_RUN:     return run(s);
	case OPTIONS_MIGRATE: return migrate(s);
	case OPTIONS_CHECK:   return check(s);
	case OPTIONS_HELP:    return print(options_help);
	case OPTIONS_VERSION: return print(write_version);
	}
	return EXIT_SETTINGS;
}

/* Command lines and environments are shown to others. What was read of them is a copy. */
static bool hide_passwords(int argc, char **argv)
{
	const char *env = getenv("SAGAD_DSN");
	bool        shown = env != NULL && pg_dsn_has_password(env);

	for (int i = 1; i < argc; i++) {
		char *dsn = strncmp(argv[i], "--dsn=", 6) == 0 ? argv[i] + 6
		            : strcmp(argv[i], "--dsn") == 0 && i + 1 < argc ? argv[i + 1] : NULL;

		if (dsn == NULL)
			continue;
		shown |= pg_dsn_has_password(dsn);
		if (strstr(dsn, "password") != NULL || strchr(dsn, '@') != NULL) /* one that cannot be read, too */
			memset(dsn, 'x', strlen(dsn));
	}
	return shown;
}

int main(int argc, char **argv)
{
	static struct sagad s;
	struct err          err = { 0 };

	if (argc > 1 && strcmp(argv[1], "token") == 0)
		return token_command(argc - 2, argv + 2);
	if (!options_read(&s.options, argc, argv, environ, &err))
		return fail(&err);
	s.shown_password = hide_passwords(argc, argv);
	int status = dispatch(&s);
	options_fini(&s.options);
	return status;
}
