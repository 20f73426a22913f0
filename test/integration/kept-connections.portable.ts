import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { RouteConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET, DEFAULT_UPSTREAM_LIMITS } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import { GET, judge, partsFor, wholeBody, withUpstream } from "../kit/end-to-end.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import { buildPuppet, Puppet } from "../kit/puppet.ts";
import { connectRaw, okText, type RawUpstream, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { filterOf, forwardTo, listenerOf, routeOf, ruleOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

// Connections outlive the exchange, the answer and the listener for which they were made.

const KEPT = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const limitsOf = (part: Partial<typeof DEFAULT_UPSTREAM_LIMITS>) => ({
  services: [serviceOf("up", { limits: { ...DEFAULT_UPSTREAM_LIMITS, ...part } })],
});
const poolOf = (proxy: TestProxy) => [...(proxy.proxy.core.generation?.services.get("default/up")?.pools.values() ?? [])][0];

describe("kept upstream connections", () => {
  test("one that is being closed is not picked any more, although its endpoint has not closed its side", async () => {
    // Never answers a FIN.
    const upstream = await startRawUpstream((socket) => void socket.on("data", () => socket.write(okText("ok"))));
    await withUpstream(
      upstream,
      async (proxy) => {
        for (let connections = 1; connections <= 3; connections++) {
          assert.equal(wholeBody(await sayRaw(proxy.port(), GET)), "ok");
          assert.equal(upstream.connections, connections);
          await until(() => poolOf(proxy)?.idleConnections === 0);
        }
      },
      limitsOf({ idleMs: 50 }),
    );
  });

  test("trust that observed closes took away comes back when connections rest to the end of their time", async () => {
    let closes = true;
    const upstream = await startUpstream((_request, socket) => {
      if (closes) setImmediate(() => socket.end());
      return okText("ok");
    });
    await withUpstream(upstream, async (proxy) => {
      await sayRaw(proxy.port(), GET);
      await until(() => (poolOf(proxy)?.idleMs ?? 0) < DEFAULT_UPSTREAM_LIMITS.idleMs);
      const least = poolOf(proxy)?.idleMs ?? 0;
      closes = false;
      await until(async () => {
        assert.equal(wholeBody(await sayRaw(proxy.port(), GET)), "ok");
        await until(() => poolOf(proxy)?.idleConnections === 0);
        return (poolOf(proxy)?.idleMs ?? 0) > least;
      });
    });
  });

  test("an answer of which a 1xx came is not asked for again", async () => {
    const upstream = await startRawUpstream((socket) => {
      let count = 0;
      socket.on("data", () => {
        if (++count === 1) socket.write(okText("first"));
        else socket.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", () => socket.destroy());
      });
    });
    await withUpstream(upstream, async (proxy) => {
      await sayRaw(proxy.port(), GET);
      const heard = (await sayRaw(proxy.port(), GET)).replace(/^HTTP\/1\.1 103 [\s\S]*?\r\n\r\n/, "");
      assert.match(judge(heard), /^502 upstream_(reset|aborted)$/);
      assert.equal(upstream.connections, 1);
    });
  });

  test("a slow reader of an answer that filters held whole does not stop the next exchange on its upstream's connection", async () => {
    const SIZE = 16 * 1024 * 1024;
    const upstream = await startUpstream(({ head }) => okText(head.includes("/big") ? "x".repeat(SIZE) : "small"));
    const puppet = new Puppet().on("response_body", function* (_guest, _context, _size, end) {
      yield* [];
      return end === 1 ? 0 : 1;
    });
    await withPuppet(upstream, puppet, 2 * SIZE, async (proxy) => {
      const slow = await connectRaw(proxy.port());
      slow.pause();
      slow.send("GET /big HTTP/1.1\r\nhost: a\r\n\r\n");
      // The upstream has given all of it; the filter lets it go; the reader does not take it.
      await until(() => poolOf(proxy)?.idleConnections === 1);
      for (let i = 0; i < 3; i++) assert.equal(wholeBody(await sayRaw(proxy.port(), GET)), "small");
      assert.equal(upstream.connections, 1);
      slow.resume();
      await slow.when((heard) => heard.length > SIZE);
      assert.equal(wholeBody(slow.heard)?.length, SIZE);
      slow.destroy();
    });
  });
});

/** One connection at a time to `upstream`, and a filter that may hold so much. */
async function withPuppet(
  upstream: RawUpstream,
  puppet: Puppet,
  bufferBytes: number,
  body: (proxy: TestProxy) => Promise<void>,
): Promise<void> {
  const foreign = new ForeignFunctions();
  puppet.register(foreign);
  const wasm = buildPuppet();
  const digest = `sha256:${createHash("sha256").update(wasm).digest("hex")}`;
  const parts = {
    clock: new SystemClock(),
    log: SILENT_LOG,
    metrics: new RecordingMetrics(),
    shared: new SharedState(),
    foreign,
  };
  const filter = filterOf("f", digest, { budget: { ...DEFAULT_FILTER_BUDGET, bufferBytes } });
  const routes = [routeOf("r", [forwardTo("up", { filters: [filter.name] })])];
  await withUpstream(
    upstream,
    body,
    { routes, filters: [filter], ...limitsOf({ connectionsPerEndpoint: 1 }) },
    { filterHost: new ProxyWasmHost(parts), modules: new Map([[digest, wasm]]) },
  );
  assert.deepEqual(puppet.errors, []);
}

describe("connections of a listener that a reload takes away", () => {
  const two = [
    listenerOf({ name: "default/one/a", gateway: "default/one" }),
    listenerOf({ name: "default/two/b", gateway: "default/two" }),
  ];
  const respond = (name: string, gateway: string): RouteConfig => ({
    ...routeOf(name, [ruleOf({ action: { kind: "respond", status: 200, headers: [], body: name } })]),
    gateways: [gateway],
  });

  test("a request of which half was there is not served by another listener's routes", async () => {
    const routes = [respond("one", "default/one"), respond("two", "default/two")];
    const proxy = await startProxy(snapshotOf({ listeners: two, routes }));
    try {
      const connection = await connectRaw(proxy.port("default/two/b"));
      // In one segment: when the first answer is here, the half is there.
      connection.send(`${KEPT}GET / HTTP/1.1\r\nhost`);
      await connection.until(/two$/);
      await proxy.apply(snapshotOf({ listeners: two.slice(0, 1), routes }));
      connection.send(": a\r\n\r\n");
      const heard = (await connection.closed()).split("two")[1] ?? "";
      assert.equal(judge(heard), "404 no_route");
      connection.destroy();
    } finally {
      await proxy.stop();
    }
    await until(() => proxy.observer.connections === 0);
  });

  test("an exchange under way finishes, also over a drain; a stop cuts it", async () => {
    const release: (() => void)[] = [];
    const upstream = await startUpstream((_request, socket) => {
      release.push(() => socket.write(okText("finished")));
      return undefined;
    });
    for (const how of ["drain", "stop"] as const) {
      const parts = partsFor(upstream);
      const proxy = await startProxy(snapshotOf({ listeners: two, ...parts }));
      const connection = await connectRaw(proxy.port("default/two/b"));
      connection.send(KEPT);
      await until(() => release.length === 1);
      await proxy.apply(snapshotOf({ listeners: two.slice(0, 1), ...parts }));
      if (how === "drain") {
        let over = false;
        const drained = proxy.proxy.drain().then(() => {
          over = true;
        });
        // Several looks of the drain at what is left.
        for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 100));
        assert.equal(over, false);
        release.pop()?.();
        assert.equal(wholeBody(await connection.closed()), "finished");
        connection.end();
        await drained;
      } else {
        await proxy.stop();
        assert.equal(await connection.closed(), "");
        release.pop()?.();
      }
      connection.destroy();
      await proxy.stop();
      await until(() => proxy.observer.connections === 0);
    }
    await upstream.stop();
  });
});
