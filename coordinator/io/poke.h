/* SPDX-License-Identifier: Apache-2.0
 * poke.h - the poke port: tells another replica that a command waits. Losing one costs a poll. And questions to it.
 */
#ifndef COORDINATOR_IO_POKE_H
#define COORDINATOR_IO_POKE_H

#include "coordinator/engine/port.h"
#include "coordinator/io/http.h"

struct poke;

enum { ASKS_MAX = 128, POKES_MAX = 64, POKE_TIMEOUT_MS = 1000 }; /* beyond POKES_MAX under way they are dropped */

/* key: what replicas sign with, empty: nothing; lives as long as this. */
struct poke *poke_open(struct http *http, struct str key, const struct clock_port *clock);
void         poke_ports(struct poke *p, struct poke_port *out);
/* GET address + path + name, the latter escaped and signed for. done once: status 0 without an answer; at once, if
 * more than ASKS_MAX are under way. body dies with the callback. */
typedef void poke_answered(void *arg, int status, struct str body);
void         poke_ask(struct poke *p, struct str address, const char *path, struct str name, uint32_t timeout_ms,
                      poke_answered *done, void *arg);
void         poke_close(struct poke *p); /* before its http; no done follows */

#endif
