// SPDX-License-Identifier: Apache-2.0
// What ${…} of a definition becomes, to test definitions with: the values are slices of JSON text, put in as they were written.

/** A body of JSON, path and query of a URL, a header's value, any other body. */
export type Place = "json" | "path" | "header" | "text";

/** What templates read. input, outputs: JSON texts, as they would be sent; of a step that has no output null. */
export interface Sources {
  input?: string;
  outputs?: Readonly<Record<string, string | null>>;
  gid?: string;
  definition?: string | null;
  nowMs?: number;
}

/** No definition may hold it. */
export class BadTemplate extends Error {
  constructor(why: string) {
    super(why);
    this.name = "BadTemplate";
  }
}

/** A value is missing or does not fit its place: the call cannot be made, and sagad calls that misconfigured. */
export class NoValue extends Error {
  constructor(why: string) {
    super(why);
    this.name = "NoValue";
  }
}

interface Reference {
  readonly root: string;
  readonly step: string;
  readonly parts: readonly (string | number)[];
}

interface Hole {
  readonly source: string;
  /** A text is a literal, in JSON. */
  readonly operands: readonly (Reference | string)[];
}

const ROOTS = ["input", "steps", "gid", "definition", "now"];
const ALTERNATIVES_MAX = 8;
const DEPTH_MAX = 32;
const INDEX_MAX = 100000;
const BODY_MAX = 1 << 20; // bytes
const LINE_MAX = 8000;
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs;
const URL_TEXT = /^(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*$/;
const HEADER_TEXT = /^[^\x00-\x1f\x7f]*$/;

/** Throws BadTemplate or NoValue. Of a body of JSON the template is the JSON text. */
export function fillTemplate(template: string, place: Place, sources: Sources): string {
  const made = place === "json" ? fillJson(template, sources) : fillText(template, place, sources);
  const limit = place === "json" || place === "text" ? BODY_MAX : LINE_MAX;
  if (Buffer.byteLength(made) > limit) throw new NoValue(`a ${place} became larger than ${limit} bytes`);
  return made;
}

// ---- places ---------------------------------------------------------------------------------------

function fillJson(template: string, sources: Sources): string {
  JSON.parse(template);
  return template.replace(TOKEN, (token, at: number) => {
    const isName = template.slice(at + token.length).trimStart().startsWith(":");
    if (!token.startsWith('"') || isName) return token;
    const text = JSON.parse(token) as string;
    return text.includes("${") ? fillString(text, sources) : token;
  });
}

function fillString(text: string, sources: Sources): string {
  const parts = cut(text, sources);
  const [first] = parts;
  if (parts.length === 1 && typeof first === "object") return valueOf(first, sources); // it keeps its type
  return `"${parts.map((part) => (typeof part === "string" ? escaped(part) : inString(part, sources))).join("")}"`;
}

function inString(hole: Hole, sources: Sources): string {
  const value = valueOf(hole, sources);
  if (value === "null") throw new NoValue(`${hole.source} is null, which has no text: give a default with ??`);
  return value.startsWith('"') ? value.slice(1, -1) : escaped(value);
}

function fillText(template: string, place: Place, sources: Sources): string {
  const parts = cut(template, sources);
  for (const part of parts) if (typeof part === "string") checkLiteral(part, place);
  if (place === "path") return fillPath(parts, sources);
  return parts.map((part) => (typeof part === "string" ? part : asText(part, place, sources))).join("");
}

function asText(hole: Hole, place: Place, sources: Sources): string {
  const value = valueOf(hole, sources);
  if (place !== "text" && /^(?:null$|[{[])/.test(value)) {
    throw new NoValue(`${hole.source} is ${value === "null" ? "null" : "an object or array"}, which fits neither a URL nor a header`);
  }
  const text = value.startsWith('"') ? (JSON.parse(value) as string) : value;
  if (place === "header" && !HEADER_TEXT.test(text)) throw new NoValue(`${hole.source} has a character that cannot stand in a header`);
  return text;
}

function fillPath(parts: readonly (string | Hole)[], sources: Sources): string {
  let made = "";
  let isFilled = false; // a value stands in the segment at hand
  let isPath = true;
  const check = () => {
    if (isFilled && ["", ".", ".."].includes(made.slice(made.lastIndexOf("/") + 1))) {
      throw new NoValue('a value made a path segment empty, "." or ".."');
    }
  };
  for (const part of parts) {
    if (typeof part === "object") {
      made += encodeURIComponent(asText(part, "path", sources)).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
      isFilled = true;
      continue;
    }
    for (const piece of part.match(/[/?]|[^/?]+/g) ?? []) {
      if (isPath && /^[/?]$/.test(piece)) {
        check();
        isFilled = false;
        isPath = piece === "/";
      }
      made += piece;
    }
  }
  if (isPath) check();
  return made;
}

function checkLiteral(text: string, place: Place): void {
  if (place === "header" && !HEADER_TEXT.test(text)) throw new BadTemplate("a header's value has no control characters");
  if (place !== "path") return;
  if (text.includes("#")) throw new BadTemplate("a fragment (#...) is never sent: remove it");
  if (/%2e/i.test(text)) throw new BadTemplate("write a dot as a dot, not as %2e");
  if (!URL_TEXT.test(text)) throw new BadTemplate(`"${text.slice(0, 60)}" cannot stand in a URL: percent-encode it`);
}

function escaped(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

// ---- values ---------------------------------------------------------------------------------------

/** The first operand with a value; null gives way to what stands behind it. */
function valueOf(hole: Hole, sources: Sources): string {
  let found: string | undefined;
  for (const operand of hole.operands) {
    const value = typeof operand === "string" ? operand : lookUp(operand, sources);
    found = value ?? found;
    if (value !== undefined && value !== "null") break;
  }
  if (found === undefined) throw new NoValue(`${hole.source} has no value: there is no such member or output; give a default with ??`);
  return found;
}

function rootOf({ root, step }: Reference, { input = "null", outputs = {}, gid = "g-1", definition = null, nowMs = 0 }: Sources): string | null | undefined {
  if (root === "input") return input;
  if (root === "steps") return outputs[step];
  return JSON.stringify(root === "gid" ? gid : root === "definition" ? definition : new Date(nowMs).toISOString());
}

function lookUp(reference: Reference, sources: Sources): string | undefined {
  let value = rootOf(reference, sources)?.trim();
  for (const part of reference.parts) {
    if (!value?.startsWith(typeof part === "string" ? "{" : "[")) return undefined;
    value = inside(value).find(([name]) => name === part)?.[1];
  }
  return value || undefined;
}

/** The members or elements of an object or array, as they were written. */
function inside(value: string): [string | number, string][] {
  const found: [string | number, string][] = [];
  let depth = 0;
  let start = 1;
  let name: string | undefined;
  for (const { 0: token, index } of value.matchAll(TOKEN)) {
    const text = value.slice(start, index).trim();
    if (depth === 1 && token === ":") {
      name = JSON.parse(text) as string;
      start = index + 1;
    }
    if (depth === 1 && ",]}".includes(token) && text !== "") {
      found.push([name ?? found.length, text]);
      name = undefined;
      start = index + 1;
    }
    depth += "{[".includes(token) ? 1 : "}]".includes(token) ? -1 : 0;
  }
  return found;
}

// ---- holes ------------------------------------------------------------------------------------------

function cut(text: string, sources: Sources): (string | Hole)[] {
  const parts: (string | Hole)[] = [];
  let done = 0;
  for (let at = text.indexOf("$"); at >= 0; at = text.indexOf("$", at)) {
    if (text.startsWith("${", at + 1)) {
      parts.push(text.slice(done, at)); // $${ stands for ${
      done = at + 1;
      at += 3;
    } else if (text.startsWith("${", at)) {
      const hole = new Reader(text.slice(at), Object.keys(sources.outputs ?? {})).hole();
      parts.push(text.slice(done, at), hole);
      done = at += hole.source.length;
    } else {
      at++;
    }
  }
  return [...parts, text.slice(done)].filter((part) => part !== "");
}

/** Of one hole; text begins with it. */
class Reader {
  #at = 2;

  constructor(
    readonly text: string,
    readonly steps: readonly string[],
  ) {}

  hole(): Hole {
    const operands: (Reference | string)[] = [];
    for (;;) {
      this.#take(/ */y);
      if (operands.length === ALTERNATIVES_MAX) throw this.#wrong("one ${…} has at most 8 alternatives");
      const operand = this.#operand(operands.length === 0);
      operands.push(operand);
      this.#take(/ */y);
      if (this.#take(/\}/y)) return { source: this.text.slice(0, this.#at), operands };
      if (!this.#take(/\?\?/y)) throw this.#wrong("?? or } is expected");
      if (typeof operand === "string") throw this.#wrong("nothing can follow a literal: it is never missing");
    }
  }

  #wrong(what: string): BadTemplate {
    return new BadTemplate(`${what}, at ${this.#at} of "${this.text.slice(0, 60)}"`);
  }

  /** What stands here, of that sticky form; "" if it does not. */
  #take(form: RegExp): string {
    form.lastIndex = this.#at;
    const found = form.exec(this.text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  #word(): string {
    return this.#take(/[A-Za-z_][A-Za-z0-9_-]*/y);
  }

  #operand(isFirst: boolean): Reference | string {
    const start = this.#at;
    const word = this.#word();
    if (word !== "" && !["true", "false", "null"].includes(word)) return this.#reference(word);
    if (isFirst) throw this.#wrong("a reference is expected: input, steps.NAME.output, gid, definition or now");
    this.#at = start;
    return this.#literal();
  }

  #reference(root: string): Reference {
    if (!ROOTS.includes(root)) throw this.#wrong("a reference begins with input, steps, gid, definition or now");
    const step = root === "steps" ? this.#step() : "";
    const parts: (string | number)[] = [];
    while (/[.[]/.test(this.text.charAt(this.#at))) {
      if (root !== "input" && root !== "steps") throw this.#wrong("gid, definition and now are texts and have no parts");
      if (parts.length === DEPTH_MAX) throw this.#wrong("a reference goes at most 32 levels deep");
      parts.push(this.#part());
    }
    return { root, step, parts };
  }

  #part(): string | number {
    if (this.#take(/\[/y)) {
      const index = Number(this.#take(/[0-9]+(?=\])/y) || NaN);
      if (!(index < INDEX_MAX)) throw this.#wrong("an index is a whole number below 100000, as in [0]");
      this.#at++;
      return index;
    }
    this.#at++;
    const name = this.#word();
    if (name === "") throw this.#wrong("a name is expected behind the dot");
    return name;
  }

  #step(): string {
    const name = this.#take(/\./y) && this.#word();
    if (name === "") throw this.#wrong("write steps.NAME.output");
    if (!this.steps.includes(name)) throw this.#wrong("there is no step of that name");
    if (!(this.#take(/\./y) && this.#word() === "output")) throw this.#wrong("of a step only the output can be read: steps.NAME.output");
    return name;
  }

  #literal(): string {
    if (this.#take(/'/y)) {
      const text = this.#take(/[^']*/y);
      if (!this.#take(/'/y)) throw this.#wrong("the closing ' is missing");
      return JSON.stringify(text);
    }
    const start = this.#at;
    const literal = this.#take(/"(?:[^"\\]|\\.)*"?|[A-Za-z0-9_+.-]*/sy);
    try {
      JSON.parse(literal);
    } catch {
      this.#at = start;
      throw this.#wrong("a reference, or a literal like \"text\", 'text', 12, true or null is expected");
    }
    return literal;
  }
}
