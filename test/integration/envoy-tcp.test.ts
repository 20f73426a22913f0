import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "../../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET } from "../../src/core/limits.ts";
import { JsonLog, type Log, SILENT_LOG } from "../../src/core/log.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import { assembleModule } from "../conformance/proxy-wasm/format.ts";
import { cluster, type RunningEnvoy, startEnvoy } from "../kit/envoy.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import { TEST_MS } from "../kit/patience.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import { connectRaw, type RawConnection, type RawUpstream } from "../kit/raw.ts";
import { filterOf, snapshotOf } from "../kit/snapshot.ts";
import { startEcho, tcpParts, tcpRoute } from "../kit/streams.ts";
import { until } from "../kit/until.ts";
import { ModuleBuilder, op } from "../kit/wasm.ts";

// The same module on a TCP listener of the real Envoy and of our proxy: the same bytes on both sides.

const localSet = (index: number): number[] => [0x21, index];
const LOAD_BYTE = [0x2d, 0x00, 0x00];
const STORE_BYTE = [0x3a, 0x00, 0x00];
const LESS = [0x49];
const XOR = [0x73];
const [AT_POINTER, SIZE_POINTER, MARK] = [900, 904, 908];

/**
 * Collects what the downstream says to the end of a line (or of the stream) and flips the last bit of each byte; `!` at the start of a
 * line closes the stream. Puts `>` in front of each piece that the upstream says.
 */
function buildLines(): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder();
  const five = ["i32", "i32", "i32", "i32", "i32"] as const;
  const get = builder.import("env", "proxy_get_buffer_bytes", five, ["i32"]);
  const set = builder.import("env", "proxy_set_buffer_bytes", five, ["i32"]);
  const close = builder.import("env", "proxy_close_stream", ["i32"], ["i32"]);
  builder.memory(4);
  builder.data(MARK, new TextEncoder().encode(">"));
  const heap = builder.global(16_384);
  // Parameters 0 and 2 (context, end) serve as address and counter afterwards.
  const [at, size, end] = [op.localGet(0), op.localGet(1), op.localGet(2)];
  const answer = (value: number): number[] => [...op.i32(value), ...op.return, ...op.end];
  builder.func("proxy_on_new_connection", ["i32"], ["i32"], op.i32(0));
  builder.func(
    "proxy_on_downstream_data",
    ["i32", "i32", "i32"],
    ["i32"],
    [
      ...[...size, ...op.i32Eqz, ...op.if, ...answer(0)],
      ...[...op.i32(2), ...op.i32(0), ...size, ...op.i32(AT_POINTER), ...op.i32(SIZE_POINTER), ...op.call(get), ...op.drop],
      ...[...op.i32(0), ...op.i32Load(AT_POINTER), ...localSet(0)],
      ...[...at, ...LOAD_BYTE, ...op.i32(0x21), ...op.i32Eq, ...op.if, ...op.i32(2), ...op.call(close), ...op.drop, ...answer(1)],
      ...[...at, ...size, ...op.i32Add, ...op.i32(-1), ...op.i32Add, ...LOAD_BYTE, ...op.i32(0x0a), ...op.i32Eq],
      ...[...end, ...op.i32Add, ...op.i32Eqz, ...op.if, ...answer(1)],
      ...[...op.i32(0), ...localSet(2), ...op.loop],
      ...[...at, ...end, ...op.i32Add, ...at, ...end, ...op.i32Add, ...LOAD_BYTE, ...op.i32(1), ...XOR, ...STORE_BYTE],
      ...[...end, ...op.i32(1), ...op.i32Add, ...localSet(2), ...end, ...size, ...LESS, ...op.brIf(0), ...op.end],
      ...[...op.i32(2), ...op.i32(0), ...size, ...at, ...size, ...op.call(set), ...op.drop, ...op.i32(0)],
    ],
  );
  builder.func(
    "proxy_on_upstream_data",
    ["i32", "i32", "i32"],
    ["i32"],
    [
      ...[...size, ...op.i32Eqz, ...op.if, ...answer(0)],
      ...[...op.i32(3), ...op.i32(0), ...op.i32(0), ...op.i32(MARK), ...op.i32(1), ...op.call(set), ...op.drop, ...op.i32(0)],
    ],
  );
  builder.func("proxy_on_memory_allocate", ["i32"], ["i32"], op.globalGet(heap));
  builder.func("proxy_on_vm_start", ["i32", "i32"], ["i32"], op.i32(1));
  builder.func("proxy_on_configure", ["i32", "i32"], ["i32"], op.i32(1));
  builder.func("proxy_on_context_create", ["i32", "i32"], [], []);
  builder.func("proxy_on_done", ["i32"], ["i32"], op.i32(1));
  builder.func("proxy_on_delete", ["i32"], [], []);
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  return builder.build();
}

