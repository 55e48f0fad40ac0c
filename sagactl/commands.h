/* SPDX-License-Identifier: Apache-2.0
 * commands.h - every command, flag and exit status of sagactl, listed once: for the parser, --help,
 * completion and the man page.
 */
#ifndef SAGACTL_COMMANDS_H
#define SAGACTL_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SWITCH: given or not. TEXT: with a value. MANY: with a value, may be repeated.
 *
 *        field            long name          short kind    value        environment           sentence */
#define FLAGS(X) \
	X(url,             "url",             0,   TEXT,   "URL[,URL]", "SAGAD_URL", \
	  "Where sagad is; of several replicas the first that can be reached is asked. Default: http://127.0.0.1:7070.") \
	X(token_file,      "token-file",      0,   TEXT,   "FILE",      "SAGAD_TOKEN_FILE", \
	  "A file that holds the bearer token.") \
	X(cacert,          "cacert",          0,   TEXT,   "FILE",      "SAGAD_CACERT", \
	  "The certificates that may have signed sagad's own (PEM).") \
	X(cert,            "cert",            0,   TEXT,   "FILE",      "SAGAD_CERT", \
	  "The client's certificate (PEM), where sagad asks for one.") \
	X(key,             "key",             0,   TEXT,   "FILE",      "SAGAD_KEY", \
	  "The key of the client's certificate (PEM).") \
	X(timeout,         "timeout",         0,   TEXT,   "DURATION",  "SAGAD_TIMEOUT", \
	  "How long one request may take; on top of what it is asked to wait. Default: 30s.") \
	X(json,            "json",            0,   SWITCH, "",          "", \
	  "Print what sagad answered, as it is, as one JSON value: of several GIDs or FILEs an array. A watch prints one for each change.") \
	X(no_color,        "no-color",        0,   SWITCH, "",          "NO_COLOR", \
	  "No colours, even on a terminal.") \
	X(help,            "help",            'h', SWITCH, "",          "", \
	  "Say how this command is used.") \
	X(reason,          "reason",          'm', TEXT,   "TEXT",      "", \
	  "Why; it is kept with what was done. Asked for on a terminal.") \
	X(actor,           "actor",           0,   TEXT,   "NAME",      "SAGAD_ACTOR", \
	  "Who; by default the name of the user. A token's own name goes before it.") \
	X(dry_run,         "dry-run",         'n', SWITCH, "",          "", \
	  "Say what would be done, and do nothing.") \
	X(if_version,      "if-version",      0,   TEXT,   "VERSION",   "", \
	  "Do it only if the version is still this one.") \
	X(confirm,         "confirm",         0,   TEXT,   "GID",       "", \
	  "The gid typed again, for what can make a transaction inconsistent; asked for on a terminal.") \
	X(yes,             "yes",             'y', SWITCH, "",          "", \
	  "Do not ask whether it is meant.") \
	X(name,            "name",            0,   TEXT,   "NAME",      "", \
	  "The definition's name; by default its own `name`, or that of the file.") \
	X(input,           "input",           'i', TEXT,   "JSON",      "", \
	  "The input: JSON, or @FILE (JSON or YAML), or - for standard input.") \
	X(gid,             "gid",             0,   TEXT,   "GID",       "", \
	  "The global id; the same again begins nothing new.") \
	X(idempotency_key, "idempotency-key", 0,   TEXT,   "KEY",       "", \
	  "Where there is no gid: the same key begins nothing new.") \
	X(label,           "label",           'l', MANY,   "NAME=TEXT", "", \
	  "A label; may be repeated.") \
	X(deadline,        "deadline",        0,   TEXT,   "TIME",      "", \
	  "Decide by then: a duration like 10m, or a time.") \
	X(start_at,        "start-at",        0,   TEXT,   "TIME",      "", \
	  "Call nothing before: a duration like 10m, or a time.") \
	X(wait,            "wait",            'w', TEXT,   "DURATION",  "", \
	  "Wait for its end, at most so long. Exit status 6: not yet.") \
	X(phase,           "phase",           0,   TEXT,   "PHASE",     "", \
	  "In this phase: prepared, trying, confirming, confirmed, cancelling, cancelled or abandoned.") \
	X(definition,      "definition",      'd', TEXT,   "NAME",      "", \
	  "Of this definition.") \
	X(stuck,           "stuck",           0,   SWITCH, "",          "", \
	  "Only those that need a person.") \
	X(older_than,      "older-than",      0,   TEXT,   "TIME",      "", \
	  "Begun before: a duration like 10m, or a time.") \
	X(participant,     "participant",     'p', TEXT,   "HOST",      "", \
	  "With a step that calls this participant.") \
	X(limit,           "limit",           0,   TEXT,   "NUMBER",    "", \
	  "At most so many. Default: 50.") \
	X(op,              "op",              0,   TEXT,   "OP",        "", \
	  "try, confirm or cancel.") \
	X(outcome,         "outcome",         0,   TEXT,   "OUTCOME",   "", \
	  "ok or refused.") \
	X(output,          "output",          0,   TEXT,   "JSON",      "", \
	  "What the step would have answered: JSON, or @FILE.") \
	X(max_in_flight,   "max-in-flight",   0,   TEXT,   "NUMBER",    "", \
	  "Calls under way to it at the same time, for each replica.") \
	X(breaker_percent, "breaker-percent", 0,   TEXT,   "NUMBER",    "", \
	  "Calls to it stop for a while when so many of a hundred teach nothing; 0: never.") \
	X(retry_percent,   "retry-percent",   0,   TEXT,   "NUMBER",    "", \
	  "Retries for a hundred first calls to it; 100: no limit.") \
	X(secret,          "secret",          0,   TEXT,   "NAME",      "", \
	  "The name of a file in sagad's secrets-dir; calls are then signed.") \
	X(replica,         "replica",         0,   TEXT,   "ID",        "", \
	  "Done to this replica.") \
	X(bulk,            "bulk",            0,   TEXT,   "ID",        "", \
	  "Done to this bulk action.") \
	X(rate,            "rate",            0,   TEXT,   "NUMBER",    "", \
	  "At most so many a second.") \
	X(by,              "by",              0,   TEXT,   "NAME",      "", \
	  "Done by this person or service.") \
	X(action,          "action",          0,   TEXT,   "ACTION",    "", \
	  "Only this action.") \
	X(since,           "since",           0,   TEXT,   "TIME",      "", \
	  "Not before: a duration like 1h (ago), or a time.") \
	X(until,           "until",           0,   TEXT,   "TIME",      "", \
	  "Before: a duration like 1h (ago), or a time.") \
	X(interval,        "interval",        0,   TEXT,   "DURATION",  "", \
	  "How often to look. Default: 2s.") \
	X(cancel_url,      "cancel-url",      0,   TEXT,   "URL",       "", \
	  "Where cancels go. Default: where tries go.") \
	X(confirm_url,     "confirm-url",     0,   TEXT,   "URL",       "", \
	  "Where confirms go; without it the step is a saga's, which has none.") \
	X(state_url,       "state-url",       0,   TEXT,   "URL",       "", \
	  "A GET of it tells what each try moves and its cancel moves back: a balance, a count. With #/a/b only that part of a JSON document counts. Without it only answers are judged.") \
	X(remember,        "remember",        0,   TEXT,   "DURATION",  "", \
	  "How long after a call it comes once more, to be known still. Default: 3s.") \
	X(refused,         "refused",         0,   TEXT,   "JSON",      "", \
	  "An input that has to be refused: JSON, or @FILE.") \
	X(secret_file,     "secret-file",     0,   TEXT,   "FILE",      "", \
	  "A file that holds the secret; calls are then signed with it, and those that are not, or whose " \
	  "signature is another's, have to be refused.")

