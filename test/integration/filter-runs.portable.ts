import assert from "node:assert/strict";
import type { MeshConfig } from "../../src/config/snapshot.ts";
import { GET } from "../kit/end-to-end.ts";
import type { SeenExchange } from "../kit/proxy.ts";
import { okText, type RawUpstream, sayRaw, startUpstream } from "../kit/raw.ts";
import { snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";
import { builtin, withFilters } from "../kit/with-filters.ts";

// What an exchange says of its filters, for metrics and the access log.

const echo = (): Promise<RawUpstream> =>
  startUpstream(({ head, body }) => okText(`${head.split("\r\n")[0]}|${body}`, "content-type: text/plain\r\nx-up: 1\r\n"));

describe("what an exchange says of its filters", () => {
  const { mesh } = snapshotOf();
  const limit = { limits: [{ name: "a", requests: 1, per: "hour", key: ["clientIp"] }] };
  const settings = [
    builtin("transform", { response: { headers: [{ op: "set", name: "x-a", value: "b" }] } }),
    builtin("rate-limit", limit),
  ];
  const seen = async (accessLog: Partial<MeshConfig["accessLog"]>): Promise<readonly SeenExchange[]> => {
    let exchanges: readonly SeenExchange[] = [];
    await withFilters(
      settings,
      await echo(),
      async (proxy) => {
        for (let i = 0; i < 2; i++) await sayRaw(proxy.port(), GET);
        await until(() => proxy.observer.exchanges.length === 2);
        exchanges = proxy.observer.exchanges;
      },
      { mesh: { ...mesh, accessLog: { ...mesh.accessLog, ...accessLog } } },
    );
    return exchanges;
  };

  test("each filter with its verdict; who answered is named; time and fuel only when somebody asked", async () => {
    for (const [accessLog, isTimed] of [
      [{ filters: true }, true],
      [{ slowFilterMs: 1_000 }, true],
      [{}, false],
    ] as const) {
      const [first, second] = await seen(accessLog);
      assert.deepEqual(
        first?.filterRuns.map(({ name, verdict, spentMs, fuel }) => [name, verdict, (spentMs ?? -1) > 0, (fuel ?? -1) > 0]),
        [
          ["default/f0", "continue", isTimed, isTimed],
          ["default/f1", "continue", isTimed, isTimed],
        ],
      );
      assert.equal(first?.answeringFilter, "");
      // It came, was refused and answered within one turn of the event loop: whoever is timed took some of its time.
      if (isTimed) assert.ok((second?.durationMs ?? 0) > 0);
      assert.deepEqual(
        second?.filterRuns.map(({ verdict }) => verdict),
        ["continue", "respond"],
      );
      assert.deepEqual([second?.status, second?.answeredBy, second?.answeringFilter], [429, "filter", "default/f1"]);
    }
  });
});
