import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { MeshConfig, RuleConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET, type FilterBudget } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import type { Authenticator } from "../../src/proxy/generation.ts";
import { withUpstream } from "./end-to-end.ts";
import { RecordingMetrics } from "./filters.ts";
import type { TestProxy } from "./proxy.ts";
import { buildPuppet, Puppet } from "./puppet.ts";
import type { RawUpstream } from "./raw.ts";
import { endpointsOf, type FilterPart, filterOf, forwardTo, routeOf, serviceOf } from "./snapshot.ts";

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const PUPPET = buildPuppet();
type Builtin = "rate-limit" | "authz" | "transform";
const read = (name: Builtin): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../dist/filters/${name}.wasm`, import.meta.url)));

export interface Setting {
  readonly wasm: Uint8Array;
  readonly part: FilterPart;
}

export const builtin = (name: Builtin, settings: unknown, part: FilterPart = {}): Setting => ({
  wasm: read(name),
  part: { settings: JSON.stringify(settings), ...part },
});
export const puppetFilter = (part: FilterPart = {}, budget: Partial<FilterBudget> = {}): Setting => ({
  wasm: PUPPET,
  part: { budget: { ...DEFAULT_FILTER_BUDGET, ...budget }, ...part },
});

/** A proxy whose only route has these filters, in front of `upstream`; `aside` is a service for call-outs. */
export async function withFilters(
  settings: readonly Setting[],
  upstream: RawUpstream,
  body: (proxy: TestProxy, puppet: Puppet) => Promise<void>,
  more: { rule?: Partial<RuleConfig>; aside?: RawUpstream; authenticator?: Authenticator; mesh?: MeshConfig } = {},
): Promise<void> {
  const foreign = new ForeignFunctions();
  const puppet = new Puppet().register(foreign);
  const clock = new SystemClock();
  const filterHost = new ProxyWasmHost({
    clock,
    log: SILENT_LOG,
    metrics: new RecordingMetrics(),
    shared: new SharedState(),
    foreign,
  });
  const filters = settings.map(({ wasm, part }, i) => filterOf(`f${i}`, digestOf(wasm), part));
  const rule = forwardTo("up", { filters: filters.map(({ name }) => name), ...more.rule });
  const services = [serviceOf("up"), serviceOf("aside")];
  const endpoints = [endpointsOf("up", [upstream.port]), endpointsOf("aside", more.aside === undefined ? [] : [more.aside.port])];
  const authentications =
    more.rule?.authentication === undefined ? [] : [{ name: more.rule.authentication, required: true, jwt: [] }];
  try {
    await withUpstream(
      upstream,
      (proxy) => body(proxy, puppet),
      {
        ...{ routes: [routeOf("r", [rule])], services, endpoints, filters, authentications },
        ...(more.mesh === undefined ? {} : { mesh: more.mesh }),
      },
      {
        filterHost,
        modules: new Map(settings.map(({ wasm }) => [digestOf(wasm), wasm])),
        ...(more.authenticator === undefined ? {} : { authenticator: more.authenticator }),
      },
    );
  } finally {
    await more.aside?.stop();
  }
  assert.deepEqual(puppet.errors, []);
}
