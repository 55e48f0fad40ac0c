// SPDX-License-Identifier: Apache-2.0
// Begin transactions, wait for them, decide them.
import type { Database } from "./database.js";
import { type Delivery, type MessageWork, sendMessage } from "./message.js";
import { Problem, Unreachable } from "./problem.js";
import type { Log } from "./run.js";
import { Tcc, type TccOptions, type TccResult, runTcc } from "./tcc.js";
import { type Fetch, type Received, Transport, newGid } from "./transport.js";

export type Phase = "prepared" | "trying" | "confirming" | "confirmed" | "cancelling" | "cancelled" | "abandoned";

export interface Step {
  readonly name: string;
  readonly kind: "compensatable" | "pivot" | "retriable";
  readonly state: "pending" | "tried" | "refused" | "untried" | "confirmed" | "cancelled";
  readonly attempts: number;
  readonly last_error: { status: number; detail: string; at: string } | null;
  readonly output: any;
  readonly [more: string]: unknown;
}

/** As sagad tells it (GET /v1/transactions/{gid} in its API), and what follows from that. */
export interface Transaction {
  readonly gid: string;
  readonly phase: Phase;
  readonly version: number;
  /** null: not ended. */
  readonly result: "succeeded" | "cancelled" | "mixed" | null;
  readonly output?: any;
  /** Why cancel was decided. */
  readonly cause?: { kind: string; step?: string; [more: string]: unknown } | null;
  /** It needs a person. */
  readonly stuck?: { reason: string; since: string | null; detail: string } | null;
  readonly steps?: readonly Step[];
  readonly deadline_at?: string | null;
  readonly created_at?: string;
  readonly [more: string]: unknown;
}

export interface Known extends Transaction {
  readonly ended: boolean;
  readonly succeeded: boolean;
  /** It had begun before. */
  readonly replayed: boolean;
}

/** A URL, or a call as definitions have it: { participant, path, … }. */
export type Target = string | Readonly<Record<string, unknown>>;

export interface StartOptions {
  /** What it is about, as in order-17: the same gid and content again is the same transaction. */
  gid?: string;
  /** The name of a registered definition, or steps of its own. */
  definition?: string;
  version?: number;
  mode?: "saga" | "tcc" | "message";
  steps?: Readonly<Record<string, unknown>>;
  input?: unknown;
  labels?: Readonly<Record<string, string>>;
  deadline?: string;
  start_at?: string;
  [more: string]: unknown;
}

export interface WaitOptions {
  /** Until it has ended, at most so long. */
  waitMs?: number;
}

export interface StepOptions {
  confirm?: Target;
  cancel?: Target;
  /** sagad calls it, too. */
  try?: Target;
  /** The body of its calls. */
  data?: unknown;
  [more: string]: unknown;
}

export interface ClientOptions {
  token?: string;
  /** How long a request is repeated while nobody answers, or sagad says 429 or 503. */
  timeoutMs?: number;
  fetch?: Fetch;
}

const WAIT_MAX_MS = 60000; // sagad's own limit of one wait

function targetOf(target: Target | undefined): unknown {
  return typeof target === "string" ? { url: target } : target;
}

function pathOf(gid: string, rest = ""): string {
  return `/v1/transactions/${encodeURIComponent(gid)}${rest}`;
}

function known(got: Received): Known {
  const told = JSON.parse(got.body) as Transaction;
  return {
    ...told,
    ended: ["confirmed", "cancelled", "abandoned"].includes(told.phase),
    succeeded: told.result === "succeeded",
    replayed: got.headers.has("saga-replayed"),
  };
}

/** urls: the replicas, or what stands before them; any replica serves any request. */
export class Client {
  readonly #transport: Transport;
  readonly timeoutMs: number;

  constructor(urls: string | readonly string[], { token, timeoutMs = 15000, fetch: to = fetch }: ClientOptions = {}) {
    const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
    this.#transport = new Transport(typeof urls === "string" ? [urls] : urls, headers, to);
    this.timeoutMs = timeoutMs;
  }

