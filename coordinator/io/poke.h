/* SPDX-License-Identifier: Apache-2.0
 * poke.h - the poke port: tells another replica that a command waits. Losing one costs a poll.
 */
#ifndef COORDINATOR_IO_POKE_H
#define COORDINATOR_IO_POKE_H

#include "coordinator/engine/port.h"
#include "coordinator/io/http.h"

struct poke;

enum { POKES_MAX = 64, POKE_TIMEOUT_MS = 1000 }; /* beyond POKES_MAX under way they are dropped */

struct poke *poke_open(struct http *http);
void         poke_ports(struct poke *p, struct poke_port *out);
void         poke_close(struct poke *p); /* before its http */

#endif
