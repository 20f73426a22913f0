import assert from "node:assert/strict";
import { DEFAULT_DOWNSTREAM_TIMES } from "../../src/core/limits.ts";
import { judge, withUpstream } from "../kit/end-to-end.ts";
import { connectRaw, okText, type RawConnection, startRawUpstream } from "../kit/raw.ts";
import { forwardTo, listenerOf, routeOf, snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const UPGRADE = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n";
const ACCEPT = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

type Peer = Parameters<Parameters<typeof startRawUpstream>[0]>[0];

/** An upstream that agrees to every upgrade, says `greeting` in the same segment, and then does what `then` says. */
const agreeing = (then: (socket: Peer) => void, greeting = "") =>
  startRawUpstream((socket) => {
    socket.once("data", () => {
      socket.write(ACCEPT + greeting);
      then(socket);
    });
  });

const echo = (socket: Peer): void => {
  socket.on("data", (chunk) => void socket.write(chunk));
  socket.on("end", () => socket.end());
};

async function openTunnel(port: number): Promise<RawConnection> {
  const connection = await connectRaw(port);
  connection.send(UPGRADE);
  await connection.until("\r\n\r\n");
  assert.match(connection.heard, /^HTTP\/1\.1 101 /);
  return connection;
}

describe("tunnels", () => {
  test("bytes in the same segment as the upgrade and as its answer arrive, in order", async () => {
    const upstream = await agreeing(echo, "greeting ");
    await withUpstream(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send(`${UPGRADE}early `);
      await connection.until("early ");
      connection.send("late");
      await connection.until(/\r\n\r\ngreeting early late$/);
      connection.reset();
    });
  });

  test("a FIN behind early bytes, before the upstream has agreed, is not lost", async () => {
    for (const early of ["early", ""]) {
      const upstream = await startRawUpstream((socket) => {
        let heard = "";
        let agreed = false;
        socket.on("data", (chunk) => {
          if (agreed) heard += chunk.toString("latin1");
          else setTimeout(() => socket.write(ACCEPT), 50);
          agreed = true;
        });
        socket.on("end", () => socket.end(`got ${heard} and the end`));
      });
      await withUpstream(upstream, async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.send(UPGRADE + early);
        connection.end();
        assert.ok((await connection.closed()).endsWith(`got ${early} and the end`), connection.heard);
        connection.destroy();
      });
    }
  });

  test("the upstream ends first: the other direction goes on until it ends, too", async () => {
    const upstream = await agreeing((socket) => {
      socket.end("bye");
    });
    await withUpstream(upstream, async (proxy) => {
      const connection = await openTunnel(proxy.port());
      assert.ok((await connection.closed()).endsWith("bye"));
      connection.send("still here");
      await until(() => upstream.received.join("").endsWith("still here"));
      connection.end();
      await until(() => proxy.observer.inFlight === 0 && upstream.open === 0);
      assert.equal((await proxy.seen())[0]?.code, "");
      connection.destroy();
    });
  });

  test("the upstream has ended in peace, then the downstream breaks off: the upstream's connection goes", async () => {
    const upstream = await agreeing((socket) => void socket.end("bye"));
    await withUpstream(upstream, async (proxy) => {
      const connection = await openTunnel(proxy.port());
      await connection.closed();
      connection.reset();
      await until(() => proxy.observer.inFlight === 0 && upstream.open === 0);
      assert.equal((await proxy.seen())[0]?.code, "downstream_reset");
    });
  });

  test("either side breaks off: so does the other", async () => {
    const upstream = await agreeing((socket) => {
      socket.on("data", (chunk) => {
        if (chunk.includes("break")) socket.resetAndDestroy();
        else if (chunk.includes("half")) {
          socket.end();
          setTimeout(() => socket.resetAndDestroy(), 50);
        }
      });
    });
    await withUpstream(upstream, async (proxy) => {
      const first = await openTunnel(proxy.port());
      first.send("break");
      await first.closed();
      first.destroy();
      // It had ended its side in peace before.
      const second = await openTunnel(proxy.port());
      second.send("half");
      await second.closed();
      // Behind a FIN, a reset shows at the latest when something is written.
      await until(() => {
        second.send("?");
        return proxy.observer.inFlight === 0;
      });
      second.destroy();
      const third = await openTunnel(proxy.port());
      third.reset();
      await until(() => proxy.observer.inFlight === 0 && upstream.open === 0);
      assert.deepEqual(
        (await proxy.seen(3)).map(({ code }) => code),
        ["upstream_aborted", "upstream_aborted", "downstream_reset"],
      );
    });
  });

  test("nothing moves for the idle time: closed; what moves stays", async () => {
    const upstream = await agreeing(echo);
    await withUpstream(
      upstream,
      async (proxy) => {
        const [idle, busy] = [await openTunnel(proxy.port()), await openTunnel(proxy.port())];
        const timer = setInterval(() => busy.send("."), 50);
        await idle.closed();
        assert.equal(busy.isClosed, false);
        clearInterval(timer);
        await busy.closed();
        idle.destroy();
        busy.destroy();
        await until(() => upstream.open === 0);
      },
      { listeners: [listenerOf({ times: { ...DEFAULT_DOWNSTREAM_TIMES, tunnelIdleMs: 2_000 } })] },
    );
  });

  test("back-pressure both ways: who does not read stops the other side", async () => {
    const piece = "y".repeat(64 * 1024);
    let written = 0;
    const upstream = await agreeing((socket) => {
      const more = (): void => {
        while (socket.writable && socket.write(piece)) written += piece.length;
        written += piece.length;
        socket.once("drain", more);
      };
      more();
      socket.pause();
    });
    await withUpstream(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.pause();
      connection.send(UPGRADE);
      await until(() => written > 0);
      const net = await import("node:net");
      const other = net.connect(proxy.port(), "127.0.0.1");
      other.on("error", () => {});
      other.pause();
      other.write(UPGRADE);
      let said = 0;
      for (let i = 0; i < 1_024 && other.write(piece); i++) said += piece.length;
      let before = -1;
      let still = 0;
      await until(() => {
        still = written === before ? still + 1 : 0;
        before = written;
        return still > 20;
      });
      assert.ok(written < 128 * 1024 * 1024, `${written} bytes`);
      assert.ok(said < 64 * 1024 * 1024, `${said} bytes`);
      other.destroy();
      connection.destroy();
      connection.reset();
      await upstream.stop();
    });
  });

  test("a switch to another protocol than the one asked for is an upstream's fault", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => socket.write(ACCEPT.replace("websocket", "other")));
    });
    await withUpstream(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send(UPGRADE);
      assert.equal(judge(await connection.closed()), "502 upstream_protocol");
      connection.destroy();
    });
  });

  test("an upgrade that is declined is an ordinary answer, and the connection closes", async () => {
    const upstream = await startRawUpstream((socket) => void socket.once("data", () => socket.write(okText("no"))));
    await withUpstream(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send(`${UPGRADE}GET /second HTTP/1.1\r\nhost: a\r\n\r\n`);
      assert.match(await connection.closed(), /connection: close[\s\S]*\r\n\r\nno$/);
      connection.destroy();
      assert.ok(!upstream.received.join("").includes("second"));
    });
  });

  test("a reload keeps a tunnel whose route edits the very headers that it matches on", async () => {
    const upstream = await agreeing(echo);
    const rule = (mark: string) =>
      forwardTo("up", {
        matches: [
          {
            path: { kind: "prefix", value: "/" },
            methods: [],
            headers: [{ name: "sec-websocket-version", kind: "exact", value: "13" }],
            query: [],
          },
        ],
        requestHeaders: { set: [["x-mark", mark]], add: [], remove: ["sec-websocket-version"] },
      });
    await withUpstream(
      upstream,
      async (proxy) => {
        const connection = await openTunnel(proxy.port());
        const { partsFor } = await import("../kit/end-to-end.ts");
        await proxy.apply(snapshotOf({ ...partsFor(upstream), routes: [routeOf("all", [rule("2")])] }));
        connection.send("alive");
        assert.ok((await connection.until("alive")).endsWith("alive"));
        await proxy.apply(snapshotOf({ ...partsFor(upstream), routes: [] }));
        await connection.closed();
        connection.destroy();
      },
      { routes: [routeOf("all", [rule("1")])] },
    );
  });

  test("drain: exchanges are cut at their grace time, tunnels have their own", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", (chunk) => {
        if (!chunk.includes("upgrade")) return;
        socket.write(ACCEPT);
        echo(socket);
      });
    });
    const mesh = { ...snapshotOf().mesh, drain: { graceMs: 200, tunnelGraceMs: 60_000 } };
    await withUpstream(
      upstream,
      async (proxy) => {
        const tunnel = await openTunnel(proxy.port());
        const stuck = await connectRaw(proxy.port());
        stuck.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n");
        await until(() => proxy.observer.inFlight === 2);
        const drained = proxy.proxy.drain();
        await stuck.closed();
        stuck.destroy();
        tunnel.send("after");
        assert.ok((await tunnel.until("after")).endsWith("after"));
        tunnel.end();
        await tunnel.closed();
        await drained;
        tunnel.destroy();
      },
      { mesh },
    );
  });
});
