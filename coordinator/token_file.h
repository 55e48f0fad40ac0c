/* SPDX-License-Identifier: Apache-2.0
 * token_file.h - the tokens file: read at the start, and again whenever it has changed.
 */
#ifndef COORDINATOR_TOKEN_FILE_H
#define COORDINATOR_TOKEN_FILE_H

#include "api/tokens.h"

#include <sys/stat.h>

/* Is it another one than *seen? Also when it has gone or come. *seen is what there is now. */
bool file_changed(const char *path, struct stat *seen);

enum { TOKEN_FILE_LOOK_MS = 1000 };

struct token_file {
	const char *path;
	struct stat seen; /* as it was when it was read last, or found broken */
};

/* NULL with a sentence: it cannot be read, or a line is wrong. The caller's to free. */
struct token_set *token_file_read(struct token_file *f, struct err *err);
bool              token_file_changed(const struct token_file *f);

/* sagad token NAME --role=ROLES [--for=DURATION] [--append=FILE]: makes one, prints it, and gives the exit status. */
int  token_command(int argc, char **argv);
void token_command_help(struct buf *out);

#endif
