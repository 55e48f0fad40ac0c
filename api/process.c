/* SPDX-License-Identifier: Apache-2.0 */
#include "api/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void read_memory(struct process *p)
{
	unsigned long long pages = 0, resident = 0;
	FILE              *f = fopen("/proc/self/statm", "re");

	if (f == NULL)
		return;
	if (fscanf(f, "%llu %llu", &pages, &resident) == 2) {
		p->virtual_bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
		p->resident_bytes = (double)resident * (double)sysconf(_SC_PAGESIZE);
	}
	fclose(f);
}

/* Linux tells the number as the size of the folder from 6.2 on; before, only counting helps. */
static double open_fds(void)
{
	struct stat st;
	double      n = -1; /* the one that reading it opens */
	DIR        *d;

	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
		return (double)st.st_size;
	d = opendir("/proc/self/fd");
	if (d == NULL)
		return 0;
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static double now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Field 22 of /proc/self/stat, behind the name, in which anything may stand: ticks after boot. */
static double start_seconds(void)
{
	char               line[1024];
	unsigned long long ticks = 0;
	FILE              *f = fopen("/proc/self/stat", "re");
	const char        *at = NULL;

	if (f == NULL)
		return 0;
	if (fgets(line, sizeof line, f) != NULL)
		at = strrchr(line, ')');
	fclose(f);
	if (at == NULL || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
	                                 "%*d %*d %llu", &ticks) != 1)
		return 0;
	return now(CLOCK_REALTIME) - now(CLOCK_BOOTTIME) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void process_read(struct process *p)
{
	struct rusage u;
	struct rlimit l;

	*p = (struct process){ .open_fds = open_fds(), .start_seconds = p->start_seconds };
	if (p->start_seconds <= 0)
		p->start_seconds = start_seconds();
	read_memory(p);
	if (getrlimit(RLIMIT_NOFILE, &l) == 0)
		p->max_fds = (double)l.rlim_cur;
	if (getrusage(RUSAGE_SELF, &u) == 0)
		p->cpu_seconds = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
