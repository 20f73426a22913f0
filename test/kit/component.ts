import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { type Bytes, latin1Text } from "../../src/core/bytes.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { DeadlineQueue } from "../../src/core/deadline.ts";
import { FilterLogs } from "../../src/core/filter-logs.ts";
import type { RequestHead } from "../../src/core/head.ts";
import { ChainPool } from "../../src/filters/chain.ts";
import { ComponentHost } from "../../src/filters/component/host.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { filterConfig, RecordingLog, RecordingMetrics, TestExchange } from "./filters.ts";

/** A prebuilt guest of test/guests/. */
export function readGuest(name: string): Bytes {
  const folder = fileURLToPath(new URL(`../guests/${name}/`, import.meta.url));
  return new Uint8Array(gunzipSync(readFileSync(`${folder}component.wasm.gz`)));
}

/** A component that does what its settings say (test/guests/component-actor/src/lib.rs). */
export const ACTOR = readGuest("component-actor");

/** Settings of the actor: callbacks with their commands. */
export const script = (lines: Readonly<Record<string, string>>): string =>
  JSON.stringify({
    script: Object.entries(lines)
      .map(([name, commands]) => `${name}: ${commands}`)
      .join("\n"),
  });

/** A component host in virtual time, with everything it reports kept. */
export class ComponentBench {
  readonly clock = new VirtualClock();
  readonly deadlines = new DeadlineQueue(this.clock, 50);
  readonly chains = new ChainPool(this.deadlines);
  readonly metrics = new RecordingMetrics();
  readonly log = new RecordingLog();
  readonly shared = new SharedState();
  readonly filterLogs = new FilterLogs(this.clock);
  readonly host = new ComponentHost({
    clock: this.clock,
    log: this.log,
    metrics: this.metrics,
    shared: this.shared,
    filterLogs: this.filterLogs,
    publish: (...message) => this.#publish(...message),
  });
  /** What was published, with the filter and the subject. */
  readonly published: string[] = [];

  #publish(filter: string, subject: string, payload: Bytes): boolean {
    this.published.push(`${filter} ${subject} ${latin1Text(payload)}`);
    return true;
  }

  load(config: FilterConfig, wasm: Bytes = ACTOR): Promise<FilterModule> {
    return this.host.load(wasm, config);
  }

  /** The actor with a script; it may call one service unless `change` says otherwise. */
  actor(lines: Readonly<Record<string, string>>, change: Parameters<typeof filterConfig>[0] = {}): Promise<FilterModule> {
    const capabilities = { callouts: ["default/callee"], sharedData: undefined, rateLimit: false, clock: false };
    return this.load(filterConfig({ name: "default/actor", abi: "component", settings: script(lines), capabilities, ...change }));
  }

  exchange(modules: readonly FilterModule[], change: Partial<RequestHead> = {}): TestExchange {
    return new TestExchange(this.chains, modules, change);
  }

  /** What the actor said, without levels. */
  get said(): string[] {
    return this.log.lines.map((line) => line.slice(line.indexOf(" ") + 1));
  }
}
