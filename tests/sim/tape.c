/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/tape.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014). */
static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void tape_record(struct tape *t, uint64_t seed)
{
	t->rng = seed;
	t->n = t->at = 0;
	t->replay = false;
}

void tape_rewind(struct tape *t)
{
	t->at = 0;
	t->replay = true;
}

uint32_t tape_choose(struct tape *t, uint32_t bound)
{
	assert(bound > 0);
	if (t->replay)
		return t->at < t->n ? t->choices[t->at++] % bound : 0;
	/* A full tape goes on dull, as its replay will. */
	if (t->n == TAPE_MAX)
		return 0;
	return t->choices[t->n++] = (uint32_t)(draw(&t->rng) >> 32) % bound;
}

bool tape_chance(struct tape *t, uint32_t one_in)
{
	return one_in > 0 && tape_choose(t, one_in) == one_in - 1;
}

struct shrinking {
	struct tape *best, *try;
	tape_fails  *fails;
	void        *ctx;
	int          want;
	unsigned     runs, max_runs;
};

static void copy(struct tape *to, const struct tape *from)
{
	to->n = from->n;
	memcpy(to->choices, from->choices, from->n * sizeof from->choices[0]);
	tape_rewind(to);
}

/* Runs the candidate; keeps it if it fails as before. */
static bool accept(struct shrinking *s)
{
	if (s->runs >= s->max_runs)
		return false;
	s->runs++;
	tape_rewind(s->try);
	if (s->fails(s->ctx, s->try) != s->want)
		return false;
	if (s->try->at < s->try->n)
		s->try->n = s->try->at; /* the rest was never read */
	copy(s->best, s->try);
	return true;
}

static bool cut_chunks(struct shrinking *s)
{
	bool better = false;

	for (size_t chunk = s->best->n / 2; chunk > 0; chunk /= 2)
		for (size_t i = 0; i + chunk <= s->best->n;) {
			copy(s->try, s->best);
			s->try->n -= chunk;
			memmove(s->try->choices + i, s->try->choices + i + chunk,
			        (s->try->n - i) * sizeof s->try->choices[0]);
			if (accept(s))
				better = true;
			else
				i += chunk;
			if (s->runs >= s->max_runs)
				return better;
		}
	return better;
}

static bool zero_chunks(struct shrinking *s)
{
	bool better = false;

	for (size_t chunk = s->best->n / 2; chunk > 0; chunk /= 2)
		for (size_t i = 0; i + chunk <= s->best->n; i += chunk) {
			bool dull = true;

			for (size_t k = i; k < i + chunk; k++)
				dull &= s->best->choices[k] == 0;
			if (dull)
				continue;
			copy(s->try, s->best);
			memset(s->try->choices + i, 0, chunk * sizeof s->try->choices[0]);
			better |= accept(s);
			if (s->runs >= s->max_runs)
				return better;
		}
	return better;
}

static bool halve_values(struct shrinking *s)
{
	bool better = false;

	for (size_t i = 0; i < s->best->n && s->runs < s->max_runs; i++) {
		if (s->best->choices[i] < 2)
			continue;
		copy(s->try, s->best);
		s->try->choices[i] /= 2;
		better |= accept(s);
	}
	return better;
}

unsigned tape_shrink(struct tape *t, tape_fails *fails, void *ctx, unsigned max_runs)
{
	struct shrinking s = { .best = t, .try = malloc(sizeof *t), .fails = fails, .ctx = ctx,
		               .max_runs = max_runs };
	bool             better = true;

	assert(s.try != NULL);
	copy(s.try, t);
	s.want = fails(ctx, s.try);
	assert(s.want != 0);
	while (better && s.runs < max_runs) {
		better = zero_chunks(&s);
		better |= cut_chunks(&s);
		better |= halve_values(&s);
	}
	while (t->n > 0 && t->choices[t->n - 1] == 0)
		t->n--;
	free(s.try);
	return s.runs;
}

bool tape_load(struct tape *t, const char *path)
{
	FILE         *f = fopen(path, "r");
	char          word[32];
	unsigned long v;

	if (f == NULL)
		return false;
	t->n = 0;
	while (fscanf(f, " %31s", word) == 1) {
		if (word[0] == '#') {
			if (fscanf(f, "%*[^\n]") == EOF)
				break;
			continue;
		}
		v = strtoul(word, NULL, 10);
		if (t->n < TAPE_MAX)
			t->choices[t->n++] = (uint32_t)v;
	}
	fclose(f);
	tape_rewind(t);
	return true;
}

void tape_print(const struct tape *t, FILE *to, const char *before_line)
{
	for (size_t i = 0; i < t->n; i++)
		fprintf(to, "%s%u%s", i % 24 == 0 ? before_line : " ", t->choices[i],
		        i % 24 == 23 || i + 1 == t->n ? "\n" : "");
}

bool tape_keep(const struct tape *t, const char *path, const char *name, const char *why)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		return false;
	fprintf(f, "# %s: %s\n", name, why);
	tape_print(t, f, "");
	return fclose(f) == 0;
}
