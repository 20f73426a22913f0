// `npm test`: checks, build, all suites on Bun, the portable suites on Deno. Ends with one line `N passed, N failed`.
// `npm test -- part-of-a-path …`: only the suites whose path has one of the parts.
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { obtainNats } from "./nats.mjs";
import { obtainBuilder, obtainDebian, obtainEnvoy } from "./peers.mjs";
import { binary, ensurePackages, ROOT, run, step } from "./run.mjs";
import { failuresOf, inLanes, tallyOf } from "./suites.mjs";

/** As in test/kit/patience.ts; Bun's own limit of five seconds is one for a fast machine. */
const TEST_MS = 240_000;
/** Processes with suites at a time: most suites use one core, and many of them wait now and then. */
const LANES = Math.min(2, availableParallelism());
/** What imports the portable suites of a folder. Where only some suites are wanted they run without it. */
const PORTABLE = "portable.test.ts";
/** How often a process is told of that goes on. */
const TICK_MS = 30_000;

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
  // As for proxies (src/runtime/process.ts): by default only the first eight memories of a process are fast on Bun, and suites of
  // filters make hundreds.
  BUN_JSC_maxNumWasmFastMemories: "100",
  ...(envoy === undefined ? {} : { SELVEDGE_ENVOY: envoy }),
  ...(nats.server === undefined ? {} : { SELVEDGE_NATS_SERVER: nats.server }),
};

const wanted = process.argv.slice(2);
const onDeno = {
  name: "portable suites on Deno",
  command: "deno",
  args: ["run", "-A", "--no-lock", "test/portable.ts", ...wanted],
};
const results = await inLanes(LANES, [onDeno, ...bunParts()], async ({ name, command, args }) => {
  const began = Date.now();
  const seconds = () => Math.round((Date.now() - began) / 1000);
  say(`begins: ${name}`);
  const tick = setInterval(() => say(`goes on: ${name}, ${seconds()} s`), TICK_MS);
  const { code, output } = await run(binary(command), args, { capture: true, env }).finally(() => clearInterval(tick));
  process.stdout.write(`${output}\n· done: ${name}, ${seconds()} s\n`);
  return { name, output, ...tallyOf(output, code) };
});

// Once more at the end, where they are found.
for (const { name, output, failed } of results) {
  if (failed > 0) say(`failed: ${name}\n${failuresOf(output)}`);
}
const sum = (key) => results.reduce((total, each) => total + each[key], 0);
process.stdout.write(`${sum("passed")} passed, ${sum("failed")} failed\n`);
process.exit(sum("failed") === 0 && sum("passed") > 0 ? 0 : 1);

/**
 * All `*.test.ts` but the long ones, as the processes that run them, those with most files first. Each folder with portable suites has one of its
 * own: thousands of WebAssembly memories in one heap make every collection slow (the fuzz of the meter took ten times as long).
 */
function bunParts() {
  const isChosen = (path) =>
    wanted.length === 0
      ? path.endsWith(".test.ts")
      : /\.(test|portable)\.ts$/.test(path) && basename(path) !== PORTABLE && wanted.some((part) => path.includes(part));
  const files = ["src", "test"]
    .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true }).map((path) => join(folder, path)))
    .filter((path) => !path.startsWith(join("test", "long")) && isChosen(path))
    .sort();
  const groups = new Map();
  for (const path of files) {
    const name = basename(path) === PORTABLE ? path : groupOf(path);
    groups.set(name, [...(groups.get(name) ?? []), path]);
  }
  return [...groups]
    .map(([name, paths]) => ({ name: `${name} on Bun`, paths }))
    .sort((a, b) => b.paths.length - a.paths.length)
    .map(({ name, paths }) => ({
      name,
      command: "bun",
      args: ["test", `--timeout=${TEST_MS}`, ...paths.map((path) => `./${path}`)],
    }));
}

/** `src`, `test/integration`, … */
function groupOf(path) {
  const folder = dirname(path);
  return folder.startsWith("src") ? "src" : folder;
}
