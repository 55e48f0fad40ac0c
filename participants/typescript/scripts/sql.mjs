// SPDX-License-Identifier: Apache-2.0
// The barrier's scripts, beside what is packed.
import { cpSync, rmSync } from "node:fs";

const here = new URL("../sql/", import.meta.url);
rmSync(here, { recursive: true, force: true });
cpSync(new URL("../../../sql/barrier/", import.meta.url), here, {
  recursive: true,
  filter: (from) => !/\.[^/]*$/.test(from) || from.endsWith(".sql"),
});
