// SPDX-License-Identifier: Apache-2.0
// A Participant behind node:http, and as middleware of Express.
import type { IncomingMessage, ServerResponse } from "node:http";
import { failed } from "./answer.js";
import { isCall } from "./call.js";
import type { Participant, Reply } from "./participant.js";

export interface AdapterOptions {
  /** Bytes. */
  bodyMax?: number;
}

const BODY_MAX = 1 << 20;

/** As Express gives it: something before us may have read the body. */
type Request = IncomingMessage & { body?: unknown };

function reply(status: number, why: string): Reply {
  const answer = failed(status, why);
  return { status, headers: answer.headers(), body: answer.body ?? "" };
}

async function bodyOf(request: Request, bodyMax: number): Promise<Buffer | Reply> {
  if (Buffer.isBuffer(request.body) || typeof request.body === "string") return Buffer.from(request.body);
  // A parsed body has lost the bytes that were signed, and its numbers.
  if (request.readableEnded) return reply(400, "the body was read before it came here: put sagad before express.json()");
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size <= bodyMax) parts.push(part);
  }
  return size > bodyMax ? reply(413, `the body has more than ${bodyMax} bytes`) : Buffer.concat(parts);
}

async function answer<C>(participant: Participant<C>, request: Request, response: ServerResponse, bodyMax: number): Promise<void> {
  const body = await bodyOf(request, bodyMax);
  const said = Buffer.isBuffer(body) ? await participant.serve(pathOf(request), pairsOf(request), body, request.method) : body;
  const content = Buffer.from(said.body);
  response.writeHead(said.status, { ...said.headers, ...(said.status !== 204 && { "Content-Length": content.length }) });
  response.end(content);
}

/** As they came: request.headers has joined those of one name, or dropped all but the first. */
function* pairsOf({ rawHeaders }: IncomingMessage): Generator<[string, string]> {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) yield [rawHeaders[at] ?? "", rawHeaders[at + 1] ?? ""];
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? "/").split("?")[0] ?? "/";
}

/** createServer(listener(participant)) */
export function listener<C>(participant: Participant<C>, { bodyMax = BODY_MAX }: AdapterOptions = {}) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    // Who has gone needs no answer: he calls again.
    answer(participant, request, response, bodyMax).catch(() => response.destroy());
  };
}

/**
 * app.use(middleware(participant)), or below a prefix; before express.json(). What is not ours goes on to the next, but for calls of
 * sagad: the 404 at the end of an app may pass for "there is nothing to cancel", so a call that nobody knows is answered 400 here.
 */
export function middleware<C>(participant: Participant<C>, { bodyMax = BODY_MAX }: AdapterOptions = {}) {
  return (request: IncomingMessage, response: ServerResponse, next: (why?: unknown) => void): void => {
    // A path of the participant's may have a GET of the app's own beside it.
    const isOurs = isCall(request.headers) || (request.method === "POST" && participant.has(pathOf(request)));
    if (!isOurs) next();
    else answer(participant, request, response, bodyMax).catch(() => response.destroy());
  };
}
