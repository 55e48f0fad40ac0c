/* SPDX-License-Identifier: Apache-2.0
 * tcc.c - an open transaction as a scope: registered before it is tried, decided once, cancelled
 * if left.
 */
#include "participants/libsaga/client_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	TRY_TIMEOUT_MS = 3000,
	TRY_ATTEMPTS = 3,
	END_WAIT_MS = 10000,
	NOT_READY_MS = 50,
	ASK_AGAIN_MS = 1000
};

struct saga_tcc {
	struct saga_client *client;
	char gid[SAGA_GID_MAX + 1];
	char accepted[40], deadline[40]; /* as sagad tells them, for the headers of a try */
	int wait_ms;
	bool doomed;  /* a try did not succeed */
	bool decided; /* sagad has logged one decision or the other */
};

static void member_text(const struct saga_transaction *txn, const char *name, char *out,
                        size_t size)
{
	struct saga_slice json = { txn->json, txn->json_size }, value;

	if (saga_json_find(json, name, &value))
		saga_json_text(value, out, size);
}

struct saga_tcc *saga_tcc_open(struct saga_client *client, const struct saga_tcc_options *options,
			       struct saga_error *error)
{
	struct saga_start start = { .document = "{\"mode\": \"tcc\"}" };
	struct saga_tcc *tcc = calloc(1, sizeof(*tcc));
	struct saga_transaction txn;

	if (!tcc) {
		saga_fail(error, SAGA_E_MEMORY, "out of memory");
		return NULL;
	}
	start.gid = options ? options->gid : NULL;
	start.labels = options ? options->labels : NULL;
	start.deadline = options && options->deadline ? options->deadline : "1m";
	if (!saga_start(client, &start, &txn, error)) {
		free(tcc);
		return NULL;
	}
	tcc->client = client;
	tcc->wait_ms = options && options->wait_ms ? options->wait_ms : END_WAIT_MS;
	snprintf(tcc->gid, sizeof(tcc->gid), "%s", txn.gid);
	member_text(&txn, "created_at", tcc->accepted, sizeof(tcc->accepted));
	memcpy(tcc->deadline, txn.deadline, sizeof(tcc->deadline));
	saga_transaction_fini(&txn);
	return tcc;
}

const char *saga_tcc_gid(const struct saga_tcc *tcc)
{
	return tcc->gid;
}

bool saga_tcc_join(struct saga_tcc *tcc, const char *step, struct saga_error *error)
{
	if (saga_join(tcc->client, tcc->gid, step, NULL, error))
		return true;
	tcc->doomed = true;
	return false;
}

/* ---- a try ------------------------------------------------------------------------------- */

static bool join_branch(struct saga_tcc *tcc, const struct saga_branch *b, struct saga_error *error)
{
	struct text step = { 0 };
	bool ok;

	text_cstr(&step, "{\"name\": ");
	text_json(&step, b->name);
	text_printf(&step, ", \"data\": %s, \"confirm\": {\"url\": ", b->data ? b->data : "{}");
	text_json(&step, b->confirm_url);
	text_cstr(&step, "}, \"cancel\": {\"url\": ");
	text_json(&step, b->cancel_url);
	text_cstr(&step, "}}");
	ok = step.failed ? saga_fail(error, SAGA_E_ARGUMENT, "the branch is not UTF-8")
			 : saga_tcc_join(tcc, step.p, error);
	text_free(&step);
	return ok;
}

struct lines { /* headers of one attempt */
	char list[10][512];
	int n;
};

static void line(struct lines *l, struct http_ask *ask, const char *name, const char *value)
{
	if (!*value || l->n == 10)
		return;
	snprintf(l->list[l->n], sizeof(l->list[0]), "%s: %s", name, value);
	ask->headers[l->n] = l->list[l->n];
	l->n++;
}

