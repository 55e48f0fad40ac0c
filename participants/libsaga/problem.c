/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/libsaga/internal.h"

#include <stdlib.h>

/* A text that does not fit is cut between two characters; what is no text stays empty. */
static void member_text(struct saga_slice json, const char *name, char *out, size_t size)
{
	struct saga_slice value;
	char *whole;
	size_t n;

	out[0] = '\0';
	if (!saga_json_find(json, name, &value) || saga_json_text(value, out, size))
		return;
	whole = malloc(value.n + 1);
	if (whole && saga_json_text(value, whole, value.n + 1)) {
		n = size - 1;
		while (n && ((unsigned char)whole[n] & 0xc0) == 0x80)
			n--;
		memcpy(out, whole, n);
		out[n] = '\0';
	}
	free(whole);
}

static bool is_word(struct saga_slice s, const char *word)
{
	return s.n == strlen(word) && !memcmp(s.p, word, s.n);
}

static void read_errors(struct saga_slice json, struct saga_problem *out)
{
	struct saga_slice list, one, part;
	size_t at = 0;

	if (!saga_json_find(json, "errors", &list) || list.p[0] != '[')
		return;
	while (out->error_count < SAGA_PROBLEM_ERRORS && json_next(list, &at, NULL, &one)) {
		if (one.p[0] != '{' || !saga_json_find(one, "pointer", &part) || part.p[0] != '"' ||
		    !saga_json_find(one, "detail", &part) || part.p[0] != '"')
			continue;
		member_text(one, "pointer", out->errors[out->error_count].pointer,
			    sizeof(out->errors[0].pointer));
		member_text(one, "detail", out->errors[out->error_count].detail,
			    sizeof(out->errors[0].detail));
		out->error_count++;
	}
}

void saga_problem_read(int status, const char *retry_after, const char *body, size_t body_size,
		       struct saga_problem *out)
{
	struct saga_slice json = { body, body_size }, value;
	uint64_t s;

	memset(out, 0, sizeof(*out));
	out->status = status;
	out->retry_after_s = -1;
	if (retry_after && slice_number(slice_trim(slice(retry_after)), INT32_MAX, &s))
		out->retry_after_s = (int)s;
	out->retryable = status == 408 || status == 429 || (status >= 502 && status <= 504);
	if (!saga_json_valid(json))
		return;
	member_text(json, "code", out->code, sizeof(out->code));
	member_text(json, "title", out->title, sizeof(out->title));
	member_text(json, "detail", out->detail, sizeof(out->detail));
	member_text(json, "gid", out->gid, sizeof(out->gid));
	member_text(json, "request_id", out->request_id, sizeof(out->request_id));
	if (saga_json_find(json, "retryable", &value) &&
	    (is_word(value, "true") || is_word(value, "false")))
		out->retryable = is_word(value, "true");
	read_errors(json, out);
}
