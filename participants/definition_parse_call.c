/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/definition_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CALL_FIELDS                                                                               \
	"url", "participant", "path", "nothing", "method", "headers", "body", "body_text", "timeout", \
	    "outcomes", "words", "members"

const char *const call_fields[] = { CALL_FIELDS, NULL };
const char *const check_fields[] = { CALL_FIELDS, "retry", "poll", NULL };

/* ---- templates' errors and reads ---------------------------------------------------- */

static int template_step(void *ctx, struct str name)
{
	struct compiler *c = ctx;

	return definition_step_find(c->d, name);
}

static void template_report(void *ctx, const struct json *node, const char *sentence)
{
	finding_add(ctx, node, "%s", sentence);
}

static void template_reads(void *ctx, const struct json *node, int step, bool defaulted)
{
	struct compiler *c = ctx;

	if (c->read_n == c->read_cap) {
		struct output_read *old = c->reads;

		c->read_cap = c->read_cap ? 2 * c->read_cap : 16;
		c->reads = arena_array(&c->scratch, c->read_cap, sizeof *c->reads);
		if (old != NULL)
			memcpy(c->reads, old, c->read_n * sizeof *old);
	}
	c->reads[c->read_n++] = (struct output_read){ .node = node,
						      .reader = c->step,
						      .op = c->op,
						      .step = (uint16_t)step,
						      .defaulted = defaulted };
}

struct template_compiler template_compiler_of(struct compiler *c, struct template_paths *paths)
{
	return (struct template_compiler){ .arena = &c->d->arena,
					   .paths = paths,
					   .step = template_step,
					   .report = template_report,
					   .reads = template_reads,
					   .ctx = c };
}

/* ---- where a call goes --------------------------------------------------------------- */

static bool is_host(struct str host)
{
	if (host.n == 0 || host.n > 253)
		return false;
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
		    c != '.' && c != '-' && c != '_')
			return false;
	}
	return true;
}

static bool is_ipv6(struct str host)
{
	if (host.n < 4 || host.n > 41 || host.p[0] != '[' || host.p[host.n - 1] != ']')
		return false;
	for (size_t i = 1; i < host.n - 1; i++)
		if (strchr("0123456789abcdefABCDEF:.", host.p[i]) == NULL)
			return false;
	return true;
}

/* host[:port] into "host:port" in lower case; NULL, or what is wrong. */
static const char *read_authority(struct str text, const char *default_port, struct buf *target)
{
	size_t     host_n = text.n;
	struct str port = str_of(default_port);
	uint64_t   number;

	if (memchr(text.p, '@', text.n) != NULL)
		return "a URL must not name a user: put credentials into a header";
	for (size_t i = text.n; i > 0 && text.p[i - 1] != ']'; i--)
		if (text.p[i - 1] == ':')
			host_n = i - 1;
	if (host_n < text.n)
		port = (struct str){ text.p + host_n + 1, text.n - host_n - 1 };
	if (!text_to_u64(port, &number) || number < 1 || number > 65535)
		return "the port of a URL is a number between 1 and 65535";
	text.n = host_n;
	if (!is_host(text) && !is_ipv6(text))
		return "a URL needs a host name or address";
	for (size_t i = 0; i < text.n; i++) {
		bool upper = text.p[i] >= 'A' && text.p[i] <= 'Z';

		buf_char(target, upper ? (char)(text.p[i] + 32) : text.p[i]);
	}
	buf_char(target, ':');
	buf_u64(target, number);
	return NULL;
}

static size_t authority_end(struct str text, size_t from)
{
	while (from < text.n && strchr("/?#", text.p[from]) == NULL)
		from++;
	return from;
}

static const char *split_url(struct compiler *c, struct str text, struct call_plan *call,
			     struct str *path)
{
	bool        tls = str_starts(text, STR("https://"));
	size_t      start = tls ? 8 : 7, end;
	struct str  authority;
	struct buf  target = { 0 };
	const char *wrong;

	if (!tls && !str_starts(text, STR("http://")))
		return "a URL begins with http:// or https://";
	end = authority_end(text, start);
	authority = (struct str){ text.p + start, end - start };
	if (memchr(authority.p, '$', authority.n) != NULL)
		return "scheme, host and port of a URL are fixed: ${...} may stand only behind "
		       "them";
	wrong = read_authority(authority, tls ? "443" : "80", &target);
	if (wrong == NULL) {
		call->target = arena_str(&c->d->arena, buf_view(&target));
		call->origin = (struct str){ text.p, end };
		*path = (struct str){ text.p + end, text.n - end };
	}
	buf_fini(&target);
	return wrong;
}

