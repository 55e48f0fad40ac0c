// SPDX-License-Identifier: Apache-2.0
// Who sent it: signatures as Standard Webhooks 1.0.0 has them, HMAC-SHA256.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { type HeadersLike, type Lowered, NotACall, lowered } from "./call.js";

export const TOLERANCE_S = 300;

/** It was not sent by who knows our secret, or not now: answer 401. */
export class BadSignature extends Error {
  constructor(
    readonly reason: "missing" | "timestamp" | "signature",
    why: string,
  ) {
    super(why);
    this.name = "BadSignature";
  }
}

/** The bytes of a secret as written: whsec_ and base64, else the text itself. Throws RangeError. */
export function keyOf(secret: string): Buffer {
  if (!secret.startsWith("whsec_")) {
    if (secret === "") throw new RangeError("a secret is empty");
    return Buffer.from(secret);
  }
  const text = secret.slice("whsec_".length).replace(/=+$/, "");
  if (text === "" || !/^[A-Za-z0-9+/]*$/.test(text) || text.length % 4 === 1) {
    throw new RangeError("what follows whsec_ in a secret is no base64");
  }
  return Buffer.from(text, "base64");
}

/** Throws TypeError for what is no list of texts: of one text alone each letter would be a secret. */
export function checkSecrets(secrets: readonly string[]): void {
  if (!Array.isArray(secrets)) throw new TypeError(`secrets is a list of texts, as in { secrets: ["whsec_..."] }, not one ${typeof secrets}`);
  for (const secret of secrets) {
    if (typeof secret !== "string") throw new TypeError(`a secret is text, not ${typeof secret}`);
    keyOf(secret); // what is wrong with it is said now
  }
}

/** One signature: v1,BASE64. */
export function sign(secret: string, id: string, timestampS: number, body: string | Uint8Array): string {
  return "v1," + createHmac("sha256", keyOf(secret)).update(`${id}.${timestampS}.`).update(body).digest("base64");
}

/** webhook-id of a call: the same in every attempt. */
export function messageId(gid: string, step: string, op: string): string {
  return "msg_" + createHash("sha256").update(`${gid}:${step}:${op}`).digest("hex").slice(0, 32);
}

function same(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/**
 * Throws BadSignature unless one of secrets signed these bytes within toleranceS of now. Several secrets: while one is
 * replaced both are good. The signature covers webhook-id, webhook-timestamp and the body; of the Saga headers webhook-id
 * covers gid, step and op, so these three are compared with it.
 */
export function verify(
  headers: HeadersLike,
  body: string | Uint8Array,
  secrets: readonly string[],
  { nowS = Date.now() / 1000, toleranceS = TOLERANCE_S }: { nowS?: number; toleranceS?: number } = {},
): void {
  checkSecrets(secrets);
  let low: Lowered;
  try {
    low = lowered(headers);
  } catch (why) {
    throw why instanceof NotACall ? new BadSignature("signature", why.message) : why;
  }
  const [id, stamp, given] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => low.get(name));
  if (id === undefined || stamp === undefined || given === undefined) throw new BadSignature("missing", "the request is not signed");
  if (!/^[0-9]{1,15}$/.test(stamp)) throw new BadSignature("timestamp", "webhook-timestamp is no time");
  const age = nowS - Number(stamp);
  if (Math.abs(age) > toleranceS) {
    throw new BadSignature("timestamp", `signed ${Math.abs(age).toFixed(0)} s ${age > 0 ? "ago" : "ahead of our clock"}`);
  }
  // Each with each, and no way out early: how long it takes tells nothing.
  let good = false;
  for (const secret of secrets) {
    const want = sign(secret, id, Number(stamp), body);
    for (const signature of given.split(/\s+/)) good = same(want, signature) || good;
  }
  if (!good) throw new BadSignature("signature", "no secret of ours made this signature");
  const [gid, step, op] = ["saga-id", "saga-step", "saga-op"].map((name) => low.get(name));
  if (gid !== undefined && !same(messageId(gid, step ?? "", op ?? ""), id)) {
    throw new BadSignature("signature", "webhook-id was made for another gid, step or op");
  }
}
