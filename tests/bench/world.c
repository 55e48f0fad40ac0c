/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/world.h"

#include "tests/bench/stub.h"
#include "tests/bench/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_MS = 60000, STUB_PORT = 19, OPS_PORT = 10, ARGS_MAX = 24 };

void world_die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

uint16_t world_stub_port(const struct world *w)
{
	return (uint16_t)(w->config.port + STUB_PORT);
}

static uint16_t api_port(const struct world *w, unsigned i)
{
	return (uint16_t)(w->config.port + i);
}

static uint16_t ops_port(const struct world *w, unsigned i)
{
	return (uint16_t)(w->config.port + OPS_PORT + i);
}

/* ---- processes --------------------------------------------------------------------- */

/* In the parent: the child's number. In the child: 0, and it dies with its parent. */
static pid_t split(void)
{
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		world_die("cannot fork: %s", strerror(errno));
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return child;
}

static void run_to_log(const struct world *w, const char *name, char *const argv[])
{
	char path[1024];
	int  fd;

	snprintf(path, sizeof path, "%s/%s.log", w->config.logs, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	execv(argv[0], argv);
	_exit(127);
}

static int wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status;
}

static void migrate(const struct world *w)
{
	char  dsn[1200];
	char *argv[] = { (char *)w->config.sagad, (char *)"migrate", dsn, NULL };
	pid_t pid;

	snprintf(dsn, sizeof dsn, "--dsn=%s", w->config.dsn);
	pid = split();
	if (pid == 0)
		run_to_log(w, "migrate", argv);
	if (wait_for(pid) != 0)
		world_die("the migration failed; %s/migrate.log says why", w->config.logs);
}

static bool is_ready(const struct world *w, unsigned i)
{
	unsigned status = 0;
	int      exit_status;

	if (waitpid(w->replicas[i], &exit_status, WNOHANG) != 0)
		world_die("a replica ended at once; its log is %s/replica%u.log", w->config.logs, i);
	return wire_ask("GET", ops_port(w, i), "/readyz", (struct str){ 0 }, &status, NULL) && status == 200;
}

static void start_replica(struct world *w, unsigned i, const char *const flags[])
{
	char  dsn[1200], listen[64], ops[64], name[32];
	char *argv[ARGS_MAX] = { (char *)w->config.sagad, dsn, listen, ops, (char *)"--log.level=warn" };

	snprintf(dsn, sizeof dsn, "--dsn=%s", w->config.dsn);
	snprintf(listen, sizeof listen, "--listen=127.0.0.1:%u", api_port(w, i));
	snprintf(ops, sizeof ops, "--ops-listen=127.0.0.1:%u", ops_port(w, i));
	snprintf(name, sizeof name, "replica%u", i);
	for (unsigned n = 5; flags != NULL && *flags != NULL && n < ARGS_MAX - 1; n++)
		argv[n] = (char *)*flags++;
	w->replicas[i] = split();
	if (w->replicas[i] == 0)
		run_to_log(w, name, argv);
}

double world_start(struct world *w, unsigned replicas, const char *const flags[])
{
	int64_t start = wire_now_ns();

	w->replica_count = replicas;
	for (unsigned i = 0; i < replicas; i++)
		start_replica(w, i, flags);
	for (unsigned i = 0; i < replicas; i++)
		while (!is_ready(w, i)) {
			if (wire_now_ns() - start > (int64_t)READY_MS * 1000000)
				world_die("replica %u is not ready after a minute; its log is %s/replica%u.log", i,
				          w->config.logs, i);
			usleep(2000);
		}
	return (double)(wire_now_ns() - start) / 1e6;
}

void world_stop(struct world *w)
{
	for (unsigned i = 0; i < w->replica_count; i++)
		kill(w->replicas[i], SIGTERM);
	for (unsigned i = 0; i < w->replica_count; i++)
		if (wait_for(w->replicas[i]) != 0)
			world_die("a replica did not end in order; its log is %s/replica%u.log", w->config.logs, i);
	w->replica_count = 0;
}

void world_kill(struct world *w)
{
	for (unsigned i = 0; i < w->replica_count; i++) {
		kill(w->replicas[i], SIGKILL);
		wait_for(w->replicas[i]);
	}
	w->replica_count = 0;
	world_sql(w, "UPDATE sagad.replica SET state = 'drained', left_at = now() WHERE state = 'live'");
}

void world_open(struct world *w, const struct world_config *c)
{
	unsigned status;

	*w = (struct world){ .config = *c };
	migrate(w);
	w->db = PQconnectdb(c->dsn);
	if (PQstatus(w->db) != CONNECTION_OK)
		world_die("%s", PQerrorMessage(w->db));
	w->stub = split();
	if (w->stub == 0)
		_exit(stub_run(world_stub_port(w)));
	while (!wire_ask("POST", world_stub_port(w), "/ok", (struct str){ 0 }, &status, NULL)) {
		if (waitpid(w->stub, NULL, WNOHANG) != 0)
			world_die("the stub ended");
		usleep(2000);
	}
}

void world_close(struct world *w)
{
	kill(w->stub, SIGKILL);
	wait_for(w->stub);
	PQfinish(w->db);
}

/* ---- the database --------------------------------------------------------------------- */