/* As sagad itself would call it; it does not, so there are no epoch and no callback. */
static bool sign_attempt(const struct saga_tcc *tcc, const struct saga_branch *b, unsigned attempt,
			 struct lines *l, struct http_ask *ask)
{
	char text[300], signature[SAGA_SIGNATURE_MAX], id[SAGA_WEBHOOK_ID_MAX];
	int64_t now = time(NULL);

	line(l, ask, "Saga-Id", tcc->gid);
	line(l, ask, "Saga-Step", b->name);
	line(l, ask, "Saga-Op", "try");
	snprintf(text, sizeof(text), "%u", attempt);
	line(l, ask, "Saga-Attempt", text);
	line(l, ask, "Saga-Accepted", tcc->accepted);
	line(l, ask, "Saga-Deadline", tcc->deadline);
	snprintf(text, sizeof(text), "\"%s:%s:try\"", tcc->gid, b->name);
	line(l, ask, "Idempotency-Key", text);
	if (!b->secret)
		return true;
	saga_webhook_id(tcc->gid, b->name, SAGA_TRY, id);
	if (!saga_sign(b->secret, id, now, ask->body, strlen(ask->body), signature))
		return false;
	line(l, ask, "webhook-id", id);
	snprintf(text, sizeof(text), "%lld", (long long)now);
	line(l, ask, "webhook-timestamp", text);
	line(l, ask, "webhook-signature", signature);
	return true;
}

enum learnt {
	LEARNT_DONE,
	LEARNT_REFUSED,
	LEARNT_GONE,
	LEARNT_ONGOING,
	LEARNT_NOTHING,
	LEARNT_WRONG
};

/* unresolved: an earlier attempt was not answered. A bare 409 may then mean that
 * it is still at work. */
static enum learnt learn(const struct http_answer *a, bool unresolved)
{
	if (a->refused)
		return LEARNT_REFUSED;
	switch (a->status) {
	case 200: case 201: case 204:
		return LEARNT_DONE;
	case 202: case 425:
		return LEARNT_ONGOING;
	case 422: case 424:
		return LEARNT_REFUSED;
	case 409:
		return unresolved ? LEARNT_NOTHING : LEARNT_REFUSED;
	case 410:
		return LEARNT_GONE;
	case 0: case 408: case 412: case 429:
		return LEARNT_NOTHING;
	default:
		return a->status >= 500 ? LEARNT_NOTHING : LEARNT_WRONG;
	}
}

static void say(const struct saga_branch *b, const struct http_answer *a, struct saga_error *error)
{
	if (a->status)
		saga_fail(error, SAGA_E_UNKNOWN, "%s: HTTP %d", b->name, a->status);
	else
		saga_fail(error, SAGA_E_UNKNOWN, "%s: %s", b->name, a->failure);
}

/* Until it is settled: at most attempts without an answer, and as long as the
 * client is patient with a 202. */
static enum learnt call_try(const struct saga_tcc *tcc, const struct saga_branch *b,
                            struct http_answer *a, struct saga_error *error)
{
	unsigned attempts = b->attempts > 0 ? (unsigned)b->attempts : TRY_ATTEMPTS, silent = 0;
	int64_t until = clock_ms() + client_patience_ms(tcc->client);

	for (unsigned attempt = 1;; attempt++) {
		struct http_ask ask = { .method = "POST", .url = b->try_url, .no_token = true };
		struct lines lines = { .n = 0 };
		enum learnt learnt;

		ask.body = b->data ? b->data : "{}";
		ask.timeout_ms = b->timeout_ms > 0 ? b->timeout_ms : TRY_TIMEOUT_MS;
		if (!sign_attempt(tcc, b, attempt, &lines, &ask)) {
			memset(a, 0, sizeof(*a));
			saga_fail(error, SAGA_E_ARGUMENT, "the secret of %s is empty or no base64",
			          b->name);
			return LEARNT_WRONG;
		}
		http_send(tcc->client, &ask, a);
		learnt = learn(a, silent > 0);
		silent += learnt == LEARNT_NOTHING;
		if (learnt == LEARNT_ONGOING ? clock_ms() + ASK_AGAIN_MS > until
		                             : learnt != LEARNT_NOTHING || silent == attempts) {
			say(b, a, error);
			return learnt;
		}
		http_answer_fini(a);
		sleep_ms(learnt == LEARNT_ONGOING ? ASK_AGAIN_MS
		                                  : 50ll << (silent < 5 ? silent : 5));
	}
}

