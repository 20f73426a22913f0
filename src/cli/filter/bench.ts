import type { Clock } from "../../core/clock.ts";
import type { FilterModule } from "../../filters/contract.ts";
import type { CreateFilterHost } from "../command.ts";
import { CalloutDesk } from "./callout-desk.ts";
import { MemoryExchange } from "./memory-exchange.ts";
import type { CompiledFilter } from "./table-config.ts";
import type { TableAnswer, TableRequest } from "./table-schema.ts";
import { TestBed } from "./test-bed.ts";

/** What one exchange costs. Times are of the whole exchange with the filter, less one without any. */
export interface BenchResult {
  readonly exchanges: number;
  readonly medianUs: number;
  readonly p99Us: number;
  /** First start: compiling, instantiating, reading the settings. */
  readonly loadMs: number;
  readonly memoryBytes: number;
  readonly memoryBudgetBytes: number;
  /** Linear memory that the measured exchanges added, all together. */
  readonly grownBytes: number;
  /** Calls into the module per exchange. */
  readonly callsPerExchange: number;
  /** About one for an instruction; undefined: not metered. */
  readonly fuelPerExchange: number | undefined;
  readonly traps: number;
  readonly lastError: string | undefined;
}

const WARM_MS = 300;
/** Exchanges between two looks at the clock. */
const BATCH = 50;

/** Runs the same exchange again and again for about `durationMs`. Undefined: it waits for something, so it cannot be measured. */
export async function benchExchange(
  clock: Clock,
  createHost: CreateFilterHost,
  filter: CompiledFilter,
  request: TableRequest,
  answer: TableAnswer,
  durationMs: number,
): Promise<BenchResult | undefined> {
  const desk = new CalloutDesk();
  const bed = new TestBed(desk, createHost);
  desk.clock = bed.clock;
  const startMs = clock.nowMs();
  const module = await bed.load(filter.bytes, filter.config);
  const loadMs = clock.nowMs() - startMs;
  const once = (modules: readonly FilterModule[]): boolean => {
    const exchange = new MemoryExchange(bed, desk, modules, request, answer);
    exchange.start();
    bed.clock.advance(0);
    const { over } = exchange;
    exchange.finish();
    bed.lines.length = 0;
    return over;
  };
  if (!once([module])) {
    module.dispose();
    return undefined;
  }
  measure(clock, [() => once([]), () => once([module])], WARM_MS);
  const before = module.status();
  // In turns, so that a machine that is busy for a while is busy for both.
  const [bare = [], whole = []] = measure(clock, [() => once([]), () => once([module])], durationMs);
  const after = module.status();
  module.dispose();
  const batches = whole;
  const bareUs = median(bare);
  const exchanges = batches.length * BATCH;
  const own = batches.map((us) => Math.max(0, us - bareUs)).sort((a, b) => a - b);
  return {
    ...{ exchanges, medianUs: median(own), p99Us: own[Math.floor(own.length * 0.99)] ?? 0, loadMs },
    ...{ memoryBytes: after.memoryBytes, memoryBudgetBytes: filter.config.budget.memoryBytes },
    grownBytes: after.memoryBytes - before.memoryBytes,
    callsPerExchange: Math.round(((after.calls - before.calls) / exchanges) * 10) / 10,
    fuelPerExchange: after.fuel === undefined ? undefined : Math.round((after.fuel - (before.fuel ?? 0)) / exchanges),
    ...{ traps: after.traps, lastError: after.lastError },
  };
}

/** Mean time of one run in each batch, us; the runs take turns. */
function measure(clock: Clock, runs: readonly (() => void)[], durationMs: number): number[][] {
  const batches: number[][] = runs.map(() => []);
  const endMs = clock.nowMs() + durationMs;
  while (clock.nowMs() < endMs) {
    for (const [at, run] of runs.entries()) {
      const startMs = clock.nowMs();
      for (let i = 0; i < BATCH; i++) run();
      batches[at]?.push(((clock.nowMs() - startMs) * 1000) / BATCH);
    }
  }
  return batches;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
