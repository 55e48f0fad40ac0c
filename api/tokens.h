/* SPDX-License-Identifier: Apache-2.0
 * tokens.h - a tokens file: who there is, what each may do, and how he proves that he is it. Pure: text in, a set out.
 *
 * One line each: NAME ROLE[,ROLE…] PROOF [until:TIME]. PROOF is sha256: and 64 hexadecimal digits of a bearer
 * token's hash, or cert: and a name in a client certificate (CN=…, DNS=…, URI=…, EMAIL=…). TIME is RFC 3339. Several lines
 * may have one NAME: while a token is replaced by the next, both are good. # begins a comment.
 */
#ifndef API_TOKENS_H
#define API_TOKENS_H

#include "api/access.h"
#include "coordinator/base/err.h"

enum { TOKENS_MAX = 1000, TOKENS_FILE_MAX = 512 << 10, TOKEN_BYTES_MAX = 200, TOKEN_NAME_MAX = 64 };

struct token {
	struct principal principal;
	uint8_t          hash[32];
	struct str       certificate; /* CN=…; empty: it is a bearer token's hash */
	int64_t          until;       /* ms since the epoch; good before it; INT64_MAX: for ever */
};

struct token_set;
/* All of it or nothing: NULL with a sentence that names the line. An empty file is a set that lets nobody in. */
struct token_set *tokens_parse(struct str text, struct err *err);
void              tokens_free(struct token_set *s); /* harmless on NULL */
size_t            tokens_count(const struct token_set *s);

/* NULL: nobody's. Tokens are 256 random bits, so one round of SHA-256 hides them as well as a slow hash would; each
 * line is compared in constant time, and all of them. An expired one is found, too: see until. */
const struct token *tokens_find(const struct token_set *s, struct str token);
/* The first line that one of the certificate's names fits. */
const struct token *tokens_find_certificate(const struct token_set *s, const struct str *names, size_t n);

/* "service,operator" as a set; false if one of them is none, or none is there. */
bool roles_parse(struct str text, unsigned *out);
/* "service, operator". */
void roles_write(unsigned roles, struct buf *out);
bool token_name_is_valid(struct str name);
/* A new token, and the line for the file, without its end. until INT64_MAX: for ever. */
void token_make(struct str name, struct str roles, int64_t until, struct buf *token, struct buf *line);

#endif
