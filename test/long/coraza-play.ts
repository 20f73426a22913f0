import type { Case } from "../conformance/proxy-wasm/format.ts";
import type { HostUnderTest } from "../conformance/proxy-wasm/play.ts";
import { ask } from "../conformance/proxy-wasm/wire.ts";
import { until } from "../kit/until.ts";
import type { WafRequest } from "./coraza-requests.ts";

const directives = [
  "Include @recommended-conf",
  "SecRuleEngine On",
  "SecResponseBodyAccess On",
  "Include @crs-setup-conf",
  'SecRule RESPONSE_HEADERS:x-secret "@streq yes" "id:103,phase:3,deny,status:403,log"',
  'SecRule RESPONSE_BODY "@contains top secret" "id:104,phase:4,deny,status:403,log"',
  "Include @owasp_crs/*.conf",
];

/** Coraza with the whole Core Rule Set. */
export const CRS: Case = {
  name: "coraza-crs",
  file: "coraza",
  configuration: JSON.stringify({ directives_map: { default: directives }, default_directives: "default" }),
  // As docs/filters.md recommends it.
  budget: {
    startFuel: 30_000_000_000,
    depthSlots: 200_000,
    callbackFuel: 1_000_000_000,
    exchangeFuel: 2_000_000_000,
    // The default is gone after 25 requests.
    fuelPerSecond: 100_000_000_000,
    memoryBytes: 256 * 1024 * 1024,
  },
};

/** What a firewall did with a request. */
export interface WafOutcome {
  readonly status: number;
  /** Ids of the rules that matched, in their order. */
  readonly rules: readonly string[];
  readonly body: string;
}

/** Asks, and waits until the firewall is done with it. */
export async function playWaf(host: HostUnderTest, each: Case, request: WafRequest): Promise<WafOutcome> {
  const before = host.lines(each).length;
  const { line, body } = await ask(host.port(each), request);
  const said = (): readonly string[] => host.lines(each).slice(before);
  await until(() => said().some((text) => text.startsWith("Finished tx_id=")));
  const rules = said().flatMap((text) => /Coraza: .*\[id "(\d+)"\]/.exec(text)?.[1] ?? []);
  return { status: Number(line.split(" ")[1]), rules, body };
}
