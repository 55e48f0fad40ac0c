/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/line.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Severity numbers of the OpenTelemetry log data model. */
#define LEVELS(X)                      \
	X(DEBUG, "debug", "DEBUG", 5)  \
	X(INFO,  "info",  "INFO",  9)  \
	X(WARN,  "warn",  "WARN",  13) \
	X(ERROR, "error", "ERROR", 17)

enum { WRITE_WAIT_MS = 20 };

static const struct {
	const char *name, *severity;
	int         number;
} levels[] = {
#define X(id, name, severity, number) [LINE_##id] = { name, severity, number },
	LEVELS(X)
#undef X
};

const char *line_level_name(enum line_level level)
{
	return levels[level].name;
}

bool line_level_parse(struct str name, enum line_level *out)
{
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
		if (str_is(name, levels[i].name)) {
			*out = (enum line_level)i;
			return true;
		}
	return false;
}

bool line_format_parse(struct str name, enum line_format *out)
{
	static const char *const names[] = { [LINE_JSON] = "json", [LINE_TEXT] = "text", [LINE_ECS] = "ecs" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (str_is(name, names[i])) {
			*out = (enum line_format)i;
			return true;
		}
	return false;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the form of a line -------------------------------------------------------------------- */

/* The next key=value of a detail text. False at its end. A word without = has an empty key. */
static bool next_pair(struct str *rest, struct str *key, struct str *value)
{
	struct str s = *rest;
	size_t     n = 0;
	bool       quoted = false;

	while (s.n > 0 && s.p[0] == ' ') {
		s.p++;
		s.n--;
	}
	*key = *value = (struct str){ 0 };
	if (s.n == 0)
		return false;
	while (n < s.n && s.p[n] != '=' && s.p[n] != ' ')
		n++;
	if (n < s.n && s.p[n] == '=') {
		*key = (struct str){ s.p, n };
		s.p += n + 1;
		s.n -= n + 1;
		quoted = s.n > 0 && s.p[0] == '"';
		n = 0;
	}
	if (quoted) {
		const char *end = memchr(s.p + 1, '"', s.n - 1);

		n = end != NULL ? (size_t)(end - s.p) + 1 : s.n;
		*value = (struct str){ s.p + 1, end != NULL ? n - 2 : n - 1 };
	} else {
		while (n < s.n && s.p[n] != ' ')
			n++;
		*value = (struct str){ s.p, n };
	}
	*rest = (struct str){ s.p + n, s.n - n };
	return true;
}

/* A number as JSON writes it, short enough not to lose digits. */
static bool is_number(struct str s)
{
	size_t i = s.n > 0 && s.p[0] == '-';
	size_t digits = s.n - i;

	if (digits == 0 || digits > 15 || (s.p[i] == '0' && digits > 1))
		return false;
	for (; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

static void add_text(struct buf *b, const char *name, struct str value)
{
	if (value.n == 0)
		return;
	if (b->p[b->n - 1] != '{')
		buf_char(b, ',');
	buf_json(b, str_of(name));
	buf_char(b, ':');
	buf_json(b, value);
}

/* Attributes keep their kind; labels of Elastic's schema are texts. */
static void add_pair(struct buf *b, struct str key, struct str value, bool as_text)
{
	if (b->p[b->n - 1] != '{')
		buf_char(b, ',');
	buf_json(b, key);
	buf_char(b, ':');
	if (!as_text && is_number(value))
		buf_str(b, value);
	else
		buf_json(b, value);
}

/* The pairs of detail; its plain words are what is given back. They belong together up to the last of them. */
static struct str add_detail(struct buf *b, struct str detail, bool as_text)
{
	struct str key, value, words = { 0 };

	while (next_pair(&detail, &key, &value)) {
		if (key.n > 0)
			add_pair(b, key, value, as_text);
		else if (words.n == 0)
			words = value;
		if (key.n == 0)
			words.n = (size_t)(value.p + value.n - words.p);
	}
	return words;
}

/* Names and meanings: OpenTelemetry, "Logs Data Model". */
static void form_json(struct line *l, enum line_level level, const char *event, const struct line_topic *topic,
                      struct str detail)
{
	struct buf *b = &l->buf;
	struct str  words;
	char        time[32];

	buf_fmt(b, "{\"Timestamp\":\"%s\",\"SeverityText\":\"%s\",\"SeverityNumber\":%d",
	        text_of_time(now_ms(), time), levels[level].severity, levels[level].number);
	add_text(b, "EventName", str_of(event));
	add_text(b, "TraceId", topic->trace);
	add_text(b, "SpanId", topic->span);
	buf_cstr(b, ",\"Resource\":{\"service.name\":\"sagad\"");
	add_text(b, "service.version", str_of(l->version));
	add_text(b, "service.instance.id", l->replica);
	buf_fmt(b, ",\"process.pid\":%ld},\"Attributes\":{", (long)getpid());
	add_text(b, "gid", topic->gid); /* a text, even where it looks like a number */
	words = add_detail(b, detail, false);
	buf_char(b, '}');
	add_text(b, "Body", words.n > 0 ? words : str_of(event));
	buf_cstr(b, "}\n");
}

/* Elastic Common Schema 8. */
static void form_ecs(struct line *l, enum line_level level, const char *event, const struct line_topic *topic,
                     struct str detail)
{
	struct buf *b = &l->buf, message = { 0 };
	char        time[32];

	buf_fmt(b, "{\"@timestamp\":\"%s\",\"log.level\":\"%s\"", text_of_time(now_ms(), time), levels[level].name);
	buf_cstr(&message, event);
	if (detail.n > 0) {
		buf_char(&message, ' ');
		buf_str(&message, detail);
	}
	add_text(b, "message", buf_view(&message));
	buf_fini(&message);
	buf_cstr(b, ",\"ecs.version\":\"8.11.0\",\"event.dataset\":\"sagad.log\",\"service.name\":\"sagad\"");
	add_text(b, "service.version", str_of(l->version));
	add_text(b, "service.node.name", l->replica);
	buf_fmt(b, ",\"process.pid\":%ld", (long)getpid());
	add_text(b, "event.action", str_of(event));
	add_text(b, "trace.id", topic->trace);
	add_text(b, "span.id", topic->span);
	buf_cstr(b, ",\"labels\":{");
	add_text(b, "gid", topic->gid);
	add_detail(b, detail, true);
	buf_cstr(b, "}}\n");
}

/* Control characters would let a text from outside forge lines. */
static void add_safe(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			buf_fmt(b, "\\x%02x", (unsigned char)s.p[i]);
		else
			buf_char(b, s.p[i]);
}

static void form_text(struct line *l, enum line_level level, const char *event, const struct line_topic *topic,
                      struct str detail)
{
	struct buf *b = &l->buf;
	char        time[32];

	buf_fmt(b, "%s %-5s ", text_of_time(now_ms(), time), levels[level].severity);
	add_safe(b, str_of(event));
	if (topic->gid.n > 0) {
		buf_cstr(b, " gid=");
		add_safe(b, topic->gid);
	}
	if (detail.n > 0) {
		buf_char(b, ' ');
		add_safe(b, detail);
	}
	if (topic->trace.n > 0) {
		buf_cstr(b, " trace=");
		add_safe(b, topic->trace);
	}
	buf_char(b, '\n');
}

/* ---- writing ------------------------------------------------------------------------------- */

/* A reader that has stopped must not stop us: after a short wait the rest of the line is lost. */
static void send_all(int fd, struct str s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n > 0) {
			s.p += n;
			s.n -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			if (poll(&p, 1, WRITE_WAIT_MS) <= 0)
				return;
		} else if (n == 0 || errno != EINTR) {
			return;
		}
	}
}

static struct str cut(struct str s, size_t max)
{
	if (s.n > max) {
		s.n = max;
		for (int i = 0; i < 3 && s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80; i++)
			s.n--;
	}
	return s;
}

static void put(struct line *l, enum line_level level, const char *event, const struct line_topic *whole,
                struct str detail)
{
	const struct line_topic topic = { cut(whole->gid, 256), whole->trace, whole->span };

	detail = cut(detail, LINE_BYTES_MAX);
	buf_clear(&l->buf);
	switch (l->format) {
	case LINE_JSON: form_json(l, level, event, &topic, detail); break;
	case LINE_TEXT: form_text(l, level, event, &topic, detail); break;
	case LINE_ECS:  form_ecs(l, level, event, &topic, detail); break;
	}
	send_all(l->fd, buf_view(&l->buf));
}

static void put_sums(struct line *l)
{
	for (size_t i = 0; i < l->count_n; i++) {
		const struct line_count *c = &l->counts[i];
		char                     detail[128];

		if (c->suppressed == 0)
			continue;
		snprintf(detail, sizeof detail, "of=%s lines=%u", c->event, c->suppressed);
		put(l, LINE_WARN, "suppressed", &(struct line_topic){ 0 }, str_of(detail));
	}
	l->count_n = 0;
}

static struct line_count *count_of(struct line *l, const char *event)
{
	for (size_t i = 0; i < l->count_n; i++)
		if (strncmp(l->counts[i].event, event, sizeof l->counts[i].event - 1) == 0)
			return &l->counts[i];
	/* More kinds of events than we count: the last place stands for all others. */
	if (l->count_n == LINE_EVENTS_MAX)
		return &l->counts[LINE_EVENTS_MAX - 1];
	l->counts[l->count_n] = (struct line_count){ 0 };
	str_cstr(str_of(event), l->counts[l->count_n].event, sizeof l->counts[0].event);
	return &l->counts[l->count_n++];
}

static int64_t second_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec;
}

void line_tick(struct line *l)
{
	int64_t second = second_now();

	if (second == l->second)
		return;
	l->second = second;
	put_sums(l);
}

bool line_is_wanted(const struct line *l, enum line_level level)
{
	return level >= l->level;
}

void line_write(struct line *l, enum line_level level, const char *event, struct str gid,
                const char *detail)
{
	line_write_about(l, level, event, &(struct line_topic){ .gid = gid }, detail);
}

void line_write_about(struct line *l, enum line_level level, const char *event, const struct line_topic *topic,
                      const char *detail)
{
	struct line_count *c;

	if (level < l->level)
		return;
	line_tick(l);
	c = count_of(l, event);
	if (c->written >= LINE_RATE) {
		c->suppressed++;
		return;
	}
	c->written++;
	put(l, level, event, topic, str_of(detail));
}

void line_fmt(struct line *l, enum line_level level, const char *event, struct str gid,
              const char *fmt, ...)
{
	char    detail[LINE_BYTES_MAX];
	va_list ap;

	if (level < l->level)
		return;
	va_start(ap, fmt);
	vsnprintf(detail, sizeof detail, fmt, ap);
	va_end(ap);
	line_write(l, level, event, gid, detail);
}

void line_init(struct line *l, int fd, enum line_level level, enum line_format format)
{
	*l = (struct line){ .fd = fd, .level = level, .format = format, .second = second_now() };
}

void line_fini(struct line *l)
{
	put_sums(l);
	buf_fini(&l->buf);
}
