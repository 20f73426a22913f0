/**
 * How long a change of configuration takes: published over NATS → applied by every worker of a gateway, or by 20 sidecars, all
 * real processes on one machine, with few routes and with 10,000. And what idle processes hold in memory.
 * Run: `node scripts/bench.mjs --config-only` (`--changes 200 --warm-up 800 --workers 2 --sidecars 20 --only gateway,sidecars --json --write`).
 *
 * Exact, because all of it is one clock: this process takes the time before it publishes and when the acknowledgement of the last
 * proxy arrives here (a gateway acknowledges when all its workers serve), so that the way of the acknowledgement is in the figure.
 * With the `nats` command the time starts when this process hears the message; from the start of the command it is told besides.
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { runNatsCli } from "../test/kit/nats.ts";
import { freePort } from "../test/kit/selvedge.ts";
import { describeMachine, sleep } from "./measure.ts";
import { renderConfigTable, writeDocument } from "./report.ts";
import { askOnce, childrenOf, type Memory, memoryOf, processorMs, startWorld, threadsMs, type World } from "./world.ts";

const ROOT = dirname(import.meta.dir);
const IDLE_MS = 10_000;
/** Between two changes, so that each finds quiet processes. */
const PAUSE_MS = 20;
const MANY_ROUTES = 10_000;
const ROUTES_PER_APPLY = 2_000;
/** Until what a proxy puts off (its copy on disk, JIT) is done: it belongs to the changes. */
const SETTLE_MS = 2_500;

export interface Quantiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** One series of changes, each of one route. Times in ms. */
export interface ConfigSeries {
  readonly name: string;
  readonly routes: number;
  readonly changes: number;
  /** Published → the last acknowledgement. */
  readonly applied: Quantiles;
  /** Published → a request on a new connection, sent after that, is answered by the new route. */
  readonly answered?: Quantiles;
  /** The command starts → the last acknowledgement; only with the real command. */
  readonly fromCommand?: Quantiles;
  /** Changes before those that count: code that has run a few times only is interpreted, and compiling it takes time of its own. */
  readonly warmUp?: number;
  /** As `proxyMs`, of these. */
  readonly proxyColdMs?: number;
  /** Processor time of one proxy (all its processes and threads) for one change, in ms: all that was used, also what it uses anyway. */
  readonly proxyMs: number;
  /** Of `proxyMs`, what the same processes used in as much time without changes, right after them. */
  readonly proxyIdleMs?: number;
  /** Of `proxyMs`, the threads that compile what runs often: less with every change. */
  readonly proxyCompilerMs?: number;
  readonly controlMs: number;
}

export interface IdleMemory extends Memory {
  readonly name: string;
}

export interface ConfigReport {
  readonly date: string;
  readonly machine: string;
  readonly workers: number;
  readonly sidecars: number;
  readonly series: readonly ConfigSeries[];
  /** After 10 s of quiet with one route; medians over processes of a kind. */
  readonly idle: readonly IdleMemory[];
}

