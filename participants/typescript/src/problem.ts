// SPDX-License-Identifier: Apache-2.0
// What sagad says when it does not do it: RFC 9457 problems, decoded.
import { type HeadersLike, joined } from "./call.js";

const AGAIN = [408, 429, 502, 503, 504];

export interface Fault {
  /** JSON Pointer into the body that was sent. */
  readonly pointer: string;
  readonly detail: string;
}

/** An answer that is no success. code is stable (docs/api.md has all); undefined if something in front of sagad answered. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string | undefined;
  readonly title: string | undefined;
  readonly detail: string | undefined;
  readonly retryable: boolean;
  readonly retryAfterS: number | undefined;
  gid: string | undefined;
  readonly requestId: string | undefined;
  readonly errors: readonly Fault[];

  /** Whatever came: a body that is no problem document is no reason to fail. */
  constructor(status: number, headers: HeadersLike, body: string) {
    const said = objectOf(body);
    const text = (name: string) => (typeof said[name] === "string" ? said[name] : undefined);
    const sentence = text("detail") ?? text("title");
    super([text("code") ?? `HTTP ${status}`, sentence].filter(Boolean).join(": "));
    this.name = "Problem";
    this.status = status;
    this.code = text("code");
    this.title = text("title");
    this.detail = text("detail");
    this.retryable = typeof said["retryable"] === "boolean" ? said["retryable"] : AGAIN.includes(status);
    const wait = joined(headers).get("retry-after");
    this.retryAfterS = wait !== undefined && /^[0-9]{1,9}$/.test(wait) ? Number(wait) : undefined;
    this.gid = text("gid");
    this.requestId = text("request_id");
    this.errors = faultsOf(said["errors"]);
  }

  /** May the same request simply be sent again? */
  get again(): boolean {
    return this.retryable && AGAIN.includes(this.status);
  }
}

/** No replica gave an answer in time. It may or may not have been done: ask again, with this gid. */
export class Unreachable extends Error {
  constructor(
    why: string,
    public gid?: string | undefined,
    options?: ErrorOptions,
  ) {
    super(why, options);
    this.name = "Unreachable";
  }
}

function objectOf(body: string): Record<string, unknown> {
  try {
    const said: unknown = JSON.parse(body);
    return typeof said === "object" && said !== null && !Array.isArray(said) ? (said as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function faultsOf(errors: unknown): Fault[] {
  const found: Fault[] = [];
  for (const error of Array.isArray(errors) ? errors : []) {
    const { pointer, detail } = (error ?? {}) as { pointer?: unknown; detail?: unknown };
    if (typeof pointer === "string" && typeof detail === "string") found.push({ pointer, detail });
  }
  return found;
}
