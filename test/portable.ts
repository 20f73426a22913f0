/**
 * Everything that must hold on Deno as well: contract suites, goldens, the end-to-end smoke. Each suite registers itself
 * through test/kit/suite.ts when imported. Run: `deno run -A test/portable.ts`.
 */
import process from "node:process";
import { runRegistered } from "./kit/suite.ts";

const SUITES: readonly string[] = [
  "./core.portable.ts",
  "./http1.portable.ts",
  "./fuzz/http1.portable.ts",
  "./conformance/wycheproof.portable.ts",
  "./conformance/jwt.portable.ts",
  "./filters/builtin.portable.ts",
  "./contract/net.portable.ts",
  "./contract/filter-host.portable.ts",
  "./contract/filter-host-faults.portable.ts",
  "./contract/filter-host-chain.portable.ts",
  "./contract/filter-host-state.portable.ts",
  "./contract/filter-host-services.portable.ts",
  "./contract/filter-host-load.portable.ts",
  "./contract/process.portable.ts",
  "./contract/serve.portable.ts",
  "./contract/files.portable.ts",
  "./integration/control-store.portable.ts",
  "./integration/control-source.portable.ts",
  "./integration/control-permissions.portable.ts",
  "./integration/control-plane.portable.ts",
  "./routing/router.portable.ts",
  "./routing/rewrite.portable.ts",
  "./balance/picker.portable.ts",
  "./cidr.portable.ts",
  "./listeners/proxy-header.portable.ts",
  "./forwarding.portable.ts",
  "./compress.portable.ts",
  "./golden/config.portable.ts",
  "./config/parse.portable.ts",
  "./config/sections.portable.ts",
  "./config/sources.portable.ts",
  "./fuzz/config.portable.ts",
  "./config/examples.portable.ts",
  "./discovery/dns-wire.portable.ts",
  "./discovery/dns-watch.portable.ts",
];

for (const suite of SUITES) await import(suite);
const failed = await runRegistered((line) => process.stdout.write(`${line}\n`));
process.exit(failed === 0 ? 0 : 1);
