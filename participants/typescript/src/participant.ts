// SPDX-License-Identifier: Apache-2.0
// A service that takes part: paths and ops to functions, whatever the web framework.
import { type Answer, failed, unavailable } from "./answer.js";
import { Barrier } from "./barrier.js";
import { type Call, type HeadersLike, type Lowered, METHODS, NotACall, OPS, type Op, lowered, readCall } from "./call.js";
import type { Database } from "./database.js";
import { type Log, type Work, run } from "./run.js";
import { BadSignature, TOLERANCE_S, checkSecrets, verify } from "./webhook.js";
import { runXa, xaReady } from "./xa.js";

export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

export interface ParticipantOptions {
  /** If there are any, every call has to be signed with one of them. */
  secrets?: readonly string[];
  toleranceS?: number;
  log?: Log;
}

type Serve = (call: Call) => Promise<Answer>;

interface Route {
  readonly segments: readonly string[];
  readonly serves: Map<Op, Serve>;
}

function segmentsOf(path: string): string[] | undefined {
  try {
    return path.split("/").map(decodeURIComponent);
  } catch {
    return undefined; // a percent sign that stands for nothing
  }
}

function paramsOf(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [at, want] of pattern.entries()) {
    const got = segments[at] ?? "";
    const name = /^\{(\w+)\}$/.exec(want)?.[1];
    if (name !== undefined && got !== "") params[name] = got;
    else if (want !== got) return undefined;
  }
  return params;
}

/** Undefined: it is not UTF-8. What was meant by other bytes nobody knows, so nothing is done for them. */
function textOf(body: string | Uint8Array): string | undefined {
  if (typeof body === "string") return body;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return undefined;
  }
}

export class Participant<C> {
  readonly #database: Database<C>;
  readonly #secrets: readonly string[];
  readonly #toleranceS: number;
  readonly #log: Log;
  readonly #routes: Route[] = [];

  constructor(database: Database<C>, { secrets = [], toleranceS = TOLERANCE_S, log = console.error }: ParticipantOptions = {}) {
    checkSecrets(secrets);
    this.#database = database;
    this.#secrets = secrets;
    this.#toleranceS = toleranceS;
    this.#log = log;
  }

  /** on("/rooms/{id}/cancel", "cancel", work): {id} comes as call.params.id. */
  on(path: string, op: Op, work: Work<C>): this {
    return this.#add(path, op, (call) => run(this.#database, call, work, this.#log));
  }

  /** A step whose try PostgreSQL holds open until the confirm; work is that of the try. One path will do for all three. */
  prepared(paths: string | Readonly<Record<"try" | "confirm" | "cancel", string>>, work: Work<C>): this {
    for (const op of ["try", "confirm", "cancel"] as const) {
      this.#add(typeof paths === "string" ? paths : paths[op], op, (call) => runXa(this.#database, call, work, this.#log));
    }
    return this;
  }

  /** The check of messages: whether their own transaction was committed, as Barrier.message() has left it. */
  check(path: string): this {
    return this.#add(path, "check", (call) => run(this.#database, call, null, this.#log));
  }

  #add(path: string, op: Op, serve: Serve): this {
    if (!OPS.includes(op)) throw new RangeError(`no such op: ${op}`);
    if (!path.startsWith("/")) throw new RangeError(`a path begins with a slash: ${path}`);
    const segments = path.split("/");
    let route = this.#routes.find((known) => known.segments.join("/") === path);
    if (route === undefined) this.#routes.push((route = { segments, serves: new Map() }));
    if (route.serves.has(op)) throw new RangeError(`${op} ${path} has its function already`);
    route.serves.set(op, serve);
    return this;
  }

  /** Puts the barrier into the service's database; again is harmless. prepares: throws where nothing can be prepared. */
  async setup({ prepares = false } = {}): Promise<void> {
    await this.#database.use((session) => new Barrier(session).setup());
    if (prepares) await xaReady(this.#database);
  }

  /** Is there anything at this path? path: as it stands in the URL, without the query. */
  has(path: string): boolean {
    return this.#find(path) !== undefined;
  }

  async serve(path: string, headers: HeadersLike, body: string | Uint8Array, method = "POST"): Promise<Reply> {
    let op: Op | undefined;
    let answer: Answer;
    try {
      const low = lowered(headers);
      op = readCall(low, "", {}).op;
      if (!METHODS[op].includes(method)) {
        const no = failed(405, `a ${op} is not called with ${method}`);
        return { status: no.status, headers: { ...no.headers(), Allow: METHODS[op].join(", ") }, body: no.body ?? "" };
      }
      if (this.#secrets.length > 0) verify(low, body, this.#secrets, { toleranceS: this.#toleranceS });
      const text = textOf(body);
      answer = text === undefined ? failed(400, "the body is not UTF-8") : await this.#route(path, low, text, op);
    } catch (why) {
      if (why instanceof BadSignature) {
        this.#log(`a call of ${path} is not let in`, why.message);
        answer = failed(401, why.message);
      } else if (why instanceof NotACall) {
        answer = failed(400, why.message);
      } else {
        this.#log("no connection to the database", why);
        answer = unavailable("no connection to the database; call again");
      }
    }
    return { status: answer.status, headers: answer.headers(op), body: (answer.status !== 204 && answer.body) || "" };
  }

  #find(path: string): [Route, Record<string, string>] | undefined {
    const segments = segmentsOf(path);
    for (const route of segments ? this.#routes : []) {
      const params = paramsOf(route.segments, segments ?? []);
      if (params) return [route, params];
    }
    return undefined;
  }

  async #route(path: string, headers: Lowered, text: string, op: Op): Promise<Answer> {
    const found = this.#find(path);
    const serve = found?.[0].serves.get(op);
    if (found === undefined || serve === undefined) {
      // No 404: definitions may take that of a cancel for "there is nothing to cancel", and a path with a slip in it would pass for one.
      const why = found === undefined ? "there is nothing at this path" : `there is no ${op} here`;
      this.#log(`a call of ${path} is answered 400`, why);
      return failed(400, why);
    }
    return serve(readCall(headers, text, found[1]));
  }
}
