// SPDX-License-Identifier: Apache-2.0
// What sagad sends: the headers of a call, read and checked.

export const OPS = ["try", "confirm", "cancel", "check"] as const;
/** A saga's action is its try, its compensation its cancel; check asks the sender of a message whether he committed. */
export type Op = (typeof OPS)[number];

/** What definitions may call with. GET asks, and changes nothing. */
const DO = ["POST", "PUT", "PATCH", "DELETE"] as const;
export const METHODS: Readonly<Record<Op, readonly string[]>> = { try: DO, confirm: DO, cancel: DO, check: [...DO, "GET"] };

/** A name may be in several of the pairs. */
export type HeadersLike = Iterable<readonly [string, string]> | Record<string, string | string[] | undefined>;

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
  /** The body; undefined if there is none. Numbers beyond 2^53, and decimals, are exact in text only. Throws NotACall. */
  json<T = any>(): T;
}

/** The request does not carry the headers of a call, or its body cannot be read: answer 400. */
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
// RFC 3339.
const TIME = /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;
const ATTEMPT_MAX = 2n ** 32n - 1n;
const EPOCH_MAX = 2n ** 63n - 1n;

const SINGLE = new Map(
  [
    ...["Saga-Id", "Saga-Step", "Saga-Op", "Saga-Attempt", "Saga-Epoch", "Saga-Accepted", "Saga-Deadline", "Saga-Callback"],
    ...["Idempotency-Key", "webhook-id", "webhook-timestamp", "webhook-signature"],
  ].map((name) => [name.toLowerCase(), name]),
);

/** Names in lower case, values without the white space around them. */
export type Lowered = ReadonlyMap<string, string>;

/** Throws NotACall if a header that says what to do stands there twice. */
export function lowered(headers: HeadersLike): Lowered {
  return joined(headers, (name) => {
    const single = SINGLE.get(name);
    if (single !== undefined) throw new NotACall(single, "stands there twice");
  });
}

export function joined(headers: HeadersLike, twice: (name: string) => void = () => undefined): Lowered {
  const low = new Map<string, string>();
  const pairs = Symbol.iterator in headers ? (headers as Iterable<readonly [string, string]>) : Object.entries(headers);
  for (const [name, values] of pairs) {
    for (const value of values === undefined ? [] : Array.isArray(values) ? values : [values]) {
      const own = name.toLowerCase();
      const before = low.get(own);
      if (before !== undefined) twice(own);
      low.set(own, before === undefined ? value.trim() : `${before}, ${value.trim()}`);
    }
  }
  return low;
}

/** Does it come from sagad, or from who means to be sagad? Whether it can be read is another question. */
export function isCall(headers: Readonly<Record<string, unknown>>): boolean {
  return ["saga-id", "saga-step", "saga-op"].some((name) => headers[name] !== undefined);
}

function matching(headers: Lowered, name: string, pattern: RegExp): string {
  const value = headers.get(name.toLowerCase());
  if (!value) throw new NotACall(name, "is missing: this is no call of sagad");
  if (!pattern.test(value)) throw new NotACall(name, "cannot be read");
  return value;
}

function numberOf(headers: Lowered, name: string, least: bigint, most: bigint): bigint | undefined {
  const value = headers.get(name.toLowerCase());
  if (value === undefined) return undefined;
  if (!NUMBER.test(value) || BigInt(value) < least || BigInt(value) > most) throw new NotACall(name, `is no number from ${least} on`);
  return BigInt(value);
}

/** Date takes 30 February for 2 March, and 24:00 for the next day. */
function isOnClock(clock: string): boolean {
  const at = new Date(`${clock}Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(clock);
}

function timeOf(headers: Lowered, name: string): Date | undefined {
  const value = headers.get(name.toLowerCase());
  if (value === undefined) return undefined;
  const [, day, time, fraction = "", zone = ""] = TIME.exec(value) ?? [];
  const clock = `${day}T${time}`;
  const at = new Date(`${clock}.${fraction.slice(0, 3).padEnd(3, "0")}${zone.toUpperCase()}`);
  const year = at.getUTCFullYear(); // of what databases can be told
  if (!isOnClock(clock) || !(year >= 1 && year <= 9999)) throw new NotACall(name, "is no time");
  return at;
}

function callbackOf(headers: Lowered): string | undefined {
  const value = headers.get("saga-callback");
  // As servers join two headers of one name.
  if (value !== undefined && /\s|,https?:\/\//.test(value)) throw new NotACall("Saga-Callback", "is no URL");
  return value;
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
    try {
      return (this.text.trim() === "" ? undefined : JSON.parse(this.text)) as T;
    } catch {
      throw new NotACall("the body", "is no JSON");
    }
  }
}

/** A call that did not come over HTTP, as in tests of your own. */
export function callOf(fields: Partial<Omit<Call, "json">> & Pick<Call, "gid" | "step" | "op">): Call {
  return new ParsedCall({ text: "", params: {}, ...fields });
}

/** Throws NotACall. */
export function parseCall(headers: HeadersLike, text = "", params: Record<string, string> = {}): Call {
  return readCall(lowered(headers), text, params);
}

export function readCall(low: Lowered, text: string, params: Record<string, string>): Call {
  const op = OPS.find((known) => known === low.get("saga-op"));
  if (op === undefined) throw new NotACall("Saga-Op", `is not one of ${OPS.join(", ")}`);
  const attempt = numberOf(low, "Saga-Attempt", 1n, ATTEMPT_MAX);
  const epoch = numberOf(low, "Saga-Epoch", 0n, EPOCH_MAX);
  const accepted = timeOf(low, "Saga-Accepted");
  const deadline = timeOf(low, "Saga-Deadline");
  const callback = callbackOf(low);
  const key = low.get("idempotency-key");
  const traceparent = low.get("traceparent");
  return new ParsedCall({
    gid: matching(low, "Saga-Id", GID),
    step: matching(low, "Saga-Step", STEP),
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