/* Whoever stands on the way may take a dot segment as a step up, out of the base path. What
 * values make of a segment is looked at when they are filled in. */
static bool has_dot_segment(struct str path)
{
	size_t start = 1; /* behind the first slash */

	for (size_t i = 1; i <= path.n; i++) {
		struct str segment = { path.p + start, i - start };
		bool       end = i == path.n || path.p[i] == '?';

		if (!end && path.p[i] != '/')
			continue;
		if (str_is(segment, ".") || str_is(segment, ".."))
			return true;
		if (end)
			break;
		start = i + 1;
	}
	return false;
}

static void add_path(struct compiler *c, const struct json *node, struct call_plan *call,
		     struct str path)
{
	struct template_compiler tc = template_compiler_of(c, &call->paths);
	struct buf               b = { 0 };

	if (path.n == 0 || path.p[0] != '/') {
		buf_char(&b, '/');
		buf_str(&b, path);
		path = arena_str(&c->d->arena, buf_view(&b));
	}
	if (path.n > TEMPLATE_LINE_MAX)
		finding_add(c, node, "a URL has at most %d bytes", TEMPLATE_LINE_MAX);
	if (has_dot_segment(path))
		finding_add(c, node, "a path has no segments \".\" and \"..\": write it out");
	call->path = template_of_text(&tc, node, path, TEMPLATE_PATH);
	if (template_is_constant(call->path)) {
		buf_clear(&b);
		buf_str(&b, call->origin);
		template_fill(call->path, NULL, &c->scratch, &b, NULL);
		call->url = arena_str(&c->d->arena, buf_view(&b));
	}
	buf_fini(&b);
}

static void read_url(struct compiler *c, const struct json *node, struct call_plan *call)
{
	struct str  path;
	const char *wrong;

	if (!field_is(c, node, JSON_STRING))
		return;
	wrong = split_url(c, json_text(node, &c->d->arena), call, &path);
	if (wrong != NULL)
		finding_add(c, node, "%s", wrong);
	else
		add_path(c, node, call, path);
}

static void read_participant(struct compiler *c, const struct json *node, struct call_plan *call)
{
	struct buf target = { 0 };
	struct str name;

	if (!field_is(c, node, JSON_STRING))
		return;
	name = json_text(node, &c->d->arena);
	if (!name_is_valid(name, NAME_MAX_LEN, true)) {
		finding_add(c, node,
			    "a participant's name is a letter, then letters, digits, - _ or . "
			    "(at most %d)",
			    NAME_MAX_LEN);
		return;
	}
	call->participant = name;
	buf_fmt(&target, "participant:%.*s", (int)name.n, name.p);
	call->target = arena_str(&c->d->arena, buf_view(&target));
	buf_fini(&target);
}

static void read_where(struct compiler *c, const struct json *node, struct call_plan *call)
{
	const struct json *url = json_get(node, "url"), *path = json_get(node, "path");
	const struct json *participant = json_get(node, "participant");

	field_bool(c, json_get(node, "nothing"), &call->nothing);
	if (call->nothing) {
		if (node->n > 1)
			finding_add(c, node, "a call that is nothing has no other fields");
		return;
	}
	if (url != NULL && (participant != NULL || path != NULL))
		finding_add(c, node, "give url, or participant and path, not both");
	else if (url == NULL && (participant == NULL || path == NULL))
		finding_add(c, node, "a call needs url, or participant and path");
	if (url != NULL)
		read_url(c, url, call);
	if (participant != NULL)
		read_participant(c, participant, call);
	if (url != NULL || path == NULL || !field_is(c, path, JSON_STRING))
		return;
	struct str text = json_text(path, &c->d->arena);
	if (text.n == 0 || text.p[0] != '/')
		finding_add(c, path, "a path begins with a slash");
	else
		add_path(c, path, call, text);
}

/* ---- what it carries ------------------------------------------------------------------ */

static const char *method_name(int i)
{
	static const char *const names[] = { "POST", "PUT", "PATCH", "DELETE", "GET" };

	return names[i];
}

static void read_method(struct compiler *c, const struct json *node, struct call_plan *call)
{
	const struct json *body = json_get(node, "body"), *text = json_get(node, "body_text");
	int                method = 0;

	field_word(c, json_get(node, "method"), method_name, 5, &method);
	call->method = str_of(method_name(method));
	call->no_body = method >= 3 && body == NULL && text == NULL;
	if (method == 4 && !call->no_body)
		finding_add(c, body != NULL ? body : text, "a GET has no body");
	if (body != NULL && text != NULL)
		finding_add(c, text, "give body or body_text, not both");
	struct template_compiler tc = template_compiler_of(c, &call->paths);
	if (body != NULL)
		call->body = template_of_json(&tc, body);
	else if (text != NULL && field_is(c, text, JSON_STRING))
		call->body = template_of_text(&tc, text, json_text(text, &c->d->arena), TEMPLATE_TEXT);
}

