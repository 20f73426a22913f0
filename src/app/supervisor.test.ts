import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { filterOf, snapshotOf } from "../../test/kit/snapshot.ts";
import type { ConfigIssue } from "../config/issue.ts";
import { SectionJoiner } from "../config/section-joiner.ts";
import { splitSections } from "../config/sections.ts";
import type { Snapshot } from "../config/snapshot.ts";
import type { SnapshotOutcome, SnapshotUpdate } from "../config/source.ts";
import { VirtualClock } from "../core/clock.ts";
import { EventLog } from "../core/events.ts";
import { FilterLogs } from "../core/filter-logs.ts";
import { DEFAULT_FILTER_BUDGET } from "../core/limits.ts";
import { SILENT_LOG } from "../core/log.ts";
import { DumpBuilder } from "../proxy/observe/dump.ts";
import { type FromWorker, localIssue, type ToWorker } from "./messages.ts";
import { Supervisor } from "./supervisor.ts";
import { type SpawnWorker, WORKER_TIMES } from "./worker-slot.ts";

/** A worker that does what the test says: it answers polls while `alive`, and snapshots when the test calls `answer`. */
class FakeWorker {
  readonly heard: ToWorker[] = [];
  alive = true;
  requestsServed = 0;
  gone = false;
  readonly #joiner = new SectionJoiner();
  readonly #texts = new Map<string, string>();

  constructor(
    readonly index: number,
    readonly pid: number,
    readonly say: (message: FromWorker) => void,
    readonly onExit: (reason: string) => void,
  ) {}

  readonly happened = new EventLog(new VirtualClock());
  readonly said = new FilterLogs(new VirtualClock());

  hear(message: ToWorker): boolean {
    if (this.gone) return false;
    this.heard.push(message);
    if (message.type === "poll" && this.alive) this.report(message.request);
    if (message.type === "drain" || message.type === "stop") this.exit("exit code 0");
    return true;
  }
  report(request: number): void {
    const dump = new DumpBuilder();
    dump.counter("connectionsTotal", ["l"], this.requestsServed);
    dump.gauge("inFlight", [], 1);
    this.requestsServed = 0;
    const events = this.happened.takeNew();
    const filterLogs = this.said.takeAll();
    this.say({
      type: "report",
      request,
      report: { dump, events, filterLogs, inFlight: 1, residentBytes: 10, cpuUs: 5, status: undefined },
    });
  }
  get snapshots(): Extract<ToWorker, { type: "snapshot" }>[] {
    return this.heard.filter((message) => message.type === "snapshot");
  }
  /** Puts the newest snapshot together from what came through the pipe, as a worker does. */
  assemble(): Snapshot {
    let joined: Snapshot | undefined;
    for (const { manifest, sections } of this.snapshots.slice(-1)) {
      for (const [digest, text] of Object.entries(sections)) this.#texts.set(digest, text);
      joined = this.#joiner.join(manifest, (digest) => Buffer.from(this.#texts.get(digest) ?? "", "utf8"));
    }
    if (joined === undefined) throw new Error("no snapshot came");
    return joined;
  }
  answer(kind: "applied" | "rejected"): void {
    const { revision, digest } = this.assemble();
    const issues = [localIssue("bad_module", "the filter is broken", "")];
    const outcome: SnapshotOutcome =
      kind === "applied" ? { kind, revision, digest, applyMs: this.index + 1 } : { kind, revision, digest, issues };
    this.say({ type: "outcome", outcome });
  }
  exit(reason: string): void {
    if (this.gone) return;
    this.gone = true;
    this.onExit(reason);
  }
}

let clock: VirtualClock;
let workers: FakeWorker[];
let publish: (update: SnapshotUpdate) => void;
let refuse: (issues: readonly ConfigIssue[]) => void;
let outcomes: SnapshotOutcome[];
let stored: string[];
let published: string[];
let taken: string[];
let supervisor: Supervisor;

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};
/** The newest worker in each place. */
const at = (index: number): FakeWorker => {
  const worker = workers.findLast((each) => each.index === index);
  if (worker === undefined) throw new Error(`no worker ${index}`);
  return worker;
};
const good = (revision: number, body = `r${revision}`): Snapshot => {
  const snapshot = snapshotOf({ revision, routes: [] });
  const mesh = { ...snapshot.mesh, accessLog: { ...snapshot.mesh.accessLog, path: body } };
  const changed = { ...snapshot, mesh };
  return { ...changed, digest: splitSections(changed, 0).manifest.digest };
};

