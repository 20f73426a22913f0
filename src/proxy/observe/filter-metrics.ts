import type { EventLog } from "../../core/events.ts";
import type { FilterMetrics } from "../../filters/contract.ts";
import type { DumpBuilder } from "./dump.ts";
import { LogHistogram, VALUE_SCALE } from "./histogram.ts";
import { OVERFLOW_LABEL } from "./metric-names.ts";

/** Metrics that one filter may define when its budget does not say; the whole process keeps `DEFINED_MAX`. */
const PER_FILTER_MAX = 256;
const DEFINED_MAX = 4096;
const PHASES_MAX = 1000;
const REASONS_MAX = 256;
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

class CallSeries {
  calls = 0;
  us = 0;

  constructor(
    readonly filter: string,
    readonly phase: string,
  ) {}
}

/** What filters define and what the product counts about filters. Labels with a filter's own text are bounded in length and number. */
export class FilterMetricsTable implements FilterMetrics {
  readonly #defined: Defined[] = [];
  readonly #ids = new Map<string, number>();
  readonly #perFilter = new Map<string, number>();
  readonly #calls = new Map<string, Map<string, CallSeries>>();
  #callSeries = 0;
  #last = new CallSeries("", "");
  /** Modules of that name in quarantine: an old generation may still hold one. One that was stays, as zero. */
  readonly #quarantined = new Map<string, number>();
  readonly #fuel = new Map<string, number>();
  readonly #denied = new Map<string, Map<string, number>>();
  readonly #pulls = new Set<() => void>();
  readonly #traps = new Map<string, { readonly filter: string; readonly reason: string; count: number }>();

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

  onCall(filter: string, phase: string, us: number): void {
    let series = this.#last;
    if (series.filter !== filter || series.phase !== phase) {
      series = this.#callsOf(filter, phase);
      this.#last = series;
    }
    series.calls++;
    series.us += us;
  }

  #callsOf(filter: string, phase: string): CallSeries {
    let byPhase = this.#calls.get(filter);
    let series = byPhase?.get(phase);
    if (series !== undefined) return series;
    if (this.#callSeries >= PHASES_MAX && filter !== OVERFLOW_LABEL) return this.#callsOf(OVERFLOW_LABEL, OVERFLOW_LABEL);
    if (byPhase === undefined) {
      byPhase = new Map();
      this.#calls.set(filter, byPhase);
    }
    series = new CallSeries(filter, phase);
    byPhase.set(phase, series);
    this.#callSeries++;
    return series;
  }

  onQuarantine(filter: string, isQuarantined: boolean, reason = ""): void {
    this.events.add(isQuarantined ? "filter_quarantined" : "filter_released", filter, reason);
    this.#quarantined.set(filter, Math.max(0, (this.#quarantined.get(filter) ?? 0) + (isQuarantined ? 1 : -1)));
  }

  onFuel(filter: string, fuel: number): void {
    this.#fuel.set(filter, (this.#fuel.get(filter) ?? 0) + fuel);
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
    const full = this.#traps.size >= REASONS_MAX;
    const text = reason.slice(0, NAME_MAX);
    let series = this.#traps.get(`${filter}\n${text}`);
    if (series === undefined) {
      const key = full ? OVERFLOW_LABEL : `${filter}\n${text}`;
      series = this.#traps.get(key) ?? { filter: full ? OVERFLOW_LABEL : filter, reason: full ? OVERFLOW_LABEL : text, count: 0 };
      this.#traps.set(key, series);
    }
    series.count++;
  }

  drain(dump: DumpBuilder): void {
    for (const pull of this.#pulls) pull();
    for (const defined of this.#defined) {
      const labels = [defined.filter, defined.name];
      if (defined.kind === "gauge") dump.gauge("filterGauge", labels, defined.value);
      if (defined.histogram !== undefined) dump.histogram("filterHistogram", labels, defined.histogram);
      if (defined.kind !== "counter") continue;
      dump.counter("filterCounter", labels, defined.value - defined.dumped);
      defined.dumped = defined.value;
    }
    for (const [filter, byPhase] of this.#calls) {
      for (const [phase, series] of byPhase) {
        dump.counter("filterCalls", [filter, phase], series.calls);
        dump.counter("filterSeconds", [filter, phase], series.us / 1e6);
        series.calls = 0;
        series.us = 0;
      }
    }
    for (const [filter, byCapability] of this.#denied)
      for (const [capability, count] of byCapability) dump.counter("filterDenied", [filter, capability], count);
    this.#denied.clear();
    for (const [filter, fuel] of this.#fuel) dump.counter("filterFuel", [filter], fuel);
    this.#fuel.clear();
    for (const [filter, modules] of this.#quarantined) dump.gauge("filterQuarantined", [filter], modules > 0 ? 1 : 0);
    for (const series of this.#traps.values()) dump.counter("filterTraps", [series.filter, series.reason], series.count);
    this.#traps.clear();
  }
}
