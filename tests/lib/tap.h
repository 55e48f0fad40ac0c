/* SPDX-License-Identifier: Apache-2.0
 * tap.h - the least TAP a C test needs.
 */
#ifndef TESTS_LIB_TAP_H
#define TESTS_LIB_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_run, tap_failed;

/* ok(condition, "what is expected", ...): one line; says where, when it fails. */
#define ok(cond, ...) tap_ok(!!(cond), #cond, __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 5, 6)))
static inline bool tap_ok(bool pass, const char *expr, const char *file, int line,
                          const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", pass ? "" : "not ", ++tap_run);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (!pass) {
		printf("# %s at %s:%d\n", expr, file, line);
		tap_failed++;
	}
	return pass;
}

/* The last line; what main returns. */
static inline int tap_done(void)
{
	printf("1..%d\n", tap_run);
	return tap_failed != 0;
}

#endif
