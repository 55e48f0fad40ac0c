/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/curl_loop.h"

#include "coordinator/base/list.h"
#include "coordinator/base/mem.h"
#include "coordinator/io/http_internal.h"
#include "coordinator/io/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	CONNECTIONS_KEPT = 256, /* in a multi handle, used or not; beyond it the oldest idle one is closed */
	GROUP_MAX = 64,         /* users of a multi handle */
	REST_MS = 60000,        /* of a group without a user; its connections are too old by then */
	CA_KEPT_S = 300         /* how long a file of authorities is believed to be unchanged */
};

/* libcurl looks for the connection of a handle among all of its multi handle: for one of its own
 * whenever bytes are sent or received, 8 us a call with 256 of them and 29 with 1000, and for one
 * to share at every start, past all that are in use. So users are spread over several. */
struct curl_group {
	struct list       link; /* on curl_loop.groups */
	struct curl_loop *loop;
	CURLM            *multi;
	uv_timer_t        timer;
	unsigned          users;
	uint64_t          left_at; /* by the last user, on the loop's clock */
};

struct curl_loop {
	uv_loop_t          *uv;
	struct list         groups[2]; /* of each enum curl_sharing */
	struct curl_group **of_fd;  /* who asked for the events of a descriptor */
	size_t              fd_max;
	CURLSH             *share;  /* addresses; TLS sessions: a second connection needs no whole handshake */
	struct watch        watch;
	const struct guard *guard;
	const char         *ca_file;
	uint32_t            rest_ms;
	unsigned            open; /* loop handles that are closed before it is freed */
	http_closed        *closed;
	void               *closed_arg;
};

/* ---- what libcurl tells us about sockets and time ------------------------------------ */

