// SPDX-License-Identifier: Apache-2.0
// An open TCC around a function: confirmed at its end, cancelled if it throws or a step of it has failed.
import { Refused, outcomeOf, retryAfterMs } from "./answer.js";
import type { Client, Known, StepOptions, Target } from "./client.js";
import { Problem, Unreachable } from "./problem.js";
import { ATTEMPT_MS, type Fetch, type Received, newGid, sendOnce, sleep } from "./transport.js";
import { checkSecrets, messageId, sign } from "./webhook.js";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2000;

export interface TccOptions {
  gid?: string;
  /** If nobody has decided by then, sagad cancels. */
  deadline?: string;
  /** For its end, once it is decided. */
  waitMs?: number;
  /** Tries that call() makes are signed with these. */
  secrets?: readonly string[];
  input?: unknown;
  labels?: Readonly<Record<string, string>>;
  /** Of the trace that goes on in it. */
  traceparent?: string | undefined;
}

export interface TccResult<T> {
  readonly value: T;
  /** confirmed; or confirming: sagad is still at it, which can only end in confirmed. */
  readonly transaction: Known;
}

export interface CallOptions {
  confirm: Target;
  cancel: Target;
  /** How long the try is called again while nobody can tell what came of it; unless given that of the client. */
  timeoutMs?: number;
  /** Of your own, for this call; the client's token is for sagad alone. */
  headers?: Readonly<Record<string, string>>;
  [more: string]: unknown;
}

/**
 * The function ended well and yet the transaction is cancelled: its deadline had passed, a try of sagad's was refused, or a join or a call
 * of the function had failed (cause), although the function went on.
 */
export class NotConfirmed extends Error {
  constructor(
    readonly transaction: Known,
    failure?: Error,
  ) {
    const why = failure ? told(failure) : (transaction.cause?.kind ?? "another decision");
    super(`${transaction.gid} is ${transaction.phase}: ${why}`, failure && { cause: failure });
    this.name = "NotConfirmed";
  }
}

function told(failure: Error): string {
  return `a step of it has failed: ${String(failure)}`;
}

/** What the participant says, where it says it in one of the usual members. */
function whyOf(got: Received): string {
  let said: unknown;
  try {
    said = JSON.parse(got.body);
  } catch {
    said = undefined;
  }
  for (const member of ["detail", "title", "message", "error"]) {
    const text = (said as Record<string, unknown> | null | undefined)?.[member];
    if (typeof text === "string") return text;
  }
  return `HTTP ${got.status}`;
}

/** What work has begun, and whether it is over: nothing may be tried behind a confirm or a cancel. */
interface Doings {
  readonly begun: Set<Promise<unknown>>;
  over: boolean;
}

/** Until nothing that was begun is under way, what it has begun meanwhile included. */
async function settled({ begun }: Doings): Promise<void> {
  while (begun.size > 0) await Promise.allSettled([...begun]);
}

export class Tcc {
  readonly #client: Client;
  readonly #fetch: Fetch;
  readonly #secrets: readonly string[];
  readonly #traceparent: string | undefined;
  readonly #doings: Doings;
  /** As it was last seen. */
  transaction: Known;
  /** The first join or call that failed. Whatever comes after it, nothing is confirmed. */
  failure: Error | undefined;

  constructor(client: Client, to: Fetch, transaction: Known, doings: Doings, secrets: readonly string[], traceparent?: string) {
    this.#doings = doings;
    this.#client = client;
    this.#fetch = to;
    this.#secrets = secrets;
    this.#traceparent = traceparent;
    this.transaction = transaction;
  }

  get gid(): string {
    return this.transaction.gid;
  }

