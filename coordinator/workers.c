/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/workers.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { YOUNG_S = 10, PAUSE_S = 1 };

struct worker {
	pid_t  pid;        /* 0: not running */
	time_t started_at; /* on the monotonic clock, seconds */
	time_t start_at;   /* when to start it again */
};

struct crew {
	struct worker  workers[WORKERS_MAX];
	unsigned       count, running;
	bool           stopping;
	int            status;
	sigset_t       awaited, original;
	worker_main   *run;
	void          *ctx;
};

static time_t seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void start(struct crew *c, unsigned i)
{
	struct worker *w = &c->workers[i];
	pid_t          parent = getpid();
	pid_t          pid = fork();

	if (pid == 0) {
		/* A worker without its parent would hold the port for ever. */
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(0);
		sigprocmask(SIG_SETMASK, &c->original, NULL);
		exit(c->run(c->ctx, i));
	}
	w->started_at = seconds();
	if (pid < 0) {
		w->start_at = w->started_at + PAUSE_S; /* no process to be had: later */
		return;
	}
	w->pid = pid;
	c->running++;
}

static void signal_all(struct crew *c, int sig)
{
	for (unsigned i = 0; i < c->count; i++)
		if (c->workers[i].pid > 0)
			kill(c->workers[i].pid, sig);
}

static void stop(struct crew *c)
{
	signal_all(c, c->stopping ? SIGKILL : SIGTERM);
	c->stopping = true;
}

static void bury(struct crew *c, struct worker *w, int status)
{
	bool young = seconds() - w->started_at < YOUNG_S;

	w->pid = 0;
	c->running--;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SETTINGS) {
		c->status = EXIT_SETTINGS;
		if (!c->stopping)
			stop(c);
	}
	w->start_at = seconds() + (young ? PAUSE_S : 0);
}

static void reap(struct crew *c)
{
	int   status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < c->count; i++)
			if (c->workers[i].pid == pid)
				bury(c, &c->workers[i], status);
}

static void start_due(struct crew *c)
{
	for (unsigned i = 0; i < c->count && !c->stopping; i++)
		if (c->workers[i].pid == 0 && seconds() >= c->workers[i].start_at)
			start(c, i);
}

int workers_run(unsigned count, worker_main *run, void *ctx)
{
	struct crew     c = { .count = count, .run = run, .ctx = ctx };
	struct timespec second = { .tv_sec = 1 };

	assert(count <= WORKERS_MAX);
	sigemptyset(&c.awaited);
	sigaddset(&c.awaited, SIGTERM);
	sigaddset(&c.awaited, SIGINT);
	sigaddset(&c.awaited, SIGCHLD);
	sigprocmask(SIG_BLOCK, &c.awaited, &c.original);
	for (;;) {
		start_due(&c);
		if (c.stopping && c.running == 0)
			return c.status;
		int sig = sigtimedwait(&c.awaited, NULL, &second);
		if (sig == SIGTERM || sig == SIGINT)
			stop(&c);
		reap(&c);
	}
}
