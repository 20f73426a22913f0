/** A proxy of one process shows what its source refuses, as a gateway of many does (src/app/supervisor.test.ts). */
import assert from "node:assert/strict";
import { createProxy } from "../../src/app/create-proxy.ts";
import { ownCounters } from "../../src/app/filters.ts";
import { localIssue } from "../../src/app/messages.ts";
import { Standalone } from "../../src/app/standalone.ts";
import type { ConfigIssue } from "../../src/config/issue.ts";
import type { SnapshotSource } from "../../src/config/source.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { ANY_PLACE } from "../../src/proxy/observe/log-place.ts";
import { routeOf, ruleOf, snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

describe("a source that refuses what it has", () => {
  test("is in status, events and metrics until it is good again", async () => {
    const clock = new SystemClock();
    const { proxy, observer } = await createProxy({
      ...{ clock, log: SILENT_LOG, counters: ownCounters(), reusePort: false, logPlaces: ANY_PLACE },
    });
    let refuse: (issues: readonly ConfigIssue[]) => void = () => {};
    const source: SnapshotSource = {
      start: async (onSnapshot, onRefused) => {
        refuse = (issues) => onRefused?.(issues);
        onSnapshot({
          snapshot: snapshotOf({
            routes: [routeOf("r", [ruleOf({ action: { kind: "respond", status: 200, headers: [], body: "x" } })])],
          }),
          modules: new Map(),
          publishedAtMs: undefined,
        });
      },
      report: () => {},
      stop: async () => {},
    };
    const host = new Standalone({
      ...{ id: "p", version: "t", mode: "sidecar", dataPlane: proxy, observer, source },
      ...{ sourceState: () => undefined, clock, log: SILENT_LOG },
    });
    const seen = async (): Promise<unknown[]> => {
      const applies = (await host.metrics()).find(({ key }) => key === "configApplies")?.series ?? [];
      return [
        (await host.status()).issues.map(({ code }) => code),
        (await host.events()).map(({ kind, subject, count }) => `${kind} ${subject} ${count}`),
        applies.find(({ labels }) => labels[0] === "rejected")?.value ?? 0,
      ];
    };
    try {
      await host.start();
      assert.deepEqual(await seen(), [[], [], 0]);
      refuse([localIssue("schema", "no such built-in", "")]);
      assert.deepEqual(await seen(), [["schema"], ["snapshot_refused configuration files 1"], 1]);
      refuse([]);
      assert.deepEqual(await seen(), [[], ["snapshot_refused configuration files 1"], 1]);
      assert.equal(host.ready, true);
    } finally {
      await host.stop();
    }
  });
});
