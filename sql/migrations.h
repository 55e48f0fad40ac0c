/* SPDX-License-Identifier: Apache-2.0
 * migrations.h - the schema's versions, oldest first, as sql/embed.sh puts them into the program.
 */
#ifndef SQL_MIGRATIONS_H
#define SQL_MIGRATIONS_H

#include <stddef.h>

struct migration {
	int         version; /* from 1, without gaps */
	int         oldest;  /* newest migration of the oldest program that works with it */
	const char *name;    /* the file's, without .sql */
	const char *sql;     /* any number of statements; run in one transaction; never changed once released */
};

extern const struct migration migrations[];
extern const size_t           migration_count;

#endif