  /**
   * Begins one. It is sent under a gid in any case, so it can be sent until it is answered, at any replica. The same gid with another
   * content is a Problem with code idempotency_key_reused.
   */
  async start(options: StartOptions, { waitMs = 0, traceparent }: WaitOptions & { traceparent?: string | undefined } = {}): Promise<Known> {
    const body = { ...options, gid: options.gid ?? newGid() };
    const got = await this.#ask("POST", "/v1/transactions", body, waitMs, traceparent ? { traceparent } : {}).catch((why: unknown) => {
      if (why instanceof Unreachable || why instanceof Problem) why.gid ??= body.gid; // to start it again, or to look for it
      throw why;
    });
    return this.#untilEnded(got, waitMs);
  }

  async get(gid: string): Promise<Known> {
    return known(await this.#ask("GET", pathOf(gid)));
  }

  /** Until it has ended, at most so long: look at ended. */
  async wait(gid: string, waitMs = WAIT_MAX_MS): Promise<Known> {
    return this.#untilEnded(await this.#ask("GET", pathOf(gid), undefined, waitMs), waitMs);
  }

  /** Adds a step to an open TCC, before its try is called. */
  async join(gid: string, name: string, { confirm, cancel, try: called, ...more }: StepOptions): Promise<Known> {
    const body = {
      name,
      ...more,
      confirm: targetOf(confirm),
      cancel: targetOf(cancel),
      ...(called !== undefined && { try: targetOf(called), call_try: true }),
    };
    return known(await this.#ask("POST", pathOf(gid, "/steps"), body));
  }

  /** Throws Problem with code decided if it is cancelled, not_ready if a step that sagad tries is not ok yet. */
  async confirm(gid: string, { waitMs = 0 }: WaitOptions = {}): Promise<Known> {
    return this.#untilEnded(await this.#ask("POST", pathOf(gid, "/confirm"), {}, waitMs), waitMs);
  }

  /** Throws Problem with code decided if it is confirmed, in_doubt while a pivot's outcome is not known. */
  async cancel(gid: string, reason?: string, { waitMs = 0 }: WaitOptions = {}): Promise<Known> {
    return this.#untilEnded(await this.#ask("POST", pathOf(gid, "/cancel"), reason ? { reason } : {}, waitMs), waitMs);
  }

  /** Runs work; then the transaction is confirmed. If work throws it is cancelled, and what work threw is thrown. */
  tcc<T>(options: TccOptions, work: (tcc: Tcc) => Promise<T>): Promise<TccResult<T>> {
    return runTcc(this, this.#transport.fetch, options, work);
  }

  /**
   * Prepares a two-phase message, runs work(db, prepared) in a transaction of its own, and confirms. What it stands for tells the gid: the
   * same again, years later too, is the same message, and its work is done once. work throws Refused where there shall be no message, and
   * may be run again from its start after a deadlock. Throws what the work or the database throws: nothing was committed.
   */
  send<C>(database: Database<C>, options: StartOptions, work: MessageWork<C>, more: WaitOptions & { log?: Log } = {}): Promise<Delivery> {
    return sendMessage(this, database, options, work, more);
  }

  /** Registers a definition; the version it has. The same content again changes nothing. */
  async define(name: string, document: Readonly<Record<string, unknown>>): Promise<number> {
    const got = await this.#ask("PUT", `/v1/definitions/${encodeURIComponent(name)}`, document);
    return (JSON.parse(got.body) as { version: number }).version;
  }

  #ask(method: string, path: string, body?: unknown, waitMs = 0, headers: Record<string, string> = {}): Promise<Received> {
    const waits = Math.min(waitMs, WAIT_MAX_MS);
    return this.#transport.send(
      {
        method,
        path: waits > 0 ? `${path}?wait=${Math.ceil(waits)}ms` : path,
        headers: { ...headers, ...(body !== undefined && { "Content-Type": "application/json" }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      },
      this.timeoutMs,
      waits,
    );
  }

  /** A wait may be longer than one request can. */
  async #untilEnded(got: Received, waitMs: number): Promise<Known> {
    const end = Date.now() + waitMs - Math.min(waitMs, WAIT_MAX_MS);
    const first = known(got);
    let now = first;
    for (let left = end - Date.now(); !now.ended && left > 0; left = end - Date.now()) {
      now = { ...known(await this.#ask("GET", pathOf(now.gid), undefined, left)), replayed: first.replayed };
    }
    return now;
  }
}

async function report(url: URL, body: unknown, { timeoutMs = 15000, fetch: to = fetch }: Omit<ClientOptions, "token">): Promise<void> {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  await new Transport([url.origin], {}, to).send({ method: "POST", path: url.pathname + url.search, ...sent }, timeoutMs);
}

/** Reports the success of a call that was answered 202: callback is its call.callback. Again is harmless. */
export function complete(callback: string, output?: unknown, options: Omit<ClientOptions, "token"> = {}): Promise<void> {
  return report(new URL(callback), output, options);
}

/** Reports its refusal. */
export async function fail(callback: string, why: string, options: Omit<ClientOptions, "token"> = {}): Promise<void> {
  const url = new URL(callback);
  if (!url.pathname.endsWith("/complete")) throw new RangeError("not a callback URL of sagad");
  url.pathname = url.pathname.slice(0, -"complete".length) + "fail";
  return report(url, { error: why }, options);
}
