/* SPDX-License-Identifier: Apache-2.0
 * buyers.c - a rush: many buyers at once, each with a TCC of his own around a piece and its price.
 *
 *   buyers SAGAD-URLS WAREHOUSE-URL CASHIER-URL SALE PRODUCT PRICE FIRST LAST
 *                                              the buyers are buyer-FIRST to buyer-LAST
 */
#include <saga/saga.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 12, URL_MAX = 200, TURNS = 200 };

/* X(NAME, "as it is printed"): how it ended for a buyer. */
#define FATES(X)                 \
	X(BOUGHT, "bought")      \
	X(SOLD_OUT, "sold_out")  \
	X(NO_MONEY, "no_money")  \
	X(GAVE_UP, "gave_up")

enum fate {
#define X(name, text) FATE_##name,
	FATES(X)
#undef X
};
static const char *const FATE_NAMES[] = {
#define X(name, text) [FATE_##name] = text,
	FATES(X)
#undef X
};
enum { FATE_KINDS = FATE_GAVE_UP + 1, COME_AGAIN = FATE_KINDS };

struct rush {
	struct saga_client *client;
	/* warehouse, cashier */
	char try_url[2][URL_MAX], confirm_url[2][URL_MAX], cancel_url[2][URL_MAX];
	const char *sale, *product;
	int price, last;
	atomic_int next;
	atomic_int fates[FATE_KINDS];
};

static enum saga_result hold(const struct rush *rush, struct saga_tcc *tcc, int where,
                             const char *step, const char *data, struct saga_answer *answer)
{
	struct saga_branch branch = { .name = step, .data = data, .attempts = 8 };
	struct saga_error error;

	branch.try_url = rush->try_url[where];
	branch.confirm_url = rush->confirm_url[where];
	branch.cancel_url = rush->cancel_url[where];
	return saga_tcc_try(tcc, &branch, answer, &error);
}

/* Others hold some of it, and may not be able to pay. */
static bool may_come_back(const struct saga_answer *answer)
{
	struct saga_slice body = { answer->body, answer->body_size }, held;
	int64_t n;

	return saga_json_find(body, "held", &held) && saga_json_integer(held, &n) && n > 0;
}

/* One attempt, under a gid of its own. Whichever way this is left, nothing stays held: closing
 * the scope cancels it unless it was confirmed, and if this process dies its deadline does. */
static int buy(const struct rush *rush, int buyer, int turn)
{
	char gid[SAGA_GID_MAX + 1], piece[200], money[200];
	struct saga_tcc_options options = { .gid = gid, .deadline = "2s" };
	struct saga_answer answer;
	struct saga_error error;
	enum saga_result result;
	bool again;

	snprintf(gid, sizeof(gid), "%s-%d-%d", rush->sale, buyer, turn);
	snprintf(piece, sizeof(piece), "{\"name\": \"%s\", \"amount\": 1}", rush->product);
	snprintf(money, sizeof(money), "{\"name\": \"buyer-%d\", \"amount\": %d}", buyer,
	         rush->price);
	SAGA_TCC_SCOPE struct saga_tcc *tcc = saga_tcc_open(rush->client, &options, &error);

	if (!tcc)
		return COME_AGAIN;
	result = hold(rush, tcc, 0, "piece", piece, &answer);
	again = result != SAGA_REFUSED || may_come_back(&answer);
	saga_answer_fini(&answer);
	if (result != SAGA_DONE)
		return again ? COME_AGAIN : FATE_SOLD_OUT;
	result = hold(rush, tcc, 1, "money", money, NULL);
	if (result != SAGA_DONE)
		return result == SAGA_REFUSED ? FATE_NO_MONEY : COME_AGAIN;
	for (;;) {
		if (saga_tcc_confirm(tcc, NULL, &error))
			return FATE_BOUGHT;
		/* No answer is not a "no": to come again under another gid now could buy two. */
		if (error.code != SAGA_E_UNKNOWN)
			return COME_AGAIN;
	}
}

static void *stand_in_line(void *arg)
{
	struct rush *rush = arg;
	int buyer;

	while ((buyer = atomic_fetch_add(&rush->next, 1)) <= rush->last) {
		int fate = COME_AGAIN;

		for (int turn = 0; fate == COME_AGAIN && turn < TURNS; turn++) {
			fate = buy(rush, buyer, turn);
			if (fate == COME_AGAIN)
				nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
		}
		atomic_fetch_add(&rush->fates[fate == COME_AGAIN ? (int)FATE_GAVE_UP : fate], 1);
	}
	return NULL;
}

static void set_urls(struct rush *rush, int where, const char *base)
{
	snprintf(rush->try_url[where], URL_MAX, "%s/holds", base);
	snprintf(rush->confirm_url[where], URL_MAX, "%s/holds/confirm", base);
	snprintf(rush->cancel_url[where], URL_MAX, "%s/holds/cancel", base);
}

int main(int argc, char **argv)
{
	struct saga_client_options options = { .urls = argc == 9 ? argv[1] : NULL };
	struct saga_error error = {
		.text = "usage: buyers SAGAD-URLS WAREHOUSE-URL CASHIER-URL"
			" SALE PRODUCT PRICE FIRST LAST",
	};
	pthread_t threads[THREADS];
	struct rush rush = { 0 };

	if (argc == 9)
		rush.client = saga_client_open(&options, &error);
	if (!rush.client) {
		fprintf(stderr, "%s\n", error.text);
		return 2;
	}
	set_urls(&rush, 0, argv[2]);
	set_urls(&rush, 1, argv[3]);
	rush.sale = argv[4];
	rush.product = argv[5];
	rush.price = atoi(argv[6]);
	rush.last = atoi(argv[8]);
	atomic_store(&rush.next, atoi(argv[7]));
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, stand_in_line, &rush))
			abort();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	saga_client_close(rush.client);
	for (int i = 0; i < FATE_KINDS; i++)
		printf("%s\"%s\": %d", i ? ", " : "{", FATE_NAMES[i], atomic_load(&rush.fates[i]));
	printf("}\n");
	return 0;
}