#define X(field, ...) FLAG_##field,
enum flag { FLAGS(X) };
#undef X
#define X(...) + 1
enum { FLAG_COUNT = 0 FLAGS(X) };
#undef X
#define F(field) (UINT64_C(1) << FLAG_##field)

/* Sets of flags. */
#define F_EVERY   (F(url) | F(token_file) | F(cacert) | F(cert) | F(key) | F(timeout) | F(json) | F(no_color) | F(help))
#define F_WRITE   (F(reason) | F(actor) | F(dry_run))
#define F_ACT     (F_WRITE | F(if_version))
#define F_DANGER  (F_ACT | F(confirm))
#define F_FILTER  (F(phase) | F(definition) | F(label) | F(stuck) | F(older_than) | F(participant))

/* Nouns in the order of --help. */
#define NOUNS(X) \
	X("definition",  "What sagad can run") \
	X("txn",         "Transactions: look at them, begin them, put them right") \
	X("stuck",       "What needs a person, in groups") \
	X("overview",    "Everything at a glance") \
	X("top",         "The same, live") \
	X("participant", "The services that are called") \
	X("replica",     "The processes that do the work") \
	X("bulk",        "One action on many transactions") \
	X("audit",       "Who did what, when, why") \
	X("doctor",      "What is wrong with the set-up, and what to do about it") \
	X("verify",      "Does a service follow the contract?") \
	X("completion",  "For the shell") \
	X("version",     "Which version this is")

