/* SPDX-License-Identifier: Apache-2.0
 * verify.c - what is verified: a definition of one step, its inputs, its secret.
 */
#include "sagactl/verify.h"

#include "coordinator/base/mem.h"
#include "sagactl/probes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_call(struct buf *doc, const char *op, const char *url, uint32_t timeout_ms)
{
	buf_fmt(doc, "\"%s\":{\"url\":", op);
	buf_json(doc, str_of(url));
	buf_fmt(doc, ",\"timeout\":\"%ums\"}", timeout_ms);
}

/* A definition of one step, so that calls are made of it as sagad makes them. */
static bool compile(struct verify *v, const struct verify_options *o, struct err *err)
{
	const char     *cancel = o->cancel_url, *confirm = o->confirm_url;
	struct findings findings = { .arena = &v->arena };
	struct buf      doc = { 0 };

	buf_cstr(&doc, "{\"mode\":\"saga\",\"steps\":{\"verify\":{");
	add_call(&doc, confirm ? "try" : "action", o->try_url, v->timeout_ms);
	buf_char(&doc, ',');
	add_call(&doc, confirm ? "cancel" : "compensate", cancel ? cancel : o->try_url,
	         v->timeout_ms);
	if (confirm != NULL) {
		buf_char(&doc, ',');
		add_call(&doc, "confirm", confirm, v->timeout_ms);
	}
	buf_cstr(&doc, "}}}");
	v->def =
		definition_compile(buf_view(&doc), DEFINITION_INLINE, (struct str){ 0 }, &findings);
	v->has_confirm = confirm != NULL;
	v->has_cancel = cancel != NULL;
	buf_fini(&doc);
	for (size_t i = 0; v->def == NULL && i < findings.n; i++)
		if (!findings.items[i].warning)
			return err_set(err, ERR_INVALID, "a URL cannot be used: %.*s",
			               (int)findings.items[i].detail.n, findings.items[i].detail.p);
	return v->def != NULL || err_set(err, ERR_INVALID, "a URL cannot be used");
}

static bool read_secret(const char *path, struct buf *out, struct err *err)
{
	char   line[1024];
	FILE  *file = fopen(path, "r");
	size_t n;

	if (file == NULL)
		return err_set(err, ERR_INVALID, "--secret-file: %s: %s", path, strerror(errno));
	n = fread(line, 1, sizeof line - 1, file);
	fclose(file);
	line[n] = '\0';
	n = strcspn(line, "\r\n");
	bool good = webhook_secret((struct str){ line, n }, out);
	explicit_bzero(line, sizeof line);
	return good ||
	       err_set(err, ERR_INVALID,
	               "--secret-file: %s: whsec_BASE64 or a plain text is wanted in its first "
	               "line",
	               path);
}

struct verify *verify_open(const struct verify_options *o, struct err *err)
{
	struct verify *v = mem_alloc(sizeof *v);

	*v = (struct verify){ .state_url = o->state_url, .cacert = o->cacert,
		              .timeout_ms = o->timeout_ms,
		              .remember_ms = o->remember_ms, .input = o->input,
		              .refused = o->refused, .accepted_ms = verify_now_ms() };
	if ((o->secret_file == NULL || read_secret(o->secret_file, &v->secret, err)) &&
	    compile(v, o, err)) {
		if (verify_http_open(v))
			return v;
		err_set(err, ERR_UNAVAILABLE, "libcurl cannot be used");
	}
	verify_close(v);
	return NULL;
}

void verify_call_fini(struct verify_call *c)
{
	buf_fini(&c->body);
}

const char *verify_failure(const struct verify *v)
{
	return v->failure;
}

uint64_t verify_calls(const struct verify *v)
{
	return v->calls;
}

void verify_close(struct verify *v)
{
	if (v == NULL)
		return;
	verify_http_close(v);
	definition_drop(v->def);
	if (v->secret.p != NULL)
		explicit_bzero(v->secret.p, v->secret.cap);
	buf_fini(&v->secret);
	buf_fini(&v->output_text);
	arena_fini(&v->arena);
	free(v);
}
