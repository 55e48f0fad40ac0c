/* SPDX-License-Identifier: Apache-2.0
 * tls_relay.h - a process that takes TLS off and hands the bytes on: any server of a test speaks
 * it then.
 */
#ifndef TESTS_LIB_TLS_RELAY_H
#define TESTS_LIB_TLS_RELAY_H

#include <stdbool.h>
#include <sys/types.h>

struct tls_relay {
	pid_t pid;
	int   port;        /* at 127.0.0.1 */
	char  ca_file[64]; /* who vouches for 127.0.0.1 and *.test; removed at the end */
};

/* Each connection becomes one to 127.0.0.1:to_port. */
bool tls_relay_start(struct tls_relay *r, int to_port);
void tls_relay_stop(struct tls_relay *r);

#endif
