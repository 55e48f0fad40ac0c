/* SPDX-License-Identifier: Apache-2.0 */
#include "participants/libsaga/internal.h"
#include "participants/libsaga/saga/service.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCHEMA_MAX = 63 };

struct saga_pool {
	pthread_mutex_t lock;
	pthread_cond_t some_free;
	char *dsn;
	char options[SCHEMA_MAX + 32]; /* of each session, or empty */
	unsigned free_count;
	PGconn *sessions[]; /* the first free_count; NULL: not open */
};

static bool is_plain(const char *name)
{
	return *name && strlen(name) <= SCHEMA_MAX &&
	       !name[strspn(name,
	                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")];
}

struct saga_pool *saga_pool_open(const char *dsn, const char *schema, unsigned size,
                                 struct saga_error *error)
{
	struct saga_pool *pool;

	if (!size || size > 10000 || (schema && !is_plain(schema))) {
		saga_fail(error, SAGA_E_ARGUMENT, "a pool of %u sessions in schema \"%s\"", size,
			  schema ? schema : "");
		return NULL;
	}
	pool = calloc(1, sizeof(*pool) + size * sizeof(pool->sessions[0]));
	if (pool)
		pool->dsn = strdup(dsn ? dsn : "");
	if (!pool || !pool->dsn) {
		free(pool);
		saga_fail(error, SAGA_E_MEMORY, "out of memory");
		return NULL;
	}
	if (schema)
		snprintf(pool->options, sizeof(pool->options), "-c search_path=%s", schema);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->some_free, NULL);
	pool->free_count = size;
	return pool;
}

void saga_pool_close(struct saga_pool *pool)
{
	if (!pool)
		return;
	for (unsigned i = 0; i < pool->free_count; i++)
		PQfinish(pool->sessions[i]);
	pthread_cond_destroy(&pool->some_free);
	pthread_mutex_destroy(&pool->lock);
	free(pool->dsn);
	free(pool);
}

/* Of two settings of one name the last counts: the DSN goes before the first two, the schema
 * before the DSN. */
static PGconn *connect_to(const struct saga_pool *pool)
{
	const char *keys[] = { "connect_timeout", "client_encoding", "dbname", "options", NULL };
	const char *values[] = { "5", "UTF8", pool->dsn, pool->options, NULL };

	if (!pool->options[0])
		keys[3] = NULL;
	return PQconnectdbParams(keys, values, 1);
}

PGconn *saga_pool_take(struct saga_pool *pool)
{
	PGconn *db;

	pthread_mutex_lock(&pool->lock);
	while (!pool->free_count)
		pthread_cond_wait(&pool->some_free, &pool->lock);
	db = pool->sessions[--pool->free_count];
	pthread_mutex_unlock(&pool->lock);
	if (!db || PQstatus(db) != CONNECTION_OK) {
		PQfinish(db);
		db = connect_to(pool);
	}
	return db;
}

void saga_pool_give(struct saga_pool *pool, PGconn *db)
{
	/* Whoever left a transaction open lost his way in it. */
	if (db && PQtransactionStatus(db) != PQTRANS_IDLE) {
		PQfinish(db);
		db = NULL;
	}
	pthread_mutex_lock(&pool->lock);
	pool->sessions[pool->free_count++] = db;
	pthread_cond_signal(&pool->some_free);
	pthread_mutex_unlock(&pool->lock);
}
