import { type HistogramScale, LogHistogram } from "../core/histogram.ts";

/** What may go wrong with a filter. Closed, because it is a label of metrics; what is not in it counts as `other`. */
export const FAULT_KINDS = {
  fuel: "It used up the fuel of a callback, an exchange or a start.",
  depth: "Its calls nested too deep.",
  memory: "It touched memory or a table outside of its bounds.",
  trap: "It trapped otherwise: unreachable code, a division by zero, an abort, …",
  pointer: "It gave the host an address outside of its memory; the call failed, nothing else.",
  budget: "It wanted more than its budget: host calls, output, buffered body, contexts, shared data.",
  deadline: "It paused an exchange for too long.",
  failed: "It said itself that it failed.",
  answer: "What it answered cannot be used.",
  host: "A call of the host, or the host around a callback, failed by itself: a bug of the proxy.",
  denied: "It called what its capabilities do not grant, where the ABI has no error for that.",
  callout: "A call to a service has no answer, and the ABI has no error for that.",
  start: "An instance could not be started.",
  other: "Anything else.",
} as const;

export type FaultKind = keyof typeof FAULT_KINDS;

/** The strongest thing that a filter answered in one exchange. */
export type VerdictKind = "continue" | "pause" | "respond" | "fail";

/** Nanoseconds in, seconds out: 128 ns to a second. */
export const CALL_TIME_SCALE: HistogramScale = { minExponent: 7, maxExponent: 30, unitsPerExported: 1e9 };
/** Fuel of a callback: 32 to 2^31. */
export const CALL_FUEL_SCALE: HistogramScale = { minExponent: 5, maxExponent: 31, unitsPerExported: 1 };

/** Calls of one callback. */
export class PhaseStats {
  calls = 0;
  /** An estimate: of the calls that were timed, each for as many as it stands for. */
  us = 0;
}

/**
 * What is counted about one filter in one process: by its name, so over all its generations. Plain fields that whoever sees
 * something adds to; whoever reads metrics takes them away.
 *
 * Times and fuel are samples: of the callbacks of exchanges one in 61 (one in 13 where they are slower) is looked at and counts for
 * all of them; ticks and the like always are. Reading the clock costs as much as a small callback, and the fuel of a callback is known
 * only when the next one gets its own.
 */
export class FilterStats {
  readonly phases = new Map<string, PhaseStats>();
  readonly verdicts: Record<VerdictKind, number> = { continue: 0, pause: 0, respond: 0, fail: 0 };
  readonly faults = new Map<FaultKind, number>();
  readonly callTimes = new LogHistogram(CALL_TIME_SCALE);
  readonly callFuel = new LogHistogram(CALL_FUEL_SCALE);
  /** Fuel used by everything. */
  fuel = 0;
  /** Times that work of its own had to wait: words about items of queues, answers to its own calls. */
  waits = 0;
  /** Modules that use this object: two while one generation takes over from another. */
  users = 0;
  /** As of the last pull. */
  instances = 0;
  contexts = 0;
  memoryBytes = 0;

  /** `weight`: how many calls the time `us` of this one stands for; 0: it was not timed. */
  onCall(phase: string, us: number, weight: number): void {
    let series = this.phases.get(phase);
    if (series === undefined) {
      series = new PhaseStats();
      this.phases.set(phase, series);
    }
    series.calls++;
    if (weight === 0) return;
    series.us += us * weight;
    this.callTimes.record(us * 1000, weight);
  }

  onFault(kind: FaultKind): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
  }

  /** Once for each exchange that the filter saw. `verdict`: as the chain keeps it, a failure code for failures. */
  onVerdict(verdict: string): void {
    if (verdict === "continue") this.verdicts.continue++;
    else if (verdict === "pause") this.verdicts.pause++;
    else if (verdict === "respond") this.verdicts.respond++;
    else this.verdicts.fail++;
  }
}