/** Answered alike by both, byte for byte. */
const EQUAL =
  "request.size request.total_size request.path request.id request.duration request.headers.x response.code response.flags response.size " +
  "connection.mtls connection.requested_server_name connection.tls_version connection.termination_details " +
  "upstream.transport_failure_reason upstream.request_attempt_count upstream.num_endpoints upstream.tls_version upstream.nonsense " +
  "response.code_details response.backend_latency xds.virtual_host_name xds.listener_direction xds.filter_chain_name " +
  "metadata.filter_metadata.x filter_state.x";
/** Found by both, or by none; ports, times and names are each one's own. */
const ALIKE =
  "request.time source.address source.port destination.address destination.port connection.id connection_id upstream.address " +
  "upstream.port upstream.local_address upstream.cx_pool_ready_duration xds.cluster_name plugin_name";

/** The actor of the conformance suite, whose callbacks of bodies are those of streams here. */
const ACTOR = assembleModule({
  name: "actor",
  replace: [
    ['(export "proxy_on_request_body")', '(export "proxy_on_downstream_data")'],
    ['(export "proxy_on_response_body")', '(export "proxy_on_upstream_data")'],
  ],
});
/** With the first piece of the downstream our upstream may not be connected yet, and Envoy's is. */
const SCRIPT = [
  ...["request_body:1", "response_body:1", "log"].map((callback) => [callback, EQUAL] as const),
  ...["response_body:1", "log"].map((callback) => [callback, ALIKE] as const),
]
  .flatMap(([callback, names]) =>
    names.split(" ").map((name) => `${callback} get_property "${name.replaceAll(".", "\\00")}" &0 &1 > hex => …`),
  )
  .join("\n");

/** What the actor's lines say: the whole answer, or of what is each one's own only its status. */
const answersIn = (lines: readonly string[]): string[] =>
  lines.flatMap((line) => {
    const [, callback, path = "", status, value = ""] = /(\S+) get_property "(.*)" &0 &1 > hex => (\w+) ?(\w*)/.exec(line) ?? [];
    const name = path.replaceAll("\\00", ".");
    return callback === undefined ? [] : [`${callback} ${name} ${status} ${ALIKE.split(" ").includes(name) ? "" : value}`];
  });

const NETWORK = "type.googleapis.com/envoy.extensions.filters.network";

function tcpListenerOf(name: string, wasmPath: string, value = ""): object {
  const code = { local: { filename: wasmPath } };
  const wasm = {
    "@type": `${NETWORK}.wasm.v3.Wasm`,
    config: {
      ...{ name, root_id: name, vm_config: { vm_id: name, runtime: "envoy.wasm.runtime.v8", code } },
      configuration: { "@type": "type.googleapis.com/google.protobuf.StringValue", value },
    },
  };
  const proxy = { "@type": `${NETWORK}.tcp_proxy.v3.TcpProxy`, stat_prefix: "tcp", cluster: "up" };
  return {
    name,
    address: { socket_address: { address: "127.0.0.1", port_value: 0 } },
    filter_chains: [
      {
        filters: [
          { name: "envoy.filters.network.wasm", typed_config: wasm },
          { name: "envoy.filters.network.tcp_proxy", typed_config: proxy },
        ],
      },
    ],
  };
}

const folder = mkdtempSync(join(tmpdir(), "selvedge-envoy-tcp-"));
const upstreams: RawUpstream[] = [];
let envoy: RunningEnvoy;
let ours: TestProxy;
let actor: TestProxy;
const said: string[] = [];

