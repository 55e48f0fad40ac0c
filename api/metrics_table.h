/* SPDX-License-Identifier: Apache-2.0
 * metrics_table.h - every number of /metrics, once: for the exposition, docs/metrics.md and the rules that use it.
 */
#ifndef API_METRICS_TABLE_H
#define API_METRICS_TABLE_H

/* group; name; kind; labels; where it comes from: NUM(of `s`) or EACH(function that writes its samples); meaning */
#define METRICS(X)                                                                                                  \
	X("Replica", sagad_build_info, INFO, "version", EACH(write_build), "The version of this program")            \
	X("Replica", sagad_live, GAUGE, "", NUM(s->e.state == ENGINE_LIVE), "1 while this replica holds its lease")  \
	X("Replica", sagad_replica_state, GAUGE, "state", EACH(write_state), "1 for the state it is in")             \
	X("Replica", sagad_lease_age_seconds, GAUGE, "", NUM((double)s->e.lease_age_ms / 1000),                      \
	  "Since the last answered heartbeat was sent; negative: no lease")                                          \
	X("Replica", sagad_lease_ttl_seconds, GAUGE, "", NUM((double)s->e.lease_ttl_ms / 1000),                      \
	  "How old a lease may get before others take over")                                                         \
	X("Replica", sagad_incarnations_total, COUNTER, "", NUM(s->e.incarnations), "Lives of this process")         \
	X("Replica", sagad_replicas, GAUGE, "state", EACH(write_members),                                            \
	  "Replicas in the log, as this one last saw them; dead ones until their rows are swept")                    \
	X("Replica", sagad_replicas_fenced_total, COUNTER, "", NUM(s->e.fenced), "Dead replicas fenced by this one") \
	X("Replica", sagad_share_ratio, GAUGE, "", NUM(s->e.share),                                                  \
	  "Part of a dead replica's work that this one would take: its weight times speed among those that live")    \
	X("Replica", sagad_weight, GAUGE, "", NUM(s->e.weight), "The setting `weight`")                              \
	X("Replica", sagad_speed, GAUGE, "", NUM(s->e.speed), "Steps a second this replica could do, as it reports it") \
	X("Replica", sagad_load_ratio, GAUGE, "", NUM(s->e.load), "K: load over capacity; above 1 it gives work away") \
	X("Replica", sagad_loop_lag_seconds, GAUGE, "", NUM(s->lag_seconds),                                         \
	  "How late timers of the event loop are, smoothed")                                                         \
	X("Transactions", sagad_owned_transactions, GAUGE, "", NUM(s->e.owned),                                      \
	  "Transactions in memory, driven by this replica")                                                          \
	X("Transactions", sagad_transactions_begun_total, COUNTER, "", NUM(s->e.begun),                              \
	  "Transactions accepted here and durable")                                                                  \
	X("Transactions", sagad_transactions_ended_total, COUNTER, "phase", EACH(write_ended),                       \
	  "Transactions that ended here, by how")                                                                    \
	X("Transactions", sagad_transaction_moves_total, COUNTER, "from,to", EACH(write_moves),                      \
	  "Changes of phase that were logged here")                                                                  \
	X("Transactions", sagad_transaction_duration_seconds, HISTOGRAM, "definition,phase", EACH(write_durations),  \
	  "From begin to end, by definition and how it ended; the first 50 definitions, then `_other`; `_inline` has none") \
	X("Transactions", sagad_transactions_stuck_total, COUNTER, "reason", EACH(write_stuck),                      \
	  "Transactions that came to need a person, by why")                                                         \
	X("Transactions", sagad_transactions_adopted_total, COUNTER, "", NUM(s->e.adopted),                          \
	  "Transactions taken over from dead replicas")                                                              \
	X("Transactions", sagad_transactions_parked_total, COUNTER, "", NUM(s->e.parked),                            \
	  "Transactions released because they sleep")                                                                \
	X("Transactions", sagad_transactions_taken_due_total, COUNTER, "", NUM(s->e.taken_due),                      \
	  "Parked transactions taken up when due")                                                                   \
	X("Transactions", sagad_transactions_reloaded_total, COUNTER, "", NUM(s->e.reloaded),                        \
	  "Transactions read again after a commit of unknown fate")                                                  \
	X("Transactions", sagad_oldest_runnable_seconds, GAUGE, "", NUM((double)s->e.oldest_runnable_ms / 1000),     \
	  "How long the most belated work here has been due: a timer, a commit, a row to read again")                \
	X("Transactions", sagad_schedule_lag_seconds, GAUGE, "", NUM((double)s->e.schedule_lag_ms / 1000),           \
	  "How long the first timer of a transaction here has been due")                                             \
	X("Transactions", sagad_waiters, GAUGE, "", NUM(s->waiters), "Requests waiting for a transaction to end")    \
	X("Commands", sagad_command_duration_seconds, HISTOGRAM, "command", EACH(write_commands),                    \
	  "From a command asked of this replica to its answer, whoever applied it")                                  \
	X("Commands", sagad_commands_waiting, GAUGE, "", NUM(s->e.orders), "Commands in hand, those of the inbox included") \
	X("Commands", sagad_inbox_depth, GAUGE, "", NUM(s->e.inbox_depth),                                           \
	  "Commands that the last look at the inbox found, at most 200")                                             \
	X("Commands", sagad_inbox_commands_total, COUNTER, "", NUM(s->e.inbox_commands),                             \
	  "Commands of other replicas applied here")                                                                 \
	X("Database", sagad_unfinished_transactions, GAUGE, "phase", EACH(write_unfinished),                         \
	  "Unfinished transactions of all replicas; counted once a minute, at most 50,000 owned and as many parked") \
	X("Database", sagad_stuck_transactions, GAUGE, "reason", EACH(write_stuck_now),                              \
	  "Of these, those that need a person, by why")                                                              \
	X("Database", sagad_parked_transactions, GAUGE, "", EACH(write_parked),                                      \
	  "Of these, those that nobody owns because they sleep")                                                     \
	X("Database", sagad_parked_overdue_seconds, GAUGE, "", EACH(write_overdue),                                  \
	  "How long the first of the parked ones has been due")                                                      \
	X("Calls", sagad_open_calls, GAUGE, "", NUM(s->e.open_calls), "Calls to participants under way or queued")   \
	X("Calls", sagad_held_transactions, GAUGE, "", NUM(s->e.held_calls),                                         \
	  "Transactions whose calls found no room in a queue and are tried again")                                   \
	X("Calls", sagad_calls_started_total, COUNTER, "", NUM(s->e.calls), "Calls to participants started")         \
	X("Calls", sagad_calls_total, COUNTER, "op,outcome", EACH(write_calls),                                      \
	  "Calls answered or given up, by what they asked and what they taught")                                     \
	X("Calls", sagad_call_duration_seconds, HISTOGRAM, "participant", EACH(write_latency),                       \
	  "From a call's first byte to its answer; the first 64 participants, then `_other`")                        \
	X("Calls", sagad_participant_failures_total, COUNTER, "participant", EACH(write_failures),                   \
	  "Of these calls, unknown or misconfigured")                                                                \
	X("Calls", sagad_participant_rejected_total, COUNTER, "participant", EACH(write_rejected),                   \
	  "Calls turned away: its queue was full")                                                                   \
	X("Calls", sagad_participant_breaker_open_seconds, GAUGE, "participant", EACH(write_breaker),                \
	  "Since its breaker opened, half-open included; 0 while it is closed")                                      \
	X("Calls", sagad_participant_breaker_opened_total, COUNTER, "participant", EACH(write_opened),               \
	  "How often its breaker opened")                                                                            \
	X("Calls", sagad_participant_put_off_total, COUNTER, "participant", EACH(write_put_off),                     \
	  "Calls put off: its breaker is open, it asked to slow down, or the retry budget is used up")               \
	X("Calls", sagad_participant_in_flight, GAUGE, "participant", EACH(write_in_flight), "Calls under way to it") \
	X("Calls", sagad_participant_limit, GAUGE, "participant", EACH(write_limit), "How many may be under way")    \
	X("Calls", sagad_participant_queued, GAUGE, "participant", EACH(write_queued), "Calls waiting for it")       \
	X("Log", sagad_log_batches_total, COUNTER, "result", EACH(write_batches),                                    \
	  "Batches of changes sent to the log, by what became of them")                                              \
	X("Log", sagad_log_batch_duration_seconds, HISTOGRAM, "", EACH(write_batch_time),                            \
	  "From a batch sent to its commit known")                                                                   \
	X("Log", sagad_log_batch_rows, HISTOGRAM, "", EACH(write_batch_rows), "Transactions in those batches")       \
	X("Log", sagad_queued_changes, GAUGE, "", NUM(s->e.queued_changes), "Changes waiting for the batch under way") \
	X("Log", sagad_log_missed_rows_total, COUNTER, "", NUM(s->e.missed_rows),                                    \
	  "Changes refused because owner, epoch or version differed")                                                \
	X("Database", sagad_database_up, GAUGE, "", NUM(s->db.up), "1 while commits and reads can be sent")          \
	X("Database", sagad_database_unsafe_standby, GAUGE, "", NUM(s->db.unsafe_standby),                           \
	  "1 if there are standbys and none of them is synchronous")                                                 \
	X("Database", sagad_database_connects_total, COUNTER, "", NUM(s->db.connects), "Sessions opened")            \
	X("Database", sagad_database_breaks_total, COUNTER, "", NUM(s->db.breaks), "Sessions that broke")            \
	X("Database", sagad_database_statements_total, COUNTER, "", NUM(s->db.statements), "Statements sent")        \
	X("Database", sagad_database_failovers, GAUGE, "", NUM(s->db.failovers),                                     \
	  "Failovers that replicas have met on this database")                                                       \
	X("Database", sagad_failover_unfinished, GAUGE, "", NUM(s->db.failover_unfinished),                          \
	  "Transactions that were unfinished at the newest of them")                                                 \
	X("Database", sagad_failovers_total, COUNTER, "", NUM(s->e.failovers),                                       \
	  "Times this replica met a database server that had been promoted")                                         \
	X("Database", sagad_restored_total, COUNTER, "", NUM(s->e.restored),                                         \
	  "Transactions brought back that a failover had lost or set back")                                          \
	X("Database", sagad_diverged_total, COUNTER, "", NUM(s->e.diverged),                                         \
	  "Transactions with which others had gone on from an older state after a failover")                         \
	X("API", sagad_connections, GAUGE, "", NUM(s->connections), "Open connections of API clients")               \
	X("API", sagad_http_requests_total, COUNTER, "route,status", EACH(write_requests),                           \
	  "Requests answered, by route and class of status")                                                         \
	X("API", sagad_http_request_duration_seconds, HISTOGRAM, "route", EACH(write_request_time),                  \
	  "From whole request to answer, waits included")                                                            \
	X("People", sagad_audit_entries_total, COUNTER, "kind,action", EACH(write_deeds),                            \
	  "Lines of the audit written by this replica: what people did, and to what")                               \
	X("People", sagad_bulk_running, GAUGE, "", NUM(s->bulk.running), "1 while this replica runs a bulk action")  \
	X("People", sagad_bulk_items_total, COUNTER, "result", EACH(write_bulk_items),                               \
	  "Transactions that bulk actions run here acted on, by what became of it")                                  \
	X("Traces", sagad_trace_spans_total, COUNTER, "result", EACH(write_spans),                                   \
	  "Spans sent, dropped for want of room, or refused by the collector")                                       \
	X("Traces", sagad_trace_spans_queued, GAUGE, "", NUM(s->traces.queued), "Spans that wait to be sent")        \
	X("Traces", sagad_trace_export_failures_total, COUNTER, "", NUM(s->traces.failures),                         \
	  "Requests to the collector that did not succeed")                                                          \
	X("Process", process_cpu_seconds_total, COUNTER, "", NUM(s->p.cpu_seconds), "Time on CPU, user and system")  \
	X("Process", process_resident_memory_bytes, GAUGE, "", NUM(s->p.resident_bytes), "Resident memory")          \
	X("Process", process_virtual_memory_bytes, GAUGE, "", NUM(s->p.virtual_bytes), "Mapped memory")              \
	X("Process", process_open_fds, GAUGE, "", NUM(s->p.open_fds), "Open file descriptors")                       \
	X("Process", process_max_fds, GAUGE, "", NUM(s->p.max_fds), "How many there may be")                         \
	X("Process", process_start_time_seconds, GAUGE, "", NUM(s->p.start_seconds), "When it started, since the Unix epoch")

#endif
