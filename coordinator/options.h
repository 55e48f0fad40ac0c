/* SPDX-License-Identifier: Apache-2.0
 * options.h - the settings of sagad, each listed once, for parser, --help, man page and struct.
 */
#ifndef COORDINATOR_OPTIONS_H
#define COORDINATOR_OPTIONS_H

#include "coordinator/base/arena.h"
#include "coordinator/base/err.h"

/* Sources, strongest first: flag --name=value, environment SAGAD_NAME (capitals,
 * _ for . and -), file "name = value", default.
 *
 * TEXT:  const char *, never NULL          U32:  uint32_t, min .. max
 * MS:    int64_t; a duration like 10s      BYTES: uint64_t; like 1MiB, 64KiB, 1000
 * WORD:  const char *; one of the words in the last but one column
 *
 *        field             name                     type   default                  min      max          unit or words  sentence */
#define OPTIONS(X) \
	X(config,           "config",                TEXT,  "",                      0,       0,           "file", \
	  "A file with lines `name = value`; # begins a comment.") \
	X(dsn,              "dsn",                   TEXT,  "",                      0,       0,           "dsn", \
	  "Where the log is: a libpq connection string or URI. Several hosts may stand in it, a password may not: see dsn-file.") \
	X(dsn_file,         "dsn-file",              TEXT,  "",                      0,       0,           "file", \
	  "A file that holds the dsn, so that its password is in no process list.") \
	X(listen,           "listen",                TEXT,  "127.0.0.1:7070",        0,       0,           "address:port", \
	  "Where the API listens. An empty address means every one.") \
	X(ops_listen,       "ops-listen",            TEXT,  "127.0.0.1:7071",        0,       0,           "address:port", \
	  "Where health and metrics listen. Worker i takes port + i.") \
	X(advertise,        "advertise",             TEXT,  "",                      0,       0,           "url", \
	  "The base URL at which participants and other replicas reach this API; by default made of listen.") \
	X(insecure_listen,  "insecure-listen",       WORD,  "no",                    0,       0,           "no|yes", \
	  "Listen for other machines although nobody is asked who he is.") \
	X(tokens_file,      "tokens-file",           TEXT,  "",                      0,       0,           "file", \
	  "Who may do what: a line per token, as `sagad token` makes them. Read again when it changes.") \
	X(replica_key_file, "replica-key-file",      TEXT,  "",                      0,       0,           "file", \
	  "Key by which replicas know each other, the same on each; by default that of callbacks.") \
	X(tls_cert,         "tls.cert",              TEXT,  "",                      0,       0,           "file", \
	  "PEM: the API's certificate and those between it and a root; with it the API speaks TLS 1.2 and 1.3. Read again when it changes.") \
	X(tls_key,          "tls.key",               TEXT,  "",                      0,       0,           "file", \
	  "PEM: the key of tls.cert.") \
	X(tls_client_ca,    "tls.client-ca",         TEXT,  "",                      0,       0,           "file", \
	  "PEM: who signs clients' certificates. The tokens file says what each may do; without one every client must show one and may do all.") \
	X(tls_client_crl,   "tls.client-crl",        TEXT,  "",                      0,       0,           "file", \
	  "PEM: revocation lists of tls.client-ca; a certificate on one of them is refused. Read again when it changes.") \
	X(ops_tls,          "ops-tls",               WORD,  "no",                    0,       0,           "no|yes", \
	  "Health and metrics speak TLS, too, with the certificate, key and clients' authority of the API.") \
	X(listen_server,    "listen.server",         WORD,  "auto",                  0,       0,           "auto|microhttpd", \
	  "Who reads requests in the clear: sagad's own HTTP/1.1 server, or libmicrohttpd as for TLS.") \
	X(limit_rate,       "limit.rate",            U32,   "0",                     0,       1000000,     "requests", \
	  "Requests a second that one caller may make: who has a token by its name, others by address; 0: no limit.") \
	X(limit_burst,      "limit.burst",           U32,   "100",                   1,       1000000,     "requests", \
	  "Requests that one caller may make at once, when it has been quiet before.") \
	X(limit_waiters,    "limit.waiters",         U32,   "0",                     0,       1000000,     "requests", \
	  "Requests of one caller that may wait for the end of a transaction; 0: no limit.") \
	X(workers,          "workers",               U32,   "1",                     1,       128,         "processes", \
	  "Replicas to run as processes behind the one API port.") \
	X(lease_ttl,        "lease.ttl",             MS,    "10s",                   2000,    60000,       "duration", \
	  "How long a replica that is silent keeps what it owns.") \
	X(lease_mode,       "lease.mode",            WORD,  "lock",                  0,       0,           "lock|row", \
	  "What a lease is: a lock of one session, found free milliseconds after a crash; or a row, for poolers.") \
	X(weight,           "weight",                U32,   "100",                   1,       1000,        "share", \
	  "How much of a dead replica's work this one takes, next to others.") \
	X(max_transactions, "max-transactions",      U32,   "200000",                1,       100000000,   "transactions", \
	  "Transactions in memory; starts beyond it get 429.") \
	X(max_body,         "max-body",              BYTES, "1MiB",                  1024,    67108864,    "bytes", \
	  "The largest request body; larger ones get 413.") \
	X(max_waiters,      "max-waiters",           U32,   "10000",                 0,       1000000,     "requests", \
	  "Requests that may wait for the end of a transaction.") \
	X(calls_per_participant, "calls.per-participant", U32, "64",                 1,       1024,        "calls", \
	  "Calls under way to one participant, unless it is registered with another number.") \
	X(calls_queue,      "calls.queue",           U32,   "10000",                 1,       10000000,    "calls", \
	  "Calls that may wait for one participant; beyond it they are put off.") \
	X(calls_breaker,    "calls.breaker",         U32,   "80",                    0,       100,         "percent", \
	  "When so many of the calls of the last 10 s to a participant taught nothing, they pause; 0: never.") \
	X(calls_breaker_min, "calls.breaker-min",    U32,   "20",                    1,       1000000,     "calls", \
	  "Fewer calls in those 10 s prove nothing.") \
	X(calls_breaker_probe, "calls.breaker-probe", MS,   "1s",                    50,      60000,       "duration", \
	  "How often one call asks whether a participant whose calls pause is back.") \
	X(calls_retries,    "calls.retries",         U32,   "20",                    0,       100,         "percent", \
	  "How many retries may fail, for 100 first calls to a participant, beyond ten a second; 100: no limit.") \
	X(calls_response_max, "calls.response-max",  BYTES, "1MiB",                  1024,    67108864,    "bytes", \
	  "The largest answer of a participant that is read.") \
	X(calls_deny,       "calls.deny",            TEXT,  CALLS_DENY,                0,       0,           "places", \
	  "Networks, hosts and ports that are never called, whatever a name resolves to: 10.0.0.0/8, *.internal:22, *:25; `none` denies nothing.") \
	X(calls_allow,      "calls.allow",           TEXT,  "",                      0,       0,           "places", \
	  "If given, nothing else is called: networks and hosts with or without a port, like pay.internal, *.shop.internal:8080, 10.1.0.0/16.") \
	X(calls_ca,         "calls.ca-file",         TEXT,  "",                      0,       0,           "file", \
	  "PEM: who signs the certificates of https:// participants and replicas, beside those that the system believes.") \
	X(calls_client,     "calls.client",          WORD,  "auto",                  0,       0,           "auto|connect|curl", \
	  "Who makes calls: sagad's own HTTP client, for https:// on connections of libcurl; on those for http://, too; or libcurl all.") \
	X(chaos,            "chaos",                 U32,   "0",                     0,       4294967295ul, "seed", \
	  "To try services out, never in production: calls go out twice, late, with an old epoch, given up early, by this seed, which --chaos alone draws; 0: as they should.") \
	X(secrets_dir,      "secrets-dir",           TEXT,  "",                      0,       0,           "directory", \
	  "Holds a file per participant secret; calls to those participants are signed.") \
	X(callback_key_file, "callback-key-file",    TEXT,  "",                      0,       0,           "file", \
	  "Key that signs callback URLs, the same on every replica; without it none are given out.") \
	X(log_level,        "log.level",             WORD,  "info",                  0,       0,           "debug|info|warn|error", \
	  "The least urgent log lines that are written.") \
	X(log_format,       "log.format",            WORD,  "json",                  0,       0,           "json|text|ecs", \
	  "How log lines look: JSON with the names of OpenTelemetry, text for people, JSON for Elastic.") \
	X(otlp_endpoint,    "otlp.endpoint",         TEXT,  "",                      0,       0,           "url", \
	  "Where traces go: the base URL of a collector that takes OTLP/HTTP, such as http://localhost:4318.") \
	X(otlp_ratio,       "otlp.ratio",            TEXT,  "1",                     0,       0,           "0..1", \
	  "The part of all traces that is recorded.") \
	X(otlp_sampler,     "otlp.sampler",          WORD,  "parent",                0,       0,           "parent|ratio", \
	  "Whether the flag in a starter's traceparent decides, where there is one, or always the ratio.") \
	X(otlp_headers_file, "otlp.headers-file",    TEXT,  "",                      0,       0,           "file", \
	  "Lines `Name: value` that are sent to the collector, for its token.") \
	X(audit_retention,  "audit-retention",       MS,    "365d",                  60000,   315360000000, "duration", \
	  "How long the audit remembers what people did.") \
	X(dtm_second,       "dtm.second",            MS,    "1s",                    1,       1000,        "duration", \
	  "For tests of applications that speak DTM's protocol: how long one of its seconds takes here, for time-outs, retries and delays.") \
	X(drain_grace,      "drain.grace",           MS,    "20s",                   0,       3600000,     "duration", \
	  "How long open calls may go on after SIGTERM.") \
	X(park_after,       "park-after",            MS,    "5s",                    100,     86400000,    "duration", \
	  "Transactions that sleep longer than this leave memory.")

