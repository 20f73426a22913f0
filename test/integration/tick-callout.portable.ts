import assert from "node:assert/strict";
import { createProxy } from "../../src/app/create-proxy.ts";
import { ownCounters } from "../../src/app/filters.ts";
import { sha256Digest } from "../../src/config/canonical.ts";
import type { Snapshot } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET } from "../../src/core/limits.ts";
import { JsonLog } from "../../src/core/log.ts";
import { ANY_PLACE } from "../../src/proxy/observe/log-place.ts";
import { okText, startUpstream } from "../kit/raw.ts";
import { endpointsOf, filterOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { buildTicker } from "../kit/ticker.ts";
import { until } from "../kit/until.ts";

describe("a filter's calls outside an exchange", () => {
  test("a tick calls a service that it may call, and hears the answer; no other service hears of it", async () => {
    const paths: string[] = [];
    const service = await startUpstream((request) => {
      paths.push(request.head.split(" ")[1] ?? "");
      return okText("fine");
    });
    const clock = new SystemClock();
    const lines: { readonly message: string; readonly filter?: string }[] = [];
    const log = new JsonLog("info", clock, (line) => lines.push(JSON.parse(line)));
    const { proxy } = await createProxy({ clock, log, counters: ownCounters(), reusePort: false, logPlaces: ANY_PLACE });
    const wasm = buildTicker("control");
    const digest = sha256Digest(wasm);
    const granted = { callouts: ["default/control"], sharedData: undefined, rateLimit: false, clock: false };
    const snapshot = (part: Partial<Snapshot>): Snapshot =>
      snapshotOf({ services: [serviceOf("control")], endpoints: [endpointsOf("control", [service.port])], ...part });
    const apply = async (next: Snapshot): Promise<void> => {
      assert.deepEqual(await proxy.apply({ snapshot: next, modules: new Map([[digest, wasm]]), publishedAtMs: undefined }), []);
    };
    const answers = (filter: string): number =>
      lines.filter((line) => line.message === "answered" && line.filter === filter).length;
    try {
      const [may, mayNot] = [filterOf("may", digest, { capabilities: granted }), filterOf("may-not", digest)];
      await apply(snapshot({ filters: [may, mayNot] }));
      await until(() => answers("default/may") >= 3);
      assert.ok(paths.length >= 3 && paths.every((path) => path === "/tick"));
      assert.equal(answers("default/may-not"), 0);
      // Its service is gone: the calls are refused, the filter lives, and finds the service when it is back.
      await apply(snapshot({ filters: [may], services: [], endpoints: [] }));
      const before = answers("default/may");
      await apply(snapshot({ filters: [may] }));
      await until(() => answers("default/may") > before + 1);
      assert.equal(lines.filter((line) => line.message.includes("broke")).length, 0);
    } finally {
      await proxy.stop();
      await service.stop();
    }
  });

  test("one that calls again as soon as it hears that nobody is there keeps no turn of the loop for itself", async () => {
    const clock = new SystemClock();
    let [told, inTurn, most] = [0, 0, 0];
    const log = new JsonLog("info", clock, (line) => {
      if (!line.includes("answered")) return;
      told++;
      if (inTurn++ === 0)
        setTimeout(() => {
          inTurn = 0;
        }, 0);
      most = Math.max(most, inTurn);
    });
    const { proxy } = await createProxy({ clock, log, counters: ownCounters(), reusePort: false, logPlaces: ANY_PLACE });
    const wasm = buildTicker("control", true);
    const digest = sha256Digest(wasm);
    const granted = { callouts: ["default/control"], sharedData: undefined, rateLimit: false, clock: false };
    const snapshot = snapshotOf({
      services: [serviceOf("control")],
      endpoints: [endpointsOf("control", [])],
      filters: [filterOf("insists", digest, { capabilities: granted })],
    });
    try {
      assert.deepEqual(await proxy.apply({ snapshot, modules: new Map([[digest, wasm]]), publishedAtMs: undefined }), []);
      await until(() => told >= 30);
      // Each of its calls under way is answered once before anybody else has a turn.
      assert.ok(most <= DEFAULT_FILTER_BUDGET.callouts, `${most} answers in one turn`);
    } finally {
      await proxy.stop();
    }
  });
});