void world_sql(struct world *w, const char *format, ...)
{
	char    sql[4096];
	va_list ap;

	va_start(ap, format);
	vsnprintf(sql, sizeof sql, format, ap);
	va_end(ap);
	PGresult *r = PQexec(w->db, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		world_die("%s: %s", sql, PQerrorMessage(w->db));
	PQclear(r);
}

double world_number(struct world *w, const char *sql)
{
	PGresult *r = PQexec(w->db, sql);
	double    v;

	if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1)
		world_die("%s: %s", sql, PQerrorMessage(w->db));
	v = strtod(PQgetvalue(r, 0, 0), NULL);
	PQclear(r);
	return v;
}

void world_empty(struct world *w)
{
	world_sql(w, "TRUNCATE sagad.transaction, sagad.journal, sagad.inbox");
	world_sql(w, "CHECKPOINT"); /* which also makes room in the WAL, as on a server that has run for a while */
}

/* ---- requests ---------------------------------------------------------------------------- */

/* A replica that is ready may still be opening a session that only this request needs. */
static void ask(struct world *w, const char *method, const char *path, const char *body)
{
	struct buf answer = { 0 };
	int64_t    limit = wire_now_ns() + (int64_t)10000000000;
	unsigned   status = 0;
	bool       heard;

	do {
		buf_clear(&answer);
		heard = wire_ask(method, api_port(w, 0), path, str_of(body), &status, &answer);
	} while (heard && status == 503 && wire_now_ns() < limit && usleep(5000) == 0);
	if (!heard || status / 100 != 2)
		world_die("%s %s: %u %.*s", method, path, status, (int)answer.n, answer.n ? answer.p : "");
	buf_fini(&answer);
}

void world_define(struct world *w, const char *name, const char *document)
{
	char path[128];

	snprintf(path, sizeof path, "/v1/definitions/%s", name);
	ask(w, "PUT", path, document);
}

void world_post(struct world *w, const char *path, const char *body)
{
	ask(w, "POST", path, body);
}

/* ---- measuring ----------------------------------------------------------------------------- */

static void metrics_of(const struct world *w, unsigned i, struct buf *out)
{
	unsigned status = 0;

	if (!wire_ask("GET", ops_port(w, i), "/metrics", (struct str){ 0 }, &status, out) || status != 200)
		world_die("replica %u does not give its metrics; its log is %s/replica%u.log", i, w->config.logs, i);
}

double world_metric(const struct world *w, const char *name)
{
	double sum = 0;

	for (unsigned i = 0; i < w->replica_count; i++) {
		struct buf text = { 0 };

		metrics_of(w, i, &text);
		sum += meter_metric(buf_view(&text), name);
		buf_fini(&text);
	}
	return sum;
}

void world_usage(struct world *w, struct usage *u)
{
	*u = (struct usage){ 0 };
	for (unsigned i = 0; i < w->replica_count; i++) {
		struct buf text = { 0 };

		metrics_of(w, i, &text);
		u->ended += meter_metric(buf_view(&text), "sagad_transactions_ended_total{phase=\"confirmed\"}") +
		            meter_metric(buf_view(&text), "sagad_transactions_ended_total{phase=\"cancelled\"}");
		u->commits += meter_metric(buf_view(&text), "sagad_log_batches_total{result=\"done\"}");
		u->rows += meter_metric(buf_view(&text), "sagad_log_batch_rows_sum");
		u->statements += meter_metric(buf_view(&text), "sagad_database_statements_total");
		buf_fini(&text);
	}
	u->page_images = world_number(w, "SELECT wal_fpi FROM pg_stat_wal");
	u->wal_bytes = world_number(w, "SELECT pg_current_wal_insert_lsn() - '0/0'");
	for (unsigned i = 0; i < w->replica_count; i++)
		u->coordinator_ns += meter_cpu_ns(w->replicas[i]);
	u->postgres_ns = meter_family_ns(w->config.postmaster);
	u->stub_ns = meter_cpu_ns(w->stub);
	u->at_ns = wire_now_ns();
}

void world_memory(const struct world *w, struct meter_memory *m)
{
	*m = (struct meter_memory){ 0 };
	for (unsigned i = 0; i < w->replica_count; i++)
		meter_memory(w->replicas[i], m);
}

static bool read_all(int fd, void *to, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t k = read(fd, (char *)to + got, n - got);

		if (k <= 0)
			return false;
		got += (size_t)k;
	}
	return true;
}

static void run_load(const struct load_config *c, int out)
{
	static struct load_result r;
	const char               *from = (const char *)&r;

	if (!load_run(c, &r))
		_exit(1);
	for (size_t sent = 0; sent < sizeof r;) {
		ssize_t n = write(out, from + sent, sizeof r - sent);

		if (n <= 0)
			_exit(1);
		sent += (size_t)n;
	}
	_exit(0);
}

uint64_t world_load(struct world *w, struct load_config *c, struct load_result *r)
{
	struct rusage used;
	int           ends[2], status;
	pid_t         pid;

	if (c->host_count == 0)
		for (; c->host_count < w->replica_count; c->host_count++)
			c->hosts[c->host_count] = (struct load_host){ 0x7f000001, api_port(w, c->host_count) };
	if (pipe2(ends, O_CLOEXEC) != 0)
		world_die("no pipe: %s", strerror(errno));
	pid = split();
	if (pid == 0)
		run_load(c, ends[1]);
	close(ends[1]);
	bool whole = read_all(ends[0], r, sizeof *r);
	close(ends[0]);
	wait4(pid, &status, 0, &used);
	if (!whole)
		world_die("the clients cannot connect");
	return ((uint64_t)used.ru_utime.tv_sec + (uint64_t)used.ru_stime.tv_sec) * 1000000000 +
	       ((uint64_t)used.ru_utime.tv_usec + (uint64_t)used.ru_stime.tv_usec) * 1000;
}
