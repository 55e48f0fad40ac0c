/* SPDX-License-Identifier: Apache-2.0
 * line.h - log lines: one event, one line; JSON (OpenTelemetry's log data model, or Elastic's common schema) or text.
 *
 * An event that comes more often than LINE_RATE times a second is counted, and
 * its sum is one line when the second is over.
 */
#ifndef COORDINATOR_BASE_LINE_H
#define COORDINATOR_BASE_LINE_H

#include "coordinator/base/text.h"

enum line_level { LINE_DEBUG, LINE_INFO, LINE_WARN, LINE_ERROR };
enum line_format { LINE_JSON, LINE_TEXT, LINE_ECS };
enum { LINE_RATE = 50, LINE_EVENTS_MAX = 64, LINE_BYTES_MAX = 4096 };

struct line_count {
	char     event[48];
	uint32_t written, suppressed;
};

struct line { /* one log; the owner's memory; zeroed: JSON, everything, to nowhere */
	int               fd;
	enum line_level   level;  /* less urgent lines are not written */
	enum line_format  format;
	struct str        replica; /* service.instance.id, or empty; lives as long as the log */
	const char       *version; /* of the program, or NULL */
	int64_t           second;
	struct line_count counts[LINE_EVENTS_MAX];
	size_t            count_n;
	struct buf        buf;
};

/* What a line is about; all may be empty. Ids in hex, as W3C Trace Context has them. */
struct line_topic {
	struct str gid, trace, span;
};

void line_init(struct line *l, int fd, enum line_level level, enum line_format format);
void line_fini(struct line *l); /* writes the sums that are due */
/* detail: "key=value key=value" (values may stand in double quotes); becomes attributes.
 * gid may be empty. Never blocks for long, never fails: what cannot be written is lost. */
void line_write(struct line *l, enum line_level level, const char *event, struct str gid,
                const char *detail);
void line_write_about(struct line *l, enum line_level level, const char *event, const struct line_topic *topic,
                      const char *detail);
/* line_write() with detail as printf would make it. */
void line_fmt(struct line *l, enum line_level level, const char *event, struct str gid,
              const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Writes sums of a second that is over; call it now and then. */
void line_tick(struct line *l);

bool line_is_wanted(const struct line *l, enum line_level level);
const char *line_level_name(enum line_level level);
bool        line_format_parse(struct str name, enum line_format *out);
bool        line_level_parse(struct str name, enum line_level *out);

#endif
