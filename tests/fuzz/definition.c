/* SPDX-License-Identifier: Apache-2.0
 * definition.c - a line saying named, inline or joined, then the document. What compiles must run.
 */
#include "coordinator/base/json.h"
#include "participants/definition_call.h"
#include "tests/fuzz/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void check_call(const struct scope *scope, uint16_t step, enum op op)
{
	struct arena           arena = { 0 };
	struct definition_call call, again;
	struct err             err = { 0 };
	bool                   fine;

	if (!definition_has_call(scope->def, step, op))
		return;
	if (definition_calls_nothing(scope->def, step, op))
		return;
	assert(definition_target(scope->def, step, op).n > 0);
	assert(definition_calls(scope->def, definition_target(scope->def, step, op)));
	assert(definition_timeout_ms(scope->def, step, op) >= 10);
	definition_outcome(scope->def, step, op, 404, scope->input);
	fine = definition_render(scope, step, op, &arena, &call, &err);
	assert(fine || err.text[0] != '\0');
	if (fine) {
		assert(definition_render(scope, step, op, &arena, &again, NULL));
		assert(str_eq(call.url, again.url) && str_eq(call.body, again.body));
		assert(call.participant.n > 0 ? call.url.p[0] == '/'
					      : str_starts(call.url, STR("http")));
		assert(call.timeout_ms >= 10 && call.timeout_ms <= 600000);
	}
	arena_fini(&arena);
}

static void check_definition(const struct definition *d)
{
	const struct plan *plan = definition_plan(d);
	struct str        *outputs = calloc(plan->step_count + 1u, sizeof *outputs);
	struct scope       scope = { .def = d,
				     .gid = STR("g/1"),
				     .outputs = outputs,
				     .input = STR("{\"a\":1.10,\"b\":\"x y\",\"c\":{\"d\":[1,2]}}") };
	struct buf         out = { 0 };
	uint16_t           step;

	assert(plan_check(plan, &step) == NULL);
	for (int round = 0; round < 2; round++) {
		for (uint16_t i = 0; i < plan->step_count; i++) {
			assert(definition_step_find(d, definition_step_name(d, i)) == i);
			for (unsigned op = 0; op <= OP_CANCEL; op++)
				check_call(&scope, i, (enum op)op);
			outputs[i] = STR("{\"id\":\"7\"}");
		}
		check_call(&scope, TXN_CHECK, OP_CHECK);
		definition_output(d, &scope, &out, NULL);
	}
	definition_mermaid(d, &out);
	buf_fini(&out);
	free(outputs);
}

static void check_findings(const struct findings *f, bool compiled)
{
	assert(compiled == (f->errors == 0) && f->n <= DEFINITION_FINDINGS_MAX);
	for (size_t i = 0; i < f->n; i++) {
		assert(f->items[i].detail.n > 0);
		assert(f->items[i].pointer.n == 0 || f->items[i].pointer.p[0] == '/');
	}
}

static struct definition *join(struct str step, struct findings *f)
{
	struct findings   *none = calloc(1, sizeof *none);
	struct definition *open = definition_compile(STR("{\"mode\":\"tcc\"}"), DEFINITION_INLINE,
						     (struct str){ 0 }, none);
	struct definition *grown = NULL, *again = NULL, *more = NULL;

	assert(definition_join(open, step, &grown, f) == (grown != NULL ? 1 : -2));
	if (grown != NULL) {
		none->arena = f->arena;
		assert(definition_join(grown, step, &more, none) == 0);
		again = definition_compile(definition_document(grown), DEFINITION_INLINE,
					   (struct str){ 0 }, none);
		assert(again != NULL && definition_join(again, step, &more, none) == 0);
		definition_drop(again);
	}
	definition_drop(open);
	free(none);
	return grown;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t     *end = size ? memchr(data, '\n', size) : NULL;
	struct arena       arena = { 0 };
	struct findings   *f = calloc(1, sizeof *f);
	struct definition *d;
	struct str         text;

	f->arena = &arena;
	if (end != NULL) {
		text = (struct str){ (const char *)end + 1, size - (size_t)(end - data) - 1 };
		if (data[0] == 'j')
			d = join(text, f);
		else
			d = definition_compile(
			    text, data[0] == 'i' ? DEFINITION_INLINE : DEFINITION_NAMED,
			    data[0] == 'n' ? STR("demo") : (struct str){ 0 }, f);
		check_findings(f, d != NULL);
		if (d != NULL)
			check_definition(d);
		definition_drop(d);
	}
	arena_fini(&arena);
	free(f);
	return 0;
}

REPLAY("definition", 20)
