// `npm test`: checks, build, all suites on Bun, the portable suites on Deno. Ends with one line `N passed, N failed`.
import process from "node:process";
import { obtainNats } from "./nats.mjs";
import { obtainBuilder, obtainDebian, obtainEnvoy } from "./peers.mjs";
import { binary, ensurePackages, run, step } from "./run.mjs";

/** As in test/kit/patience.ts; Bun's own limit of five seconds is one for a fast machine. */
const TEST_MS = 240_000;

const say = (line) => process.stdout.write(`· ${line}\n`);

await ensurePackages();
await step("checks", process.execPath, ["scripts/check.mjs"]);
await step("built-in filters", process.execPath, ["scripts/build.mjs"]);

// Real parts: a suite that needs one and does not find it fails.
const nats = await obtainNats({ print: say });
const envoy = await obtainEnvoy(say);
for (const [name, path] of [
  ["nats-server", nats.server],
  ["nats", nats.cli],
  ["envoy", envoy],
]) {
  say(`${name}: ${path ?? "MISSING: the suites that need it will fail"}`);
}
if (!(await obtainBuilder(say)))
  say("NO CONTAINER BUILDER: buildah, debootstrap and crun are needed, and root; in CI the suite of the image fails");
for (const shell of await obtainDebian({ zsh: "zsh", fish: "fish" }, say))
  say(`NO ${shell}: its completion is not tried; in CI that fails`);
for (const reason of nats.reasons) say(reason);
const env = {
  ...(envoy === undefined ? {} : { SELVEDGE_ENVOY: envoy }),
  ...(nats.server === undefined ? {} : { SELVEDGE_NATS_SERVER: nats.server }),
};

let passed = 0;
let failed = 0;

say("suites on Bun");
const onBun = await run(binary("bun"), ["test", `--timeout=${TEST_MS}`, ...process.argv.slice(2)], { tee: true, env });
const count = (word) => Number(new RegExp(`^\\s*(\\d+) ${word}$`, "m").exec(onBun.output)?.[1] ?? 0);
passed += count("pass");
failed += count("fail");
// A crash or an error outside a test has no count of its own.
if (onBun.code !== 0 && count("fail") === 0) failed++;

say("portable suites on Deno");
const onDeno = await run(binary("deno"), ["run", "-A", "--no-lock", "test/portable.ts"], { tee: true, env });
const summary = /^(\d+) passed, (\d+) failed$/m.exec(onDeno.output);
passed += Number(summary?.[1] ?? 0);
failed += Number(summary?.[2] ?? 0);
if (summary === null || (onDeno.code !== 0 && Number(summary[2]) === 0)) failed++;

process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
