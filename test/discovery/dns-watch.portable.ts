import assert from "node:assert/strict";
import type { DnsConfig, EndpointConfig } from "../../src/config/snapshot.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { DNS_LIMITS } from "../../src/core/limits.ts";
import { type Log, SILENT_LOG } from "../../src/core/log.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { type DnsWatch, watchDns } from "../../src/proxy/discovery/watch.ts";
import { DnsTestServer, type ZoneRecord } from "../kit/dns-server.ts";
import { afterEach, beforeEach, describe, test } from "../kit/suite.ts";

/** Real sockets, virtual time: what is waited for is an event of the server or of the watch, never a delay. */
let server: DnsTestServer;
let clock: VirtualClock;
let watches: DnsWatch[] = [];
let updates: string[] = [];
let wake = () => {};
/** Refreshes that came to an end, well or not, and how many of them the test has waited for. */
let refreshes = 0;
let awaited = 0;

/** The watch says at the end of each refresh how it went. */
const log: Log = {
  ...SILENT_LOG,
  debug: () => onRefreshed(),
  warn: () => onRefreshed(),
};
function onRefreshed(): void {
  refreshes++;
  wake();
}

beforeEach(async () => {
  server = await DnsTestServer.start();
  clock = new VirtualClock();
  updates = [];
  refreshes = 0;
  awaited = 0;
});
afterEach(async () => {
  for (const watch of watches) watch.stop();
  watches = [];
  assert.equal(clock.pending, 0, "no timer is left");
  await server.stop();
});

const show = (endpoints: readonly EndpointConfig[]): string =>
  endpoints.map(({ address, weight }) => (address.kind === "tcp" ? `${address.host}:${address.port}*${weight}` : "")).join(" ");

function watch(rest: Partial<DnsConfig> = {}): DnsWatch {
  const config: DnsConfig = {
    host: "shop.example",
    port: 80,
    type: "A",
    minTtlMs: 1_000,
    maxTtlMs: 100_000,
    servers: [server.address],
    ...rest,
  };
  const started = watchDns(
    config,
    (endpoints) => {
      updates.push(show(endpoints));
      wake();
    },
    { clock, rng: new SeededRng(1), log },
  );
  assert.deepEqual(updates, [], "never in the call itself");
  watches.push(started);
  return started;
}

async function untilUpdates(count: number): Promise<void> {
  while (updates.length < count) await new Promise<void>((resolve) => (wake = resolve));
}

/** One more refresh has come to its end; the watch waits for its next turn. */
async function untilIdle(): Promise<void> {
  while (refreshes <= awaited) await new Promise<void>((resolve) => (wake = resolve));
  awaited++;
}

const a = (address: string, ttl = 60): ZoneRecord => ({ type: "A", address, ttl });

