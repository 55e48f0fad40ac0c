// SPDX-License-Identifier: Apache-2.0
// What a participant answers, and what sagad learns from it.
import type { Op } from "./call.js";

export const OUTCOMES = ["ok", "refused", "ongoing", "unknown", "misconfigured"] as const;
/** refused: a clear no. ongoing: ask again later. unknown: it may have had its effect, try again. misconfigured: a person must look. */
export type Outcome = (typeof OUTCOMES)[number];

const REFUSALS = [409, 410, 422, 424];
const SETTLES: Record<string, readonly number[]> = {
  try: [200, 201, 202, 204, 409, 410, 422, 424, 425],
  confirm: [200, 201, 202, 204, 425],
  cancel: [200, 201, 202, 204, 410, 425],
};
const DAY_MS = 86400000;
/** Bytes of a body that sagad reads, unless its calls.response-max says otherwise. */
export const ANSWER_MAX = 1 << 20;

/** body: JSON text, sent byte for byte as it is. */
export class Answer {
  constructor(
    readonly status: number,
    readonly body: string | null = null,
    readonly extra: Readonly<Record<string, string>> = {},
  ) {
    if (!Number.isInteger(status) || status < 200 || status > 599) throw new RangeError(`no status of an answer: ${String(status)}`);
    if (body !== null && typeof body !== "string") throw new TypeError(`the body of an answer is a text of JSON, not ${typeof body}`);
  }

  /** What to send along, as an answer to that op. */
  headers(op?: Op): Record<string, string> {
    return {
      ...(this.body !== null && { "Content-Type": "application/json" }),
      // A bare 409 after an attempt without answer would count as "still in progress".
      ...(op === "try" && REFUSALS.includes(this.status) && { "Saga-Outcome": "refused" }),
      ...this.extra,
    };
  }

  /** Is it for keeping? What settles nothing (5xx, 429, …) is rolled back. */
  settles(op: Op): boolean {
    return SETTLES[op]?.includes(this.status) ?? false;
  }
}

/** output: any JSON value; for a try it is the step's output, which later steps can read. */
export function ok(output?: unknown, status = 200): Answer {
  return output === undefined ? new Answer(204) : new Answer(status, jsonText(output));
}

export function failed(status: number, why: string): Answer {
  return new Answer(status, JSON.stringify({ error: Buffer.from(String(why)).toString() })); // half a surrogate pair is no reason to fail
}

export function refused(why = "refused", status = 422): Answer {
  if (!REFUSALS.includes(status)) throw new RangeError(`${status} is no refusal`);
  return failed(status, why);
}

/** It goes on: sagad asks again, or waits for complete() or fail() at call.callback. */
export function ongoing(output: unknown = {}, retryAfterS?: number): Answer {
  return new Answer(202, jsonText(output), retryAfterS === undefined ? {} : { "Retry-After": String(Math.max(Math.ceil(retryAfterS), 0)) });
}

/** What was held is no more: fine for a cancel. After a confirm the transaction is stuck at once and a person looks. */
export function gone(why = "gone"): Answer {
  return failed(410, why);
}

/** Nothing was done, or nobody knows: call again. */
export function unavailable(why = "it failed here; call again"): Answer {
  return failed(503, why);
}

/** Thrown by the work of a try: it is undone, the refusal is kept, the transaction is cancelled. */
export class Refused extends Error {
  readonly answer: Answer;

  constructor(why = "refused", status = 422) {
    super(why);
    this.name = "Refused";
    this.answer = refused(why, status);
  }
}

/** What a handler gave back: an Answer, or a JSON value that says ok. */
export function answerOf(value: unknown): Answer {
  return value instanceof Answer ? value : ok(value);
}

function conventional(op: Op, status: number): Outcome {
  if ([200, 201, 204].includes(status)) return "ok";
  if ([202, 425].includes(status)) return "ongoing";
  if ([409, 422, 424].includes(status)) return "refused";
  if (status === 410) return op === "cancel" ? "ok" : "refused";
  if ([0, 408, 412, 429].includes(status) || (status >= 500 && status <= 599)) return "unknown";
  return "misconfigured";
}

/** JSON.stringify() makes null of what is no number. */
function finite(_: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`JSON has no ${value}: give back null or a text instead`);
  return value;
}

function jsonText(value: unknown): string {
  const text = JSON.stringify(value, finite) as string | undefined;
  if (text === undefined) throw new TypeError(`${typeof value} has no form in JSON`);
  return text;
}

/** As sagad reads it, which takes no NUL and no half of a surrogate pair. */
export function isJson(text: string): boolean {
  const isText = (value: string) => !value.includes("\0") && Buffer.from(value).toString() === value;
  const look = (name: string, value: unknown) => {
    if (!isText(name) || (typeof value === "string" && !isText(value))) throw new SyntaxError("no text");
    return value;
  };
  try {
    // What is written with escapes has to be looked at closer.
    JSON.parse(text, text.includes("\\u") ? look : undefined);
    return true;
  } catch {
    return false;
  }
}

/**
 * What an answer means (status 0: there was none), as sagad reads it. To a confirm or cancel there is no "no": sagad takes a
 * refusal of these for unknown and calls again. A bare 409 after an attempt that was never answered is unknown, too.
 */
export function outcomeOf(op: Op, status: number, sagaOutcome?: string | null, body = ""): Outcome {
  const told = status !== 0 ? OUTCOMES.find((known) => known === sagaOutcome?.toLowerCase()) : undefined;
  const outcome = told ?? conventional(op, status);
  return outcome === "ok" && op === "try" && body.trim() !== "" && !isJson(body) ? "misconfigured" : outcome;
}

// The date of today, and the two that old servers may still send.
const DATES = [
  /^[A-Z][a-z]{2}, (?<d>\d\d) (?<m>[A-Z][a-z]{2}) (?<y>\d{4}) (?<t>\d\d:\d\d:\d\d) GMT$/,
  /^[A-Z][a-z]+, (?<d>\d\d)-(?<m>[A-Z][a-z]{2})-(?<y>\d\d) (?<t>\d\d:\d\d:\d\d) GMT$/,
  /^[A-Z][a-z]{2} (?<m>[A-Z][a-z]{2}) (?<d>[ \d]\d) (?<t>\d\d:\d\d:\d\d) (?<y>\d{4})$/,
];

function dateMs(text: string): number {
  for (const form of DATES) {
    const found = form.exec(text)?.groups;
    if (!found) continue;
    const year = Number(found["y"]);
    return Date.parse(`${found["d"]?.trim()} ${found["m"]} ${year < 69 ? year + 2000 : year < 100 ? year + 1900 : year} ${found["t"]} GMT`);
  }
  return NaN;
}

/** Of the header Retry-After: seconds or a date (RFC 9110, 10.2.3); 0 if it cannot be read, at most a day. */
export function retryAfterMs(text: string | null | undefined, nowMs = Date.now()): number {
  const trimmed = text?.trim() ?? "";
  const wait = /^[0-9]+$/.test(trimmed) ? Number(trimmed) * 1000 : dateMs(trimmed) - nowMs;
  return Number.isNaN(wait) ? 0 : Math.min(Math.max(wait, 0), DAY_MS);
}
