/* SPDX-License-Identifier: Apache-2.0
 * clock.c - preloaded into a process, sets its wall clock ahead of the truth by the microseconds that the file named in
 * TEST_CLOCK holds (int64). Its intervals stay true. Also within signal handlers, where libfaketime tells the truth. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *ahead_us;
static int (*true_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("TEST_CLOCK");
	int         fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void       *at;

	true_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	at = mmap(NULL, sizeof *ahead_us, PROT_READ, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED)
		ahead_us = at;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int     failed;
	int64_t us;

	if (true_clock == NULL) /* somebody's constructor came before ours */
		begin();
	failed = true_clock(id, ts);
	if (failed != 0 || ahead_us == NULL || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return failed;
	us = ts->tv_sec * INT64_C(1000000) + ts->tv_nsec / 1000 + *ahead_us;
	*ts = (struct timespec){ us / 1000000, us % 1000000 * 1000 + ts->tv_nsec % 1000 };
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return -1;
	*tv = (struct timeval){ ts.tv_sec, ts.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
