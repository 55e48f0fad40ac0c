// SPDX-License-Identifier: Apache-2.0
// HTTP to any of some replicas: the next one if one does not answer.
import { randomUUID } from "node:crypto";
import { Problem, Unreachable } from "./problem.js";

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
/** Of one request, beside what it was asked to wait: then the next replica is asked. */
export const ATTEMPT_MS = 5000;

export interface Received {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

export interface Sent {
  method: string;
  path: string;
  body?: string;
  headers?: Record<string, string>;
}

export type Fetch = typeof fetch;

export function sleep(ms: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, ms));
}

/** A UUIDv7: those of one moment stand side by side in the index of the log. */
export function newGid(): string {
  const ms = Date.now().toString(16).padStart(12, "0");
  return randomUUID().replace(/^.{8}-.{4}-4/, `${ms.slice(0, 8)}-${ms.slice(8)}-7`);
}

/** Whatever is answered. Throws where nothing is. */
export async function sendOnce(to: Fetch, url: string, sent: Sent, timeoutMs: number): Promise<Received> {
  const got = await to(url, {
    method: sent.method,
    headers: sent.headers ?? {},
    redirect: "manual",
    signal: AbortSignal.timeout(Math.max(Math.ceil(timeoutMs), 1)),
    ...(sent.body !== undefined && { body: sent.body }),
  });
  return { status: got.status, headers: got.headers, body: await got.text() };
}

/** Every request of ours may be sent twice: what begins has a gid, what decides is idempotent. */
export class Transport {
  readonly #bases: string[];

  constructor(
    bases: readonly string[],
    readonly headers: Record<string, string>,
    readonly fetch: Fetch,
  ) {
    if (bases.length === 0) throw new RangeError("the URL of at least one replica is needed");
    this.#bases = bases.map((base) => {
      if (!/^https?:$/.test(new URL(base).protocol)) throw new RangeError(`not an http(s) URL: ${base}`);
      return base.replace(/\/+$/, "");
    });
  }

  /** A success. waitsMs: how long sagad was asked to wait before it answers. Throws Problem or Unreachable. */
  async send(sent: Sent, withinMs: number, waitsMs = 0): Promise<Received> {
    const end = Date.now() + withinMs + waitsMs;
    const all = { ...sent, headers: { Accept: "application/json", ...this.headers, ...sent.headers } };
    let turn = Math.floor(Math.random() * this.#bases.length);
    for (let pause = FIRST_PAUSE_MS, tries = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS), tries++) {
      let why: unknown;
      try {
        const got = await sendOnce(this.fetch, this.#bases[turn % this.#bases.length] + sent.path, all, Math.min(end - Date.now(), ATTEMPT_MS + waitsMs));
        if (got.status < 300) return got;
        why = new Problem(got.status, got.headers, got.body);
      } catch (failure) {
        why = failure;
      }
      if (why instanceof Problem && !why.again) throw why;
      turn++;
      // The others are asked at once, then all again after a pause.
      const next = why instanceof Problem || tries % this.#bases.length === 0;
      const told = why instanceof Problem ? (why.retryAfterS ?? 0) * 1000 : 0;
      const rest = next ? Math.max(pause, told) * (0.5 + Math.random() / 2) : 0;
      if (Date.now() + rest >= end) {
        if (why instanceof Problem) throw why;
        throw new Unreachable(`no answer within ${withinMs / 1000} s: ${String(why)}`, undefined, { cause: why });
      }
      await sleep(rest);
    }
  }
}
