/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/io/definitions.h"

#include "participants/definition.h"

#include <stddef.h>

static const struct plan *get_plan(void *ctx, struct definition *def)
{
	(void)ctx;
	return definition_plan(def);
}

static struct definition *hold(void *ctx, struct definition *def)
{
	(void)ctx;
	return definition_hold(def);
}

static void drop(void *ctx, struct definition *def)
{
	(void)ctx;
	definition_drop(def);
}

/* Of all findings the engine can pass on one: the first error. */
static void first_error(const struct findings *f, struct err *err)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct finding *it = &f->items[i];

		if (it->warning)
			continue;
		err_set(err, f->too_many_steps ? ERR_LIMIT : ERR_INVALID, "%.*s: %.*s", (int)it->pointer.n, it->pointer.n ? it->pointer.p : "",
		        (int)it->detail.n, it->detail.n ? it->detail.p : "");
		return;
	}
	err_set(err, ERR_INVALID, "the step cannot be read");
}

static enum join_result join(void *ctx, struct definition *def, struct str document, struct definition **grown,
                             struct str *text, struct err *err)
{
	struct arena    arena = { 0 };
	struct findings findings = { .arena = &arena };
	int             answer = definition_join(def, document, grown, &findings);

	(void)ctx;
	if (answer == 1)
		*text = definition_document(*grown);
	else if (answer == -2)
		first_error(&findings, err);
	arena_fini(&arena);
	if (answer == 1)
		return JOIN_NEW;
	if (answer == 0)
		return JOIN_SAME;
	return answer == -1 ? JOIN_DIFFERS : JOIN_INVALID;
}

static enum join_result patch(void *ctx, struct definition *def, struct str step, struct str changes,
                              struct definition **grown, struct str *text, struct err *err)
{
	struct arena    arena = { 0 };
	struct findings findings = { .arena = &arena };

	(void)ctx;
	*grown = definition_patch(def, step, changes, &findings);
	if (*grown != NULL)
		*text = definition_document(*grown);
	else
		first_error(&findings, err);
	arena_fini(&arena);
	return *grown != NULL ? JOIN_NEW : JOIN_INVALID;
}

static int step_find(void *ctx, struct definition *def, struct str name)
{
	(void)ctx;
	return definition_step_find(def, name);
}

static struct str step_name(void *ctx, struct definition *def, uint16_t step)
{
	(void)ctx;
	return definition_step_name(def, step);
}

struct definition_port definition_port_of(void)
{
	return (struct definition_port){
		.plan = get_plan,
		.hold = hold,
		.drop = drop,
		.join = join,
		.patch = patch,
		.step_find = step_find,
		.step_name = step_name,
	};
}
