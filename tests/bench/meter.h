/* SPDX-License-Identifier: Apache-2.0
 * meter.h - what processes use: CPU by the kernel's own count in ns, memory, and what a replica says of itself.
 */
#ifndef TESTS_BENCH_METER_H
#define TESTS_BENCH_METER_H

#include "coordinator/base/text.h"

#include <sys/types.h>

/* Nanoseconds on CPU of all threads of a process. 0: it is gone. */
uint64_t meter_cpu_ns(pid_t pid);
/* The same for a process and its children, those included that have ended and were waited for. */
uint64_t meter_family_ns(pid_t pid);
struct meter_memory {
	double rss_mib, pss_mib;
};
void     meter_memory(pid_t pid, struct meter_memory *m); /* adds to *m */
/* The value of a metric in a text as /metrics gives it. 0: it is not there. */
double   meter_metric(struct str metrics, const char *name);

#endif
