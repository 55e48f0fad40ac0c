// SPDX-License-Identifier: Apache-2.0
// What README.md shows becomes tests/readme/N.ts, to be compiled with the tests.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const to = new URL("../tests/readme/", import.meta.url);
rmSync(to, { recursive: true, force: true });
mkdirSync(to);
const blocks = [...readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(/^```ts\n(.*?)^```$/gms)];
if (blocks.length < 4) throw new Error("README.md has lost its examples");
blocks.forEach(([, code], number) => {
  // Those that only declare something shall not be told that nobody uses it.
  writeFileSync(new URL(`${number}.ts`, to), code.replace(/^async function/m, "export async function"));
});