/* Arguments: [X] may be left out, X... may be several; the parser reads these words.
 * Examples: one a line, without "sagactl ".
 *
 *   name (its handler is run_ and this)  noun  verb  arguments  flags  sentence  examples */
#define COMMANDS(X) \
	X(definition_apply, "definition", "apply", "FILE...", F(name) | F_ACT, \
	  "Register definitions: JSON or YAML, - is standard input. What is there already stays as it is. With --dry-run: what would change.", \
	  "definition apply book-trip.yaml\n" \
	  "definition apply definitions/*.json\n" \
	  "definition apply --dry-run book-trip.yaml") \
	X(definition_validate, "definition", "validate", "FILE...", F(name), \
	  "Check definitions, store nothing; every error with its line.", \
	  "definition validate book-trip.yaml") \
	X(definition_list, "definition", "list", "", F(limit), \
	  "The newest version of each.", \
	  "definition list") \
	X(definition_show, "definition", "show", "NAME[@VERSION]", 0, \
	  "The document, as JSON.", \
	  "definition show book-trip\n" \
	  "definition show book-trip@2 >book-trip.json") \
	X(definition_graph, "definition", "graph", "NAME[@VERSION]", 0, \
	  "Its steps as a Mermaid drawing.", \
	  "definition graph book-trip") \
	X(definition_pause, "definition", "pause", "NAME", F_WRITE, \
	  "Refuse new starts; what runs goes on.", \
	  "definition pause book-trip -m 'it floods the hotel'") \
	X(definition_resume, "definition", "resume", "NAME", F_WRITE, \
	  "Take new starts again.", \
	  "definition resume book-trip -m 'the hotel is fine again'") \
	X(txn_start, "txn", "start", "DEFINITION[@VERSION]", \
	  F(input) | F(gid) | F(idempotency_key) | F(label) | F(deadline) | F(start_at) | F(wait), \
	  "Begin a transaction.", \
	  "txn start book-trip --input '{\"nights\": 2}' --wait 20s\n" \
	  "txn start book-trip@2 --gid trip-17 --input @trip.yaml -l customer=ada") \
	X(txn_get, "txn", "get", "GID...", 0, \
	  "One transaction, with every step.", \
	  "txn get trip-17\n" \
	  "txn get trip-17 --json | jq .steps") \
	X(txn_list, "txn", "list", "", F_FILTER | F(limit), \
	  "Transactions; filters combine.", \
	  "txn list --stuck\n" \
	  "txn list -d book-trip --phase cancelling --older-than 10m\n" \
	  "txn list -l customer=ada --limit 1000 --json") \
	X(txn_watch, "txn", "watch", "GID", F(interval), \
	  "What changes, as it comes, until it has ended.", \
	  "txn watch trip-17") \
	X(txn_wait, "txn", "wait", "GID", F(wait), \
	  "Wait for its end: 0 if it succeeded, 9 if not, 6 if it still runs.", \
	  "txn wait trip-17 --wait 5m") \
	X(txn_explain, "txn", "explain", "GID", 0, \
	  "Why it does not move, and what can be done.", \
	  "txn explain trip-17") \
	X(txn_journal, "txn", "journal", "GID", F(limit), \
	  "Failed attempts and what people did, in order of time.", \
	  "txn journal trip-17") \
	X(txn_retry, "txn", "retry", "GID...", F_ACT, \
	  "Make every waiting call now.", \
	  "txn retry trip-17 -m 'the hotel is back'") \
	X(txn_pause, "txn", "pause", "GID...", F_ACT, \
	  "Stop it until it is resumed.", \
	  "txn pause trip-17 -m 'the customer is on the phone'") \
	X(txn_resume, "txn", "resume", "GID...", F_ACT, \
	  "Let it go on.", \
	  "txn resume trip-17 -m 'all is said'") \
	X(txn_cancel, "txn", "cancel", "GID...", F_ACT | F(wait), \
	  "Decide cancel: what was done is undone.", \
	  "txn cancel trip-17 -m 'the customer left' --wait 20s") \
	X(txn_resolve, "txn", "resolve", "GID STEP", F_DANGER | F(op) | F(outcome) | F(output), \
	  "Say what really happened at a step, when you know better.", \
	  "txn resolve trip-17 charge --op try --outcome ok --output '{\"id\": 9}' -m 'it is on their list'") \
	X(txn_skip, "txn", "skip", "GID STEP", F_DANGER | F(op), \
	  "Treat what the step waits for as done.", \
	  "txn skip trip-17 mail --op try -m 'the address does not exist'") \
	X(txn_patch, "txn", "patch", "GID STEP SETTING=VALUE...", F_DANGER | F(op), \
	  "Change url, timeout or retry of a live step.", \
	  "txn patch trip-17 charge --op try timeout=30s retry.max=5s -m 'they are slow today'\n" \
	  "txn patch trip-17 charge --op try url=http://payment-2:8080/charges -m 'it moved'") \
	X(txn_release, "txn", "release", "GID...", F_ACT, \
	  "Hand it to another replica.", \
	  "txn release trip-17 -m 'its replica is slow'") \
	X(txn_abandon, "txn", "abandon", "GID", F_DANGER, \
	  "End it without undoing anything; its result is mixed.", \
	  "txn abandon trip-17 -m 'settled by phone'") \
	X(stuck, "stuck", "", "", 0, \
	  "What needs a person, in groups, each with a sample.", \
	  "stuck") \
	X(overview, "overview", "", "", 0, \
	  "Phases, stuck groups, replicas, participants.", \
	  "overview") \
	X(top, "top", "", "", F(interval), \
	  "The overview, live; q ends it.", \
	  "top\n" \
	  "top --interval 500ms") \
	X(participant_list, "participant", "list", "", 0, \
	  "Names, addresses, and how they do.", \
	  "participant list") \
	X(participant_put, "participant", "put", "NAME [BASE_URL]", F(max_in_flight) | F(breaker_percent) | F(retry_percent) | F(secret) | F_ACT, \
	  "Name a participant, or change what is known of it; what is not given stays.", \
	  "participant put hotel http://hotel:8080\n" \
	  "participant put payment https://payment:8443/v2 --max-in-flight 16 --secret payment") \
	X(participant_pause, "participant", "pause", "NAME", F_WRITE, \
	  "Make no calls to it; its steps wait, and no attempts are used up.", \
	  "participant pause payment:8080 -m 'they restore a backup'") \
	X(participant_resume, "participant", "resume", "NAME", F_WRITE, \
	  "Make calls to it again.", \
	  "participant resume payment:8080 -m 'done'") \
	X(replica_list, "replica", "list", "", 0, \
	  "Replicas, their leases and load.", \
	  "replica list") \
	X(replica_drain, "replica", "drain", "ID", F_WRITE | F(yes) | F(wait), \
	  "Let it hand over what it drives; it stays up, not ready, until SIGTERM.", \
	  "replica drain 5f2c41d0-0d7c-4f7e-9a0c-2b8d5f1f9c11 -m 'the machine is replaced'") \
	X(bulk_start, "bulk", "start", "ACTION", F_FILTER | F_WRITE | F(rate) | F(yes) | F(wait), \
	  "One action on all that match: retry, pause, resume, cancel or release.", \
	  "bulk start retry --stuck -d book-trip --dry-run\n" \
	  "bulk start retry --stuck -d book-trip --rate 50 --wait 10m -m 'the hotel is back'") \
	X(bulk_list, "bulk", "list", "", F(limit), \
	  "Bulks, the newest first.", \
	  "bulk list") \
	X(bulk_get, "bulk", "get", "ID", 0, \
	  "One bulk: how far it is, and what was refused.", \
	  "bulk get 0199b1c2-7d5e-7abc-8def-0123456789ab") \
	X(bulk_watch, "bulk", "watch", "ID", F(interval), \
	  "Its progress, until it is done.", \
	  "bulk watch 0199b1c2-7d5e-7abc-8def-0123456789ab") \
	X(bulk_cancel, "bulk", "cancel", "ID", F_ACT, \
	  "Stop it; what it did stays done.", \
	  "bulk cancel 0199b1c2-7d5e-7abc-8def-0123456789ab -m 'wrong filter'") \
	X(audit, "audit", "", "", F(gid) | F(definition) | F(participant) | F(replica) | F(bulk) | F(by) | F(action) | F(since) | F(until) | F(limit), \
	  "Who did what, when, why; the newest first.", \
	  "audit --since 1d\n" \
	  "audit --gid trip-17\n" \
	  "audit --by ada --action cancel") \
	X(doctor, "doctor", "", "", 0, \
	  "Check database settings, versions, clocks, indexes and standbys; 9 if something is wrong.", \
	  "doctor") \
	X(verify, "verify", "", "TRY_URL", F(cancel_url) | F(confirm_url) | F(input) | F(refused) | F(state_url) | F(remember) | F(secret_file), \
	  "Call a service twice, at once, late and wrong, and say what it gets wrong; sagad is not asked. It leaves test data behind, and nobody else should use the service meanwhile. 9 if something is wrong.", \
	  "verify http://hotel:8080/rooms/book --cancel-url http://hotel:8080/rooms/cancel --input '{\"nights\": 2}'\n" \
	  "verify http://stock:8080/hold --cancel-url http://stock:8080/release --confirm-url http://stock:8080/take " \
	  "--input @order.json --refused '{\"pieces\": 0}' --state-url http://stock:8080/#/items") \
	X(completion, "completion", "", "SHELL", 0, \
	  "Print the completion for bash or zsh.", \
	  "completion bash >~/.local/share/bash-completion/completions/sagactl\n" \
	  "completion zsh >~/.zfunc/_sagactl") \
	X(version, "version", "", "", 0, \
	  "Which version this is.", \
	  "version")

