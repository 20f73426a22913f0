import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET, type FilterBudget } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import { withProxy } from "../kit/end-to-end.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { buildPuppet, type Command, OUT_A, OUT_B, Puppet, type PuppetGuest } from "../kit/puppet.ts";
import { connectRaw, okText, type RawUpstream, startUpstream } from "../kit/raw.ts";
import { endpointsOf, filterOf, serviceOf } from "../kit/snapshot.ts";
import { codesOf, onlyStream, seenStreams, startEcho, tcpListener, tcpParts, tcpRoute } from "../kit/streams.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

// proxy-wasm filters on streams of bytes, in a whole proxy, on real sockets; the filter is a puppet that does what a test says.

const PUPPET = buildPuppet();
const DIGEST = `sha256:${createHash("sha256").update(PUPPET).digest("hex")}`;
const PAUSE = 1;
type Steps<T> = Generator<Command, T, number>;

interface Setting {
  readonly part?: Partial<FilterConfig>;
  readonly budget?: Partial<FilterBudget>;
  readonly aside?: RawUpstream;
  readonly filters?: number;
}

async function withFilter(
  prepare: (puppet: Puppet) => void,
  body: (proxy: TestProxy, upstream: RawUpstream, puppet: Puppet) => Promise<void>,
  { part, budget, aside, filters = 1 }: Setting = {},
): Promise<void> {
  const foreign = new ForeignFunctions();
  const puppet = new Puppet().register(foreign);
  prepare(puppet);
  const parts = { clock: new SystemClock(), log: SILENT_LOG, metrics: new RecordingMetrics(), shared: new SharedState() };
  const filterHost = new ProxyWasmHost({ ...parts, foreign });
  const configs = Array.from({ length: filters }, (_, i) =>
    filterOf(`f${i}`, DIGEST, { budget: { ...DEFAULT_FILTER_BUDGET, ...budget }, ...part }),
  );
  const upstream = await startEcho();
  const snapshot = {
    listeners: [tcpListener()],
    routes: [tcpRoute({ filters: configs.map(({ name }) => name) })],
    services: [serviceOf("aside"), serviceOf("up")],
    endpoints: [endpointsOf("aside", aside === undefined ? [] : [aside.port]), endpointsOf("up", [upstream.port])],
    filters: configs,
  };
  try {
    await withProxy(tcpParts([], snapshot), (proxy) => body(proxy, upstream, puppet), {
      filterHost,
      modules: new Map([[DIGEST, PUPPET]]),
    });
  } finally {
    await upstream.stop();
    await aside?.stop();
  }
  assert.deepEqual(puppet.errors, []);
}

function* readBuffer(guest: PuppetGuest, buffer: number, size: number): Steps<string> {
  assert.equal(yield guest.host("proxy_get_buffer_bytes", buffer, 0, size, OUT_A, OUT_B), abi.OK);
  return guest.given(OUT_A, OUT_B);
}

function* writeBuffer(guest: PuppetGuest, buffer: number, text: string): Steps<void> {
  assert.equal(yield guest.host("proxy_set_buffer_bytes", buffer, 0, 0x7fffffff, guest.put(text), text.length), abi.OK);
}

function* property(guest: PuppetGuest, ...path: string[]): Steps<string | number> {
  const joined = path.join("\0");
  const status = yield guest.host("proxy_get_property", guest.put(joined), joined.length, OUT_A, OUT_B);
  return status === abi.OK ? guest.given(OUT_A, OUT_B) : status;
}

const say = async (proxy: TestProxy, text: string): Promise<string> => {
  const connection = await connectRaw(proxy.port());
  connection.send(text);
  connection.end();
  const heard = await connection.closed();
  connection.destroy();
  return heard;
};

