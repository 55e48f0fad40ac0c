/* SPDX-License-Identifier: Apache-2.0
 * reply_head.h - the head of an answer: status line, date, headers, how long its body is.
 */
#ifndef API_REPLY_HEAD_H
#define API_REPLY_HEAD_H

#include "api/httpd.h"

#include <time.h>

struct reply_date { /* zeroed: none made */
	time_t at;
	char   text[40];
};

/* As RFC 9110, 5.6.7 has it; made anew once a second. */
const char *reply_date_now(struct reply_date *d);
/* Statuses without a body have no Content-Length either. */
bool reply_has_length(unsigned status);
/* Of an answered exchange. connection: the value of that header, or NULL. out is cleared first. */
void        reply_head_write(const struct exchange *x, const char *date, const char *connection,
                             struct buf *out);

#endif
