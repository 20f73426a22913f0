/** A bug of ours costs the connection on which it strikes: not the worker, not what others have open, and nothing is left behind. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { CompressionConfig, Snapshot } from "../../src/config/snapshot.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { Containment } from "../../src/core/containment.ts";
import { BUG_LIMITS, DEFAULT_UPSTREAM_LIMITS } from "../../src/core/limits.ts";
import { NO_HINT } from "../../src/proxy/balance/picker.ts";
import { withProxy } from "../kit/end-to-end.ts";
import { RecordingLog } from "../kit/filters.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { connectRaw, okText, type RawConnection, type RawUpstream, sayRaw, startRawUpstream } from "../kit/raw.ts";
import { SabotagedClock, SabotagedObserver, Saboteur } from "../kit/saboteur.ts";
import { endpointsOf, forwardTo, listenerOf, routeOf, serviceOf } from "../kit/snapshot.ts";
import { tcpListener, tcpRoute } from "../kit/streams.ts";
import { describe, IS_BUN, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const COMPRESSION: CompressionConfig = { algorithms: ["gzip"], minBytes: 10, types: ["text/*"], level: 1 };
const TEXT = "All work and no play. ".repeat(200);
const ask = (path: string, more = ""): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n${more}\r\n`;
const UPGRADE = ask("/ws", "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n");
const ACCEPT = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/** HTTP, WebSocket and plain bytes on one port; `/never` has no answer. */
const startPeer = (): Promise<RawUpstream> =>
  startRawUpstream((socket) => {
    let isEcho = false;
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      if (isEcho) socket.write(chunk);
      else if (text.includes("upgrade: websocket")) socket.write(ACCEPT);
      else if (text.startsWith("GET ") && !text.includes("/never")) socket.write(okText(TEXT, "content-type: text/plain\r\n"));
      else if (!text.startsWith("GET ")) socket.write(chunk);
      isEcho ||= !text.startsWith("GET ") || text.includes("upgrade: websocket");
    });
    socket.on("end", () => socket.end());
  });

const partsOf = ({ port }: RawUpstream): Partial<Snapshot> => ({
  listeners: [listenerOf({ compression: COMPRESSION }), tcpListener()],
  routes: [routeOf("late", [forwardTo("up", { timeoutMs: 50 })], ["late.test"]), routeOf("all", [forwardTo("up")]), tcpRoute()],
  services: [serviceOf("up", { limits: { ...DEFAULT_UPSTREAM_LIMITS, connectionsPerEndpoint: 3 } })],
  endpoints: [endpointsOf("up", [port])],
});

/** Connections that have nothing to do with the bug. */
class Bystanders {
  #said = 0;

  constructor(
    readonly http: RawConnection,
    readonly tunnel: RawConnection,
  ) {}

  static async open(proxy: TestProxy): Promise<Bystanders> {
    const [http, tunnel] = [await connectRaw(httpPort(proxy)), await connectRaw(httpPort(proxy))];
    tunnel.send(UPGRADE);
    await tunnel.until("\r\n\r\n");
    const bystanders = new Bystanders(http, tunnel);
    await bystanders.live();
    return bystanders;
  }

  /** Both are served, on the connections that they have. */
  async live(): Promise<void> {
    const number = ++this.#said;
    this.http.send(ask("/"));
    this.tunnel.send(`<${number}>`);
    await this.http.when((heard) => heard.split(TEXT).length === number + 1);
    await this.tunnel.until(`<${number}>`);
    assert.deepEqual([this.http.isClosed, this.tunnel.isClosed], [false, false]);
  }

  close(): void {
    this.http.reset();
    this.tunnel.reset();
  }
}

const httpPort = (proxy: TestProxy): number => proxy.port(listenerOf().name);
const tcpPort = (proxy: TestProxy): number => proxy.port("default/edge/db");

interface Scene {
  readonly proxy: TestProxy;
  readonly saboteur: Saboteur;
  readonly observer: SabotagedObserver;
  readonly log: RecordingLog;
}

/** Runs `body` on a proxy with bystanders, who must not notice; afterwards nothing may be held for anybody else. */
async function withBug(body: (scene: Scene) => Promise<void>, struck = 1): Promise<void> {
  const saboteur = new Saboteur();
  const observer = new SabotagedObserver(saboteur);
  const log = new RecordingLog();
  const upstream = await startPeer();
  const more = { observer, log, clock: new SabotagedClock(saboteur) };
  try {
    await withProxy(
      partsOf(upstream),
      async (proxy) => {
        const bystanders = await Bystanders.open(proxy);
        await body({ proxy, saboteur, observer, log });
        saboteur.disarm();
        if (struck >= 0) assert.equal(saboteur.struck, struck);
        await settled(proxy, observer, log);
        await bystanders.live();
        assert.equal(observer.contained, saboteur.struck);
        bystanders.close();
      },
      more,
    );
  } finally {
    await upstream.stop();
  }
}