static enum saga_result result_of(enum learnt learnt)
{
	switch (learnt) {
	case LEARNT_DONE: return SAGA_DONE;
	case LEARNT_REFUSED: return SAGA_REFUSED;
	case LEARNT_GONE: return SAGA_GONE;
	case LEARNT_ONGOING: return SAGA_ONGOING;
	case LEARNT_NOTHING:
	case LEARNT_WRONG: break;
	}
	return SAGA_FAILED;
}

enum saga_result saga_tcc_try(struct saga_tcc *tcc, const struct saga_branch *b,
                              struct saga_answer *answer, struct saga_error *error)
{
	enum saga_result result = SAGA_FAILED;
	struct http_answer a = { 0 };

	if (answer)
		memset(answer, 0, sizeof(*answer));
	if (b->data && !saga_json_valid(slice(b->data))) {
		saga_fail(error, SAGA_E_ARGUMENT, "data of %s is not JSON", b->name);
	} else if (join_branch(tcc, b, error)) {
		result = result_of(call_try(tcc, b, &a, error));
		if (answer) {
			answer->status = a.status;
			answer->body = a.body.p;
			answer->body_size = a.body.n;
			a.body = (struct text){ 0 };
		}
		http_answer_fini(&a);
	}
	tcc->doomed |= result != SAGA_DONE;
	if (result == SAGA_DONE && error)
		memset(error, 0, sizeof(*error));
	return result;
}

/* ---- the end ----------------------------------------------------------------------------- */

static bool is_problem(const struct saga_error *error, const char *code)
{
	return error->code == SAGA_E_PROBLEM && !strcmp(error->problem.code, code);
}

bool saga_tcc_cancel(struct saga_tcc *tcc, const char *reason, struct saga_transaction *out,
                     struct saga_error *error)
{
	struct saga_error own;

	if (!error)
		error = &own;
	if (saga_cancel(tcc->client, tcc->gid, reason, tcc->wait_ms, out, error)) {
		tcc->decided = true;
		return true;
	}
	tcc->decided |= is_problem(error, "decided");
	return false;
}

bool saga_tcc_confirm(struct saga_tcc *tcc, struct saga_transaction *out, struct saga_error *error)
{
	int64_t until = clock_ms() + tcc->wait_ms;
	struct saga_error own;

	if (!error)
		error = &own;
	if (out)
		memset(out, 0, sizeof(*out));
	if (tcc->doomed) {
		/* Whatever this says: sagad cancels it now or at its deadline. */
		if (!saga_tcc_cancel(tcc, "a try did not succeed", NULL, error) &&
		    error->code != SAGA_E_PROBLEM)
			return false;
		return saga_fail(error, SAGA_E_ARGUMENT, "a try did not succeed: it was cancelled");
	}
	for (;;) {
		if (saga_confirm(tcc->client, tcc->gid, tcc->wait_ms, out, error)) {
			tcc->decided = true;
			return true;
		}
		/* A try that sagad makes itself is still under way. */
		if (!is_problem(error, "not_ready") || clock_ms() >= until)
			break;
		sleep_ms(NOT_READY_MS);
	}
	tcc->decided |= is_problem(error, "decided");
	return false;
}

void saga_tcc_close(struct saga_tcc *tcc)
{
	struct saga_error ignored;

	if (!tcc)
		return;
	/* Should it fail, the deadline does the same. */
	if (!tcc->decided)
		tcc->decided =
			saga_cancel(tcc->client, tcc->gid, "its scope was left without a decision",
		                    0, NULL, &ignored);
	free(tcc);
}
