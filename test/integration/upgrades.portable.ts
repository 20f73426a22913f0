import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { SystemClock } from "../../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import { judge, wholeBody, withUpstream } from "../kit/end-to-end.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { buildPuppet, Puppet, type Script } from "../kit/puppet.ts";
import { connectRaw, type RawConnection, type RawUpstream, startRawUpstream } from "../kit/raw.ts";
import { filterOf, forwardTo, listenerOf, routeOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

// The answer that opens a tunnel is an answer like any other: edits, request id, Via and filters apply to its head.

const UPGRADE = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n";
const ACCEPT = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-up: 1\r\n\r\n";
const PUPPET = buildPuppet();
const DIGEST = `sha256:${createHash("sha256").update(PUPPET).digest("hex")}`;
const PAUSE_MS = 1_000;

/** Agrees with `greeting` in the same segment, and echoes. */
const agreeing = (greeting = "hello "): Promise<RawUpstream> =>
  startRawUpstream((socket) => {
    socket.once("data", () => {
      socket.write(ACCEPT + greeting);
      socket.on("data", (chunk) => void socket.write(chunk));
      socket.on("end", () => socket.end());
    });
  });

const field = (heard: string, name: string): string | undefined => new RegExp(`\r\n${name}: ([^\r]*)`).exec(heard)?.[1];

async function upgrade(proxy: TestProxy, early = ""): Promise<RawConnection> {
  const connection = await connectRaw(proxy.port());
  connection.send(UPGRADE + early);
  return connection;
}

/** A route with header edits and one puppet as filter, in front of `upstream`. */
async function withPuppet(
  upstream: RawUpstream,
  onResponse: Script,
  body: (proxy: TestProxy, puppet: Puppet) => Promise<void>,
): Promise<void> {
  const foreign = new ForeignFunctions();
  const puppet = new Puppet().on("response_headers", onResponse).register(foreign);
  const parts = {
    clock: new SystemClock(),
    log: SILENT_LOG,
    metrics: new RecordingMetrics(),
    shared: new SharedState(),
    foreign,
  };
  const filter = filterOf("f", DIGEST, { budget: { ...DEFAULT_FILTER_BUDGET, pauseMs: PAUSE_MS } });
  const listener = listenerOf();
  await withUpstream(
    upstream,
    (proxy) => body(proxy, puppet),
    {
      listeners: [{ ...listener, forwarding: { ...listener.forwarding, via: "edge" } }],
      routes: [
        routeOf("r", [
          forwardTo("up", {
            filters: [filter.name],
            responseHeaders: { set: [["x-edited", "yes"]], add: [], remove: ["x-up"] },
          }),
        ]),
      ],
      filters: [filter],
    },
    { filterHost: new ProxyWasmHost(parts), modules: new Map([[DIGEST, PUPPET]]) },
  );
  assert.deepEqual(puppet.errors, []);
}

const CONTINUE = 0;
const PAUSE = 1;
const pass: Script = function* (guest) {
  yield guest.host("proxy_replace_header_map_value", 2, guest.put("x-filter"), 8, guest.put("saw it"), 6);
  return CONTINUE;
};

describe("the answer that opens a tunnel", () => {
  test("gets header edits, the request id, Via and what filters set; bytes on both sides follow in order", async () => {
    await withPuppet(await agreeing(), pass, async (proxy, puppet) => {
      const connection = await upgrade(proxy, "early ");
      await connection.until("early ");
      connection.send("late");
      const heard = await connection.until(/\r\n\r\nhello early late$/);
      assert.match(heard, /^HTTP\/1\.1 101 /);
      const shown = ["x-edited", "x-up", "x-filter", "via"].map((name) => field(heard, name));
      assert.deepEqual(shown, ["yes", undefined, "saw it", "1.1 edge"]);
      assert.match(field(heard, "x-request-id") ?? "", /^[0-9a-f]{32}$/);
      connection.end();
      await connection.closed();
      const [seen] = await proxy.seen();
      assert.deepEqual([seen?.status, seen?.requestId], [101, field(heard, "x-request-id")]);
      // What goes through the tunnel is no body.
      assert.deepEqual(
        puppet.entered.filter((name) => name.endsWith("_body")),
        [],
      );
      connection.destroy();
    });
  });

  test("may be replaced by a filter: no tunnel, no byte of it, the connection closes", async () => {
    const refuse: Script = function* (guest) {
      yield guest.host("proxy_send_local_response", 403, 0, 0, guest.put("no"), 2, 0, 0, -1);
      return PAUSE;
    };
    const upstream = await agreeing();
    await withPuppet(upstream, refuse, async (proxy) => {
      const connection = await upgrade(proxy, "never");
      const heard = await connection.closed();
      assert.deepEqual([judge(heard), wholeBody(heard)], ["403", "no"]);
      await until(() => upstream.open === 0);
      assert.ok(!upstream.received.join("").includes("never"));
      connection.destroy();
    });
  });

  test("held by a filter for too long: 504; its upstream gone meanwhile: 502", async () => {
    const hold: Script = function* () {
      yield* [];
      return PAUSE;
    };
    await withPuppet(await agreeing(), hold, async (proxy) => {
      const connection = await upgrade(proxy);
      assert.equal(judge(await connection.closed()), "504 filter_timeout");
      connection.destroy();
    });
    const leaving = await startRawUpstream((socket) => void socket.once("data", () => socket.end(ACCEPT)));
    await withPuppet(leaving, hold, async (proxy) => {
      const connection = await upgrade(proxy);
      assert.equal(judge(await connection.closed()), "502 upstream_aborted");
      connection.destroy();
    });
  });

  test("released by a filter later: the tunnel opens, and what came meanwhile arrives", async () => {
    let context = 0;
    const hold: Script = function* (guest, id) {
      context = id ?? 0;
      yield guest.host("proxy_set_tick_period_milliseconds", 20);
      return PAUSE;
    };
    await withPuppet(await agreeing("greeting "), hold, async (proxy, puppet) => {
      puppet.on("tick", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 0);
        yield guest.host("proxy_set_effective_context", context);
        yield guest.host("proxy_continue_stream", 1);
        return 0;
      });
      const connection = await upgrade(proxy, "early");
      const heard = await connection.until(/\r\n\r\ngreeting early$/);
      assert.match(heard, /^HTTP\/1\.1 101 /);
      assert.equal(field(heard, "x-edited"), "yes");
      connection.end();
      await connection.closed();
      connection.destroy();
    });
  });
});
