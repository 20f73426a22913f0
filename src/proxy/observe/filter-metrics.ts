import type { EventLog } from "../../core/events.ts";
import { LogHistogram, VALUE_SCALE } from "../../core/histogram.ts";
import type { FilterMetrics } from "../../filters/contract.ts";
import { FilterStats, type VerdictKind } from "../../filters/stats.ts";
import type { DumpBuilder } from "./dump.ts";
import { OVERFLOW_LABEL } from "./metric-names.ts";

/** Metrics that one filter may define when its budget does not say; the whole process keeps `DEFINED_MAX`. */
const PER_FILTER_MAX = 256;
const DEFINED_MAX = 4096;
/** Filters with series of their own; what the others do is counted together. */
const FILTERS_MAX = 1000;
const NAME_MAX = 256;

type Kind = "counter" | "gauge" | "histogram";

interface Defined {
  readonly filter: string;
  readonly name: string;
  readonly kind: Kind;
  value: number;
  /** Of a counter: what the last dump had seen. */
  dumped: number;
  readonly histogram: LogHistogram | undefined;
}

/** What filters define and what the product counts about filters. Labels with a filter's own text are bounded in length and number. */
export class FilterMetricsTable implements FilterMetrics {
  readonly #defined: Defined[] = [];
  readonly #ids = new Map<string, number>();
  readonly #perFilter = new Map<string, number>();
  readonly #stats = new Map<string, FilterStats>();
  readonly #others = new FilterStats();
  /** Modules of that name in quarantine: an old generation may still hold one. One that was stays, as zero. */
  readonly #quarantined = new Map<string, number>();
  /** Filters that were switched off, and whether they still are. */
  readonly #disabled = new Map<string, boolean>();
  readonly #throttled = new Map<string, number>();
  readonly #denied = new Map<string, Map<string, number>>();
  readonly #pulls = new Set<() => void>();

  constructor(readonly events: EventLog) {}

  define(filter: string, kind: Kind, name: string): number {
    const key = `${filter}\n${kind}\n${name}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const own = this.#perFilter.get(filter) ?? 0;
    if (own >= PER_FILTER_MAX || this.#defined.length >= DEFINED_MAX || name.length > NAME_MAX) return -1;
    const id = this.#defined.length;
    const histogram = kind === "histogram" ? new LogHistogram(VALUE_SCALE) : undefined;
    this.#defined.push({ filter, name, kind, value: 0, dumped: 0, histogram });
    this.#ids.set(key, id);
    this.#perFilter.set(filter, own + 1);
    return id;
  }

  record(id: number, value: number): void {
    const defined = this.#defined[id];
    if (defined === undefined) return;
    // A counter only grows: proxy-wasm's `record` on one is an increment in Envoy as well.
    if (defined.kind === "counter") defined.value += value > 0 ? Math.floor(value) : 0;
    else defined.value = value;
    defined.histogram?.record(value);
  }

  increment(id: number, by: number): void {
    const defined = this.#defined[id];
    if (defined === undefined || defined.kind === "histogram") return;
    if (defined.kind === "counter" && by < 0) return;
    defined.value += by;
  }

  read(id: number): number {
    return this.#defined[id]?.value ?? 0;
  }

  statsOf(filter: string): FilterStats {
    let stats = this.#stats.get(filter);
    if (stats !== undefined) return stats;
    if (this.#stats.size >= FILTERS_MAX) return this.#others;
    stats = new FilterStats();
    this.#stats.set(filter, stats);
    return stats;
  }

  onQuarantine(filter: string, isQuarantined: boolean, reason = ""): void {
    this.events.add(isQuarantined ? "filter_quarantined" : "filter_released", filter, reason);
    this.#quarantined.set(filter, Math.max(0, (this.#quarantined.get(filter) ?? 0) + (isQuarantined ? 1 : -1)));
  }

  onDisabled(filter: string, isDisabled: boolean, reason?: string): void {
    if (reason !== undefined) this.events.add(isDisabled ? "filter_disabled" : "filter_enabled", filter, reason);
    this.#disabled.set(filter, isDisabled);
  }

  onThrottle(filter: string): void {
    this.#throttled.set(filter, (this.#throttled.get(filter) ?? 0) + 1);
  }

  onDenied(filter: string, capability: string): void {
    const byCapability = this.#denied.get(filter) ?? new Map<string, number>();
    this.#denied.set(filter, byCapability);
    byCapability.set(capability, (byCapability.get(capability) ?? 0) + 1);
  }

  onPull(pull: () => void): () => void {
    this.#pulls.add(pull);
    return () => this.#pulls.delete(pull);
  }

  onTrap(filter: string, reason: string): void {
    this.events.add("filter_broke", filter, reason);
  }

  drain(dump: DumpBuilder): void {
    for (const stats of [...this.#stats.values(), this.#others]) {
      stats.instances = 0;
      stats.contexts = 0;
      stats.memoryBytes = 0;
    }
    for (const pull of this.#pulls) pull();
    for (const defined of this.#defined) {
      const labels = [defined.filter, defined.name];
      if (defined.kind === "gauge") dump.gauge("filterGauge", labels, defined.value);
      if (defined.histogram !== undefined) dump.histogram("filterHistogram", labels, defined.histogram);
      if (defined.kind !== "counter") continue;
      dump.counter("filterCounter", labels, defined.value - defined.dumped);
      defined.dumped = defined.value;
    }
    for (const [filter, byCapability] of this.#denied)
      for (const [capability, count] of byCapability) dump.counter("filterDenied", [filter, capability], count);
    this.#denied.clear();
    for (const [filter, isDisabled] of this.#disabled) dump.gauge("filterDisabled", [filter], isDisabled ? 1 : 0);
    for (const [filter, count] of this.#throttled) dump.counter("filterThrottled", [filter], count);
    this.#throttled.clear();
    for (const [filter, modules] of this.#quarantined) dump.gauge("filterQuarantined", [filter], modules > 0 ? 1 : 0);
    for (const [filter, stats] of this.#stats) {
      drainStats(dump, filter, stats);
      // Its last module is gone, and what that did is told.
      if (stats.users === 0) this.#stats.delete(filter);
    }
    if (this.#others.users > 0) drainStats(dump, OVERFLOW_LABEL, this.#others);
  }
}

function drainStats(dump: DumpBuilder, filter: string, stats: FilterStats): void {
  for (const [phase, series] of stats.phases) {
    dump.counter("filterCalls", [filter, phase], series.calls);
    dump.counter("filterSeconds", [filter, phase], series.us / 1e6);
    series.calls = 0;
    series.us = 0;
  }
  for (const verdict of Object.keys(stats.verdicts) as VerdictKind[]) {
    dump.counter("filterVerdicts", [filter, verdict], stats.verdicts[verdict]);
    stats.verdicts[verdict] = 0;
  }
  for (const [kind, count] of stats.faults) dump.counter("filterFaults", [filter, kind], count);
  stats.faults.clear();
  dump.counter("filterFuel", [filter], stats.fuel);
  stats.fuel = 0;
  dump.counter("filterWaits", [filter], stats.waits);
  stats.waits = 0;
  dump.histogram("filterCallTime", [filter], stats.callTimes);
  dump.histogram("filterCallFuel", [filter], stats.callFuel);
  dump.gauge("filterInstances", [filter], stats.instances);
  dump.gauge("filterContexts", [filter], stats.contexts);
  dump.gauge("filterMemory", [filter], stats.memoryBytes);
}