const { values } = parseArgs({
  options: {
    changes: { type: "string", default: "200" },
    "warm-up": { type: "string", default: "800" },
    workers: { type: "string", default: String(cpus().length) },
    sidecars: { type: "string", default: "20" },
    only: { type: "string", default: "gateway,sidecars" },
    write: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const changes = Number(values.changes);
const warmUp = Number(values["warm-up"]);
const say = (line: string): void => void process.stderr.write(`· ${line}\n`);

function quantiles(times: readonly number[]): Quantiles {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

const document = (kind: string, name: string, spec: unknown): string =>
  JSON.stringify({ apiVersion: "selvedge.dev/v1", kind, metadata: { name }, spec });

/** The route that changes: it answers by itself, with the number of the change. */
const changingRoute = (mark: number): string =>
  document("Route", "changing", {
    hosts: ["changing.test"],
    rules: [{ respond: { status: 200, body: `change ${mark}.` } }],
  });

const gatewayOn = (port: number): string =>
  document("Gateway", "edge", { listeners: [{ name: "main", address: "127.0.0.1", port }] });

function manyRoutes(from: number): string {
  const texts: string[] = [document("Service", "shop", { endpoints: ["127.0.0.1:9"] })];
  for (let i = from; i < from + ROUTES_PER_APPLY; i++) {
    const rules = [{ matches: [{ path: { prefix: `/p${i}` } }], backends: [{ service: "shop" }] }];
    texts.push(document("Route", `r${i}`, { hosts: [`h${i % 1_000}.example.org`], rules }));
  }
  return texts.join("\n---\n");
}

/** Changes that were published so far in a world; each makes one revision. */
interface Progress {
  revision: number;
  mark: number;
}

interface SeriesOptions {
  readonly name: string;
  readonly routes: number;
  readonly changes: number;
  /** Asked after each change; undefined: proxies whose ports nobody knows. */
  readonly port: number | undefined;
  readonly withCommand: boolean;
}

async function measureSeries(world: World, progress: Progress, options: SeriesOptions): Promise<ConfigSeries> {
  const [applied, answered, fromCommand]: number[][] = [[], [], []];
  const heard = { atMs: 0 };
  const listening = world.client.subscribe("selvedge.config.apply", {
    callback: () => {
      heard.atMs = performance.now();
    },
  });
  await world.client.flush();
  const pids = world.proxies.map((each) => each.program.child.pid as number);
  const controlPid = world.control.child.pid as number;
  const controlBefore = { ms: 0 };
  const used = new ProxyMeter(pids);
  let proxyColdMs = 0;
  const cold = used.total();
  for (let i = -warmUp; i < options.changes; i++) {
    if (i === 0) {
      controlBefore.ms = processorMs(controlPid);
      proxyColdMs = (used.total() - cold) / Math.max(1, warmUp) / pids.length;
    }
    if (i === 0) used.mark();
    const revision = ++progress.revision;
    const text = changingRoute(++progress.mark);
    const startMs = performance.now();
    const published = options.withCommand
      ? runNatsCli(world.nats, ["pub", "selvedge.config.apply", text])
      : world.client.publish("selvedge.config.apply", text);
    const appliedMs = await world.applied(revision);
    if (options.port !== undefined) {
      const answer = await askOnce(options.port, "changing.test");
      if (!answer.endsWith(`change ${progress.mark}.`)) throw new Error(`a worker acknowledged, but answers ${answer}`);
    }
    const answeredMs = performance.now();
    await published;
    if (i >= 0) {
      const fromMs = options.withCommand ? heard.atMs : startMs;
      applied?.push(appliedMs - fromMs);
      answered?.push(answeredMs - fromMs);
      fromCommand?.push(appliedMs - startMs);
    }
    await sleep(PAUSE_MS);
  }
  listening.unsubscribe();
  used.mark();
  const controlMs = (processorMs(controlPid) - controlBefore.ms) / options.changes;
  const series: ConfigSeries = {
    ...{
      name: options.name,
      routes: options.routes,
      changes: options.changes,
      warmUp,
      proxyColdMs,
      applied: quantiles(applied ?? []),
    },
    ...(options.port === undefined ? {} : { answered: quantiles(answered ?? []) }),
    ...(options.withCommand ? { fromCommand: quantiles(fromCommand ?? []) } : {}),
    ...(await used.finish(options.changes)),
    controlMs,
  };
  say(`${series.name}: p50 ${series.applied.p50.toFixed(1)} ms, p99 ${series.applied.p99.toFixed(1)} ms`);
  return series;
}

interface Mark {
  readonly atMs: number;
  readonly usedMs: number;
  /** By thread. */
  readonly compilerMs: ReadonlyMap<number, number>;
}

/** Processor time of proxies over a series of changes, from the first mark to the second. */
class ProxyMeter {
  readonly #marks: Mark[] = [];

  constructor(readonly pids: readonly number[]) {}

  /** Of all proxies so far, in ms. */
  total(): number {
    return this.pids.reduce((sum, pid) => sum + processorMs(pid), 0);
  }

  mark(): void {
    this.#marks.push({
      atMs: performance.now(),
      usedMs: this.total(),
      compilerMs: new Map(this.pids.flatMap((pid) => [...threadsMs(pid, "JITWorker")])),
    });
  }

  /** Waits as long as the changes took, without any, to know what the processes use anyway. */
  async finish(changes: number): Promise<Pick<ConfigSeries, "proxyMs" | "proxyIdleMs" | "proxyCompilerMs">> {
    const compilers = [...this.#lastMark().compilerMs];
    await sleep(SETTLE_MS);
    this.mark();
    const [start, , end] = this.#marks;
    if (start === undefined || end === undefined) throw new Error("a series has two marks");
    await sleep(end.atMs - start.atMs);
    this.mark();
    const each = changes * this.pids.length;
    return {
      proxyMs: (end.usedMs - start.usedMs) / each,
      proxyIdleMs: (this.#lastMark().usedMs - end.usedMs) / each,
      // Such threads end when there is nothing to do for a while: then their part is not known, and this is too small.
      proxyCompilerMs: compilers.reduce((sum, [task, ms]) => sum + ms - (start.compilerMs.get(task) ?? 0), 0) / each,
    };
  }

  #lastMark(): Mark {
    return this.#marks.at(-1) as Mark;
  }
}

async function applyManyRoutes(world: World, progress: Progress): Promise<void> {
  for (let from = 0; from < MANY_ROUTES; from += ROUTES_PER_APPLY) progress.revision = await world.apply(manyRoutes(from));
  await world.applied(progress.revision);
}

function medianMemory(name: string, pids: readonly number[]): IdleMemory {
  const sorted = pids.map(memoryOf).sort((a, b) => a.resident - b.resident);
  return { name, ...(sorted[sorted.length >> 1] as Memory) };
}

interface Part {
  readonly series: ConfigSeries[];
  readonly idle: IdleMemory[];
}

async function measureGateway(workers: number): Promise<Part> {
  const port = await freePort();
  const world = await startWorld(1, ["--workers", String(workers)]);
  try {
    const progress: Progress = { revision: 0, mark: 0 };
    progress.revision = await world.apply([gatewayOn(port), changingRoute(0)].join("\n---\n"));
    await world.applied(progress.revision);
    await sleep(IDLE_MS);
    const supervisor = world.proxies[0]?.program.child.pid as number;
    const idle = [
      medianMemory("gateway: supervisor", [supervisor]),
      medianMemory("gateway: worker", childrenOf(supervisor)),
      medianMemory("control plane", [world.control.child.pid as number]),
    ];
    const name = `gateway, ${workers} workers`;
    const common = { changes, port, routes: 1, withCommand: false };
    const series = [
      await measureSeries(world, progress, { ...common, name }),
      await measureSeries(world, progress, { ...common, name: `${name}, by the command nats pub`, withCommand: true }),
    ];
    await applyManyRoutes(world, progress);
    series.push(await measureSeries(world, progress, { ...common, name, routes: MANY_ROUTES + 1 }));
    return { series, idle };
  } finally {
    await world.stop();
  }
}

async function measureSidecars(count: number): Promise<Part> {
  const world = await startWorld(count, ["--mode", "sidecar"]);
  try {
    const progress: Progress = { revision: 0, mark: 0 };
    // One group has one snapshot; port 0 gives each its own.
    progress.revision = await world.apply([gatewayOn(0), changingRoute(0)].join("\n---\n"));
    await world.applied(progress.revision);
    await sleep(IDLE_MS);
    const idle = [
      medianMemory(
        "sidecar",
        world.proxies.map((each) => each.program.child.pid as number),
      ),
    ];
    const common = { name: `${count} sidecars`, changes, port: undefined, withCommand: false };
    const series = [await measureSeries(world, progress, { ...common, routes: 1 })];
    await applyManyRoutes(world, progress);
    series.push(await measureSeries(world, progress, { ...common, routes: MANY_ROUTES + 1 }));
    return { series, idle };
  } finally {
    await world.stop();
  }
}

const parts: Part[] = [];
const only = values.only.split(",");
if (only.includes("gateway")) parts.push(await measureGateway(Number(values.workers)));
if (only.includes("sidecars")) parts.push(await measureSidecars(Number(values.sidecars)));
const report: ConfigReport = {
  ...describeMachine(),
  ...{ workers: Number(values.workers), sidecars: Number(values.sidecars) },
  series: parts.flatMap((part) => part.series),
  idle: parts.flatMap((part) => part.idle),
};
process.stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : renderConfigTable(report));
if (values.write) {
  writeFileSync(join(ROOT, "docs/benchmarks-config.json"), `${JSON.stringify(report, undefined, 2)}\n`);
  writeDocument(join(ROOT, "docs"));
}
