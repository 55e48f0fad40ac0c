// SPDX-License-Identifier: Apache-2.0
// What sagad sends: the headers of a call, read and checked.

export const OPS = ["try", "confirm", "cancel", "check"] as const;
/** A saga's action is its try, its compensation its cancel; check asks the sender of a message whether he committed. */
export type Op = (typeof OPS)[number];

export type HeadersLike = Headers | Record<string, string | string[] | undefined>;

/** One call of one op of one step. The same call may come twice, late, or after its cancel. */
export interface Call {
  readonly gid: string;
  readonly step: string;
  readonly op: Op;
  /** From 1. */
  readonly attempt?: number;
  /** Without one none is compared. */
  readonly epoch?: bigint;
  /** When the transaction began. */
  readonly accepted?: Date;
  /** Of the transaction; it may have none. */
  readonly deadline?: Date;
  /** Where to report the end of what was answered 202. */
  readonly callback?: string;
  /** gid:step:op, the same in every attempt. */
  readonly idempotencyKey?: string;
  readonly traceparent?: string;
  /** The body, as it came. */
  readonly text: string;
  /** Of the route's {names}. */
  readonly params: Readonly<Record<string, string>>;
  /** The body; undefined if there is none. Numbers beyond 2^53 are safe in text only. */
  json<T = any>(): T;
}

/** The request does not carry the headers of a call: answer 400. */
export class NotACall extends Error {
  constructor(
    /** Which one is wrong. */
    readonly header: string,
    why: string,
  ) {
    super(`${header} ${why}`);
    this.name = "NotACall";
  }
}

const GID = /^[!#-&(-[\]-~]{1,128}$/; // printable ASCII without space, quotes and backslash
const STEP = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const NUMBER = /^[0-9]{1,19}$/;
const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;
const ATTEMPT_MAX = 2n ** 32n - 1n;
const EPOCH_MAX = 2n ** 63n - 1n;

/** One header, its name in any case, without the white space around it. */
export function headerOf(headers: HeadersLike, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name)?.trim();
  let found = headers[name];
  if (found === undefined) {
    const low = name.toLowerCase();
    const key = Object.keys(headers).find((known) => known.toLowerCase() === low);
    found = key === undefined ? undefined : headers[key];
  }
  return (Array.isArray(found) ? found.join(", ") : found)?.trim();
}

/** Does it come from sagad, or from who means to be sagad? Whether it can be read is another question. */
export function isCall(headers: HeadersLike): boolean {
  return ["Saga-Id", "Saga-Step", "Saga-Op"].some((name) => headerOf(headers, name) !== undefined);
}

function matching(headers: HeadersLike, name: string, pattern: RegExp): string {
  const value = headerOf(headers, name);
  if (!value) throw new NotACall(name, "is missing: this is no call of sagad");
  if (!pattern.test(value)) throw new NotACall(name, "cannot be read");
  return value;
}

function numberOf(headers: HeadersLike, name: string, least: bigint, most: bigint): bigint | undefined {
  const value = headerOf(headers, name);
  if (value === undefined) return undefined;
  if (!NUMBER.test(value) || BigInt(value) < least || BigInt(value) > most) throw new NotACall(name, `is no number from ${least} on`);
  return BigInt(value);
}

/** Date takes 30 February for 2 March, and 24:00 for the next day. */
function isOnClock(clock: string): boolean {
  const at = new Date(`${clock}Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(clock);
}

function timeOf(headers: HeadersLike, name: string): Date | undefined {
  const value = headerOf(headers, name);
  if (value === undefined) return undefined;
  const clock = TIME.exec(value)?.[1];
  const at = new Date(value);
  const year = at.getUTCFullYear(); // of what databases can be told
  if (clock === undefined || !isOnClock(clock) || !(year >= 1 && year <= 9999)) throw new NotACall(name, "is no time");
  return at;
}

class ParsedCall implements Call {
  declare readonly gid: string;
  declare readonly step: string;
  declare readonly op: Op;
  declare readonly text: string;
  declare readonly params: Readonly<Record<string, string>>;

  constructor(fields: Omit<Call, "json">) {
    Object.assign(this, fields);
  }

  json<T>(): T {
    return (this.text.trim() === "" ? undefined : JSON.parse(this.text)) as T;
  }
}

/** A call that did not come over HTTP, as in tests of your own. */
export function callOf(fields: Partial<Omit<Call, "json">> & Pick<Call, "gid" | "step" | "op">): Call {
  return new ParsedCall({ text: "", params: {}, ...fields });
}

/** Throws NotACall. */
export function parseCall(headers: HeadersLike, text = "", params: Record<string, string> = {}): Call {
  const op = OPS.find((known) => known === headerOf(headers, "Saga-Op"));
  if (op === undefined) throw new NotACall("Saga-Op", `is not one of ${OPS.join(", ")}`);
  const attempt = numberOf(headers, "Saga-Attempt", 1n, ATTEMPT_MAX);
  const epoch = numberOf(headers, "Saga-Epoch", 0n, EPOCH_MAX);
  const accepted = timeOf(headers, "Saga-Accepted");
  const deadline = timeOf(headers, "Saga-Deadline");
  const callback = headerOf(headers, "Saga-Callback");
  const key = headerOf(headers, "Idempotency-Key");
  const traceparent = headerOf(headers, "traceparent");
  return new ParsedCall({
    gid: matching(headers, "Saga-Id", GID),
    step: matching(headers, "Saga-Step", STEP),
    op,
    text,
    params,
    ...(attempt !== undefined && { attempt: Number(attempt) }),
    ...(epoch !== undefined && { epoch }),
    ...(accepted && { accepted }),
    ...(deadline && { deadline }),
    ...(callback !== undefined && { callback }),
    ...(key !== undefined && { idempotencyKey: key.replace(/^"|"$/g, "") }),
    ...(traceparent !== undefined && { traceparent }),
  });
}
