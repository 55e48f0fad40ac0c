/* SPDX-License-Identifier: Apache-2.0
 * names.c - the words of txn.h as text, and the table of legal moves.
 */
#include "coordinator/core/txn.h"

#include <assert.h>
#include <stddef.h>

const char *phase_name(enum phase v)
{
#define X(name, text, ...) [PHASE_##name] = text,
	static const char *const names[PHASE_COUNT] = { TXN_PHASES(X) };
#undef X

	assert((int)v < PHASE_COUNT);
	return names[v];
}

bool phase_is_ended(enum phase v)
{
#define X(name, text, ended, decided) [PHASE_##name] = ended,
	static const bool flags[PHASE_COUNT] = { TXN_PHASES(X) };
#undef X

	assert((int)v < PHASE_COUNT);
	return flags[v];
}

bool phase_is_decided(enum phase v)
{
#define X(name, text, ended, decided) [PHASE_##name] = decided,
	static const bool flags[PHASE_COUNT] = { TXN_PHASES(X) };
#undef X

	assert((int)v < PHASE_COUNT);
	return flags[v];
}

const char *mode_name(enum mode v)
{
#define X(name, text) [MODE_##name] = text,
	static const char *const names[MODE_COUNT] = { TXN_MODES(X) };
#undef X

	assert((int)v < MODE_COUNT);
	return names[v];
}

const char *op_name(enum op v)
{
#define X(name, text) [OP_##name] = text,
	static const char *const names[OP_COUNT] = { TXN_OPS(X) };
#undef X

	assert((int)v < OP_COUNT);
	return names[v];
}

const char *step_kind_name(enum step_kind v)
{
#define X(name, text) [KIND_##name] = text,
	static const char *const names[KIND_COUNT] = { STEP_KINDS(X) };
#undef X

	assert((int)v < KIND_COUNT);
	return names[v];
}

const char *outcome_name(enum outcome v)
{
#define X(name, text) [OUTCOME_##name] = text,
	static const char *const names[OUTCOME_COUNT] = { TXN_OUTCOMES(X) };
#undef X

	assert((int)v < OUTCOME_COUNT);
	return names[v];
}

const char *step_state_name(enum step_state v)
{
#define X(name, text) [STEP_##name] = text,
	static const char *const names[STEP_STATE_COUNT] = { STEP_STATES(X) };
#undef X

	assert((int)v < STEP_STATE_COUNT);
	return names[v];
}

const char *stuck_name(enum stuck v)
{
#define X(name, text, sentence) [STUCK_##name] = text,
	static const char *const names[STUCK_COUNT] = { TXN_STUCKS(X) };
#undef X

	assert((int)v < STUCK_COUNT);
	return names[v];
}

const char *stuck_text(enum stuck v)
{
#define X(name, text, sentence) [STUCK_##name] = sentence,
	static const char *const texts[STUCK_COUNT] = { TXN_STUCKS(X) };
#undef X

	assert((int)v < STUCK_COUNT);
	return texts[v];
}

const char *cause_name(enum cause v)
{
#define X(name, text) [CAUSE_##name] = text,
	static const char *const names[CAUSE_COUNT] = { TXN_CAUSES(X) };
#undef X

	assert((int)v < CAUSE_COUNT);
	return names[v];
}

const char *verdict_name(enum verdict v)
{
#define X(name, text, sentence) [VERDICT_##name] = text,
	static const char *const names[VERDICT_COUNT] = { TXN_VERDICTS(X) };
#undef X

	assert((int)v < VERDICT_COUNT);
	return names[v];
}

const char *verdict_text(enum verdict v)
{
#define X(name, text, sentence) [VERDICT_##name] = sentence,
	static const char *const texts[VERDICT_COUNT] = { TXN_VERDICTS(X) };
#undef X

	assert((int)v < VERDICT_COUNT);
	return texts[v];
}

const char *event_name(enum event_kind v)
{
#define X(name, text, sentence) [EV_##name] = text,
	static const char *const names[EVENT_COUNT] = { TXN_EVENTS(X) };
#undef X

	assert((int)v < EVENT_COUNT);
	return names[v];
}

const char *txn_move_text(enum phase from, enum phase to)
{
#define X(a, b, text) [PHASE_##a][PHASE_##b] = text,
	static const char *const moves[PHASE_COUNT][PHASE_COUNT] = { TXN_MOVES(X) };
#undef X

	assert((int)from < PHASE_COUNT && (int)to < PHASE_COUNT);
	return moves[from][to];
}

bool txn_may_move(enum phase from, enum phase to)
{
	return txn_move_text(from, to) != NULL;
}