beforeAll(async () => {
  const module = buildLines();
  const [path, actorPath] = [join(folder, "lines.wasm"), join(folder, "actor.wasm")];
  writeFileSync(path, module);
  writeFileSync(actorPath, ACTOR);
  upstreams.push(await startEcho(), await startEcho());
  const [first, second] = upstreams as [RawUpstream, RawUpstream];
  envoy = await startEnvoy(
    [tcpListenerOf("actor", actorPath, SCRIPT), tcpListenerOf("lines", path)],
    [cluster("up", first.port)],
  );
  ours = await startOurs("lines", module, second.port, SILENT_LOG);
  const log = new JsonLog("info", new SystemClock(), (line) => void said.push((JSON.parse(line) as { message: string }).message));
  actor = await startOurs("actor", ACTOR, second.port, log, SCRIPT);
}, TEST_MS);

async function startOurs(name: string, module: Uint8Array, port: number, log: Log, settings = ""): Promise<TestProxy> {
  const digest = `sha256:${createHash("sha256").update(module).digest("hex")}`;
  const parts = { clock: new SystemClock(), log, metrics: new RecordingMetrics(), shared: new SharedState() };
  // Reading its script takes a guest more than filters need.
  const budget = { ...DEFAULT_FILTER_BUDGET, callbackFuel: 50_000_000, exchangeFuel: 500_000_000, logLinesPerSecond: 10_000 };
  const filters = [filterOf(name, digest, { settings, budget })];
  const snapshot = snapshotOf(tcpParts([port], { filters, routes: [tcpRoute({ filters: [`default/${name}`] })] }));
  const filterHost = new ProxyWasmHost({ ...parts, foreign: new ForeignFunctions() });
  return startProxy(snapshot, { filterHost, modules: new Map([[digest, module]]) });
}

afterAll(async () => {
  await ours?.stop();
  await actor?.stop();
  await envoy?.stop();
  for (const upstream of upstreams) await upstream.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** What the downstream heard, and what the upstream got on this connection. */
async function play(port: number, upstream: RawUpstream, act: (connection: RawConnection) => Promise<void>): Promise<string[]> {
  const connection = await connectRaw(port);
  const before = upstream.connections;
  await act(connection);
  const heard = await connection.closed();
  connection.destroy();
  return [heard, upstream.received.slice(Math.max(0, before - 1)).at(-1) ?? ""];
}

async function compare(act: (connection: RawConnection) => Promise<void>): Promise<string[]> {
  const [first, second] = upstreams as [RawUpstream, RawUpstream];
  const theirs = await play(envoy.ports[1] as number, first, act);
  const mine = await play(ours.port(), second, act);
  expect(mine).toEqual(theirs);
  return mine;
}

describe("the same module on a TCP listener in Envoy and here", () => {
  test(
    "lines are collected, changed and answered one by one; the end lets the rest go",
    async () => {
      const [heard, received] = await compare(async (connection) => {
        connection.send("hello\n");
        await connection.until(">idmmn\x0b");
        connection.send("wor");
        await new Promise((resolve) => setTimeout(resolve, 50));
        connection.send("ld\n");
        await connection.until(">vnsme\x0b");
        connection.send("no end");
        connection.end();
      });
      expect(heard).toBe(">idmmn\x0b>vnsme\x0b>on!doe");
      expect(received).toBe("idmmn\x0bvnsme\x0bon!doe");
    },
    TEST_MS,
  );

  test(
    "properties of a stream are found alike, and what is no one's own is equal",
    async () => {
      for (const port of [envoy.ports[0] as number, actor.port()]) {
        const connection = await connectRaw(port);
        connection.send("hello\n");
        await connection.until("hello\n");
        connection.end();
        await connection.closed();
        connection.destroy();
      }
      const wanted = SCRIPT.split("\n").length;
      const theirs = (): string[] => answersIn(envoy.log().split("\n"));
      await until(() => theirs().length >= wanted && answersIn(said).length >= wanted);
      expect(answersIn(said)).toEqual(theirs());
      expect(answersIn(said)).toContain("log request.size OK 0600000000000000");
      expect(answersIn(said)).toContain("log upstream.local_address OK ");
    },
    TEST_MS,
  );

  test(
    "a filter closes: what was said before arrives, what it refused never does",
    async () => {
      const [heard, received] = await compare(async (connection) => {
        connection.send("good\n");
        await connection.until(">fnne\x0b");
        connection.send("!bad\n");
      });
      expect([heard, received]).toEqual([">fnne\x0b", "fnne\x0b"]);
    },
    TEST_MS,
  );
});
