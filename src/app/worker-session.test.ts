import { describe, expect, test } from "bun:test";
import { snapshotOf } from "../../test/kit/snapshot.ts";
import type { ConfigIssue } from "../config/issue.ts";
import { splitSections } from "../config/sections.ts";
import type { Snapshot } from "../config/snapshot.ts";
import type { SnapshotUpdate } from "../config/source.ts";
import { VirtualClock } from "../core/clock.ts";
import { SILENT_LOG } from "../core/log.ts";
import { SeededRng } from "../core/rng.ts";
import { ProxyObserver } from "../proxy/observe/observer.ts";
import { type FromWorker, localIssue, type ToWorker } from "./messages.ts";
import { WorkerSession } from "./worker-session.ts";

function setUp() {
  const clock = new VirtualClock();
  const said: FromWorker[] = [];
  const applied: SnapshotUpdate[] = [];
  const calls: string[] = [];
  const gates: (() => void)[] = [];
  let issues: ConfigIssue[] = [];
  let hold = false;
  const session = new WorkerSession({
    dataPlane: {
      apply: async (update) => {
        if (hold) await new Promise<void>((resolve) => gates.push(resolve));
        applied.push(update);
        return issues;
      },
      drain: async () => void calls.push("drain"),
      stop: () => void calls.push("stop"),
      controlFilter: (filter, action) => void calls.push(`${action} ${filter}`),
      status: () => "all well",
    },
    observer: new ProxyObserver(clock, new SeededRng(1), SILENT_LOG),
    clock,
    log: SILENT_LOG,
    send: (message) => void said.push(message),
    readModule: (digest) => new TextEncoder().encode(digest),
    usage: () => ({ residentBytes: 7, cpuUs: 100 }),
    exit: (code) => void calls.push(`exit ${code}`),
  });
  return {
    ...{ session, said, applied, calls, gates },
    refuse: (with_: ConfigIssue[]) => {
      issues = with_;
    },
    holdApplies: (on: boolean) => {
      hold = on;
    },
    outcomes: () =>
      said.filter((message) => message.type === "outcome").map(({ outcome }) => `${outcome.kind} ${outcome.revision}`),
  };
}

/** What the supervisor sends; `without` leaves sections out that the worker should have. */
function delivery(snapshot: Snapshot, without: ReadonlySet<string> = new Set()): ToWorker {
  const { manifest, sections } = splitSections(snapshot, 5);
  const texts = [...sections]
    .filter(([digest]) => !without.has(digest))
    .map(([digest, bytes]) => [digest, Buffer.from(bytes).toString()]);
  return { type: "snapshot", manifest, sections: Object.fromEntries(texts) };
}

const quiet = (revision: number, path = "stdout"): Snapshot => {
  const snapshot = snapshotOf({ revision });
  return { ...snapshot, mesh: { ...snapshot.mesh, accessLog: { ...snapshot.mesh.accessLog, enabled: false, path } } };
};
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

describe("WorkerSession", () => {
  test("puts snapshots together from what came now and before", async () => {
    const { session, applied, outcomes } = setUp();
    const first = quiet(1);
    session.onMessage(delivery(first));
    await settle();
    const known = new Set(splitSections(first, 0).sections.keys());
    session.onMessage(delivery(quiet(2, "/x"), known));
    await settle();
    expect(outcomes()).toEqual(["applied 1", "applied 2"]);
    expect(applied.map(({ snapshot }) => snapshot.mesh.accessLog.path)).toEqual(["stdout", "/x"]);
  });

  test("while one is being applied only the newest of those that came waits", async () => {
    const { session, gates, outcomes, holdApplies } = setUp();
    holdApplies(true);
    for (const revision of [1, 2, 3]) session.onMessage(delivery(quiet(revision, `/${revision}`)));
    await settle();
    holdApplies(false);
    for (const open of gates) open();
    await settle();
    expect(outcomes()).toEqual(["applied 1", "applied 3"]);
  });

  test("a refusal and a section that is missing are told, and the next snapshot is taken", async () => {
    const { session, outcomes, refuse, said } = setUp();
    refuse([localIssue("bad_module", "no", "")]);
    session.onMessage(delivery(quiet(1)));
    await settle();
    refuse([]);
    const second = quiet(2, "/new");
    session.onMessage(delivery(second, new Set(splitSections(second, 0).sections.keys())));
    await settle();
    session.onMessage(delivery(quiet(3, "/newer")));
    await settle();
    expect(outcomes()).toEqual(["rejected 1", "rejected 2", "applied 3"]);
    expect(JSON.stringify(said[1])).toContain("missing");
  });

  test("answers polls, with the status when it is asked for", () => {
    const { session, said } = setUp();
    session.onMessage({ type: "poll", request: 4, full: false });
    session.onMessage({ type: "poll", request: 5, full: true });
    expect(said).toMatchObject([
      { type: "report", request: 4, report: { residentBytes: 7, cpuUs: 100, status: undefined } },
      { type: "report", request: 5, report: { cpuUs: 0, status: "all well" } },
    ]);
  });

  test("drains once, reports what it counted last, and exits", async () => {
    const { session, calls, said } = setUp();
    session.onMessage({ type: "drain" });
    session.onMessage({ type: "drain" });
    await settle();
    expect(calls).toEqual(["drain", "stop", "exit 0"]);
    expect(said.map(({ type }) => type)).toEqual(["report", "drained"]);
  });
});

test("stops at once, also while it drains", async () => {
  const { session, calls } = setUp();
  session.onMessage({ type: "stop" });
  session.onMessage({ type: "drain" });
  await settle();
  expect(calls).toEqual(["stop", "exit 0"]);
});

test("what is done to a filter by hand reaches the data plane", () => {
  const { session, calls } = setUp();
  session.onMessage({ type: "filter", filter: "default/x", action: "release" });
  expect(calls).toEqual(["release default/x"]);
});
