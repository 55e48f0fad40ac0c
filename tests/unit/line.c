/* SPDX-License-Identifier: Apache-2.0
 * line.c - log lines: form, escaping, levels, and what happens to a flood.
 */
#include "coordinator/base/json.h"
#include "coordinator/base/line.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int  fds[2];
static char got[1 << 17];

static const char *drain(void)
{
	ssize_t n = read(fds[0], got, sizeof got - 1);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

/* The one line as JSON; NULL if it is none, or more than one. */
static struct json *parsed(struct arena *arena)
{
	struct json_error err;
	const char       *text = drain();
	size_t            n = strlen(text);

	if (n == 0 || strchr(text, '\n') != text + n - 1)
		return NULL;
	return json_parse((struct str){ text, n - 1 }, arena, &err);
}

static bool has(const struct json *object, const char *key, const char *raw)
{
	const struct json *v = object ? json_get(object, key) : NULL;

	return v != NULL && str_is(v->raw, raw);
}

static void check_json(struct line *l)
{
	struct arena arena = { 0 };
	struct json *root, *attributes;

	l->replica = STR("r-1");
	line_write(l, LINE_WARN, "adopted", STR("007"), "rows=12 from=\"a b\" why=it-died  ms=-3 id=007");
	root = parsed(&arena);
	ok(root != NULL, "an event is one line of JSON");
	attributes = root ? json_get(root, "Attributes") : NULL;
	ok(has(root, "EventName", "\"adopted\"") && has(root, "SeverityText", "\"WARN\"") &&
	   has(root, "SeverityNumber", "13") && json_get(root, "Timestamp") != NULL,
	   "it has the field names of OpenTelemetry");
	ok(has(attributes, "rows", "12") && has(attributes, "from", "\"a b\"") && has(attributes, "ms", "-3") &&
	   has(attributes, "why", "\"it-died\""), "key=value becomes an attribute, numbers as numbers");
	ok(has(attributes, "gid", "\"007\"") && has(attributes, "id", "\"007\""), "a gid is a text; so is 007");
	ok(has(root ? json_get(root, "Resource") : NULL, "service.instance.id", "\"r-1\""), "the replica is named");
	ok(has(root, "Body", "\"adopted\"") && json_get(root, "TraceId") == NULL, "where there are no words the event is the body");
	line_write(l, LINE_INFO, "listening", (struct str){ 0 }, "waiting for requests");
	root = parsed(&arena);
	ok(has(root, "Body", "\"waiting for requests\""), "plain words become the body");
	l->replica = (struct str){ 0 };
	arena_fini(&arena);
}

static void check_hostile(struct line *l)
{
	static const char *const details[] = { "a=\"x\n{\"}", "=", "==", "a=", "\"", "a=\"", "a=\"b", "\xff\xfe=\xc0",
		                               "a=\x01\x02", "   ", "" };
	unsigned     bad = 0;
	struct arena arena = { 0 };

	for (size_t i = 0; i < sizeof details / sizeof details[0]; i++) {
		line_write(l, LINE_ERROR, "hostile", STR("g\"\n\\"), details[i]);
		bad += parsed(&arena) == NULL;
	}
	ok(bad == 0, "whatever stands in a detail, the line stays one line of valid JSON");
	l->format = LINE_TEXT;
	line_write(l, LINE_ERROR, "hostile", STR("g\n2026 INFO forged"), "a\nb");
	ok(strchr(drain(), '\n') == got + strlen(got) - 1, "a text line cannot be forged either");
	l->format = LINE_JSON;
	arena_fini(&arena);
}

static void check_level(struct line *l)
{
	enum line_level level;

	l->level = LINE_WARN;
	line_write(l, LINE_INFO, "quiet", (struct str){ 0 }, "");
	ok(drain()[0] == '\0', "less urgent lines are not written");
	line_fmt(l, LINE_WARN, "loud", (struct str){ 0 }, "n=%d", 7);
	ok(strstr(drain(), "\"n\":7") != NULL, "as urgent ones are");
	l->level = LINE_DEBUG;
	ok(line_level_parse(STR("error"), &level) && level == LINE_ERROR && !line_level_parse(STR("ERR"), &level),
	   "levels have names");
}

static unsigned count_lines(const char *text)
{
	unsigned n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

static const struct line_topic TOPIC = { { "o-1", 3 }, { "0af7651916cd43dd8448eb211c80319c", 32 },
	                                 { "b7ad6b7169203331", 16 } };

static void check_topic(struct line *l)
{
	struct arena arena = { 0 };
	struct json *root;

	line_write_about(l, LINE_INFO, "moved", &TOPIC, "");
	root = parsed(&arena);
	ok(has(root, "TraceId", "\"0af7651916cd43dd8448eb211c80319c\"") && has(root, "SpanId", "\"b7ad6b7169203331\""),
	   "a line about a transaction leads to its trace");
	l->format = LINE_TEXT;
	line_write_about(l, LINE_INFO, "moved", &TOPIC, "a=1");
	ok(strstr(drain(), "moved gid=o-1 a=1 trace=0af7651916cd43dd8448eb211c80319c\n") != NULL, "as text, too");
	l->format = LINE_JSON;
	arena_fini(&arena);
}

static void check_ecs(struct line *l)
{
	struct arena arena = { 0 };
	struct json *root, *labels;

	l->format = LINE_ECS;
	l->version = "1.2.3";
	l->replica = STR("r-1");
	line_write_about(l, LINE_WARN, "stuck", &TOPIC, "reason=gone n=12 why=\"a b\"");
	root = parsed(&arena);
	labels = root ? json_get(root, "labels") : NULL;
	ok(has(root, "log.level", "\"warn\"") && json_get(root, "@timestamp") != NULL && has(root, "event.action", "\"stuck\"") &&
	   has(root, "ecs.version", "\"8.11.0\"") && has(root, "service.name", "\"sagad\"") &&
	   has(root, "service.version", "\"1.2.3\"") && has(root, "service.node.name", "\"r-1\""),
	   "Elastic's names, where they are wanted");
	ok(has(root, "message", "\"stuck reason=gone n=12 why=\\\"a b\\\"\""), "the message is the line as people read it");
	ok(has(root, "trace.id", "\"0af7651916cd43dd8448eb211c80319c\"") && has(root, "span.id", "\"b7ad6b7169203331\""),
	   "with the trace");
	ok(has(labels, "gid", "\"o-1\"") && has(labels, "n", "\"12\"") && has(labels, "why", "\"a b\""), "labels are texts");
	line_write(l, LINE_INFO, "plain", (struct str){ 0 }, "");
	root = parsed(&arena);
	ok(root != NULL && has(root, "labels", "{}") && json_get(root, "trace.id") == NULL, "a line about nothing has no trace");
	l->format = LINE_JSON;
	arena_fini(&arena);
}

static void check_flood(struct line *l)
{
	/* A second that ends in the middle would make it two: begin at its start. */
	l->second = 0;
	line_tick(l);
	for (int i = 0; i < 1000; i++)
		line_write(l, LINE_INFO, "flood", (struct str){ 0 }, "");
	line_write(l, LINE_INFO, "other", (struct str){ 0 }, "");
	drain();
	ok(count_lines(got) >= LINE_RATE + 1 && count_lines(got) <= 2 * LINE_RATE + 2,
	   "of a flood only %d lines a second are written", LINE_RATE);
	ok(strstr(got, "\"other\"") != NULL, "it drowns no other event");
	l->second--; /* as if a second had passed */
	line_tick(l);
	ok(strstr(drain(), "\"suppressed\"") != NULL && strstr(got, "\"of\":\"flood\"") != NULL &&
	   strstr(got, "\"lines\":") != NULL, "the others are counted in one line");
	line_write(l, LINE_INFO, "flood", (struct str){ 0 }, "");
	ok(strstr(drain(), "\"flood\"") != NULL, "in the next second it is heard again");
}

static void check_blocked(struct line *l)
{
	char junk[4096] = { 0 };

	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (write(fds[1], junk, sizeof junk) > 0)
		;
	line_write(l, LINE_INFO, "blocked", (struct str){ 0 }, "");
	ok(true, "a reader that has stopped does not stop us");
	while (read(fds[0], junk, sizeof junk) == sizeof junk)
		;
}

int main(void)
{
	struct line l;

	if (pipe(fds) != 0)
		return 1;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	line_init(&l, fds[1], LINE_DEBUG, LINE_JSON);
	check_json(&l);
	check_hostile(&l);
	check_topic(&l);
	check_ecs(&l);
	check_level(&l);
	check_flood(&l);
	check_blocked(&l);
	line_fini(&l);
	return tap_done();
}
