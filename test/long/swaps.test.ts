/**
 * 200 filters whose modules are swapped again and again while exchanges go on: none fails, and former versions are freed (what they
 * share is handed over: filter-host-state.portable.ts). SELVEDGE_SWAPS says how often (default 1,000; after 50 each filter is at its first version again).
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import process from "node:process";
import { createFilterHost, ownCounters } from "../../src/app/filters.ts";
import { appendCustomSection } from "../../src/config/wasm-sections.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { DeadlineQueue } from "../../src/core/deadline.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { ChainPool } from "../../src/filters/chain.ts";
import { type FilterLease, FilterRegistry } from "../../src/filters/store.ts";
import { filterConfig, RecordingMetrics, TestExchange } from "../kit/filters.ts";

const SWAPS = Number(process.env.SELVEDGE_SWAPS ?? 1_000);
const FILTERS = 200;
const VERSIONS = 50;
const SUITE_MS = 600_000;
const MODULE = new Uint8Array(readFileSync(new URL("../../dist/filters/transform.wasm", import.meta.url)));

/** The same filter in other bytes: compiled anew, as another version would be. */
const versionOf = (version: number): Uint8Array => appendCustomSection(MODULE, "version", Buffer.from(`${version}`));

function residentMb(): number {
  for (let i = 0; i < 3; i++) Bun.gc(true);
  return process.memoryUsage.rss() / 1e6;
}

test(
  `${SWAPS} swaps of modules among ${FILTERS} filters: no exchange fails, and memory is given back`,
  async () => {
    const clock = new SystemClock();
    const chains = new ChainPool(new DeadlineQueue(clock, 50));
    const metrics = new RecordingMetrics();
    const registry = new FilterRegistry(createFilterHost({ clock, log: SILENT_LOG, metrics, counters: ownCounters() }));
    const acquire = (filter: number, version: number): Promise<FilterLease> =>
      registry.acquire(
        filterConfig({
          name: `default/f${filter}`,
          digest: `sha256:${version % VERSIONS}`,
          settings: `{"response":{"headers":[{"op":"set","name":"x-version","value":"${version}"}]}}`,
        }),
        () => Promise.resolve(versionOf(version % VERSIONS)),
      );
    const held: FilterLease[] = [];
    for (let filter = 0; filter < FILTERS; filter++) held.push(await acquire(filter, 0));
    const seen: number[] = [];
    let warmMb = 0;
    for (let swap = 1; swap <= SWAPS; swap++) {
      const filter = swap % FILTERS;
      const former = held[filter] as FilterLease;
      const begun = new TestExchange(chains, [former.module], {});
      expect(begun.chain.requestHead(true)).toBe("forward");
      held[filter] = await acquire(filter, swap);
      former.release();
      // What began with the former one ends with it; what comes now has the new one.
      expect(begun.respond(200, [], true)).toBe("forward");
      expect(begun.response?.headers.get("x-version")).not.toBe(`${swap}`);
      begun.chain.close();
      const next = new TestExchange(chains, [held[filter].module], {});
      expect([next.chain.requestHead(true), next.respond(200, [], true)]).toEqual(["forward", "forward"]);
      expect(next.response?.headers.get("x-version")).toBe(`${swap}`);
      next.chain.close();
      if (swap % 100 === 0) seen.push(Math.round(residentMb()));
      if (swap === Math.floor(SWAPS * 0.4)) warmMb = residentMb();
    }
    process.stdout.write(`resident MB after each 100 swaps: ${seen.join(" ")}\n`);
    expect(registry.size).toBe(FILTERS);
    expect(metrics.traps).toEqual([]);
    expect(residentMb()).toBeLessThan(warmMb * 1.1);
    for (const lease of held) lease.release();
    expect(registry.size).toBe(0);
  },
  SUITE_MS,
);