static bool is_header_before(const struct call_plan *call, struct str name)
{
	for (size_t i = 0; i < call->header_n; i++)
		if (call->headers[i].name.n == name.n &&
		    strncasecmp(call->headers[i].name.p, name.p, name.n) == 0)
			return true;
	return false;
}

static void read_header(struct compiler *c, const struct json *h, struct call_plan *call)
{
	struct template_compiler tc = template_compiler_of(c, &call->paths);

	if (h->key.n > HEADER_NAME_MAX || !text_is_token(h->key))
		finding_add(c, h, "this is no header name");
	else if (definition_header_is_ours(h->key))
		finding_add(c, h, "this header is set by the coordinator and cannot be given");
	if (!field_is(c, h, JSON_STRING))
		return;
	struct str       text = json_text(h, &c->d->arena);
	struct template *value = template_of_text(&tc, h, text, TEMPLATE_HEADER);

	if (text.n > TEMPLATE_LINE_MAX && !template_is_constant(value))
		finding_add(c, h, "a header's value with ${...} is at most %d bytes",
			    TEMPLATE_LINE_MAX);
	call->headers[call->header_n++] =
	    (struct header_template){ .name = arena_str(&c->d->arena, h->key), .value = value };
}

/* As written: what a hole adds is bounded when it is filled. */
static void check_size(struct compiler *c, const struct json *at, size_t bytes)
{
	if (bytes > TEMPLATE_HEADERS_MAX)
		finding_add(c, at, "the headers of a call are at most %d bytes together",
			    TEMPLATE_HEADERS_MAX);
}

static bool are_headers(struct compiler *c, const struct json *node)
{
	if (node == NULL || !field_is(c, node, JSON_OBJECT))
		return false;
	if (node->n <= HEADERS_MAX)
		return true;
	finding_add(c, node, "a call has at most %d headers", HEADERS_MAX);
	return false;
}

/* Its own, then those of all calls that it does not name itself. */
static void read_headers(struct compiler *c, const struct json *node, struct call_plan *call)
{
	const struct json *own = are_headers(c, node) ? node->first : NULL;
	const struct json *common = c->defaults.headers != NULL ? c->defaults.headers->first : NULL;
	const struct json *at = own != NULL ? own->parent : common != NULL ? common->parent : NULL;
	size_t             bytes = 0;

	call->headers = arena_array(&c->d->arena, (own ? node->n : 0) + (common ? common->parent->n : 0),
				    sizeof *call->headers);
	for (; own != NULL; own = own->next) {
		if (is_header_before(call, own->key))
			finding_add(c, own, "this header is given twice");
		read_header(c, own, call);
		bytes += own->key.n + own->raw.n;
	}
	for (; common != NULL; common = common->next)
		if (!is_header_before(call, common->key)) {
			read_header(c, common, call);
			bytes += common->key.n + common->raw.n;
		}
	check_size(c, at, bytes);
}

bool check_headers(struct compiler *c, const struct json *node)
{
	size_t           before = c->findings->errors;
	struct call_plan trial = { 0 };

	c->step = TXN_CHECK;
	c->op = OP_CHECK;
	read_headers(c, node, &trial);
	return node != NULL && c->findings->errors == before;
}

struct call_plan *parse_call(struct compiler *c, const struct json *node, uint16_t step, enum op op,
			     const char *const *fields)
{
	struct call_plan *call;

	if (node == NULL)
		return NULL;
	call = arena_alloc(&c->d->arena, sizeof *call);
	call->timeout_ms = c->defaults.timeout_ms;
	call->answers = c->defaults.answers;
	if (!fields_known(c, node, fields))
		return call;
	c->step = step;
	c->op = op;
	read_where(c, node, call);
	read_method(c, node, call);
	if (!call->nothing)
		read_headers(c, json_get(node, "headers"), call);
	parse_outcomes(c, json_get(node, "outcomes"), op, &call->answers);
	parse_words(c, json_get(node, "words"), op, &call->answers);
	parse_members(c, json_get(node, "members"), op, &call->answers);
	field_duration32(c, json_get(node, "timeout"), 10, 600000, &call->timeout_ms);
	if (op == OP_CANCEL && !call->nothing && json_get(json_get(node, "outcomes"), "404") == NULL)
		finding_warn(c, node,
			     "a cancel without anything to undo is often answered with 404: "
			     "map it, as in \"outcomes\": {\"404\": \"ok\"}");
	return call;
}