describe("proxy-wasm on TCP streams", () => {
  test("every callback in its order; data is rewritten both ways; nothing of HTTP is there", async () => {
    const closes: string[] = [];
    const prepare = (puppet: Puppet): void => {
      puppet.on("new_connection", function* (guest) {
        assert.match(String(yield* property(guest, "source", "address")), /^127\.0\.0\.1:\d+$/);
        assert.match(String(yield* property(guest, "destination", "address")), /^127\.0\.0\.1:\d+$/);
        assert.equal(yield* property(guest, "route_name"), "default/streams");
        for (const name of ["path", "headers", "method"]) assert.equal(yield* property(guest, "request", name), abi.NOT_FOUND);
        for (const map of [0, 1, 2, 3]) {
          // As every map that is not there: empty for who lists it.
          assert.equal(yield guest.host("proxy_get_header_map_pairs", map, OUT_A, OUT_B), abi.OK);
          assert.equal(guest.given(OUT_A, OUT_B), "");
          const [at, size] = [guest.put("x"), 1];
          assert.equal(yield guest.host("proxy_add_header_map_value", map, at, size, at, size), abi.BAD_ARGUMENT);
        }
        for (const buffer of [0, 1, 2, 3])
          assert.equal(yield guest.host("proxy_get_buffer_bytes", buffer, 0, 9, OUT_A, OUT_B), abi.NOT_FOUND);
        assert.equal(yield guest.host("proxy_continue_stream", 0), abi.UNIMPLEMENTED);
        assert.equal(yield guest.host("proxy_close_stream", 1), abi.UNIMPLEMENTED);
        assert.equal(yield guest.host("proxy_continue_stream", 4), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host("proxy_send_local_response", 403, 0, 0, 0, 0, 0, 0, -1), abi.BAD_ARGUMENT);
        return 0;
      });
      puppet.on("downstream_data", function* (guest, _context, size) {
        if (size > 0) yield* writeBuffer(guest, 2, `<${yield* readBuffer(guest, 2, size)}>`);
        return 0;
      });
      puppet.on("upstream_data", function* (guest, _context, size) {
        assert.match(String(yield* property(guest, "upstream", "address")), /^127\.0\.0\.1:\d+$/);
        if (size > 0) yield* writeBuffer(guest, 3, (yield* readBuffer(guest, 3, size)).toUpperCase());
        return 0;
      });
      for (const side of ["downstream", "upstream"])
        puppet.on(`${side}_connection_close`, function* (_guest, _context, peer) {
          yield* [];
          closes.push(`${side} ${peer}`);
          return 0;
        });
      puppet.on("log", function* (guest) {
        const [name, value] = ["selvedge.log.seen", "yes"];
        yield guest.host("proxy_set_property", guest.put(name), name.length, guest.put(value), value.length);
        return 0;
      });
    };
    await withFilter(prepare, async (proxy, upstream, puppet) => {
      assert.equal(await say(proxy, "hello"), "<HELLO>");
      assert.deepEqual((await onlyStream(proxy)).notes, [["seen", "yes"]]);
      assert.equal(upstream.received[0], "<hello>");
      assert.deepEqual(closes, ["downstream 2", "upstream 2"]);
      const order = puppet.entered.filter((name, i, all) => name !== all[i - 1] && !["vm_start", "configure"].includes(name));
      // In front of them the plugin's own context.
      assert.equal(order.slice(1, 5).join(" "), "context_create new_connection downstream_data upstream_data");
      assert.equal(order.slice(-5).join(" "), "downstream_connection_close upstream_connection_close done log delete");
    });
  });

  test("a call-out decides about a connection, while the downstream's first bytes wait", async () => {
    let context = 0;
    const prepare = (puppet: Puppet): void => {
      puppet.on("new_connection", function* (guest, id) {
        context = id;
        const [at, size] = guest.putPairs([
          [":method", "GET"],
          [":path", "/may"],
          [":authority", "aside"],
        ]);
        const code = yield guest.host("proxy_http_call", guest.put("default/aside"), 13, at, size, 0, 0, 0, 0, 2_000, OUT_A);
        assert.equal(code, abi.OK);
        return PAUSE;
      });
      puppet.on("http_call_response", function* (guest) {
        yield guest.host("proxy_get_header_map_value", 6, guest.put(":status"), 7, OUT_A, OUT_B);
        const status = guest.given(OUT_A, OUT_B);
        yield guest.host("proxy_set_effective_context", context);
        yield guest.host(status === "200" ? "proxy_continue_stream" : "proxy_close_stream", 2);
        return 0;
      });
    };
    const part = { capabilities: { ...filterOf("a", "").capabilities, callouts: ["default/aside"] } };
    let answer = "";
    const aside = await startUpstream(() => answer);
    await withFilter(
      prepare,
      async (proxy, upstream) => {
        answer = okText("yes");
        assert.equal(await say(proxy, "first bytes"), "first bytes");
        answer = "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n";
        assert.equal(await say(proxy, "never"), "");
        const [, closed] = await seenStreams(proxy, 2);
        assert.match(closed?.failure ?? "", /^filter_closed at filter default\/f0, route default\/streams/);
        // The refused one never reached it.
        assert.deepEqual(upstream.received, ["first bytes"]);
      },
      { part, aside },
    );
  });

  test("a filter collects a message from many pieces; a whole one goes on, and two filters do not get in each other's way", async () => {
    const prepare = (puppet: Puppet): void => {
      puppet.on("downstream_data", function* (guest, _context, size, end) {
        if (size === 0) return 0;
        const text = yield* readBuffer(guest, 2, size);
        return text.endsWith("\n") || end === 1 ? 0 : PAUSE;
      });
    };
    await withFilter(
      prepare,
      async (proxy, upstream) => {
        const connection = await connectRaw(proxy.port());
        for (const piece of ["SEL", "ECT ", "1"]) {
          connection.send(piece);
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
        assert.equal(upstream.received[0] ?? "", "");
        connection.send(";\n");
        await connection.until("SELECT 1;\n");
        connection.send("the rest");
        connection.end();
        assert.equal(await connection.closed(), "SELECT 1;\nthe rest");
        connection.destroy();
      },
      { filters: 2 },
    );
  });

  test("what a filter says closes in order: what was on its way to the downstream arrives", async () => {
    const prepare = (puppet: Puppet): void => {
      puppet.on("upstream_data", function* (guest, _context, size) {
        if ((yield* readBuffer(guest, 3, size)).includes("poison")) yield guest.host("proxy_close_stream", 3);
        return 0;
      });
    };
    await withFilter(prepare, async (proxy, upstream) => {
      const connection = await connectRaw(proxy.port());
      connection.send("good");
      await connection.until("good");
      connection.send("poison");
      assert.equal(await connection.closed(), "good");
      assert.equal((await onlyStream(proxy)).code, "filter_closed");
      connection.end();
      await until(() => upstream.open === 0 && proxy.observer.connections === 0);
      connection.destroy();
    });
  });

  test("a filter that never goes on: its pause ends, and nothing beyond its buffer is held meanwhile", async () => {
    const prepare = (puppet: Puppet): void => {
      puppet.on("downstream_data", function* () {
        yield* [];
        return PAUSE;
      });
    };
    const budget = { pauseMs: 400, bufferBytes: 64 * 1024 };
    for (const [onFailure, code] of [
      ["closed", "filter_timeout"],
      ["open", ""],
    ] as const) {
      await withFilter(
        prepare,
        async (proxy) => {
          const connection = await connectRaw(proxy.port());
          const text = "x".repeat(4 * 1024 * 1024);
          connection.send(text);
          connection.end();
          const most = { bytes: 0 };
          const timer = setInterval(() => {
            for (const { receivedBytes, sentBytes } of proxy.observer.liveStreams)
              if (sentBytes === 0) most.bytes = Math.max(most.bytes, receivedBytes);
          }, 5);
          const heard = await connection.closed();
          clearInterval(timer);
          assert.equal(heard, code === "" ? text : "");
          // The buffer, and what one read may bring beyond it.
          if (code !== "") assert.ok(most.bytes <= 64 * 1024 + 1024 * 1024, `${most.bytes} bytes`);
          assert.deepEqual(await codesOf(proxy), [code]);
          connection.destroy();
        },
        { part: { onFailure }, budget },
      );
    }
  });

  test("a trap closes every stream of its instance, or lets them pass; long streams have fuel and output for each callback", async () => {
    const prepare = (puppet: Puppet): void => {
      puppet.on("downstream_data", function* (guest, _context, size) {
        if (size === 0) return 0;
        const text = yield* readBuffer(guest, 2, Math.min(size, 16));
        if (text.startsWith("trap")) yield guest.host("trap");
        yield* writeBuffer(guest, 2, text);
        return 0;
      });
    };
    const budget = { outputBytes: 64, exchangeFuel: 20_000, callbackFuel: 20_000 };
    await withFilter(
      prepare,
      async (proxy) => {
        const [bystander, trapped] = [await connectRaw(proxy.port()), await connectRaw(proxy.port())];
        for (let i = 0; i < 200; i++) {
          bystander.send(`line ${i} `);
          await bystander.until(`line ${i} `);
        }
        trapped.send("trap");
        assert.equal(await trapped.closed(), "");
        await bystander.closed();
        assert.deepEqual(await codesOf(proxy, 2), ["filter_failed", "filter_failed"]);
        assert.equal(await say(proxy, "again"), "again");
      },
      { budget },
    );
    await withFilter(
      prepare,
      async (proxy) => {
        const trapped = await connectRaw(proxy.port());
        trapped.send("trap and pass");
        await trapped.until("trap and pass");
        trapped.send(" on");
        trapped.end();
        assert.equal(await trapped.closed(), "trap and pass on");
        trapped.destroy();
        assert.deepEqual(await codesOf(proxy), [""]);
      },
      { part: { onFailure: "open" } },
    );
  });

  test("the downstream leaves while a call is under way: the answer comes too late for anybody", async () => {
    const prepare = (puppet: Puppet): void => {
      puppet.on("new_connection", function* (guest) {
        const [at, size] = guest.putPairs([
          [":method", "GET"],
          [":path", "/"],
          [":authority", "aside"],
        ]);
        yield guest.host("proxy_http_call", guest.put("default/aside"), 13, at, size, 0, 0, 0, 0, 20_000, OUT_A);
        return PAUSE;
      });
    };
    const part = { capabilities: { ...filterOf("a", "").capabilities, callouts: ["default/aside"] } };
    const aside = await startUpstream(() => undefined);
    await withFilter(
      prepare,
      async (proxy, _upstream, puppet) => {
        const connection = await connectRaw(proxy.port());
        await until(() => aside.connections === 1);
        connection.reset();
        assert.deepEqual(await codesOf(proxy), ["downstream_reset"]);
        assert.ok(!puppet.entered.includes("http_call_response"));
      },
      { part, aside },
    );
  });
});
