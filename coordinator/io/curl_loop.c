/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/curl_loop.h"

#include "coordinator/base/mem.h"
#include "coordinator/io/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	CONNECTIONS_KEPT = 1024, /* used or not; beyond it the oldest idle one is closed */
	CA_KEPT_S = 300          /* how long a file of authorities is believed to be unchanged */
};

struct curl_loop {
	CURLM              *multi;
	CURLSH             *share; /* TLS sessions: a second connection needs no whole handshake */
	struct watch        watch;
	uv_timer_t          timer;
	const struct guard *guard;
	const char         *ca_file;
	unsigned            closing; /* loop handles still to be closed */
	http_closed        *closed;
	void               *closed_arg;
};

/* ---- what libcurl tells us about sockets and time ------------------------------------ */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct curl_loop *l = arg;

	(void)easy;
	(void)socket_arg;
	watch_set(&l->watch, fd, what == CURL_POLL_IN || what == CURL_POLL_INOUT,
	          what == CURL_POLL_OUT || what == CURL_POLL_INOUT);
	return 0;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct curl_user *u = arg;
	int               fd;

	(void)purpose;
	if (guard_denies(u->loop->guard, u->word, &a->addr)) {
		u->denied = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	if (fd < 0) {
		u->no_socket = errno;
		return CURL_SOCKET_BAD;
	}
	watch_opened(&u->loop->watch, fd);
	return fd;
}

/* libuv aborts when a descriptor is closed that it still watches; the table must forget it,
 * too. */
static int on_close_socket(void *arg, curl_socket_t fd)
{
	struct curl_loop *l = arg;

	watch_closing(&l->watch, fd);
	return close(fd);
}

void curl_loop_leave(struct curl_loop *l, int fd)
{
	watch_closing(&l->watch, fd);
}

const struct guard *curl_loop_guard(const struct curl_loop *l)
{
	return l->guard;
}

static void tell_ended(struct curl_loop *l)
{
	CURLMsg *m;
	int      left;

	while ((m = curl_multi_info_read(l->multi, &left)) != NULL) {
		const CURLcode    code = m->data.result;
		struct curl_user *u;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&u);
		u->ended(u, code);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct curl_loop *l = timer->data;
	int               running;

	curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	tell_ended(l);
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
	struct curl_loop *l = arg;

	(void)multi;
	if (ms < 0)
		uv_timer_stop(&l->timer);
	else
		uv_timer_start(&l->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

static void on_ready(void *arg, int fd, bool in, bool out, bool broken)
{
	struct curl_loop *l = arg;
	int               running;

	curl_multi_socket_action(l->multi, fd,
	                         (in ? CURL_CSELECT_IN : 0) | (out ? CURL_CSELECT_OUT : 0) |
	                                 (broken ? CURL_CSELECT_ERR : 0),
	                         &running);
	tell_ended(l);
}

/* ---- users ------------------------------------------------------------------------------ */

/* Reading all the authorities of a system takes longer than the rest of a handshake. libcurl
 * keeps what it has read, for a while, if it comes from one file; the folder beside it holds
 * the same. */
static void set_trust(CURL *e, const char *ca_file)
{
	const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);

	if (ca_file != NULL && ca_file[0] != '\0')
		curl_easy_setopt(e, CURLOPT_CAINFO, ca_file);
	else if (v->cainfo != NULL && access(v->cainfo, R_OK) == 0)
		curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_KEPT_S);
}

void curl_user_open(struct curl_user *u, struct curl_loop *l, curl_ended *ended)
{
	CURL *e = curl_easy_init();

	if (e == NULL)
		abort(); /* out of memory */
	u->loop = l;
	u->easy = e;
	u->ended = ended;
	curl_easy_setopt(e, CURLOPT_PRIVATE, u);
	curl_easy_setopt(e, CURLOPT_SHARE, l->share);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	set_trust(e, l->ca_file);
	curl_easy_setopt(e, CURLOPT_PROXY, ""); /* a proxy would go round the guard */
	/* Cleartext HTTP/2 of libcurl 7.88 fails on the second request of a connection; over TLS it
	 * costs more than HTTP/1.1 on both sides. */
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, u->said);
	/* Else a time-out or an abort waits for the resolver's thread, and all others with it. */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, u);
	curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, l);
}

void curl_user_start(struct curl_user *u, enum guard_word word)
{
	u->word = word;
	u->denied = false;
	u->no_socket = 0;
	u->said[0] = '\0';
	if (curl_multi_add_handle(u->loop->multi, u->easy) != CURLM_OK)
		abort(); /* out of memory */
}

void curl_user_end(struct curl_user *u)
{
	curl_multi_remove_handle(u->loop->multi, u->easy);
}

void curl_user_close(struct curl_user *u)
{
	curl_easy_cleanup(u->easy);
	u->easy = NULL;
}

/* ---- opening and closing ------------------------------------------------------------------ */

static void set_up(struct curl_loop *l)
{
	/* Counted by libcurl: one for each that is open. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		abort(); /* out of memory */
	l->multi = curl_multi_init();
	l->share = curl_share_init();
	if (l->multi == NULL || l->share == NULL)
		abort(); /* out of memory */
	curl_share_setopt(l->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
	/* Its own limit is four times the transfers of this moment: between two bursts it would close
	 * nearly all. */
	curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
}

struct curl_loop *curl_loop_open(uv_loop_t *loop, const struct guard *guard,
                                 const struct http_config *config, struct err *err)
{
	struct curl_loop *l = mem_alloc(sizeof *l);

	if (!watch_open(&l->watch, loop, on_ready, l)) {
		err_set(err, ERR_UNAVAILABLE, "outbound HTTP cannot start: no descriptor left");
		free(l);
		return NULL;
	}
	l->guard = guard;
	l->ca_file = config->ca_file;
	uv_timer_init(loop, &l->timer);
	l->timer.data = l;
	set_up(l);
	return l;
}

static void on_handle_closed(struct curl_loop *l)
{
	if (--l->closing > 0)
		return;
	watch_free(&l->watch);
	curl_global_cleanup();
	if (l->closed != NULL)
		l->closed(l->closed_arg);
	free(l);
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;

	on_handle_closed(w->arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_handle_closed(handle->data);
}

void curl_loop_close(struct curl_loop *l, http_closed *closed, void *arg)
{
	curl_multi_cleanup(l->multi);
	curl_share_cleanup(l->share);
	l->closing = 2;
	l->closed = closed;
	l->closed_arg = arg;
	uv_timer_stop(&l->timer);
	uv_close((uv_handle_t *)&l->timer, on_timer_closed);
	watch_close(&l->watch, on_watch_closed);
}