  /** A step whose try sagad calls (try), or which is tried in some way of your own after this. */
  join(name: string, options: StepOptions): Promise<void> {
    return this.#remembering(async () => {
      this.transaction = await this.#client.join(this.gid, name, options);
    });
  }

  /** The end waits for it, also if nobody awaits it; and then hears of its failure, which is not unhandled. */
  #remembering<T>(work: () => Promise<T>): Promise<T> {
    if (this.#doings.over) return Promise.reject(new Error(`${this.gid}: the function of this tcc has ended`));
    const begun = this.#keeping(work);
    const end = () => void this.#doings.begun.delete(begun);
    this.#doings.begun.add(begun);
    begun.then(end, end);
    return begun;
  }

  /** A step that is registered and was not tried well cannot be confirmed, whoever has caught the error. */
  async #keeping<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (why) {
      this.failure ??= why instanceof Error ? why : new Error(String(why));
      throw why;
    }
  }

  /**
   * Joins, then calls the step's try from here, with the fetch of the client: its output. data: the body of all its calls. Throws
   * Refused; Unreachable when nobody can tell. After a failure nothing is confirmed, also if it is caught: what may do instead is tried in
   * a tcc of its own.
   */
  call<T = any>(name: string, url: string, data: unknown, { timeoutMs = this.#client.timeoutMs, headers, ...step }: CallOptions): Promise<T> {
    return this.#remembering(async () => {
      await this.join(name, { ...step, ...(data !== undefined && { data }) });
      return this.#call<T>(name, url, data, timeoutMs, headers);
    });
  }

  async #call<T>(name: string, url: string, data: unknown, timeoutMs: number, headers: CallOptions["headers"]): Promise<T> {
    const body = data === undefined ? "" : JSON.stringify(data);
    const end = Date.now() + timeoutMs;
    for (let pause = FIRST_PAUSE_MS, attempt = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS), attempt++) {
      const got = await this.#try(url, { ...headers, ...this.#headers(name, attempt, body) }, body, Math.min(end - Date.now(), ATTEMPT_MS));
      const told = got.headers.get("saga-outcome");
      const isBareConflict = got.status === 409 && attempt > 1 && told === null;
      const outcome = isBareConflict ? "unknown" : outcomeOf("try", got.status, told, got.body);
      if (outcome === "ok") return (got.body.trim() === "" ? undefined : JSON.parse(got.body)) as T;
      if (outcome === "refused") throw new Refused(whyOf(got));
      if (outcome === "misconfigured") throw new Problem(got.status, got.headers, got.body);
      const rest = Math.max(pause, retryAfterMs(got.headers.get("retry-after")));
      if (Date.now() + rest >= end) {
        throw new Unreachable(`the try of ${name} gave no outcome within ${timeoutMs / 1000} s`, this.gid);
      }
      if (!this.#doings.over) await sleep(rest * (0.8 + Math.random() / 5));
      if (this.#doings.over) throw new Unreachable(`the try of ${name} gave no outcome before the function of this tcc ended`, this.gid);
    }
  }

  async #try(url: string, headers: Record<string, string>, body: string, leftMs: number): Promise<Received> {
    try {
      return await sendOnce(this.#fetch, url, { method: "POST", path: "", body, headers }, leftMs);
    } catch {
      return { status: 0, headers: new Headers(), body: "" };
    }
  }

  #headers(name: string, attempt: number, body: string): Record<string, string> {
    const { gid, created_at: accepted, deadline_at: deadline } = this.transaction;
    const id = messageId(gid, name, "try");
    const now = Math.floor(Date.now() / 1000);
    return {
      "Content-Type": "application/json",
      "Saga-Id": gid,
      "Saga-Step": name,
      "Saga-Op": "try",
      "Saga-Attempt": String(attempt),
      "Idempotency-Key": `"${gid}:${name}:try"`,
      ...(this.#traceparent !== undefined && { traceparent: this.#traceparent }),
      ...(accepted && { "Saga-Accepted": accepted }),
      ...(deadline && { "Saga-Deadline": deadline }),
      ...(this.#secrets.length > 0 && {
        "webhook-id": id,
        "webhook-timestamp": String(now),
        "webhook-signature": this.#secrets.map((secret) => sign(secret, id, now, body)).join(" "),
      }),
    };
  }
}

/** Never followed by a cancel: whether a confirm that was not answered has been heard, nobody here knows. */
async function confirm(client: Client, gid: string, waitMs: number): Promise<Known> {
  const end = Date.now() + Math.max(waitMs, 1000);
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return await client.confirm(gid, { waitMs });
    } catch (why) {
      if (!(why instanceof Problem)) throw why;
      if (why.code === "decided") return client.wait(gid, waitMs);
      if (why.code !== "not_ready" || Date.now() + pause >= end) throw why;
    }
    await sleep(pause);
  }
}

export async function runTcc<T>(
  client: Client,
  to: Fetch,
  { gid = newGid(), deadline = "1m", waitMs = 20000, secrets = [], traceparent, ...more }: TccOptions,
  work: (tcc: Tcc) => Promise<T>,
): Promise<TccResult<T>> {
  checkSecrets(secrets);
  const doings: Doings = { begun: new Set(), over: false };
  const begun = await client.start({ gid, mode: "tcc", deadline, ...more }, { traceparent });
  const tcc = new Tcc(client, to, begun, doings, secrets, traceparent);
  let value: T;
  try {
    value = await work(tcc);
    await settled(doings);
    doings.over = true;
  } catch (why) {
    doings.over = true;
    await settled(doings); // a cancel must not overtake a try of ours
    // If sagad cannot be reached its deadline cancels it; what the caller has to see is what work threw.
    await client.cancel(gid, String(why).slice(0, 1000), { waitMs }).catch(() => undefined);
    throw why;
  }
  if (tcc.failure) {
    const last = await client.cancel(gid, told(tcc.failure).slice(0, 1000), { waitMs }).catch(() => tcc.transaction);
    throw new NotConfirmed(last, tcc.failure);
  }
  const transaction = await confirm(client, gid, waitMs);
  if (transaction.phase !== "confirming" && transaction.phase !== "confirmed") throw new NotConfirmed(transaction);
  return { value, transaction };
}
