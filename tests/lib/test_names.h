/* SPDX-License-Identifier: Apache-2.0
 * test_names.h - linked into a program, getaddrinfo() knows the names of tests/lib/test_names.c and no others.
 */
#ifndef TESTS_LIB_TEST_NAMES_H
#define TESTS_LIB_TEST_NAMES_H

/* How often a name was asked for, by any thread. */
unsigned test_names_asked(void);

#endif
