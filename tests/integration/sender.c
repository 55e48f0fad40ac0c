/* SPDX-License-Identifier: Apache-2.0
 * sender.c - sends one message with saga_send(); its work does as stdin says, so that a test can
 * be in the middle of it.
 *
 *   sender SAGAD-URLS DSN SERVICE-URL GID DEADLINE PATIENCE-MS
 */
#include "participants/libsaga/saga/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int runs;

static bool do_sql(PGconn *db, const char *sql, const char *gid)
{
	PGresult *r = PQexecParams(db, sql, gid ? 1 : 0, NULL, &gid, NULL, NULL, 0);
	bool done = PQresultStatus(r) == PGRES_COMMAND_OK;

	PQclear(r);
	return done;
}

/* done, refuse, fail; serial: meets somebody else the first time; end: rolls back by itself;
 * commit: commits, and begins anew. */
static enum saga_result work(void *ctx, PGconn *db, const struct saga_transaction *prepared)
{
	char *word = ctx;

	if (!do_sql(db, "INSERT INTO orders VALUES ($1)", prepared->gid))
		return SAGA_FAILED;
	if (!runs++) {
		puts("working");
		if (!fgets(word, 20, stdin))
			return SAGA_FAILED;
	}
	word[strcspn(word, "\n")] = '\0';
	if (!strcmp(word, "serial") && runs == 1)
		do_sql(db, "DO $$ BEGIN RAISE 'meet' USING ERRCODE = '40001'; END $$", NULL);
	if (!strcmp(word, "end"))
		do_sql(db, "ROLLBACK", NULL);
	if (!strcmp(word, "commit") && do_sql(db, "COMMIT", NULL))
		do_sql(db, "BEGIN", NULL);
	if (!strcmp(word, "fail"))
		return SAGA_FAILED;
	return !strcmp(word, "refuse") ? SAGA_REFUSED : SAGA_DONE;
}

int main(int argc, char **argv)
{
	struct saga_client_options options = { .timeout_ms = 5000 };
	struct saga_start message = { 0 };
	struct saga_transaction out = { 0 };
	struct saga_error error = { 0 };
	char document[1000], word[20] = "";
	struct saga_client *client;
	enum saga_sent sent;
	PGconn *db;

	if (argc != 7)
		return 99;
	options.patience_ms = atoi(argv[6]);
	options.urls = argv[1];
	client = saga_client_open(&options, &error);
	db = PQconnectdb(argv[2]);
	if (!client)
		return 99;
	/* Outside of a transaction it would be remembered whatever becomes of the work. */
	if (saga_message(db, argv[4], argv[5], &error) != SAGA_MESSAGE_ERROR ||
	    !strstr(error.text, "begin a transaction"))
		return 98;
	snprintf(document, sizeof(document),
	         "{\"mode\": \"message\", \"check\": {\"url\": \"%s/check\", \"timeout\": \"2s\","
	         " \"retry\": {\"initial\": \"50ms\", \"max\": \"100ms\"}},"
	         " \"steps\": {\"a\": {\"action\": {\"url\": \"%s/hold\"}}}}",
	         argv[3], argv[3]);
	message.gid = argv[4];
	message.deadline = argv[5];
	message.document = document;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sent = saga_send(client, db, &message, work, word, &out, &error);
	printf("%s; phase %s; %d runs; %s; %s\n", saga_sent_meaning(sent), out.phase, runs,
	       out.replayed ? "again" : "new", sent == SAGA_SENT_DONE ? "" : error.text);
	saga_transaction_fini(&out);
	PQfinish(db);
	saga_client_close(client);
	return (int)sent;
}
