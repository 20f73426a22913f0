import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/**
 * Folder with test data of public projects: `SELVEDGE_DATA`, or `../shared/data` beside the checkout. Undefined when it is
 * absent: that is said aloud, and in CI it is a failure.
 */
export function dataFolder(name: string): string | undefined {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const folder = join(process.env.SELVEDGE_DATA ?? join(root, "..", "shared", "data"), name);
  if (existsSync(folder)) return folder;
  const message = `missing prerequisite: test data ${name} is not at ${folder} (set SELVEDGE_DATA)`;
  if (process.env.CI === "true") throw new Error(message);
  process.stderr.write(`\n*** ${message}: these vectors do NOT run ***\n\n`);
  return undefined;
}