#define X(name, ...) CMD_##name,
enum cmd { COMMANDS(X) };
#undef X
#define X(...) + 1
enum { CMD_COUNT = 0 COMMANDS(X), NOUN_COUNT = 0 NOUNS(X) };
#undef X

/* What main returns. */
#define EXITS(X) \
	X(DONE,        0, "It was done, or is as it should be.") \
	X(REFUSED,     1, "sagad refused it, or failed; its sentence is on standard error.") \
	X(USAGE,       2, "The command line, or a file named on it, is wrong.") \
	X(UNREACHABLE, 3, "No replica could be reached, or none answered in time. A write may have been done.") \
	X(UNKNOWN,     4, "There is no such transaction, definition, participant, replica or bulk.") \
	X(CONFLICT,    5, "It cannot be done in the state it is in, or it has changed meanwhile.") \
	X(ELAPSED,     6, "The wait is over, and it still runs.") \
	X(FORBIDDEN,   7, "The token is missing, wrong, or not enough.") \
	X(NOT_NOW,     8, "sagad cannot do it at the moment; the same again may work.") \
	X(NOT_WELL,    9, "The answer is no: a definition is invalid, a transaction did not succeed, doctor or verify found something.")

#define X(name, number, text) EXIT_##name = number,
enum exit_status { EXITS(X) };
#undef X
#define X(...) + 1
enum { EXIT_COUNT = 0 EXITS(X) };
#undef X

enum flag_kind { FLAG_SWITCH, FLAG_TEXT, FLAG_MANY };

struct flag_fact {
	const char    *name;
	char           letter; /* 0: none */
	enum flag_kind kind;
	const char    *value, *env, *text;
};

struct command_fact {
	const char *noun, *verb, *args;
	uint64_t    flags; /* beyond F_EVERY */
	const char *text, *examples;
};

struct noun_fact {
	const char *noun, *text;
};

struct exit_fact {
	int         number;
	const char *text;
};

const struct flag_fact    *flag_fact(enum flag f);
const struct command_fact *command_fact(enum cmd c);
const struct noun_fact    *noun_fact(unsigned i);
const struct exit_fact    *exit_fact(unsigned i);

#endif
