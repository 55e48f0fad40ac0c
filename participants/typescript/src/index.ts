// SPDX-License-Identifier: Apache-2.0
// sagad for TypeScript: be a correct participant of its sagas and TCC transactions, and start them.
export {
  Answer,
  type Outcome,
  Refused,
  failed,
  gone,
  ok,
  ongoing,
  outcomeOf,
  refused,
  retryAfterMs,
  unavailable,
} from "./answer.js";
export { Barrier, CannotSetUp, Cancelled, TooLate, type Verdict } from "./barrier.js";
export { type Call, type HeadersLike, NotACall, type Op, callOf, parseCall } from "./call.js";
export {
  Client,
  type ClientOptions,
  type Known,
  type Phase,
  type StartOptions,
  type Step,
  type StepOptions,
  type Target,
  type Transaction,
  complete,
  fail,
} from "./client.js";
export {
  type Database,
  type MariadbConnection,
  type MariadbPoolConnection,
  type PgClient,
  type PgPoolClient,
  type Session,
  type SqliteDatabase,
  mariadb,
  mariadbSession,
  pgSession,
  postgresql,
  sqlite,
  sqliteSession,
} from "./database.js";
export type { Delivery, MessageWork, Sent } from "./message.js";
export { type AdapterOptions, listener, middleware } from "./node.js";
export { Participant, type ParticipantOptions, type Reply } from "./participant.js";
export { type Fault, Problem, Unreachable } from "./problem.js";
export { type Json, type Log, type Output, type Work, run } from "./run.js";
export { BadTemplate, NoValue, type Place, type Sources, fillTemplate } from "./templates.js";
export { NotConfirmed, Tcc, type TccOptions, type TccResult } from "./tcc.js";
export { BadSignature, keyOf, messageId, sign, verify } from "./webhook.js";
export { type XaSwept, runXa, sweepXa, xaReady } from "./xa.js";
