/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"
#include "participants/definition.h"

#include <stdlib.h>
#include <string.h>

/* Immutable, so nothing here grows old; only "which is the newest" does. */
struct compiled {
	struct table_node  node;
	struct list        age;
	char              *key;
	struct definition *def;
};

struct newest {
	struct table_node node;
	char             *name;
	uint32_t          version;
	int64_t           read_at; /* boot */
};

enum { KEY_MAX = 300, NAME_MAX_BYTES = 256 };

static struct str make_key(char out[KEY_MAX], struct str name, uint32_t version)
{
	memcpy(out, &version, sizeof version);
	memcpy(out + sizeof version, name.n ? name.p : "", name.n);
	return (struct str){ out, sizeof version + name.n };
}

struct definition *definitions_get(struct pg_definitions *d, struct str name, uint32_t version)
{
	char               text[KEY_MAX];
	struct table_node *node;

	if (name.n > NAME_MAX_BYTES)
		return NULL;
	node = table_get(&d->compiled, make_key(text, name, version));
	return node ? table_entry(node, struct compiled, node)->def : NULL;
}

static void forget(struct pg_definitions *d, struct compiled *c)
{
	table_remove(&d->compiled, &c->node);
	list_remove(&c->age);
	d->n--;
	definition_drop(c->def);
	free(c->key);
	free(c);
}

static struct definition *compile(struct str document, enum definition_use use, struct str name, struct err *err)
{
	struct arena    arena = { 0 };
	struct findings findings = { .arena = &arena };
	struct definition *def = definition_compile(document, use, name, &findings);

	for (size_t i = 0; def == NULL && i < findings.n && i < DEFINITION_FINDINGS_MAX; i++)
		if (!findings.items[i].warning) {
			err_set(err, ERR_INVALID, "%.*s: %.*s", (int)findings.items[i].pointer.n,
			        findings.items[i].pointer.n ? findings.items[i].pointer.p : "",
			        (int)findings.items[i].detail.n,
			        findings.items[i].detail.n ? findings.items[i].detail.p : "");
			break;
		}
	arena_fini(&arena);
	return def;
}

struct definition *definitions_compile_own(struct str name, struct str document)
{
	return compile(document, name.n > 0 ? DEFINITION_NAMED : DEFINITION_INLINE, name, NULL);
}

struct definition *definitions_put(struct pg *pg, struct str name, uint32_t version, struct str document)
{
	struct pg_definitions *d = &pg->definitions;
	struct definition     *def = definitions_get(d, name, version);
	char                   text[KEY_MAX];
	struct err             err = { 0 };

	if (def != NULL || name.n > NAME_MAX_BYTES)
		return def;
	def = compile(document, DEFINITION_NAMED, name, &err);
	if (def == NULL) {
		pg_trace(pg, TRACE_ERROR, "definition_unfit", "name=\"%.*s\" version=%u error=\"%s\"", (int)name.n,
		         name.n ? name.p : "", version, err.text);
		return NULL;
	}
	if (d->n >= DEFINITIONS_MAX)
		forget(d, list_entry(d->age.next, struct compiled, age));
	struct compiled *c = mem_alloc(sizeof *c);
	struct str       key = make_key(text, name, version);
	c->key = mem_copy(key.p, key.n);
	c->def = def;
	list_push(&d->age, &c->age);
	table_put(&d->compiled, &c->node, (struct str){ c->key, key.n });
	d->n++;
	return def;
}

uint32_t definitions_newest(const struct pg_definitions *d, struct str name)
{
	struct table_node *node = table_get(&d->names, name);
	struct newest     *n = node ? table_entry(node, struct newest, node) : NULL;

	return n != NULL && clock_boot_ms() - n->read_at <= NEWEST_LIVES_MS ? n->version : 0;
}

void definitions_note_newest(struct pg_definitions *d, struct str name, uint32_t version)
{
	struct table_node *node = table_get(&d->names, name);
	struct newest     *n;

	if (node == NULL && d->names.n >= DEFINITIONS_MAX)
		return; /* asked for anew each time */
	if (node == NULL) {
		n = mem_alloc(sizeof *n);
		n->name = mem_copy(name.p, name.n);
		table_put(&d->names, &n->node, (struct str){ n->name, name.n });
	} else {
		n = table_entry(node, struct newest, node);
	}
	n->version = version;
	n->read_at = clock_boot_ms();
}

void definitions_fini(struct pg_definitions *d)
{
	struct table_node *node;

	while (!list_is_empty(&d->age))
		forget(d, list_entry(d->age.next, struct compiled, age));
	while ((node = table_next(&d->names, NULL)) != NULL) {
		struct newest *n = table_entry(node, struct newest, node);

		table_remove(&d->names, node);
		free(n->name);
		free(n);
	}
	table_fini(&d->compiled);
	table_fini(&d->names);
}
