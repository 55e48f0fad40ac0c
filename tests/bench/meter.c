/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/meter.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t meter_cpu_ns(pid_t pid)
{
	char           path[64];
	struct dirent *entry;
	uint64_t       sum = 0;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	DIR *threads = opendir(path);
	while (threads != NULL && (entry = readdir(threads)) != NULL) {
		unsigned long long ns = 0;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%.12s/schedstat", (int)pid, entry->d_name);
		FILE *f = fopen(path, "re");
		if (f != NULL && fscanf(f, "%llu", &ns) == 1)
			sum += ns;
		if (f != NULL)
			fclose(f);
	}
	if (threads != NULL)
		closedir(threads);
	return sum;
}

/* Parent, and ticks of children that were waited for. False: it is gone. */
static bool read_stat(pid_t pid, int *parent, unsigned long long *waited_ticks)
{
	char  path[64], line[1024] = "";
	char *rest;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return false;
	if (fgets(line, sizeof line, f) == NULL)
		line[0] = '\0';
	fclose(f);
	rest = strrchr(line, ')'); /* a name may hold anything */
	unsigned long long user = 0, system = 0;
	if (rest == NULL || sscanf(rest + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %llu %llu", parent,
	                           &user, &system) != 3)
		return false;
	*waited_ticks = user + system;
	return true;
}

uint64_t meter_family_ns(pid_t pid)
{
	uint64_t           sum = meter_cpu_ns(pid), tick_ns = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
	unsigned long long ticks = 0;
	int                parent;
	struct dirent     *entry;
	DIR               *all = opendir("/proc");

	if (read_stat(pid, &parent, &ticks))
		sum += ticks * tick_ns;
	while (all != NULL && (entry = readdir(all)) != NULL) {
		pid_t child = (pid_t)atoi(entry->d_name);

		if (child > 0 && read_stat(child, &parent, &ticks) && parent == (int)pid)
			sum += meter_cpu_ns(child);
	}
	if (all != NULL)
		closedir(all);
	return sum;
}

void meter_memory(pid_t pid, struct meter_memory *m)
{
	char path[64], line[128];
	long kib;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return;
	while (fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "Rss: %ld", &kib) == 1)
			m->rss_mib += (double)kib / 1024;
		else if (sscanf(line, "Pss: %ld", &kib) == 1)
			m->pss_mib += (double)kib / 1024;
	}
	fclose(f);
}

double meter_metric(struct str metrics, const char *name)
{
	const size_t n = strlen(name);

	while (metrics.n > 0) {
		const char *end = memchr(metrics.p, '\n', metrics.n);
		size_t      line = end != NULL ? (size_t)(end - metrics.p) + 1 : metrics.n;

		if (line > n + 1 && memcmp(metrics.p, name, n) == 0 && metrics.p[n] == ' ')
			return strtod(metrics.p + n, NULL);
		metrics.p += line;
		metrics.n -= line;
	}
	return 0;
}
