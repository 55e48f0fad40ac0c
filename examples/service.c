/* SPDX-License-Identifier: Apache-2.0
 * service.c - the HTTP side of an example service: a thread per connection, a few database
 * sessions.
 */
#include "examples/service.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SESSIONS = 6, BODY_MAX = 1 << 16 };

struct server {
	const struct service *about;
	PGconn *session[SESSIONS];
	unsigned free_count;
	pthread_mutex_t lock;
	pthread_cond_t some_free;
};

struct request { /* one HTTP request while its body comes in */
	char body[BODY_MAX];
	size_t n;
	bool too_big;
};

/* ---- database sessions -------------------------------------------------------------- */

static PGconn *session_take(struct server *sv)
{
	PGconn *db;

	pthread_mutex_lock(&sv->lock);
	while (!sv->free_count)
		pthread_cond_wait(&sv->some_free, &sv->lock);
	db = sv->session[--sv->free_count];
	pthread_mutex_unlock(&sv->lock);
	if (PQstatus(db) != CONNECTION_OK) {
		PQreset(db);
		PQclear(PQexec(db, "SELECT 1"));
	}
	return db;
}

static void session_give(struct server *sv, PGconn *db)
{
	pthread_mutex_lock(&sv->lock);
	sv->session[sv->free_count++] = db;
	pthread_cond_signal(&sv->some_free);
	pthread_mutex_unlock(&sv->lock);
}

/* The path of this service's tables comes with every new session of the same settings. */
static bool session_open_all(struct server *sv, const char *dsn)
{
	char options[100];
	const char *keys[] = { "dbname", "application_name", "options", NULL };
	const char *values[] = { dsn, sv->about->name, options, NULL };

	snprintf(options, sizeof(options), "-c search_path=%s -c synchronous_commit=on",
		 sv->about->name);
	for (; sv->free_count < SESSIONS; sv->free_count++) {
		PGconn *db = PQconnectdbParams(keys, values, 1);

		sv->session[sv->free_count] = db;
		if (PQstatus(db) != CONNECTION_OK) {
			fprintf(stderr, "%s: %s", sv->about->name, PQerrorMessage(db));
			sv->free_count++;
			return false;
		}
	}
	return effect_setup(sv->session[0], sv->about);
}

static void session_close_all(struct server *sv)
{
	while (sv->free_count)
		PQfinish(sv->session[--sv->free_count]);
}

/* ---- requests -------------------------------------------------------------------------- */

static enum MHD_Result send_text(struct MHD_Connection *conn, const struct service_reply *reply,
				 const char *text)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
	    strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result sent;

	MHD_add_response_header(r, "Content-Type", "application/json");
	if (reply->refused)
		MHD_add_response_header(r, "Saga-Outcome", "refused");
	if (reply->status == 503)
		MHD_add_response_header(r, "Retry-After", "1");
	sent = MHD_queue_response(conn, (unsigned)reply->status, r);
	MHD_destroy_response(r);
	return sent;
}

static enum MHD_Result send_error(struct MHD_Connection *conn, int status, const char *what)
{
	struct service_reply reply = { .status = status };

	snprintf(reply.body, sizeof(reply.body), "{\"error\": \"%s\"}", what);
	return send_text(conn, &reply, reply.body);
}

