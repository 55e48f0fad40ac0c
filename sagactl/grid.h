/* SPDX-License-Identifier: Apache-2.0
 * grid.h - text for people: aligned columns, styles, times as "3m ago". Pure; what comes from elsewhere is made
 * harmless for terminals.
 */
#ifndef SAGACTL_GRID_H
#define SAGACTL_GRID_H

#include "coordinator/base/text.h"

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_GREEN, STYLE_YELLOW };

enum { GRID_COLUMNS_MAX = 12 };

struct grid_cell {
	enum style style;
	size_t     at, n; /* in text */
};

/* Zeroed memory with heads set is an empty grid. */
struct grid {
	const char       *heads[GRID_COLUMNS_MAX + 1]; /* NULL behind the last; "" heads: no line of heads */
	struct grid_cell *cells;
	size_t            n, cap;
	struct buf        text;
};

/* Row by row, from left to right. */
void   grid_add(struct grid *g, enum style style, struct str text);
void   grid_fmt(struct grid *g, enum style style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
size_t grid_rows(const struct grid *g);
void   grid_write(const struct grid *g, bool color, struct buf *out);
void   grid_fini(struct grid *g);

/* Control characters and what is no UTF-8 become '?', line ends a space. */
void   text_clean(struct buf *out, struct str text);
/* Code points; good enough for columns. */
size_t text_width(struct str text);
void   style_add(struct buf *out, bool color, enum style style, struct str text); /* cleaned */
/* "12s", "3m", "5h", "2d": the largest unit alone. */
void   span_add(struct buf *out, int64_t ms);
/* "[#####...............] 25 of 100" */
void   bar_add(struct buf *out, uint64_t done, uint64_t total);
/* "12s ago", "in 48s", "now". */
void   ago_add(struct buf *out, int64_t at, int64_t now);

#endif
