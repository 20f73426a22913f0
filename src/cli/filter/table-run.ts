import { formatPath, type IssuePath } from "../../config/parse.ts";
import { describeCause } from "../../core/failure.ts";
import type { FilterModule } from "../../filters/contract.ts";
import type { CreateFilterHost } from "../command.ts";
import { CalloutDesk } from "./callout-desk.ts";
import { checkExpectation, type Observed } from "./expect.ts";
import { type Mismatch, matchText } from "./matchers.ts";
import { MemoryExchange } from "./memory-exchange.ts";
import { type CompiledFilter, compileFilter, FILTER_PARTS } from "./table-config.ts";
import type { Table, TableStep, TableTest } from "./table-schema.ts";
import { type LogLine, settle, TestBed } from "./test-bed.ts";

/** One thing that is not as expected, with its place in the table. */
export interface TestFailure {
  readonly line: number;
  readonly column: number;
  /** `tests[0].expect.response.status`. */
  readonly path: string;
  readonly expected: string;
  readonly actual: string;
}

export interface TestResult {
  readonly name: string;
  readonly line: number;
  readonly failures: readonly TestFailure[];
  /** Everything that the filter, and the host about it, logged. */
  readonly logs: readonly LogLine[];
}

export interface TableInput {
  readonly table: Table;
  /** As it was written: what a Filter resource is made of. */
  readonly written: Readonly<Record<string, unknown>>;
  /** `module` and `capabilities` when the table has none. */
  readonly defaults: Readonly<Record<string, unknown>>;
  locate(path: IssuePath): { readonly line: number; readonly column: number };
  readonly readModule: (path: string) => Uint8Array;
  readonly createHost: CreateFilterHost;
}

/** Longest virtual time that one exchange may take, ms. */
const EXCHANGE_MS = 10 * 60_000;
const SLICE_MS = 10;
const RESTART_TURNS = 2_000;

/** Runs the tests whose name has `only` in it, each with a filter of its own. Never rejects for what a filter does. */
export async function runTable(
  input: TableInput,
  only: string | undefined,
  onResult: (result: TestResult) => void,
): Promise<void> {
  for (const [i, test] of input.table.tests.entries()) {
    if (only !== undefined && !test.name.includes(only)) continue;
    onResult(await new TestRun(input, test, ["tests", i]).run());
  }
}

/** The filter of one test: what the test says, else the table, else the manifest. Throws an `Error` that says what is wrong. */
export function compileTest({ defaults, written, readModule }: TableInput, at: IssuePath): CompiledFilter {
  const spec: Record<string, unknown> = { ...defaults };
  const own = valueAt(written, at);
  if (written.module !== undefined) spec.module = written.module;
  for (const key of FILTER_PARTS) {
    const value = own[key] ?? written[key];
    if (value !== undefined) spec[key] = value;
  }
  return compileFilter(spec, readModule);
}

class TestRun {
  readonly #failures: TestFailure[] = [];
  readonly #desk = new CalloutDesk();
  readonly #bed: TestBed;
  readonly #open: MemoryExchange[] = [];

  constructor(
    readonly input: TableInput,
    readonly test: TableTest,
    readonly at: IssuePath,
  ) {
    this.#bed = new TestBed(this.#desk, input.createHost);
    this.#desk.clock = this.#bed.clock;
  }

  async run(): Promise<TestResult> {
    const { name, refused } = this.test;
    const loaded = await this.#load();
    if (typeof loaded === "string") {
      if (refused === undefined) this.#fail([], "a filter that starts", loaded);
      else this.#report(["refused"], matchText(refused, loaded));
    } else {
      if (refused !== undefined) this.#fail(["refused"], "a filter that refuses to start", "it started");
      else await this.#runSteps(loaded);
      loaded.dispose();
    }
    return { name, line: this.input.locate(this.at).line, failures: this.#failures, logs: this.#bed.lines };
  }

  /** The reason when the filter does not start. */
  async #load(): Promise<FilterModule | string> {
    try {
      const { config, bytes } = compileTest(this.input, this.at);
      return await this.#bed.load(bytes, config);
    } catch (error) {
      return describeCause(error);
    }
  }

