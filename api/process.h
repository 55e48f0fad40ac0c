/* SPDX-License-Identifier: Apache-2.0
 * process.h - what the kernel says of this process; names as Prometheus' client libraries have them.
 */
#ifndef API_PROCESS_H
#define API_PROCESS_H

struct process { /* 0: the kernel does not say */
	double cpu_seconds, resident_bytes, virtual_bytes, open_fds, max_fds;
	double start_seconds; /* since the Unix epoch */
};

/* The start is read once: the difference of two clocks wanders, and a new start would look like a restart. */
void process_read(struct process *p);

#endif
