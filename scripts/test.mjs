// `npm test`: checks, build, all suites on Bun, the portable suites on Deno. Ends with one line `N passed, N failed`.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { binary, ensurePackages, ROOT, run, step } from "./run.mjs";

await ensurePackages();
await step("checks", process.execPath, ["scripts/check.mjs"]);
if (existsSync(join(ROOT, "scripts/build.mjs"))) await step("built-in filters", process.execPath, ["scripts/build.mjs"]);

let passed = 0;
let failed = 0;

process.stdout.write("· suites on Bun\n");
const onBun = await run(binary("bun"), ["test", ...process.argv.slice(2)], { tee: true });
const count = (word) => Number(new RegExp(`^\\s*(\\d+) ${word}$`, "m").exec(onBun.output)?.[1] ?? 0);
passed += count("pass");
failed += count("fail");
// A crash or an error outside a test has no count of its own.
if (onBun.code !== 0 && count("fail") === 0) failed++;

process.stdout.write("· portable suites on Deno\n");
const onDeno = await run(binary("deno"), ["run", "-A", "--no-lock", "test/portable.ts"], { tee: true });
const summary = /^(\d+) passed, (\d+) failed$/m.exec(onDeno.output);
passed += Number(summary?.[1] ?? 0);
failed += Number(summary?.[2] ?? 0);
if (summary === null || (onDeno.code !== 0 && Number(summary[2]) === 0)) failed++;

process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