describe("DNS watch", () => {
  test("A records, in a stable order; again when the TTL ends, and only changes are told", async () => {
    server.zone.set("shop.example", [a("10.0.0.2"), a("10.0.0.1"), a("10.0.0.2")]);
    watch();
    await untilUpdates(1);
    assert.deepEqual(updates, ["10.0.0.1:80*1 10.0.0.2:80*1"]);
    await untilIdle();
    // Up to a fifth early, not more.
    clock.advance(60_000 * 0.8 - 1);
    assert.equal(server.seen.length, 1);
    server.zone.set("shop.example", [a("10.0.0.1"), a("10.0.0.2")]);
    clock.advance(60_000 * 0.2 + 1);
    await server.untilSeen(2);
    await untilIdle();
    assert.equal(updates.length, 1);
    server.zone.set("shop.example", [a("10.0.0.3")]);
    clock.advance(60_000);
    await untilUpdates(2);
    assert.equal(updates[1], "10.0.0.3:80*1");
    // A new port and a new id for each question.
    assert.equal(new Set(server.seen.map((each) => each.id)).size, 3);
  });

  test("AAAA, through aliases, whose TTL counts", async () => {
    server.zone.set("shop.example", [{ type: "CNAME", target: "b.example", ttl: 5 }]);
    server.zone.set("b.example", [{ type: "AAAA", hex: "20010db8000000000000000000000001", ttl: 600 }]);
    watch({ type: "AAAA" });
    await untilUpdates(1);
    assert.equal(updates[0], "2001:db8::1:80*1");
    await untilIdle();
    clock.advance(5_000);
    await server.untilSeen(2);
    await untilIdle();
  });

  test("SRV: the lowest priority, ports and weights of the records, addresses of both families", async () => {
    server.zone.set("_http._tcp.shop.example", [
      { type: "SRV", priority: 1, weight: 0, port: 8081, target: "one.example" },
      { type: "SRV", priority: 1, weight: 7, port: 8082, target: "two.example" },
      { type: "SRV", priority: 2, weight: 1, port: 8083, target: "backup.example" },
    ]);
    server.zone.set("one.example", [a("10.0.0.1"), { type: "AAAA", hex: "20010db8000000000000000000000001" }]);
    server.zone.set("two.example", [a("10.0.0.2"), a("10.0.0.3")]);
    server.zone.set("backup.example", [a("10.0.0.9")]);
    watch({ host: "_http._tcp.shop.example", type: "SRV", port: 1 });
    await untilUpdates(1);
    assert.deepEqual(updates[0]?.split(" ").sort(), [
      "10.0.0.1:8081*1",
      "10.0.0.2:8082*7",
      "10.0.0.3:8082*7",
      "2001:db8::1:8081*1",
    ]);
    await untilIdle();
  });

  test("TTLs are clamped at both ends", async () => {
    server.zone.set("shop.example", [a("10.0.0.1", 0)]);
    watch({ minTtlMs: 5_000 });
    await untilUpdates(1);
    await untilIdle();
    clock.advance(4_999);
    assert.equal(server.seen.length, 1);
    clock.advance(1);
    await server.untilSeen(2);
    await untilIdle();
    server.zone.set("shop.example", [a("10.0.0.1", 60_000)]);
    clock.advance(5_000);
    await server.untilSeen(3);
    await untilIdle();
    clock.advance(100_000);
    await server.untilSeen(4);
    await untilIdle();
  });

  test("cut off by UDP: asked again by TCP", async () => {
    server.zone.set(
      "shop.example",
      Array.from({ length: 100 }, (_, i) => a(`10.0.1.${i}`)),
    );
    server.misbehave.push("truncate");
    watch();
    await untilUpdates(1);
    assert.equal(updates[0]?.split(" ").length, 100);
    assert.deepEqual(
      server.seen.map((each) => each.transport),
      ["udp", "tcp"],
    );
    await untilIdle();
  });

  test("no answer: the question is repeated, then the next server is asked", async () => {
    const other = await DnsTestServer.start();
    try {
      other.zone.set("shop.example", [a("10.0.0.4")]);
      server.misbehave.push("drop");
      watch({ servers: [server.address, other.address] });
      await server.untilSeen(1);
      clock.advance(DNS_LIMITS.queryMs - 1);
      assert.equal(other.seen.length, 0);
      clock.advance(1);
      await untilUpdates(1);
      assert.deepEqual(updates, ["10.0.0.4:80*1"]);
      await untilIdle();
    } finally {
      await other.stop();
    }
  });

  test("forged and malformed answers are passed over", async () => {
    for (const kind of ["wrong-id", "wrong-question", "garbage"] as const) {
      server.zone.set("shop.example", [a("10.0.0.1")]);
      server.misbehave.push(kind);
      const each = watch();
      await untilUpdates(1);
      assert.deepEqual(updates, ["10.0.0.1:80*1"], kind);
      await untilIdle();
      each.stop();
      updates = [];
    }
  });

  test("a refresh that fails keeps the last good set and is repeated soon, with back-off", async () => {
    server.zone.set("shop.example", [a("10.0.0.1")]);
    watch();
    await untilUpdates(1);
    await untilIdle();
    let delayMs = 60_000;
    for (let failures = 0; failures < 4; failures++) {
      server.misbehave.push(...Array.from({ length: DNS_LIMITS.rounds }, () => "servfail" as const));
      const seen = server.seen.length;
      clock.advance(delayMs);
      await server.untilSeen(seen + DNS_LIMITS.rounds);
      await untilIdle();
      assert.equal(updates.length, 1);
      delayMs = DNS_LIMITS.retryMinMs * 2 ** failures;
    }
    server.zone.set("shop.example", [a("10.0.0.2")]);
    clock.advance(delayMs);
    await untilUpdates(2);
    assert.equal(updates[1], "10.0.0.2:80*1");
    await untilIdle();
  });

  test("TCP that hangs up fails the refresh, not the watch", async () => {
    server.zone.set("shop.example", [a("10.0.0.1")]);
    server.misbehave.push("truncate", "truncate");
    server.misbehaveByTcp.push("hang-up", "garbage");
    watch();
    await server.untilSeen(4);
    await untilIdle();
    assert.deepEqual(updates, []);
    clock.advance(DNS_LIMITS.retryMinMs);
    await untilUpdates(1);
    await untilIdle();
  });

  test("a name that is gone counts after so many answers, not before", async () => {
    server.zone.set("shop.example", [a("10.0.0.1")]);
    watch();
    await untilUpdates(1);
    await untilIdle();
    server.zone.clear();
    for (let answers = 1; answers <= DNS_LIMITS.emptyAnswers; answers++) {
      assert.equal(updates.length, 1);
      const seen = server.seen.length;
      clock.advance(60_000);
      await server.untilSeen(seen + 1);
      await untilIdle();
    }
    assert.deepEqual(updates, ["10.0.0.1:80*1", ""]);
    server.zone.set("shop.example", [a("10.0.0.1")]);
    clock.advance(60_000);
    await untilUpdates(3);
    assert.equal(updates[2], "10.0.0.1:80*1");
    await untilIdle();
  });

  test("after stop nothing is called, also not by what was under way", async () => {
    server.zone.set("shop.example", [a("10.0.0.1")]);
    const each = watch();
    each.stop();
    each.stop();
    const other = watch();
    await untilUpdates(1);
    await untilIdle();
    assert.equal(updates.length, 1);
    other.stop();
    assert.equal(clock.pending, 0);
  });

  test("localhost is known without any server", async () => {
    watch({ host: "localhost", servers: [], port: 9 });
    await untilUpdates(1);
    assert.equal(updates[0], "127.0.0.1:9*1");
    await untilIdle();
  });
});
