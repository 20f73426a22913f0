/**
 * Everything that must hold on Deno as well: contract suites, goldens, the data plane end to end. Each suite registers itself
 * through test/kit/suite.ts when imported. Run: `deno run -A test/portable.ts [part of a path …]`.
 */
import process from "node:process";
import { portableSuites } from "./kit/portable-suites.ts";
import { runRegistered } from "./kit/suite.ts";

const wanted = process.argv.slice(2);
for (const suite of portableSuites()) {
  if (wanted.length === 0 || wanted.some((part) => suite.includes(part))) await import(suite);
}
const failed = await runRegistered((line) => process.stdout.write(`${line}\n`));
process.exit(failed === 0 ? 0 : 1);