  async #runSteps(module: FilterModule): Promise<void> {
    const { steps } = this.test;
    if (steps === undefined) await this.#runStep(module, this.test, []);
    for (const [i, step] of (steps ?? []).entries()) await this.#runStep(module, step, ["steps", i]);
    for (const exchange of this.#open) exchange.finish();
  }

  async #runStep(module: FilterModule, step: TableStep, at: IssuePath): Promise<void> {
    const { lines } = this.#bed;
    const firstLine = lines.length;
    this.#desk.plan(step.callouts ?? []);
    let exchange: MemoryExchange | undefined;
    let notes: ReadonlyMap<string, string> | undefined;
    try {
      if (step.advance !== undefined) await this.#bed.advance(step.advance);
      else {
        exchange = await this.#exchange(module, step);
        notes = exchange.chain.notes === undefined ? undefined : new Map(exchange.chain.notes);
        if (exchange.over) exchange.finish();
        else this.#open.push(exchange);
      }
    } catch (error) {
      this.#fail(at, "a step that runs", describeCause(error));
      return;
    }
    await this.#waitForInstance(module);
    if (step.expect === undefined) return;
    const observed: Observed = {
      ...{ exchange, notes, lines: lines.slice(firstLine) },
      ...{ callouts: this.#desk.made, metrics: this.#bed.metrics.values },
    };
    this.#report([...at, "expect"], checkExpectation(step.expect, observed));
  }

  /** Time passes only while something waits, and not at all for who wants to see a pause. */
  async #exchange(module: FilterModule, step: TableStep): Promise<MemoryExchange> {
    const { clock } = this.#bed;
    const asked = step.request ?? DEFAULT_REQUEST;
    const exchange = new MemoryExchange(this.#bed, this.#desk, [module], asked, step.upstream ?? DEFAULT_ANSWER);
    exchange.start();
    const endMs = clock.nowMs() + (step.expect?.verdict === "pause" ? 0 : EXCHANGE_MS);
    for (;;) {
      clock.advance(0);
      await settle();
      if (exchange.over || clock.nowMs() >= endMs) return exchange;
      clock.advance(SLICE_MS);
    }
  }

  /** After a trap the host makes a new instance, which takes some turns: the next step must meet it. */
  async #waitForInstance(module: FilterModule): Promise<void> {
    if (module.config.isolated || module.status().instances > 0) return;
    const { clock } = this.#bed;
    clock.advance(0);
    const { pending } = clock;
    for (let turn = 0; turn < RESTART_TURNS && module.status().instances === 0 && clock.pending <= pending; turn++)
      await settle();
  }

  #report(at: IssuePath, mismatches: readonly Mismatch[]): void {
    for (const { path, expected, actual } of mismatches) this.#fail([...at, ...path], expected, actual);
  }

  #fail(at: IssuePath, expected: string, actual: string): void {
    const path = [...this.at, ...at];
    this.#failures.push({ ...this.input.locate(path), path: formatPath(path), expected, actual });
  }
}

export const DEFAULT_REQUEST: NonNullable<TableStep["request"]> = {
  ...{ method: "GET", url: "http://example.com/", headers: {}, source: "192.0.2.1:40000", attributes: {} },
  ...{ route: "default/route", service: "default/service", id: "00000000-0000-4000-8000-000000000001" },
};
export const DEFAULT_ANSWER: NonNullable<TableStep["upstream"]> = { status: 200, headers: {} };

function valueAt(value: unknown, path: IssuePath): Readonly<Record<string, unknown>> {
  let at: unknown = value;
  for (const step of path) at = (at as Record<string | number, unknown>)[step];
  return at as Readonly<Record<string, unknown>>;
}
