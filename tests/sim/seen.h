/* SPDX-License-Identifier: Apache-2.0
 * seen.h - what a long run must have met; a simulator that never crashes a replica proves nothing.
 */
#ifndef TESTS_SIM_SEEN_H
#define TESTS_SIM_SEEN_H

#define SEEN(X)                                                                  \
	/* how transactions end */                                               \
	X(confirmed) X(cancelled) X(abandoned)                                   \
	X(by_refusal) X(by_attempts) X(by_deadline) X(by_check) X(by_client)     \
	/* kinds */                                                              \
	X(sagas) X(tccs) X(messages) X(open_tccs) X(checked_tccs) X(pivots) X(retriables)        \
	X(started_later)                                                         \
	/* replicas */                                                           \
	X(crashes) X(freezes) X(frozen_mid_batch) X(frozen_past_lease)           \
	X(thawed_zombies) X(drains) X(incarnations)                              \
	X(adopted) X(adopted_solo) X(fences) X(self_fences) X(newer_rows)        \
	/* the database */                                                       \
	X(restarts) X(stalls) X(abreast) X(commits_lost) X(landed_late) X(never_landed) X(refused_again) X(rows_blocked) \
	X(refused_away) X(bad_data) X(bisected) X(fenced_begins) X(missed_changes) \
	X(failovers) X(came_after_failover) X(lost_writes) X(known_writes) X(restored)                  \
	X(slow_times) X(silent_logs) X(reloads) X(found_stranded)                \
	/* leases */                                                             \
	X(lease_dropped) X(lease_dropped_silently) X(lease_cut) X(watch_broken)  \
	X(leases_as_rows) X(leases_mixed) X(clock_forward) X(clock_back)         \
	/* calls */                                                              \
	X(requests_lost) X(requests_twice) X(answers_lost) X(timeouts) X(late_tries) X(calls_held) X(calls_unsent) X(calls_put_off) \
	X(refusals) X(ongoing) X(callbacks) X(conflicts) X(misconfigured) X(gone) \
	X(stale_epochs) X(in_doubt_pivots)                                       \
	/* clients */                                                            \
	X(begun) X(begun_in_sql) X(begun_twice) X(begins_lost) X(begins_refused) X(begins_away) X(begins_barred)  \
	X(commands_applied) X(commands_away) X(commands_late) X(commands_in_inbox) \
	X(settled) X(joins) X(pauses) X(skips) X(patches) X(unsafe_patches) X(releases) X(waits_ended) X(waits_in_vain) X(reads)   \
	X(decided) X(in_doubt) X(not_ready)                                      \
	/* rest */                                                               \
	X(folded) X(parked) X(parked_for_good) X(taken_due) X(claimed) X(crowded) X(stuck) X(bad_rows)

struct seen {
#define X(name) unsigned long name;
	SEEN(X)
#undef X
};

#endif