/** How many the balancer believes to be under way at the one endpoint. */
function attemptsAt({ core }: TestProxy["proxy"]): number {
  const lease = core.generation?.services.get("default/up")?.pick("", NO_HINT);
  assert.ok(lease !== undefined);
  const { inFlight } = lease.endpoint as unknown as { inFlight: number };
  lease.settle({ kind: "cancelled", latencyMs: 0 });
  return inFlight - 1;
}

/** Only the bystanders are left, and the endpoint's connections that rest. */
async function settled({ proxy }: TestProxy, observer: SabotagedObserver, log: RecordingLog): Promise<void> {
  const { sockets, turn } = proxy.core;
  const state = () => ({
    ...{ connections: observer.connections, inFlight: observer.inFlight, streams: observer.liveStreams.size },
    ...{ downstream: sockets.downstream, unknownUpstream: sockets.upstream - observer.upstreamConnections, depth: turn.depth },
    attempts: attemptsAt(proxy),
  });
  const left = { connections: 2, inFlight: 1, streams: 0, downstream: 2, unknownUpstream: 0, depth: 0, attempts: 1 };
  try {
    await until(() => JSON.stringify(state()) === JSON.stringify(left));
  } catch {
    assert.deepEqual(state(), left, JSON.stringify(log.fields.at(-1)));
  }
}

/** Says `text` and hears until the connection is over or `enough` came. */
async function talk(port: number, text: string, enough: (heard: string) => boolean = () => false): Promise<string> {
  // One that is given up as it comes may not even get so far.
  const connection = await connectRaw(port).catch(() => undefined);
  if (connection === undefined) return "";
  connection.send(text);
  const heard = await connection.when(enough);
  connection.destroy();
  return heard;
}

const PLACES: readonly (readonly [name: string, what: string, where: RegExp, act: (proxy: TestProxy) => Promise<unknown>])[] = [
  ["on data of a downstream", "onExchangeStart", /downstream\.ts/, (proxy) => talk(httpPort(proxy), ask("/"))],
  ["when a connection is accepted", "onConnectionOpen", /./, (proxy) => talk(httpPort(proxy), ask("/"))],
  ["on data of an upstream", "clock", /attempt\.ts[\s\S]*upstream\.ts/, (proxy) => talk(httpPort(proxy), ask("/"))],
  [
    "when an exchange ends",
    "onExchangeEnd",
    /upstream\.ts/,
    (proxy) => talk(httpPort(proxy), ask("/", "accept-encoding: identity\r\n")),
  ],
  [
    "when an encoder has the last of a body",
    "onExchangeEnd",
    /body-encoder\.ts/,
    (proxy) => talk(httpPort(proxy), ask("/", "accept-encoding: gzip\r\n")),
  ],
  [
    "in the deadline of a request",
    "onExchangeEnd",
    /deadline\.ts/,
    (proxy) => talk(httpPort(proxy), "GET /never HTTP/1.1\r\nhost: late.test\r\n\r\n"),
  ],
  ["in a tunnel", "clock", /tunnel\.ts/, (proxy) => talk(httpPort(proxy), `${UPGRADE}some bytes`)],
  ["on data of a TCP stream", "clock", /tcp\/stream\.ts/, (proxy) => talk(tcpPort(proxy), "some bytes")],
  [
    "on data of a TCP stream's endpoint",
    "clock",
    /tcp\/stream\.ts[\s\S]*tcp\/upstream\.ts/,
    (proxy) => talk(tcpPort(proxy), "some"),
  ],
  ["when a TCP stream ends", "onStreamEnd", /./, async (proxy) => (await connectRaw(tcpPort(proxy))).reset()],
  [
    "in the close of a downstream",
    "onConnectionClose",
    /./,
    (proxy) => talk(httpPort(proxy), ask("/"), (heard) => heard.includes("\r\n\r\n")),
  ],
];