beforeEach(async () => {
  clock = new VirtualClock();
  workers = [];
  outcomes = [];
  stored = [];
  published = [];
  taken = [];
  const spawn: SpawnWorker = (index, onMessage, onExit) => {
    const worker = new FakeWorker(index, 100 + workers.length, onMessage, onExit);
    workers.push(worker);
    return { pid: worker.pid, send: (message) => worker.hear(message), kill: () => worker.exit("signal SIGKILL") };
  };
  supervisor = new Supervisor({
    id: "gw",
    version: "0",
    workers: 2,
    source: {
      start: async (onSnapshot, onRefused) => {
        publish = onSnapshot;
        refuse = (issues) => onRefused?.(issues);
      },
      report: (outcome) => void outcomes.push(outcome),
      publish: (subject, payload) => {
        published.push(`${subject} ${Buffer.from(payload).toString()}`);
        return true;
      },
      stop: async () => {},
    },
    sourceState: () => "connected",
    spawn,
    storeModule: (digest) => void stored.push(digest),
    findTakenPorts: async () => taken.map((message) => localIssue("listen_failed", message, "")),
    clock,
    log: SILENT_LOG,
    events: new EventLog(clock),
    filterLogs: new FilterLogs(clock),
  });
  await supervisor.start();
  for (const worker of workers) worker.say({ type: "ready" });
});
afterEach(() => supervisor.stop());

async function rejected(): Promise<number> {
  const family = (await waited(supervisor.metrics())).find(({ key }) => key === "configApplies");
  return family?.series.find(({ labels }) => labels.includes("rejected"))?.value ?? 0;
}

async function send(snapshot: Snapshot, modules: [string, Uint8Array][] = []): Promise<void> {
  publish({ snapshot, modules: new Map(modules), publishedAtMs: 1 });
  await settle();
}

