/* SPDX-License-Identifier: Apache-2.0
 * carrier.h - a connection that libcurl makes (name, addresses, TLS, who is believed) and that
 * the plain client speaks HTTP on. libcurl is asked for bytes only, so a call costs little more
 * than on a socket of our own.
 */
#ifndef COORDINATOR_IO_CARRIER_H
#define COORDINATOR_IO_CARRIER_H

#include "coordinator/io/curl_loop.h"

#include <sys/types.h>

struct carrier;

/* Told once, in a later turn: its socket, which only the carrier may read, write and close, but
 * which the receiver watches; or -1, with carrier_failure(). The carrier is the receiver's to
 * close in both cases. */
typedef void carrier_ready(void *arg, int fd);

/* To the host and port of this URL (copied); gives up after timeout_ms. */
struct carrier *carrier_open(struct curl_loop *l, const char *url, enum guard_word word,
                             uint32_t timeout_ms, carrier_ready *ready, void *arg);
void            carrier_close(struct carrier *c); /* before it is ready, too */

const char *carrier_failure(const struct carrier *c); /* libcurl's words about the last failure */
bool        carrier_was_denied(const struct carrier *c);
int         carrier_no_socket(const struct carrier *c); /* errno: no socket could be opened; or 0 */

/* Like send(2) and recv(2) on a socket that does not block; for any failure but EAGAIN errno is
 * 0, and carrier_failure() tells. After EAGAIN the same bytes have to be sent again, from the
 * same place. */
ssize_t carrier_send(struct carrier *c, const char *p, size_t n);
ssize_t carrier_recv(struct carrier *c, char *p, size_t n);

#endif