static void note_group(struct curl_loop *l, int fd, struct curl_group *g)
{
	size_t cap = l->fd_max ? l->fd_max : 64;

	if ((size_t)fd >= l->fd_max) {
		while (cap <= (size_t)fd)
			cap *= 2;
		l->of_fd = mem_grow(l->of_fd, cap, sizeof l->of_fd[0]);
		l->fd_max = cap;
	}
	l->of_fd[fd] = g;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct curl_group *g = arg;
	struct curl_loop  *l = g->loop;

	(void)easy;
	(void)socket_arg;
	note_group(l, fd, g);
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
	http_keep_alive(fd);
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

static void tell_ended(struct curl_group *g)
{
	CURLMsg *m;
	int      left;

	while ((m = curl_multi_info_read(g->multi, &left)) != NULL) {
		const CURLcode    code = m->data.result;
		struct curl_user *u;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&u);
		u->ended(u, code);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct curl_group *g = timer->data;
	int                running;

	curl_multi_socket_action(g->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	tell_ended(g);
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
	struct curl_group *g = arg;

	(void)multi;
	if (ms < 0)
		uv_timer_stop(&g->timer);
	else
		uv_timer_start(&g->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

static void on_ready(void *arg, int fd, bool in, bool out, bool broken)
{
	struct curl_loop  *l = arg;
	struct curl_group *g = l->of_fd[fd];
	int                running;

	curl_multi_socket_action(g->multi, fd,
	                         (in ? CURL_CSELECT_IN : 0) | (out ? CURL_CSELECT_OUT : 0) |
	                                 (broken ? CURL_CSELECT_ERR : 0),
	                         &running);
	tell_ended(g);
}

/* ---- groups ----------------------------------------------------------------------------- */

static struct curl_group *add_group(struct curl_loop *l, enum curl_sharing sharing)
{
	struct curl_group *g = mem_alloc(sizeof *g);

	g->loop = l;
	g->multi = curl_multi_init();
	if (g->multi == NULL)
		abort(); /* out of memory */
	uv_timer_init(l->uv, &g->timer);
	l->open++;
	g->timer.data = g;
	list_push(&l->groups[sharing], &g->link);
	curl_multi_setopt(g->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(g->multi, CURLMOPT_SOCKETDATA, g);
	curl_multi_setopt(g->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(g->multi, CURLMOPT_TIMERDATA, g);
	/* Its own limit is four times the transfers of this moment: between two bursts it would close
	 * nearly all. */
	curl_multi_setopt(g->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
	return g;
}

static void on_handle_closed(struct curl_loop *l)
{
	if (--l->open > 0)
		return;
	watch_free(&l->watch);
	free(l->of_fd);
	curl_global_cleanup();
	if (l->closed != NULL)
		l->closed(l->closed_arg);
	free(l);
}

static void on_group_closed(uv_handle_t *handle)
{
	struct curl_group *g = handle->data;
	struct curl_loop  *l = g->loop;

	free(g);
	on_handle_closed(l);
}

/* Nobody uses it: with its connections. */
static void drop_group(struct curl_group *g)
{
	list_remove(&g->link);
	curl_multi_cleanup(g->multi);
	uv_timer_stop(&g->timer);
	uv_close((uv_handle_t *)&g->timer, on_group_closed);
}

/* A burst needed it, and nobody has come so far since. */
static void drop_left(struct curl_loop *l)
{
	struct list       *last = l->groups[CURL_SHARED].prev;
	struct curl_group *g = list_entry(last, struct curl_group, link);

	if (last != l->groups[CURL_SHARED].next && g->users == 0 && uv_now(l->uv) - g->left_at > l->rest_ms)
		drop_group(g);
}

/* The first with room: so few are enough, and their connections do not cool down. */
static struct curl_group *find_group(struct curl_loop *l, enum curl_sharing sharing)
{
	list_each(it, after, &l->groups[sharing]) {
		struct curl_group *g = list_entry(it, struct curl_group, link);

		if (g->users < GROUP_MAX)
			return g;
	}
	return add_group(l, sharing);
}

static void join_group(struct curl_user *u)
{
	u->group = find_group(u->loop, u->sharing);
	u->group->users++;
}

static void leave_group(struct curl_user *u)
{
	u->group->users--;
	u->group->left_at = uv_now(u->loop->uv);
	u->group = NULL;
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

void curl_user_open(struct curl_user *u, struct curl_loop *l, enum curl_sharing sharing,
                    curl_ended *ended)
{
	CURL *e = curl_easy_init();

	if (e == NULL)
		abort(); /* out of memory */
	u->loop = l;
	u->sharing = sharing;
	u->group = NULL;
	if (sharing == CURL_ALONE)
		join_group(u);
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
	if (u->sharing == CURL_SHARED) {
		drop_left(u->loop);
		join_group(u);
	}
	if (curl_multi_add_handle(u->group->multi, u->easy) != CURLM_OK)
		abort(); /* out of memory */
}

void curl_user_end(struct curl_user *u)
{
	if (u->group == NULL) /* by whoever was told that it has ended */
		return;
	curl_multi_remove_handle(u->group->multi, u->easy);
	if (u->sharing == CURL_SHARED)
		leave_group(u);
}

void curl_user_close(struct curl_user *u)
{
	curl_easy_cleanup(u->easy);
	u->easy = NULL;
	if (u->group != NULL)
		leave_group(u);
}

/* ---- opening and closing ------------------------------------------------------------------ */

static void set_up(struct curl_loop *l)
{
	list_init(&l->groups[CURL_SHARED]);
	list_init(&l->groups[CURL_ALONE]);
	/* Counted by libcurl: one for each that is open. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		abort(); /* out of memory */
	l->share = curl_share_init();
	if (l->share == NULL)
		abort(); /* out of memory */
	curl_share_setopt(l->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	curl_share_setopt(l->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
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
	l->uv = loop;
	l->open = 1; /* the watch */
	l->guard = guard;
	l->ca_file = config->ca_file;
	l->rest_ms = config->rest_ms > 0 ? config->rest_ms : REST_MS;
	set_up(l);
	return l;
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;

	on_handle_closed(w->arg);
}

void curl_loop_close(struct curl_loop *l, http_closed *closed, void *arg)
{
	l->closed = closed;
	l->closed_arg = arg;
	for (size_t i = 0; i < sizeof l->groups / sizeof l->groups[0]; i++)
		list_each(it, after, &l->groups[i])
			drop_group(list_entry(it, struct curl_group, link));
	curl_share_cleanup(l->share);
	watch_close(&l->watch, on_watch_closed);
}
