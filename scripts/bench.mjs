// `npm run bench`: obtains the peers it can, then measures all of them in one run: proxies beside each other, then how a change
// of configuration travels. `--proxies-only`, `--config-only`, `--filters-only` (what metering costs, and one filter in each ABI, on
// Bun and Deno); other arguments go to bench/proxies.ts or bench/config.ts, which
// say what they take. `--write` makes docs/benchmarks.md.
import process from "node:process";
import { obtainNats } from "./nats.mjs";
import { obtainDebian, obtainEnvoy } from "./peers.mjs";
import { binary, ensurePackages, run, step } from "./run.mjs";
import { obtainToolchains } from "./toolchains.mjs";

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
  const env = { ...(await obtainToolchains(say)), BUN_JSC_maxNumWasmFastMemories: "64" };
  const args = wants("--json") ? ["--json"] : [];
  const codes = [];
  for (const bench of ["bench/meter.ts", "bench/filter-cost.ts"]) {
    codes.push((await run(binary("bun"), [bench, ...args], { env })).code);
    codes.push((await run(binary("deno"), ["run", "-A", "--no-lock", bench, ...args], { env })).code);
  }
  return codes.find((code) => code !== 0) ?? 0;
}

if (wants("--filters-only")) process.exit(await benchFilters());
const codes = [];
if (!wants("--config-only")) codes.push(await benchProxies());
if (!wants("--proxies-only")) codes.push(await benchConfig(wants("--config-only") ? passed : shared));
process.exit(codes.find((code) => code !== 0) ?? 0);