/* Nobody's services: this network, link-local, where clouds keep their secrets (AWS and most others 169.254.169.254, AWS over IPv6,
 * Alibaba, Oracle, Azure), multicast, broadcast. */
#define CALLS_DENY "0.0.0.0/8, ::/128, 169.254.0.0/16, fe80::/10, fd00:ec2::254, 100.100.100.200, 192.0.0.192, " \
                   "168.63.129.16, 224.0.0.0/4, ff00::/8, 255.255.255.255"

#define OPTION_FIELD_TEXT  const char *
#define OPTION_FIELD_WORD  const char *
#define OPTION_FIELD_U32   uint32_t
#define OPTION_FIELD_MS    int64_t
#define OPTION_FIELD_BYTES uint64_t

enum options_command { OPTIONS_RUN, OPTIONS_MIGRATE, OPTIONS_CHECK, OPTIONS_HELP, OPTIONS_VERSION };

struct options {
	enum options_command command;
#define X(field, name, type, ...) OPTION_FIELD_##type field;
	OPTIONS(X)
#undef X
	struct arena arena; /* texts */
};

/* False with a sentence that names the source ("--workers", "SAGAD_WORKERS",
 * "sagad.conf:3"), what is wrong and what is allowed. env: as environ. dsn-file
 * is read into dsn. With HELP or VERSION on the command line nothing else is looked at. */
bool options_read(struct options *o, int argc, char **argv, char **env, struct err *err)
	__attribute__((warn_unused_result));
void options_fini(struct options *o);

void options_help(struct buf *out);    /* --help */
void options_man(struct buf *out);     /* the OPTIONS section of the man page, in man(7) */

/* What a file holds, without white space at its end; for keys and the like. At most max bytes. */
bool options_file(const char *path, size_t max, struct arena *arena, struct str *out, struct err *err)
	__attribute__((warn_unused_result));

#endif
