/* SPDX-License-Identifier: Apache-2.0
 * saga/error.h - what went wrong, as a value. libsaga prints nothing, ends nothing and throws
 * nothing.
 */
#ifndef SAGA_ERROR_H
#define SAGA_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SAGA_API __attribute__((visibility("default")))
#define SAGA_USE __attribute__((warn_unused_result))
#define SAGA_FORMAT(a, b) __attribute__((format(printf, a, b)))
#else
#define SAGA_API
#define SAGA_USE
#define SAGA_FORMAT(a, b)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, "what it means"). */
#define SAGA_ERRORS(X)                                                                          \
	X(NONE, "nothing went wrong")                                                           \
	X(MEMORY, "out of memory")                                                              \
	X(ARGUMENT, "the caller asked for something that cannot be")                            \
	X(UNKNOWN, "no usable answer came: it may have happened or not; the same again is safe") \
	X(PROBLEM, "sagad said no: problem says why")                                           \
	X(DATABASE, "the database failed")                                                      \
	X(SYSTEM, "the operating system failed")                                                 \
	X(REFUSED, "the caller's own work said no")

enum saga_errno {
#define X(name, text) SAGA_E_##name,
	SAGA_ERRORS(X)
#undef X
};

/* ---- sagad's errors (RFC 9457) ------------------------------------------------------------- */

enum { SAGA_PROBLEM_ERRORS = 8 };

struct saga_problem {
	int status;            /* of HTTP */
	char code[64];         /* stable: "decided", "not_found" …; empty: not from sagad */
	char title[128];       /* texts that are longer are cut */
	char detail[300];      /* what to do */
	char gid[129];
	char request_id[64];
	bool retryable;        /* the same later may do */
	int retry_after_s;     /* -1: not said */
	size_t error_count;    /* those beyond SAGA_PROBLEM_ERRORS are not kept */
	struct {
		char pointer[128]; /* JSON Pointer into what was sent */
		char detail[200];
	} errors[SAGA_PROBLEM_ERRORS];
};

/* From any answer that is no 2xx. retry_after: the header, or NULL. */
SAGA_API void saga_problem_read(int status, const char *retry_after, const char *body,
                                size_t body_size, struct saga_problem *out);

struct saga_error {
	enum saga_errno code;
	char text[400];              /* one sentence for people */
	bool retryable;              /* the same later may do */
	struct saga_problem problem; /* of PROBLEM, and of UNKNOWN after an answer */
};

SAGA_API const char *saga_error_meaning(enum saga_errno code);

#ifdef __cplusplus
}
#endif
#endif