describe("Supervisor", () => {
  test("a snapshot counts as applied when every worker serves it, with the time of the slowest", async () => {
    await send(good(1), [["sha256:00", new Uint8Array(1)]]);
    expect(stored).toEqual(["sha256:00"]);
    expect(at(0).assemble().revision).toBe(1);
    at(0).answer("applied");
    expect(outcomes).toEqual([]);
    expect(supervisor.ready).toBe(false);
    at(1).answer("applied");
    expect(outcomes).toEqual([{ kind: "applied", revision: 1, digest: good(1).digest, applyMs: 2 }]);
    expect(supervisor.ready).toBe(true);
    expect(supervisor.snapshot()?.revision).toBe(1);
  });

  test("only sections that changed are sent again, and a new worker gets all", async () => {
    await send(good(1));
    for (const i of [0, 1]) at(i).answer("applied");
    await send(good(2));
    expect(Object.keys(at(0).snapshots[1]?.sections ?? {}).length).toBe(1);
    expect(at(0).assemble().mesh.accessLog.path).toBe("r2");
    expect(supervisor.ready).toBe(true);
    at(1).exit("signal SIGSEGV");
    clock.advance(WORKER_TIMES.backoffMinMs);
    at(1).say({ type: "ready" });
    expect(at(1).assemble().mesh.accessLog.path).toBe("r2");
  });

  test("sections that came cut are passed on as they came", async () => {
    const snapshot = good(1);
    // A time that cutting anew would not give.
    publish({ snapshot, modules: new Map(), publishedAtMs: 1, cut: splitSections(snapshot, 7) });
    await settle();
    expect(at(0).snapshots[0]?.manifest.publishedAtMs).toBe(7);
    expect(at(0).assemble().digest).toBe(snapshot.digest);
  });

  test("a refused snapshot is told once with each reason once; later workers start with the one before", async () => {
    await send(good(1));
    for (const i of [0, 1]) at(i).answer("applied");
    await send(good(2));
    for (const i of [0, 1]) at(i).answer("rejected");
    expect(outcomes.slice(1)).toEqual([
      { kind: "rejected", revision: 2, digest: good(2).digest, issues: [localIssue("bad_module", "the filter is broken", "")] },
    ]);
    expect(supervisor.ready).toBe(true);
    expect(supervisor.snapshot()?.revision).toBe(1);
    at(0).exit("exit code 1");
    clock.advance(WORKER_TIMES.backoffMinMs);
    at(0).say({ type: "ready" });
    expect(at(0).assemble().mesh.accessLog.path).toBe("r1");
    at(0).answer("applied");
    await send(good(3));
    for (const i of [0, 1]) at(i).answer("applied");
    expect(outcomes.at(-1)).toMatchObject({ kind: "applied", revision: 3 });
  });

  test("when only some refuse, those that took it get the old content back", async () => {
    await send(good(1));
    for (const i of [0, 1]) at(i).answer("applied");
    await send(good(2));
    at(0).answer("applied");
    at(1).answer("rejected");
    expect(outcomes.at(-1)?.kind).toBe("rejected");
    // The revision stays, because a proxy refuses an older one.
    expect(at(0).assemble()).toMatchObject({ revision: 2, digest: good(1).digest });
    expect(at(1).snapshots.length).toBe(2);
  });

  test("what filters publish passes when it was granted to that filter, and not otherwise", async () => {
    const filters = [
      filterOf("may", "sha256:00", { capabilities: { nats: { publish: ["shop.orders"], perSecond: 1, payloadBytes: 9 } } }),
      filterOf("may-not", "sha256:00"),
    ];
    const say = (filter: string, subject: string): void =>
      at(0).say({ type: "publish", filter: `default/${filter}`, subject, payload: Buffer.from("hello").toString("base64") });
    say("may", "shop.orders");
    await send({ ...good(1), filters });
    say("may", "shop.orders");
    say("may", "selvedge.config.apply");
    say("may-not", "shop.orders");
    say("unknown", "shop.orders");
    expect(published).toEqual(["shop.orders hello"]);
  });

  test("a port that somebody else holds refuses the snapshot before any worker sees it", async () => {
    taken = ["port 80 on 0.0.0.0 is in use"];
    await send(good(1));
    expect(at(0).snapshots).toEqual([]);
    expect(outcomes).toMatchObject([{ kind: "rejected", issues: [{ message: "port 80 on 0.0.0.0 is in use" }] }]);
    expect((await waited(supervisor.status())).issues).toHaveLength(1);
    expect(await rejected()).toBe(1);
  });

  test("what the source itself refuses shows like a snapshot that was refused, until it is good again", async () => {
    const rejections = async (): Promise<unknown[]> => [
      (await waited(supervisor.status())).issues.map(({ message }) => message),
      await rejected(),
    ];
    refuse([]);
    await send(good(1));
    for (const worker of workers) worker.answer("applied");
    expect(await rejections()).toEqual([[], 0]);
    refuse([localIssue("schema", "no such built-in", "")]);
    expect(await rejections()).toEqual([["no such built-in"], 1]);
    expect(await supervisor.events()).toEqual([
      expect.objectContaining({
        ...{ kind: "snapshot_refused", subject: "configuration files" },
        reason: expect.stringContaining("no such built-in"),
      }),
    ]);
    refuse([]);
    expect(await rejections()).toEqual([[], 1]);
    // The files are sound, and still what no worker can serve.
    taken = ["port 80 on 0.0.0.0 is in use"];
    await send(good(2));
    refuse([localIssue("schema", "no such built-in", "")]);
    refuse([]);
    expect(await rejections()).toEqual([["port 80 on 0.0.0.0 is in use"], 3]);
  });

  test("what happened is kept: refusals, workers that were replaced, what they saw, the drain", async () => {
    await send(good(1));
    for (const worker of workers) worker.answer("applied");
    await send(good(2));
    for (const worker of workers) worker.answer("rejected");
    at(1).happened.add("filter_broke", "default/x", "first");
    at(1).happened.add("filter_broke", "default/x", "second");
    await supervisor.metrics();
    at(1).happened.add("filter_broke", "default/x", "third");
    at(0).exit("signal SIGSEGV");
    const events = await supervisor.events();
    expect(events.map(({ kind, subject, reason, worker, count }) => [kind, subject, reason, worker, count])).toEqual([
      ["filter_broke", "default/x", "third", 1, 3],
      ["worker_replaced", "worker 0", "crashed: signal SIGSEGV", undefined, 1],
      ["snapshot_refused", "revision 2", expect.stringContaining("the filter is broken"), undefined, 1],
    ]);
    void supervisor.drain();
    expect((await supervisor.events())[0]).toMatchObject({ kind: "draining" });
  });

  test("what filters of all workers say is one log, also of one that is gone by now", async () => {
    await send({ ...good(1), filters: [filterOf("x", "sha256:00")] });
    for (const index of [0, 1]) at(index).answer("applied");
    at(0).said.add("default/x", 3, "zero", "id-0", 0);
    at(1).said.add("default/x", 2, "one", undefined, 0);
    const first = await supervisor.filterLogs({ filter: "default/x" });
    expect(first?.lines.map(({ worker, level, message, requestId }) => [worker, level, message, requestId])).toEqual([
      [0, "warn", "zero", "id-0"],
      [1, "info", "one", undefined],
    ]);
    at(1).said.add("default/x", 2, "last words", undefined, 0);
    clock.advance(1_000);
    at(1).exit("signal SIGSEGV");
    const next = await supervisor.filterLogs({ filter: "default/x", after: first?.cursor ?? "" });
    expect(next?.lines.map(({ message }) => message)).toEqual(["last words"]);
    expect(await supervisor.filterLogs({ filter: "default/y" })).toBeUndefined();
  });

  test("a filter is controlled in all workers, and one that was switched off stays so in new ones", async () => {
    const filterMessages = (index: number): string[] =>
      at(index).heard.flatMap((each) => (each.type === "filter" ? [`${each.action} ${each.filter}`] : []));
    expect(supervisor.controlFilter("default/x", "disable")).toBeUndefined();
    await send({ ...good(1), filters: [filterOf("x", "sha256:00")] });
    for (const index of [0, 1]) at(index).answer("applied");
    expect(supervisor.controlFilter("default/y", "disable")).toBeUndefined();
    expect(supervisor.controlFilter("default/x", "release")).toBe(2);
    expect(supervisor.controlFilter("default/x", "disable")).toBe(2);
    for (const index of [0, 1]) expect(filterMessages(index)).toEqual(["release default/x", "disable default/x"]);
    // It is asked at once what came of it.
    expect(at(0).heard.at(-1)).toMatchObject({ type: "poll" });
    at(1).exit("signal SIGSEGV");
    clock.advance(WORKER_TIMES.backoffMinMs);
    at(1).say({ type: "ready" });
    expect(
      at(1)
        .heard.map(({ type }) => type)
        .slice(0, 2),
    ).toEqual(["filter", "snapshot"]);
    expect(supervisor.controlFilter("default/x", "enable")).toBe(2);
    expect(filterMessages(1)).toEqual(["disable default/x", "enable default/x"]);
    at(0).exit("signal SIGSEGV");
    clock.advance(WORKER_TIMES.backoffMinMs);
    at(0).say({ type: "ready" });
    expect(filterMessages(0)).toEqual([]);
  });

  test("a worker that hangs is killed and replaced; one that answers is left alone", async () => {
    at(1).alive = false;
    clock.advance(WORKER_TIMES.hungMs + WORKER_TIMES.pollMs);
    clock.advance(WORKER_TIMES.backoffMinMs);
    expect(workers.filter(({ index }) => index === 1)).toHaveLength(2);
    expect(workers.filter(({ index }) => index === 0)).toHaveLength(1);
    expect(supervisor.metricsTotals.total("workerExits")).toBe(1);
  });

  describe("a filter that takes long to start", () => {
    const startFuel = 20_000_000_000;
    /** With a filter that has so much fuel for its start. */
    const costly = (revision: number, settings: string): Snapshot => {
      const budget = { ...DEFAULT_FILTER_BUDGET, startFuel };
      const changed = { ...good(revision), filters: [filterOf("waf", "sha256:00", { settings, budget })] };
      return { ...changed, digest: splitSections(changed, 0).manifest.digest };
    };
    const revisionsOf = (index: number): number[] => at(index).snapshots.map(({ manifest }) => manifest.revision);
    const serveFirst = async (): Promise<void> => {
      await send(costly(1, "a"));
      expect([revisionsOf(0), revisionsOf(1)]).toEqual([[1], [1]]);
      at(0).answer("applied");
      at(1).answer("applied");
    };

    test("starts in one worker after the other; what leaves it as it is goes to all at once", async () => {
      await serveFirst();
      await send(costly(2, "b"));
      expect([revisionsOf(0), revisionsOf(1)]).toEqual([[1, 2], [1]]);
      at(0).answer("applied");
      expect(revisionsOf(1)).toEqual([1, 2]);
      expect(outcomes).toHaveLength(1);
      at(1).answer("applied");
      expect(outcomes.at(-1)).toMatchObject({ kind: "applied", revision: 2 });
      await send(costly(3, "b"));
      expect(revisionsOf(1)).toEqual([1, 2, 3]);
    });

    test("what the first worker refuses, no other hears of", async () => {
      await serveFirst();
      await send(costly(2, "b"));
      at(0).answer("rejected");
      expect(outcomes.at(-1)).toMatchObject({ kind: "rejected", revision: 2 });
      expect(revisionsOf(1)).toEqual([1]);
    });

    test("a newer snapshot takes the place of one that is on its way, and a worker that dies meanwhile does not lose it", async () => {
      await serveFirst();
      await send(costly(2, "b"));
      await send(costly(3, "c"));
      at(0).exit("signal SIGSEGV");
      at(1).exit("signal SIGSEGV");
      clock.advance(WORKER_TIMES.backoffMinMs);
      for (const index of [0, 1]) at(index).say({ type: "ready" });
      expect([revisionsOf(0), revisionsOf(1)]).toEqual([[3], [1]]);
      at(1).answer("applied");
      at(0).answer("applied");
      expect(revisionsOf(1)).toEqual([1, 3]);
      at(1).answer("applied");
      expect(outcomes.at(-1)).toMatchObject({ kind: "applied", revision: 3 });
    });

    test("its worker may be silent as long as its start may take, and the whole time of a new one while it is told of a snapshot", async () => {
      await serveFirst();
      const startMs = startFuel / WORKER_TIMES.startFuelPerMs;
      const count = () => workers.filter(({ index }) => index === 0).length;
      at(0).alive = false;
      clock.advance(WORKER_TIMES.hungMs + startMs - 2 * WORKER_TIMES.pollMs);
      expect(count()).toBe(1);
      clock.advance(4 * WORKER_TIMES.pollMs);
      expect(count()).toBe(2);
      at(0).say({ type: "ready" });
      at(0).alive = false;
      clock.advance(WORKER_TIMES.startMs + startMs - 2 * WORKER_TIMES.pollMs);
      expect(count()).toBe(2);
      clock.advance(4 * WORKER_TIMES.pollMs);
      expect(count()).toBe(3);
    });
  });

  test("a worker that keeps dying is replaced with growing delays, and a stable one starts the back-off anew", () => {
    const delays: number[] = [];
    for (let i = 0; i < 10; i++) {
      at(0).exit("exit code 1");
      const count = workers.length;
      let delayMs = 0;
      while (workers.length === count && delayMs < 20_000) {
        clock.advance(10);
        delayMs += 10;
        at(1).alive = true;
      }
      delays.push(delayMs);
    }
    expect(delays).toEqual([50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    at(0).say({ type: "ready" });
    clock.advance(WORKER_TIMES.stableMs);
    at(0).exit("exit code 1");
    const count = workers.length;
    clock.advance(WORKER_TIMES.backoffMinMs);
    expect(workers.length).toBe(count + 1);
  });

  test("totals of a dead worker stay, its gauges go", async () => {
    for (const worker of workers) worker.requestsServed = 5;
    clock.advance(WORKER_TIMES.pollMs);
    at(0).exit("signal SIGKILL");
    const families = await waited(supervisor.metrics());
    const value = (key: string) => families.find((family) => family.key === key)?.series.map(({ value: each }) => each);
    expect(value("connectionsTotal")).toEqual([10]);
    expect(value("inFlight")).toEqual([1]);
    expect(value("workerExits")).toEqual([1]);
  });

  test("draining fails readiness first, then lets workers finish; none is replaced", async () => {
    await send(good(1));
    for (const i of [0, 1]) at(i).answer("applied");
    const drained = supervisor.drain();
    await settle();
    expect(supervisor.notReadyReason).toBe("draining");
    expect(at(0).heard.some(({ type }) => type === "drain")).toBe(false);
    clock.advance(500);
    await settle();
    await drained;
    expect(workers.every(({ gone }) => gone)).toBe(true);
    clock.advance(60_000);
    expect(workers).toHaveLength(2);
    expect(supervisor.metricsTotals.total("workerExits")).toBe(0);
  });

  test("a worker that does not finish draining is killed after the grace times", async () => {
    await send(good(1));
    for (const i of [0, 1]) at(i).answer("applied");
    const stuck = at(0);
    const hear = stuck.hear.bind(stuck);
    stuck.hear = (message) => (message.type === "drain" ? true : hear(message));
    const drained = supervisor.drain();
    await settle();
    clock.advance(500);
    await settle();
    expect(stuck.gone).toBe(false);
    clock.advance(30_000 + 60_000 + 2_000);
    await drained;
    expect(stuck.gone).toBe(true);
  });
});

/** Polls are answered in the same turn, but through promises. */
async function waited<T>(promise: Promise<T>): Promise<T> {
  await settle();
  clock.advance(1_000);
  return promise;
}
