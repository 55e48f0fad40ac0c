/* SPDX-License-Identifier: Apache-2.0
 * poke.h - the poke port: tells another replica that a command waits. Losing one costs a poll.
 */
#ifndef COORDINATOR_IO_POKE_H
#define COORDINATOR_IO_POKE_H

#include "coordinator/engine/port.h"
#include "coordinator/io/http.h"

struct poke;

enum { POKES_MAX = 64, POKE_TIMEOUT_MS = 1000 }; /* beyond POKES_MAX under way they are dropped */

/* key: what replicas sign with, empty: nothing; lives as long as this. */
struct poke *poke_open(struct http *http, struct str key, const struct clock_port *clock);
void         poke_ports(struct poke *p, struct poke_port *out);
void         poke_close(struct poke *p); /* before its http */

#endif
