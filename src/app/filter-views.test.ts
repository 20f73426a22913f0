import { expect, test } from "bun:test";
import { VirtualClock } from "../core/clock.ts";
import { MetricsAggregator } from "../proxy/observe/aggregator.ts";
import { MetricsRecorder } from "../proxy/observe/recorder.ts";
import { filterViews, type WorkerFilter } from "./filter-views.ts";
import type { HostStatus } from "./host.ts";

const filter = (part: Partial<WorkerFilter>): WorkerFilter => ({
  ...{ name: "default/a", origin: "builtin", digest: "sha256:00", instances: 1, contexts: 2, calls: 3, traps: 0 },
  ...{ memoryBytes: 65_536, lastError: undefined, callbackFuelMost: 10 },
  ...part,
});
const statusOf = (workers: readonly (readonly WorkerFilter[] | undefined)[]): HostStatus => ({
  ...{ id: "p", version: "0", mode: "gateway", ready: true, reason: "", uptimeMs: 0, revision: 1, appliedRevision: 1 },
  ...{ digest: "", issues: [], inFlight: 0, source: "" },
  workers: workers.map((filters, index) => ({
    ...{ index, pid: 1, running: true, revision: 1, replaced: 0, inFlight: 0, residentBytes: 0 },
    dataPlane: filters === undefined ? undefined : { filters },
  })),
});

test("a filter is one row over all workers, also those that are gone; what no worker has is no row", () => {
  const clock = new VirtualClock();
  const aggregator = new MetricsAggregator(clock);
  for (const worker of ["a", "b"]) {
    const recorder = new MetricsRecorder(clock);
    const stats = recorder.filters.statsOf("default/a");
    stats.users++;
    stats.onCall("request_headers", 2, 61);
    stats.callFuel.record(900, 61);
    stats.onFault("fuel");
    stats.onVerdict("continue");
    stats.onVerdict("filter_failed");
    stats.fuel += 1000;
    recorder.filters.onDenied("default/a", "log");
    recorder.filters.statsOf("default/other").onFault("trap");
    aggregator.add(worker, recorder.drain());
    aggregator.removeSource(worker);
  }
  const broken = filter({
    traps: 2,
    lastError: "trap: unreachable code",
    quarantined: true,
    state: "quarantined",
    instances: 0,
    callbackFuelMost: 77,
  });
  expect(
    filterViews(statusOf([[filter({})], [broken, filter({ name: "default/b" })], undefined]), aggregator.families()),
  ).toEqual([
    {
      ...{
        name: "default/a",
        origin: "builtin",
        digest: "sha256:00",
        state: "quarantined",
        instances: 1,
        contexts: 4,
        memoryBytes: 131_072,
        traps: 2,
      },
      ...{ lastError: "trap: unreachable code", quarantinedIn: [1], calls: { request_headers: 2 } },
      ...{ verdicts: { continue: 2, fail: 2 }, faults: { fuel: 2 }, denied: { log: 2 } },
      fuel: { total: 2000, callbackP50: 1024, callbackP99: 1024, callbackMost: 77 },
      time: { totalSeconds: expect.closeTo(244e-6), callbackP50Us: 2.048, callbackP99Us: 2.048 },
    },
    expect.objectContaining({ name: "default/b", state: "running", calls: {}, verdicts: {}, faults: {}, quarantinedIn: [] }),
  ]);
});

test("the state says who switched it off; a worker that has it off by hand comes before one that has it in quarantine", () => {
  const stateOf = (...workers: readonly Partial<WorkerFilter>[]): unknown =>
    filterViews(statusOf(workers.map((each) => [filter(each)])), [])[0]?.state;
  expect(stateOf({}, {})).toBe("running");
  expect(stateOf({ state: "disabled", disabledBy: "configuration" })).toBe("disabled by configuration");
  expect(stateOf({ state: "quarantined" }, { state: "disabled", disabledBy: "hand" })).toBe("disabled by hand");
});