static bool path_fits(const char *pattern, const char *path)
{
	while (*pattern) {
		if (*pattern == '*') {
			size_t n = strcspn(path, "/");

			if (!n)
				return false;
			pattern++;
			path += n;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return !*path;
}

static bool word_is_plain(const char *w)
{
	if (!w || !*w || strlen(w) >= SERVICE_WORD_MAX)
		return false;
	for (; *w; w++)
		if (*w <= ' ' || *w > '~' || *w == '"' || *w == '\\')
			return false;
	return true;
}

/* A try's item and amount, and how long it shall take (delay_ms: for demonstrations). */
static const char *read_try(const struct service *s, json_t *body, struct service_call *call,
			    long *delay_ms)
{
	json_t *item = json_object_get(body, s->item_field);
	json_t *amount = json_object_get(body, s->amount_field);

	*delay_ms = (long)json_integer_value(json_object_get(body, "delay_ms"));
	if (*delay_ms < 0 || *delay_ms > SERVICE_DELAY_MAX_MS)
		return "delay_ms is 0 to 10000";
	call->item = item ? json_string_value(item) : s->items[0].name;
	if (!word_is_plain(call->item))
		return "the item is a word";
	call->amount = json_integer_value(amount);
	if (!json_is_integer(amount) || call->amount <= 0 || call->amount > 1000000000)
		return "the amount is a whole number above 0";
	return NULL;
}

static enum MHD_Result handle_effect(struct server *sv, struct MHD_Connection *conn,
				     enum effect effect, const struct request *q)
{
	struct service_call call = { .effect = effect };
	struct service_reply reply = { 0 };
	const char *wrong = NULL;
	long delay_ms = 0;
	json_t *body = NULL;
	PGconn *db;

	call.gid = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Saga-Id");
	call.step = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Saga-Step");
	if (!word_is_plain(call.gid) || !word_is_plain(call.step))
		return send_error(conn, 400, "Saga-Id and Saga-Step are missing");
	if (effect == EFFECT_TAKE || effect == EFFECT_HOLD) {
		body = json_loadb(q->body, q->n, 0, NULL);
		wrong = json_is_object(body) ? read_try(sv->about, body, &call, &delay_ms)
					     : "the body is a JSON object";
	}
	if (wrong) {
		json_decref(body);
		return send_error(conn, 400, wrong);
	}
	if (delay_ms)
		nanosleep(&(struct timespec){ delay_ms / 1000, delay_ms % 1000 * 1000000 }, NULL);
	db = session_take(sv);
	effect_apply(db, sv->about, &call, &reply);
	session_give(sv, db);
	json_decref(body);
	return send_text(conn, &reply, reply.body);
}

static enum MHD_Result handle_get(struct server *sv, struct MHD_Connection *conn, const char *path)
{
	struct service_reply reply = { .status = 200 };
	enum MHD_Result sent;
	char *text;
	PGconn *db;

	if (!strcmp(path, "/livez"))
		return send_text(conn, &reply, "{\"live\": true}");
	if (strcmp(path, "/"))
		return send_error(conn, 404, "no such path; GET / shows the items and the ledger");
	db = session_take(sv);
	text = effect_show(db, sv->about);
	session_give(sv, db);
	if (!text)
		return send_error(conn, 503, "the database is away");
	sent = send_text(conn, &reply, text);
	free(text);
	return sent;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *path,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct server *sv = arg;
	struct request *q = *state;

	(void)version;
	if (!q) {
		*state = q = calloc(1, sizeof(*q));
		return q ? MHD_YES : MHD_NO;
	}
	if (*size) {
		q->too_big |= *size > BODY_MAX - q->n;
		if (!q->too_big) {
			memcpy(q->body + q->n, data, *size);
			q->n += *size;
		}
		*size = 0;
		return MHD_YES;
	}
	if (q->too_big)
		return send_error(conn, 413, "the body is too big");
	if (!strcmp(method, "GET"))
		return handle_get(sv, conn, path);
	if (!strcmp(method, "POST"))
		for (const struct service_route *r = sv->about->routes; r->path; r++)
			if (path_fits(r->path, path))
				return handle_effect(sv, conn, r->effect, q);
	return send_error(conn, 404, "no such path");
}

static void on_request_done(void *arg, struct MHD_Connection *conn, void **state,
			    enum MHD_RequestTerminationCode why)
{
	(void)arg;
	(void)conn;
	(void)why;
	free(*state);
}

/* ---- start and stop ---------------------------------------------------------------------- */

static const char *flag_value(int argc, char **argv, const char *name, const char *otherwise)
{
	size_t n = strlen(name);

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, n) && argv[i][n] == '=')
			return argv[i] + n + 1;
	return otherwise;
}

static bool address_parse(const char *text, struct sockaddr_in *out)
{
	char host[INET_ADDRSTRLEN];
	const char *colon = strrchr(text, ':');
	int port = colon ? atoi(colon + 1) : 0;

	if (!colon || colon - text >= (long)sizeof(host) || port <= 0 || port > 65535)
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	*out = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	return inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

static int serve(struct server *sv, const char *listen)
{
	struct sockaddr_in at;
	struct MHD_Daemon *http;
	sigset_t stop;
	int got;

	if (!address_parse(listen, &at)) {
		fprintf(stderr, "%s: --listen=%s is no ADDRESS:PORT\n", sv->about->name, listen);
		return 2;
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	pthread_sigmask(SIG_BLOCK, &stop, NULL); /* before there are threads: they inherit it */
	http = MHD_start_daemon(
	    MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL,
	    NULL, on_request, sv, MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_NOTIFY_COMPLETED,
	    on_request_done, NULL, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
	    MHD_OPTION_CONNECTION_TIMEOUT, 60u, MHD_OPTION_CONNECTION_LIMIT, 400u, MHD_OPTION_END);
	if (!http) {
		fprintf(stderr, "%s: cannot listen on %s: is the port in use?\n", sv->about->name,
			listen);
		return 1;
	}
	printf("%s: listening on http://%s\n", sv->about->name, listen);
	fflush(stdout);
	sigwait(&stop, &got);
	MHD_stop_daemon(http);
	return 0;
}

int service_main(const struct service *s, int argc, char **argv)
{
	struct server sv = {
		.about = s,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.some_free = PTHREAD_COND_INITIALIZER,
	};
	const char *dsn = flag_value(argc, argv, "--dsn", "");
	const char *listen = flag_value(argc, argv, "--listen", NULL);
	int rc = 1;

	if (!listen) {
		fprintf(stderr, "usage: %s --listen=ADDRESS:PORT [--dsn=DSN]\n", argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (session_open_all(&sv, dsn))
		rc = serve(&sv, listen);
	session_close_all(&sv);
	return rc;
}
