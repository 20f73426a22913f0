// `npm run bench`: obtains the peers it can, then measures all of them in one run. Arguments go to bench/proxies.ts.
import process from "node:process";
import { obtainDebian, obtainEnvoy } from "./peers.mjs";
import { binary, ensurePackages, run, step } from "./run.mjs";

const say = (line) => process.stderr.write(`· ${line}\n`);

await ensurePackages();
await step("built-in filters", process.execPath, ["scripts/build.mjs"]);
const envoy = await obtainEnvoy(say);
const missing = await obtainDebian({ nginx: "nginx-light", haproxy: "haproxy", wrk: "wrk", h2load: "nghttp2-client" }, say);
if (missing.length > 0) {
  say(`missing: ${missing.join(", ")}. On Debian or Ubuntu: apt-get install nginx-light haproxy wrk nghttp2-client`);
  process.exit(1);
}
const { code } = await run(binary("bun"), ["bench/proxies.ts", ...process.argv.slice(2)], {
  env: envoy === undefined ? {} : { SELVEDGE_ENVOY: envoy },
});
process.exit(code);
