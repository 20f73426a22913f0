import assert from "node:assert/strict";
import { startProxy } from "../kit/proxy.ts";
import { connectRaw, okText, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { endpointsOf, forwardTo, listenerOf, routeOf, ruleOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const respond = (body: string) => ruleOf({ action: { kind: "respond", status: 200, headers: [["x-kind", "static"]], body } });

describe("reload and drain", () => {
  test("a new snapshot serves the next request, an equal digest is a no-op, an older revision is refused", async () => {
    const first = snapshotOf({ routes: [routeOf("r", [respond("one")])] });
    const proxy = await startProxy(first);
    try {
      assert.match(await sayRaw(proxy.port(), GET), /x-kind: static\r\n[\s\S]*one$/);
      const second = snapshotOf({ routes: [routeOf("r", [respond("two")])] });
      await proxy.apply(second);
      assert.match(await sayRaw(proxy.port(), GET), /two$/);
      const generation = proxy.proxy.core.generation;
      await proxy.apply({ ...second, revision: second.revision + 1 });
      assert.equal(proxy.proxy.core.generation, generation);
      const issues = await proxy.proxy.apply({ snapshot: first, modules: new Map(), publishedAtMs: undefined });
      assert.deepEqual(
        issues.map((issue) => issue.code),
        ["old_revision"],
      );
      assert.match(await sayRaw(proxy.port(), GET), /two$/);
    } finally {
      await proxy.stop();
    }
  });

  test("a snapshot with equal routes in new objects serves them", async () => {
    const routes = [routeOf("r", [respond("one"), respond("never")])];
    const proxy = await startProxy(snapshotOf({ routes }));
    try {
      for (let i = 0; i < 2; i++) {
        await proxy.apply(snapshotOf({ routes: structuredClone(routes) }));
        assert.match(await sayRaw(proxy.port(), GET), /one$/);
      }
    } finally {
      await proxy.stop();
    }
  });

  test("keeps connections, pools and tunnels that a reload does not concern", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.on("data", (chunk) => {
        const text = chunk.toString("latin1");
        if (text.includes("upgrade: websocket"))
          socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        else if (text.startsWith("GET")) socket.write(okText("up"));
        else socket.write(`echo:${text}`);
      });
    });
    const parts = { services: [serviceOf("up")], endpoints: [endpointsOf("up", [upstream.port])] };
    const proxy = await startProxy(snapshotOf({ ...parts, routes: [routeOf("r", [forwardTo("up")])] }));
    try {
      const tunnel = await connectRaw(proxy.port());
      tunnel.send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
      await tunnel.until("\r\n\r\n");
      const kept = await connectRaw(proxy.port());
      kept.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      await kept.until("up");
      for (let i = 0; i < 5; i++) {
        await proxy.apply(
          snapshotOf({
            ...parts,
            routes: [
              routeOf("r", [forwardTo("up", { responseHeaders: { set: [["x-round", String(i)]], add: [], remove: [] } })]),
            ],
          }),
        );
        kept.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        await kept.until(`x-round: ${i}`);
        tunnel.send(`${i}`);
        await tunnel.until(`echo:${i}`);
      }
      assert.equal(upstream.connections, 2);
      await proxy.apply(snapshotOf({ ...parts, routes: [routeOf("r", [respond("no tunnels here")])] }));
      await tunnel.closed();
      tunnel.destroy();
      kept.destroy();
    } finally {
      await proxy.stop();
      await upstream.stop();
    }
  });

  test("moves traffic when endpoints change, and closes idle connections of those that are gone", async () => {
    const a = await startUpstream(() => okText("from a"));
    const b = await startUpstream(() => okText("from b"));
    const parts = { services: [serviceOf("up")], routes: [routeOf("r", [forwardTo("up")])] };
    const proxy = await startProxy(snapshotOf({ ...parts, endpoints: [endpointsOf("up", [a.port])] }));
    try {
      assert.match(await sayRaw(proxy.port(), GET), /from a$/);
      await proxy.apply(snapshotOf({ ...parts, endpoints: [endpointsOf("up", [b.port])] }));
      assert.match(await sayRaw(proxy.port(), GET), /from b$/);
      await until(() => a.open === 0);
    } finally {
      await proxy.stop();
      await a.stop();
      await b.stop();
    }
  });

  test("opens and closes listeners; one that cannot open refuses the whole snapshot", async () => {
    const routes = [routeOf("r", [respond("here")])];
    const one = listenerOf({ name: "default/edge/one" });
    const proxy = await startProxy(snapshotOf({ routes, listeners: [one] }));
    try {
      await proxy.apply(snapshotOf({ routes, listeners: [one, listenerOf({ name: "default/edge/two" })] }));
      const second = proxy.port("default/edge/two");
      assert.match(await sayRaw(second, GET), /here$/);
      const taken = listenerOf({
        name: "default/edge/three",
        address: { kind: "tcp", host: "127.0.0.1", port: second },
        protocol: "http",
      });
      const clash = { ...taken, proxyProtocol: { trusted: ["127.0.0.1"], required: false } };
      const issues = await proxy.proxy.apply({
        snapshot: snapshotOf({ routes, listeners: [one, listenerOf({ name: "default/edge/two" }), clash] }),
        modules: new Map(),
        publishedAtMs: undefined,
      });
      assert.equal(issues[0]?.code, "listen_failed");
      assert.ok(issues[0]?.message.includes(String(second)), issues[0]?.message);
      await proxy.apply(snapshotOf({ routes, listeners: [one] }));
      await assert.rejects(connectRaw(second));
      assert.match(await sayRaw(proxy.port(), GET), /here$/);
    } finally {
      await proxy.stop();
    }
  });

  test("drain: accepts nobody, finishes what is under way with Connection: close, closes idle connections", async () => {
    let finish: (() => void) | undefined;
    const upstream = await startUpstream((_request, socket) => {
      finish = () => void socket.write(okText("finished"));
      return undefined;
    });
    const proxy = await startProxy(
      snapshotOf({
        routes: [routeOf("r", [forwardTo("up")])],
        services: [serviceOf("up")],
        endpoints: [endpointsOf("up", [upstream.port])],
      }),
    );
    const port = proxy.port();
    const busy = await connectRaw(port);
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    const idle = await connectRaw(port);
    await until(() => finish !== undefined && proxy.observer.connections === 2);
    const drained = proxy.proxy.drain();
    await idle.closed();
    idle.destroy();
    finish?.();
    assert.match(await busy.closed(), /connection: close[\s\S]*finished$/i);
    busy.destroy();
    await drained;
    await assert.rejects(connectRaw(port));
    assert.equal(proxy.observer.connections, 0);
    await upstream.stop();
  });
});
