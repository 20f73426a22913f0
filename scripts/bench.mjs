// `npm run bench`: obtains the peers it can, then measures all of them in one run: proxies beside each other, how a change of
// configuration travels, what one filter of each ABI and metering cost on Bun and Deno. `--proxies-only`, `--config-only`,
// `--filters-only`; other arguments go to bench/proxies.ts or bench/config.ts, which say what they take. `--json`; `--write` makes
// docs/benchmarks.md.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { obtainNats } from "./nats.mjs";
import { obtainDebian, obtainEnvoy } from "./peers.mjs";
import { binary, ensurePackages, run, step } from "./run.mjs";
import { obtainQuickJs, obtainToolchains } from "./toolchains.mjs";

const say = (line) => process.stderr.write(`· ${line}\n`);

const own = ["--config-only", "--proxies-only", "--filters-only"];
const wants = (flag) => process.argv.includes(flag);
const passed = process.argv.slice(2).filter((each) => !own.includes(each));
const shared = passed.filter((each) => each === "--write" || each === "--json");

await ensurePackages();
await step("built-in filters", process.execPath, ["scripts/build.mjs"]);

async function benchProxies() {
  const envoy = await obtainEnvoy(say);
  const missing = await obtainDebian({ nginx: "nginx-light", haproxy: "haproxy", wrk: "wrk", h2load: "nghttp2-client" }, say);
  if (missing.length > 0) {
    say(`missing: ${missing.join(", ")}. On Debian or Ubuntu: apt-get install nginx-light haproxy wrk nghttp2-client`);
    return 1;
  }
  const env = envoy === undefined ? {} : { SELVEDGE_ENVOY: envoy };
  return (await run(binary("bun"), ["bench/proxies.ts", ...passed], { env })).code;
}

async function benchConfig(args) {
  const nats = await obtainNats({ print: say });
  for (const reason of nats.reasons) say(reason);
  if (nats.server === undefined || nats.cli === undefined) return 1;
  const env = { SELVEDGE_NATS_SERVER: nats.server };
  return (await run(binary("bun"), ["bench/config.ts", ...args], { env })).code;
}

async function benchFilters() {
  const { variables } = await obtainToolchains(say);
  const env = { ...variables, ...(await obtainQuickJs(say)), BUN_JSC_maxNumWasmFastMemories: "64" };
  // What is hot is compiled at once: on a busy machine the compilers' threads may not come to it while the code is measured.
  const atOnce = { DENO_V8_FLAGS: "--wasm-sync-tier-up", BUN_JSC_useConcurrentJIT: "0" };
  const lines = [];
  for (const bench of ["bench/filter-cost.ts", "bench/isolation.ts", "bench/meter.ts"]) {
    for (const [runtime, args] of Object.entries({ bun: [bench], deno: ["run", "-A", "--no-lock", bench] })) {
      const startMs = performance.now();
      say(`${bench} on ${runtime}`);
      const { code, output } = await run(binary(runtime), [...args, "--json"], {
        capture: true,
        progress: true,
        env: bench === "bench/meter.ts" ? { ...env, ...atOnce } : env,
      });
      say(`${bench} on ${runtime}: ${Math.round((performance.now() - startMs) / 1000)} s`);
      const line = output.split("\n").find((each) => each.startsWith("{"));
      if (code !== 0 || line === undefined) {
        process.stderr.write(`✗ ${bench} on ${runtime} failed (exit ${code})\n${output}`);
        return code || 1;
      }
      lines.push(line);
    }
  }
  const folder = mkdtempSync(join(tmpdir(), "selvedge-bench-"));
  try {
    writeFileSync(join(folder, "found"), lines.join("\n"));
    return (await run(binary("bun"), ["bench/filters-report.ts", join(folder, "found"), ...shared])).code;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const all = !own.some(wants);
const codes = [];
if (all || wants("--proxies-only")) codes.push(await benchProxies());
if (all || wants("--config-only")) codes.push(await benchConfig(wants("--config-only") ? passed : shared));
if (all || wants("--filters-only")) codes.push(await benchFilters());
process.exit(codes.find((code) => code !== 0) ?? 0);
