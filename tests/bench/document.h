/* SPDX-License-Identifier: Apache-2.0
 * document.h - the definitions that are run, and the requests that begin them.
 */
#ifndef TESTS_BENCH_DOCUMENT_H
#define TESTS_BENCH_DOCUMENT_H

#include "tests/bench/world.h"

/* two, refused, tcc, parallel, slow, part-0 to part-8, hung; all call the stub. */
void documents_register(struct world *w);

/* An order as a shop would send it: an object of exactly that many bytes, at least 200. */
void document_input(struct buf *out, size_t bytes);
void document_begin(struct buf *out, const char *definition, size_t input_bytes);
/* The saga "two" as DTM's clients submit it. */
void document_dtm(const struct world *w, struct buf *out, size_t input_bytes);
void document_begin_at(struct buf *out, const char *definition, size_t input_bytes, const char *start_at);

#endif
