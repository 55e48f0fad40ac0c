/* SPDX-License-Identifier: Apache-2.0 */
#include "sagactl/grid.h"

#include "coordinator/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BAR_WIDTH = 20 };

static const char *const CODES[] = {
	[STYLE_PLAIN] = "", [STYLE_BOLD] = "1", [STYLE_DIM] = "2", [STYLE_RED] = "31", [STYLE_GREEN] = "32",
	[STYLE_YELLOW] = "33",
};

/* ---- text ----------------------------------------------------------------------------- */

/* C0, DEL, and C1 as two bytes of UTF-8: what a terminal might obey. */
void text_clean(struct buf *out, struct str text)
{
	bool is_utf8 = text_is_utf8(text);

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c == '\n' || c == '\r' || c == '\t')
			buf_char(out, ' ');
		else if (c < ' ' || c == 0x7f || (c >= 0x80 && !is_utf8))
			buf_char(out, '?');
		else if (c == 0xc2 && (unsigned char)text.p[i + 1] < 0xa0)
			i++, buf_char(out, '?');
		else
			buf_char(out, (char)c);
	}
}

size_t text_width(struct str text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
	return n;
}

static void add_styled(struct buf *out, bool color, enum style style, struct str text)
{
	bool styled = color && style != STYLE_PLAIN && text.n > 0;

	if (styled)
		buf_fmt(out, "\033[%sm", CODES[style]);
	buf_str(out, text);
	if (styled)
		buf_cstr(out, "\033[0m");
}

void style_add(struct buf *out, bool color, enum style style, struct str text)
{
	struct buf clean = { 0 };

	text_clean(&clean, text);
	add_styled(out, color, style, buf_view(&clean));
	buf_fini(&clean);
}

void span_add(struct buf *out, int64_t ms)
{
	if (ms < 1000)
		buf_fmt(out, "%lldms", (long long)ms);
	else if (ms < 120 * 1000)
		buf_fmt(out, "%llds", (long long)ms / 1000);
	else if (ms < 120 * 60 * 1000)
		buf_fmt(out, "%lldm", (long long)ms / (60 * 1000));
	else if (ms < INT64_C(48) * 3600 * 1000)
		buf_fmt(out, "%lldh", (long long)ms / (3600 * 1000));
	else
		buf_fmt(out, "%lldd", (long long)ms / (24 * 3600 * 1000));
}

void bar_add(struct buf *out, uint64_t done, uint64_t total)
{
	const unsigned filled = done >= total ? BAR_WIDTH : (unsigned)(done * BAR_WIDTH / total);

	buf_char(out, '[');
	for (unsigned i = 0; i < BAR_WIDTH; i++)
		buf_char(out, i < filled ? '#' : '.');
	buf_fmt(out, "] %llu of %llu", (unsigned long long)done, (unsigned long long)total);
}

/* The clock of an answer has whole seconds: within one of them everything is now. */
void ago_add(struct buf *out, int64_t at, int64_t now)
{
	if (now - at < 1000 && at - now < 1000) {
		buf_cstr(out, "now");
		return;
	}
	if (at > now)
		buf_cstr(out, "in ");
	span_add(out, at > now ? at - now : now - at);
	if (at <= now)
		buf_cstr(out, " ago");
}

/* ---- columns -------------------------------------------------------------------------- */

void grid_fini(struct grid *g)
{
	free(g->cells);
	buf_fini(&g->text);
	*g = (struct grid){ 0 };
}

void grid_add(struct grid *g, enum style style, struct str text)
{
	size_t at = g->text.n;

	if (g->n == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 64;
		g->cells = mem_grow(g->cells, g->cap, sizeof *g->cells);
	}
	text_clean(&g->text, text);
	g->cells[g->n++] = (struct grid_cell){ style, at, g->text.n - at };
}

void grid_fmt(struct grid *g, enum style style, const char *fmt, ...)
{
	char    text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	grid_add(g, style, str_of(text));
}

static size_t count_columns(const struct grid *g)
{
	size_t n = 0;

	while (n < GRID_COLUMNS_MAX && g->heads[n])
		n++;
	return n;
}

size_t grid_rows(const struct grid *g)
{
	return g->n / count_columns(g);
}

static void write_cell(struct buf *out, bool color, enum style style, struct str text, size_t width, bool last)
{
	size_t own = text_width(text);

	add_styled(out, color, style, text);
	if (last)
		return;
	for (size_t i = own; i < width + 2; i++)
		buf_char(out, ' ');
}

static void end_line(struct buf *out)
{
	while (out->n > 0 && out->p[out->n - 1] == ' ')
		out->n--;
	buf_char(out, '\n');
}

static void write_heads(const struct grid *g, bool color, const size_t *width, size_t columns, struct buf *out)
{
	bool any = false;

	for (size_t c = 0; c < columns; c++)
		any = any || g->heads[c][0];
	for (size_t c = 0; any && c < columns; c++)
		write_cell(out, color, STYLE_BOLD, str_of(g->heads[c]), width[c], c + 1 == columns);
	if (any)
		end_line(out);
}

void grid_write(const struct grid *g, bool color, struct buf *out)
{
	size_t columns = count_columns(g), width[GRID_COLUMNS_MAX];

	for (size_t c = 0; c < columns; c++)
		width[c] = text_width(str_of(g->heads[c]));
	for (size_t i = 0; i < g->n; i++) {
		size_t w = text_width((struct str){ g->text.p + g->cells[i].at, g->cells[i].n });

		if (w > width[i % columns])
			width[i % columns] = w;
	}
	write_heads(g, color, width, columns, out);
	for (size_t i = 0; i < g->n; i++) {
		const struct grid_cell *cell = &g->cells[i];
		bool                    last = (i + 1) % columns == 0;

		write_cell(out, color, cell->style, (struct str){ g->text.p + cell->at, cell->n }, width[i % columns], last);
		if (last)
			end_line(out);
	}
}
