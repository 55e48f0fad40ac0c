/* SPDX-License-Identifier: Apache-2.0 */
#include "api/reply_head.h"

#include <stdio.h>

static const struct {
	unsigned    status;
	const char *reason;
} reasons[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 304, "Not Modified" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 422, "Unprocessable Content" },
	{ 425, "Too Early" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
};

static const char *reason_of(unsigned status)
{
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return ""; /* RFC 9112, 4: it may be empty */
}

const char *reply_date_now(struct reply_date *d)
{
	static const char days[] = "SunMonTueWedThuFriSat",
			  months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct timespec   now;
	struct tm         t;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (now.tv_sec == d->at)
		return d->text;
	d->at = now.tv_sec;
	gmtime_r(&now.tv_sec, &t);
	snprintf(d->text, sizeof d->text, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
	         days + 3 * t.tm_wday, (unsigned)t.tm_mday % 100, months + 3 * t.tm_mon,
	         (unsigned)(t.tm_year + 1900) % 10000, (unsigned)t.tm_hour % 100,
	         (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
	return d->text;
}

bool reply_has_length(unsigned status)
{
	return status != 204 && status != 304;
}

static void add_line(struct buf *out, const char *name, const char *value)
{
	buf_cstr(out, name);
	buf_add(out, ": ", 2);
	buf_cstr(out, value);
	buf_add(out, "\r\n", 2);
}

void reply_head_write(const struct exchange *x, const char *date, const char *connection,
                      struct buf *out)
{
	buf_clear(out);
	buf_cstr(out, "HTTP/1.1 ");
	buf_u64(out, x->status);
	buf_char(out, ' ');
	buf_cstr(out, reason_of(x->status));
	buf_add(out, "\r\n", 2);
	add_line(out, "Date", date);
	if (x->content_type)
		add_line(out, "Content-Type", x->content_type);
	for (size_t i = 0; i < x->header_count; i++)
		add_line(out, x->headers[i].name, x->headers[i].value);
	if (connection)
		add_line(out, "Connection", connection);
	if (reply_has_length(x->status)) {
		buf_cstr(out, "Content-Length: ");
		buf_u64(out, x->reply.n);
		buf_add(out, "\r\n", 2);
	}
	buf_add(out, "\r\n", 2);
}