describe("a bug of the proxy", () => {
  for (const [name, what, where, act] of PLACES) {
    test(`${name} costs that connection; others live on, and nothing is left`, async () => {
      await withBug(async ({ proxy, saboteur, log }) => {
        saboteur.arm(what, where);
        await act(proxy);
        await until(() => saboteur.struck === 1);
        const [said = {}] = log.fields;
        assert.deepEqual([log.fields.length, said.reason], [1, `sabotage of ${what}`]);
        assert.match(String(said.stack), /saboteur\.ts/);
        assert.match(String(said.at), /\S/);
      });
    });
  }

  test("who waits for a connection to an endpoint gets the room of the one that is lost", async () => {
    await withBug(async ({ proxy, saboteur, observer }) => {
      const tunnels = [await connectRaw(httpPort(proxy)), await connectRaw(httpPort(proxy))];
      for (const tunnel of tunnels) {
        tunnel.send(UPGRADE);
        await tunnel.until("\r\n\r\n");
      }
      const waiting = sayRaw(httpPort(proxy), ask("/", "connection: close\r\n"));
      await until(() => observer.pending === 1);
      saboteur.arm("clock", /tunnel\.ts/);
      tunnels[1]?.send("bytes");
      assert.match(await waiting, /^HTTP\/1\.1 200 /);
      tunnels[0]?.reset();
    });
  });

  test("anywhere: each of the moments in which the proxy looks at its clock or tells its observer", async () => {
    await withBug(async ({ proxy, saboteur, observer, log }) => {
      const act = async (): Promise<void> => {
        const parts = [
          talk(httpPort(proxy), ask("/") + ask("/", "connection: close\r\n")),
          talk(httpPort(proxy), `${UPGRADE}to and fro`, (heard) => heard.includes("fro")),
          talk(tcpPort(proxy), "to and fro", (heard) => heard.includes("fro")),
        ];
        await Promise.all(parts);
        await settled(proxy, observer, log);
      };
      let points = 0;
      const counts = (_what: string, stack: string): boolean => OURS.test(stack) && ++points < 0;
      saboteur.armWhen(counts);
      await act();
      const all = points;
      assert.ok(all >= 20, `${all} points`);
      for (let at = 1; at <= all && saboteur.struck < BUG_LIMITS.containedPerMinute; at++) {
        let passed = 0;
        saboteur.armWhen((_what, stack) => OURS.test(stack) && ++passed === at);
        await act();
      }
      assert.ok(saboteur.struck >= Math.min(all / 2, BUG_LIMITS.containedPerMinute), `${saboteur.struck} of ${all} struck`);
    }, -1);
  });

  test("that strikes again and again ends the process; one now and then does not", () => {
    const clock = new VirtualClock();
    const log = new RecordingLog();
    let [abandoned, contained] = [0, 0];
    const containment = new Containment(clock, log, () => contained++);
    const bug = new Error("again");
    const strike = (): void => containment.contain(bug, { abandon: () => void abandoned++ });
    for (let minute = 0; minute < 3; minute++) {
      for (let i = 0; i < BUG_LIMITS.containedPerMinute; i++) strike();
      clock.advance(60_000);
    }
    assert.deepEqual([abandoned, contained], [3 * BUG_LIMITS.containedPerMinute, 3 * BUG_LIMITS.containedPerMinute]);
    for (let i = 0; i < BUG_LIMITS.containedPerMinute; i++) strike();
    assert.throws(strike, bug);
    assert.match(log.lines.at(-1) ?? "", /within a minute: this process ends/);
  });

  test("what giving back throws is told, and the rest is given back all the same", () => {
    const log = new RecordingLog();
    const given: string[] = [];
    const containment = new Containment(new VirtualClock(), log, () => {});
    containment.contain(new Error("first"), {
      abandon(bug) {
        bug.failure.addAddress("listener web");
        bug.step(() => {
          throw new Error("second");
        });
        bug.step(() => void given.push("rest"));
      },
    });
    const [{ reason, at, further } = {}] = log.fields;
    assert.deepEqual([given, reason, at, further], [["rest"], "first", "listener web", "second"]);
  });

  test("a worker with more bugs than may be contained in a minute exits with the error", async () => {
    const victim = fileURLToPath(new URL("../kit/bug-victim.ts", import.meta.url));
    const child = spawn(process.execPath, [...(IS_BUN ? [] : ["run", "-A", "--no-lock"]), victim], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
    let [out, errors] = ["", ""];
    child.stdout.on("data", (text) => (out += text));
    child.stderr.on("data", (text) => (errors += text));
    await until(() => out.includes("\n"));
    const port = Number(out);
    const cut = (): Promise<string> => sayRaw(port, ask("/bug"));
    for (let i = 0; i < BUG_LIMITS.containedPerMinute; i++) assert.equal(await cut(), "");
    assert.match(await sayRaw(port, ask("/fine", "connection: close\r\n")), /^HTTP\/1\.1 404 /);
    assert.equal(await cut(), "");
    assert.notEqual(await exited, 0);
    assert.match(errors, /a bug of the victim/);
  });
});

/** Of a connection, and not of the wheel that all share. */
const OURS = /src\/proxy\/(http1|tcp|listeners|attempt|exchange|callout|reply|refusal|upstream)/;
