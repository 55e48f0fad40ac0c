/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/document.h"

#include "tests/bench/load.h"

#include <string.h>

enum { PARTS = 9 };

static void begin_step(struct buf *d, const char *name, const char *after)
{
	buf_fmt(d, "%s\"%s\":{", d->p[d->n - 1] == '{' ? "" : ",", name);
	if (after != NULL)
		buf_fmt(d, "\"after\":[\"%s\"],", after);
}

static void call(const struct world *w, struct buf *d, const char *op, unsigned host, const char *path)
{
	buf_fmt(d, "%s\"%s\":{\"url\":\"http://127.0.0.%u:%u%s\"}", d->p[d->n - 1] == '{' || d->p[d->n - 1] == ',' ? "" : ",",
	        op, 1 + host, world_stub_port(w), path);
}

static void saga_step(const struct world *w, struct buf *d, const char *name, const char *after, unsigned host,
                      const char *path)
{
	begin_step(d, name, after);
	call(w, d, "action", host, path);
	call(w, d, "compensate", host, "/undo");
	buf_char(d, '}');
}

static void tcc_step(const struct world *w, struct buf *d, const char *name, unsigned host)
{
	begin_step(d, name, NULL);
	call(w, d, "try", host, "/try");
	call(w, d, "confirm", host, "/confirm");
	call(w, d, "cancel", host, "/cancel");
	buf_char(d, '}');
}

static void define(struct world *w, const char *name, struct buf *d)
{
	buf_cstr(d, "}}");
	world_define(w, name, d->p);
	buf_clear(d);
	buf_cstr(d, "{\"steps\":{");
}

static void register_wide(struct world *w, struct buf *d)
{
	char name[16], before[16];

	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "s%u", i);
		saga_step(w, d, name, NULL, i, "/ok");
	}
	define(w, "parallel", d);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "s%u", i);
		snprintf(before, sizeof before, "s%u", i ? i - 1 : 0);
		saga_step(w, d, name, i ? before : NULL, i, "/delay/50");
	}
	define(w, "slow", d);
	for (unsigned i = 0; i < PARTS; i++) {
		saga_step(w, d, "only", NULL, i, "/ok");
		snprintf(name, sizeof name, "part-%u", i);
		define(w, name, d);
	}
	saga_step(w, d, "only", NULL, PARTS, "/hang");
	define(w, "hung", d);
}

void documents_register(struct world *w)
{
	struct buf d = { 0 };

	buf_cstr(&d, "{\"steps\":{");
	saga_step(w, &d, "stock", NULL, 0, "/ok");
	saga_step(w, &d, "payment", "stock", 1, "/ok");
	define(w, "two", &d);
	saga_step(w, &d, "stock", NULL, 0, "/ok");
	saga_step(w, &d, "payment", "stock", 1, "/refuse");
	define(w, "refused", &d);
	tcc_step(w, &d, "stock", 0);
	tcc_step(w, &d, "payment", 1);
	define(w, "tcc", &d);
	register_wide(w, &d);
	buf_fini(&d);
}

void document_input(struct buf *out, size_t bytes)
{
	static const char end[] = "\"}";
	const size_t      start = out->n;

	buf_cstr(out, "{\"order\":\"o-0000123456\",\"customer\":{\"id\":1234567,\"name\":\"Ada Example\",\"city\":\"London\"},"
	              "\"lines\":[{\"sku\":\"A-1001\",\"count\":2,\"price\":19.90}");
	for (unsigned i = 1; out->n - start + 120 < bytes; i++)
		buf_fmt(out, ",{\"sku\":\"A-%u\",\"count\":%u,\"price\":%u.50}", 1001 + i, 1 + i % 9, 5 + i % 90);
	buf_cstr(out, "],\"note\":\"");
	while (out->n - start + sizeof end - 1 < bytes)
		buf_char(out, 'x');
	buf_cstr(out, end);
}

void document_begin(struct buf *out, const char *definition, size_t input_bytes)
{
	buf_fmt(out, "{\"definition\":\"%s\",\"input\":", definition);
	document_input(out, input_bytes);
	buf_char(out, '}');
}

void document_begin_at(struct buf *out, const char *definition, size_t input_bytes, const char *start_at)
{
	buf_fmt(out, "{\"definition\":\"%s\",\"start_at\":\"%s\",\"input\":", definition, start_at);
	document_input(out, input_bytes);
	buf_char(out, '}');
}

void document_dtm(const struct world *w, struct buf *out, size_t input_bytes)
{
	const unsigned port = world_stub_port(w);
	struct buf     input = { 0 };

	document_input(&input, input_bytes);
	buf_cstr(out, "{\"gid\":\"" LOAD_GID "\",\"trans_type\":\"saga\",\"wait_result\":true,\"concurrent\":false,\"steps\":[");
	for (unsigned host = 1; host <= 2; host++)
		buf_fmt(out, "%s{\"action\":\"http://127.0.0.%u:%u/ok\",\"compensate\":\"http://127.0.0.%u:%u/undo\"}",
		        host > 1 ? "," : "", host, port, host, port);
	buf_cstr(out, "],\"payloads\":[");
	buf_json(out, buf_view(&input));
	buf_char(out, ',');
	buf_json(out, buf_view(&input));
	buf_cstr(out, "],\"protocol\":\"\"}");
	buf_fini(&input);
}
