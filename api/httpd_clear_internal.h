/* SPDX-License-Identifier: Apache-2.0
 * httpd_clear_internal.h - the parts of our own server: clients that come and answers that are
 * given (httpd_clear.c), and what a connection reads and writes (httpd_connection.c).
 */
#ifndef API_HTTPD_CLEAR_INTERNAL_H
#define API_HTTPD_CLEAR_INTERNAL_H

#include "api/head.h"
#include "api/httpd_internal.h"
#include "api/reply_head.h"

enum {
	CLEAR_IN_BYTES = 64 << 10,
	CLEAR_STEPS = 32 /* reads or requests of one connection in one run */
};

enum clear_state {
	READING_HEAD,
	READING_BODY,
	HANDLING,  /* the answer is owed by somebody else */
	SENDING,
	/* Answered; what still comes is thrown away, so that the client reads the answer and not a
	 * reset. */
	LINGERING,
	CLOSED     /* on server.closed */
};

struct clear_connection {
	struct connection   is;
	struct httpd       *httpd;
	struct list         node;     /* on server.all or server.closed */
	struct list         again;    /* on server.again: has more to do than one run allows */
	enum clear_state    state;
	bool                readable; /* since it was read last */
	bool                has_left; /* there is an end, behind what is left to be read */
	bool                keep_alive;
	bool                is_unread; /* its request was answered before its end had come */
	struct str          rest;     /* not read; in server.in, or in kept between two runs */
	struct buf          kept;
	size_t              scanned;  /* of rest, for the end of a head */
	struct exchange    *x;        /* under way; NULL: none */
	struct request_head head;
	struct chunks       chunks;
	uint64_t            left;     /* of a body with a length */
	struct buf          out;      /* what the kernel did not take of the answer's head */
	size_t              sent;     /* of out and then of the answer's body */
	size_t              lingered;
};

struct clear_server {
	int               epoll_fd;
	bool              listens;
	int64_t           deaf_until;
	struct list       all, closed, again;
	struct list       left; /* exchanges whose watched client has left, by own.watch */
	struct buf        head;
	struct reply_date date;
	char              in[CLEAR_IN_BYTES];
};

/* ---- httpd_clear.c ------------------------------------------------------------------- */
/* A place may be free again. */
void clear_listen_again(struct httpd *h);

/* ---- httpd_connection.c -------------------------------------------------------------- */
void clear_event(struct clear_connection *c, uint32_t events);
void clear_go_on(struct clear_connection *c);  /* one that stood on server.again */
void clear_answer(struct clear_connection *c); /* its exchange is answered */
void clear_close(struct clear_connection *c);  /* its memory rests until clear_free_closed() */
void clear_free_closed(struct clear_server *s);
/* Who waits here is told in this run or the next: whoever may answer is called from a place
 * where it may. */
void clear_tell_later(struct exchange *x);

#endif
