/** Connections, handshakes and file descriptors are bounded, and what is refused is counted. */
import assert from "node:assert/strict";
import type { ListenerConfig } from "../../src/config/snapshot.ts";
import { testAuthority } from "../kit/certs.ts";
import { GET, judge, partsFor, withProxy, withUpstream } from "../kit/end-to-end.ts";
import { connectRaw, okText, type RawConnection, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { listenerOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const authority = await testAuthority();
const issued = await authority.issue({ dns: ["shop.test"] });
const base = listenerOf();
const secured = (part: Partial<ListenerConfig>): ListenerConfig =>
  listenerOf({
    protocol: "https",
    tls: {
      certificates: [{ hosts: ["*"], certificatePem: issued.certificatePem, keyPem: issued.keyPem }],
      clientAuth: "none",
      clientCaPem: undefined,
      minVersion: "TLSv1.2",
    },
    ...part,
  });

async function dialMany(port: number, count: number): Promise<RawConnection[]> {
  const made: RawConnection[] = [];
  for (let i = 0; i < count; i++) made.push(await connectRaw(port));
  return made;
}
const destroyAll = (connections: readonly RawConnection[]): void => {
  for (const each of connections) each.destroy();
};

/** No TLS: it is told so at once. */
const spoil = (connection: RawConnection): void => connection.send("GET / HTTP/1.1\r\n\r\n");

describe("bounds of connections", () => {
  test("handshakes under way are bounded, count as connections, and make room when they end", async () => {
    await withProxy({ listeners: [secured({ maxHandshakes: 3 })] }, async (proxy) => {
      const { observer } = proxy;
      const waiting = await dialMany(proxy.port(), 3);
      await until(() => observer.handshakes === 3);
      const more = await dialMany(proxy.port(), 2);
      for (const each of more) await each.closed();
      assert.deepEqual(observer.connectionFailures, ["overloaded", "overloaded"]);
      assert.equal(observer.connections, 0);
      for (const each of waiting.slice(1)) spoil(each);
      await until(() => observer.handshakes === 1);
      assert.deepEqual(observer.connectionFailures.slice(2), ["plain_http", "plain_http"]);
      for (const each of waiting) spoil(each);
      await until(() => observer.handshakes === 0);
      destroyAll([...waiting, ...more]);
      assert.equal(proxy.proxy.core.sockets.downstream, 0);
    });
  });

  test("connections and handshakes together do not exceed maxConnections", async () => {
    await withProxy({ listeners: [secured({ maxConnections: 2 })] }, async (proxy) => {
      const waiting = await dialMany(proxy.port(), 2);
      await until(() => proxy.observer.handshakes === 2);
      const third = await connectRaw(proxy.port());
      await third.closed();
      assert.deepEqual(proxy.observer.connectionFailures, ["overloaded"]);
      for (const each of waiting) spoil(each);
      await until(() => proxy.observer.handshakes === 0);
      destroyAll([...waiting, third]);
    });
  });

  test("a handshake that takes too long is broken off and counted as such", async () => {
    const times = { ...base.times, handshakeMs: 200 };
    await withProxy({ listeners: [secured({ times })] }, async (proxy) => {
      const silent = await connectRaw(proxy.port());
      silent.send("\x16\x03\x01");
      await silent.closed();
      assert.deepEqual(proxy.observer.connectionFailures, ["request_timeout"]);
      assert.equal(proxy.observer.handshakes, 0);
      silent.destroy();
    });
  });

  test("PROXY headers under way are counted and bounded the same way", async () => {
    const proxyProtocol = { trusted: ["127.0.0.0/8"], required: true };
    await withProxy({ listeners: [listenerOf({ proxyProtocol, maxHandshakes: 2 })] }, async (proxy) => {
      const waiting = await dialMany(proxy.port(), 2);
      await until(() => proxy.observer.handshakes === 2);
      const third = await connectRaw(proxy.port());
      await third.closed();
      waiting[0]?.send(`PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n${GET}`);
      assert.equal(judge((await waiting[0]?.closed()) ?? ""), "404 no_route");
      waiting[1]?.send("nonsense\r\n");
      await waiting[1]?.closed();
      assert.deepEqual(proxy.observer.connectionFailures, ["overloaded", "bad_proxy_header"]);
      destroyAll([...waiting, third]);
      await until(() => proxy.observer.handshakes === 0);
    });
  });
});

describe("file descriptors", () => {
  // 20 leaves 15 sockets: 7 for downstreams, 8 for upstreams.
  const descriptors = 20;

  test("downstreams are refused before the process runs out, whatever the listener says, and served again afterwards", async () => {
    const upstream = await startUpstream(() => okText("fine"));
    await withUpstream(
      upstream,
      async (proxy) => {
        const { downstreamMax } = proxy.proxy.core.sockets;
        assert.equal(downstreamMax, 7);
        const held = await dialMany(proxy.port(), downstreamMax);
        await until(() => proxy.observer.connections === downstreamMax);
        assert.equal(await sayRaw(proxy.port(), ""), "");
        assert.deepEqual(proxy.observer.connectionFailures, ["overloaded"]);
        // Who is in is served: the other half is for upstreams.
        held[0]?.send(GET);
        assert.match((await held[0]?.closed()) ?? "", /fine$/);
        await until(() => proxy.observer.connections === downstreamMax - 1);
        assert.match(await sayRaw(proxy.port(), GET), /fine$/);
        destroyAll(held);
        await until(() => proxy.proxy.core.sockets.downstream === 0);
      },
      {},
      { descriptors },
    );
  });

  test("attempts beyond the upstreams' share are refused, and made again when there is room", async () => {
    const held: { answer(): void }[] = [];
    const upstream = await startRawUpstream((socket) => {
      socket.on("data", () => held.push({ answer: () => void socket.end(okText("late", "connection: close\r\n")) }));
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const { sockets } = proxy.proxy.core;
        const asking: Promise<string>[] = [];
        // One downstream connection may wait for several: its share is smaller, so fill the other half by hand.
        sockets.upstream += sockets.upstreamMax - 2;
        for (let i = 0; i < 2; i++) asking.push(sayRaw(proxy.port(), GET));
        await until(() => held.length === 2);
        assert.equal(judge(await sayRaw(proxy.port(), GET)), "503 pool_overflow");
        for (const each of held.splice(0)) each.answer();
        for (const each of asking) assert.match(await each, /late$/);
        await until(() => sockets.upstream === sockets.upstreamMax - 2);
        const again = sayRaw(proxy.port(), GET);
        await until(() => held.length === 1);
        held[0]?.answer();
        assert.match(await again, /late$/);
        await until(() => sockets.upstream === sockets.upstreamMax - 2);
      },
      partsFor(upstream),
      { descriptors },
    );
  });
});
