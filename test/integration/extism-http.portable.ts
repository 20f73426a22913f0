import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createFilterHost, ownCounters } from "../../src/app/filters.ts";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { DEFAULT_CALLOUT_LIMITS, DEFAULT_FILTER_BUDGET, EXTISM_LIMITS } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { CLOSE, judge, partsFor, wholeBody, withUpstream } from "../kit/end-to-end.ts";
import { buildPlugin, PDK_CALLER } from "../kit/extism.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { connectRaw, okText, type RawUpstream, sayRaw, startUpstream } from "../kit/raw.ts";
import { endpointsOf, type FilterPart, filterOf, forwardTo, routeOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

// Plug-ins of Extism that make HTTP requests in the middle of a function: a whole proxy and a real service, on sockets.

const digestOf = (wasm: Uint8Array): string => `sha256:${createHash("sha256").update(wasm).digest("hex")}`;

type Answer = Parameters<typeof startUpstream>[0];
type RawRequest = Parameters<Answer>[0];

interface Stage {
  readonly proxy: TestProxy;
  readonly upstream: RawUpstream;
  readonly aside: RawUpstream;
  readonly metrics: RecordingMetrics;
  readonly filter: FilterConfig;
  /** The same configuration with another filter. */
  parts(filter: FilterConfig): ReturnType<typeof snapshotOf>;
}

/** A proxy whose only route has this plug-in, which may call `aside`; `answer` is what that says. */
async function withCaller(
  part: FilterPart,
  answer: Answer,
  body: (stage: Stage) => Promise<void>,
  wasm: Uint8Array = PDK_CALLER,
): Promise<void> {
  const upstream = await startUpstream(({ head }) => okText(head));
  const aside = await startUpstream(answer);
  const metrics = new RecordingMetrics();
  const filterHost = createFilterHost({ clock: new SystemClock(), log: SILENT_LOG, metrics, counters: ownCounters() });
  const capabilities = { callouts: ["default/aside"], ...part.capabilities };
  const filter = filterOf("caller", digestOf(wasm), { abi: "extism", settings: '{"ask":"http://aside"}', ...part, capabilities });
  const partsOf = (used: FilterConfig) => ({
    ...partsFor(upstream),
    routes: [routeOf("r", [forwardTo("up", { filters: [used.name] })])],
    services: [serviceOf("up"), serviceOf("aside")],
    endpoints: [endpointsOf("up", [upstream.port]), endpointsOf("aside", [aside.port])],
    filters: [used],
  });
  try {
    await withUpstream(
      upstream,
      (proxy) => body({ proxy, upstream, aside, metrics, filter, parts: (used) => snapshotOf(partsOf(used)) }),
      partsOf(filter),
      { filterHost, modules: new Map([[digestOf(wasm), wasm]]) },
    );
  } finally {
    await aside.stop();
  }
}

const get = (token: string): string => `GET /p?q=1 HTTP/1.1\r\nhost: a\r\nx-token: ${token}\r\n${CLOSE}\r\n`;
/** Says who has a token; "none" has none. */
const knows = ({ head }: RawRequest): string => {
  const token = /\r\nx-token: (\w+)/.exec(head)?.[1];
  return token === "none" ? "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n" : okText(`user of ${token}`, "x-kind: person\r\n");
};

describe("extism plug-ins that call a service", () => {
  test("one of the Rust PDK asks about requests and answers, and refuses what the service refuses", async () => {
    const asked: RawRequest[] = [];
    const answer = (request: RawRequest): string => {
      asked.push(request);
      return knows(request);
    };
    await withCaller({}, answer, async ({ proxy, upstream }) => {
      const heard = await sayRaw(proxy.port(), get("t1"));
      assert.equal(judge(heard), "200");
      assert.match(wholeBody(heard) ?? "", /\r\nx-user: user of t1\r\nx-kind: person/);
      assert.match(heard, /\r\nx-told: 200\r\n/);
      assert.match(asked[0]?.head ?? "", /^POST \/who\?b=1 HTTP\/1.1\r\n/);
      assert.match(asked[0]?.head ?? "", /\r\nhost: aside\r\n/i);
      assert.equal(asked[0]?.body, "/p?q=1");
      assert.match(asked[1]?.head ?? "", /^GET \/told HTTP\/1.1\r\n/);
      const refused = await sayRaw(proxy.port(), get("none"));
      assert.equal(judge(refused), "403");
      assert.equal(wholeBody(refused), "the service says 401");
      // The refused one never reached it.
      assert.equal(upstream.received.join("").match(/GET \/p/g)?.length, 1);
    });
  });

  test("many at a time: each gets its own answer", async () => {
    const patient = { budget: { ...DEFAULT_FILTER_BUDGET, pauseMs: 60_000 } };
    await withCaller(patient, knows, async ({ proxy, metrics }) => {
      const tokens = Array.from({ length: EXTISM_LIMITS.instances + 8 }, (_, i) => `t${i}`);
      const heard = await Promise.all(tokens.map((token) => sayRaw(proxy.port(), get(token))));
      for (const [i, each] of heard.entries()) {
        assert.equal(judge(each), "200");
        assert.match(wholeBody(each) ?? "", new RegExp(`\\r\\nx-user: user of ${tokens[i]}\\r\\n`));
      }
      assert.deepEqual(metrics.traps, []);
    });
  });

  test("no answer in time, and one that is too large: onFailure, and the filter lives on", async () => {
    let answer: string | undefined;
    const calloutLimits = { "default/aside": { ...DEFAULT_CALLOUT_LIMITS, timeoutMs: 300, answerBytes: 1_000 } };
    await withCaller(
      { capabilities: { calloutLimits } },
      () => answer,
      async ({ proxy, metrics, upstream }) => {
        assert.equal(judge(await sayRaw(proxy.port(), get("t"))), "500 filter_failed");
        answer = okText("x".repeat(1_001));
        assert.equal(judge(await sayRaw(proxy.port(), get("t"))), "500 filter_failed");
        assert.deepEqual(upstream.connections, 0);
        answer = okText("x".repeat(1_000));
        assert.equal(judge(await sayRaw(proxy.port(), get("t"))), "200");
        assert.deepEqual([metrics.traps, metrics.stats.faults.get("callout")], [[], 2]);
      },
    );
  });

  test("a redirect is an answer: nobody follows it", async () => {
    const answer = (): string => "HTTP/1.1 302 Found\r\nlocation: http://up/\r\ncontent-length: 0\r\n\r\n";
    await withCaller({}, answer, async ({ proxy, upstream, aside }) => {
      const heard = await sayRaw(proxy.port(), get("t"));
      assert.equal(wholeBody(heard), "the service says 302");
      assert.deepEqual([upstream.connections, aside.connections], [0, 1]);
    });
  });

  test("drain while it waits: the exchange finishes when the answer comes, and is cut when the grace is over", async () => {
    for (const graceMs of [60_000, 100]) {
      let release: (() => void) | undefined;
      const answer: Answer = (request, socket) => {
        // What is told about the answer of the upstream.
        if (release !== undefined) return knows(request);
        release = () => socket.write(knows(request));
        return undefined;
      };
      const patient = { budget: { ...DEFAULT_FILTER_BUDGET, pauseMs: 60_000 } };
      await withCaller(patient, answer, async ({ proxy, parts, filter }) => {
        const snapshot = parts(filter);
        await proxy.apply({ ...snapshot, mesh: { ...snapshot.mesh, drain: { graceMs, tunnelGraceMs: graceMs } } });
        const connection = await connectRaw(proxy.port());
        connection.send(get("t").replace(CLOSE, ""));
        await until(() => release !== undefined);
        let isOver = false;
        const drained = proxy.proxy.drain().then(() => {
          isOver = true;
        });
        if (graceMs === 100) {
          assert.equal(judge(await connection.closed()), "nothing");
        } else {
          assert.equal(isOver, false);
          release?.();
          assert.match(wholeBody(await connection.closed()) ?? "", /\r\nx-user: user of t\r\n/);
        }
        connection.destroy();
        await drained;
        assert.equal(proxy.proxy.core.callouts.size, 0);
      });
    }
  });

  test("a pause that takes too long, and a downstream that goes away while it waits: the call ends", async () => {
    await withCaller(
      { budget: { ...DEFAULT_FILTER_BUDGET, pauseMs: 300 } },
      () => undefined,
      async ({ proxy, aside, metrics }) => {
        assert.equal(judge(await sayRaw(proxy.port(), get("t"))), "504 filter_timeout");
        const connection = await connectRaw(proxy.port());
        connection.send(get("t"));
        await until(() => aside.connections === 2);
        connection.reset();
        const seen = await proxy.seen(2);
        assert.equal(seen[0]?.code, "filter_timeout");
        // By its own deadline: that of the pause.
        await until(() => proxy.proxy.core.callouts.size === 0);
        assert.deepEqual(metrics.traps, []);
      },
    );
  });

  test("what it was not granted it cannot call", async () => {
    for (const [settings, callouts] of [
      ['{"ask":"http://aside"}', []],
      ['{"ask":"http://up"}', ["default/aside"]],
      ['{"ask":"http://127.0.0.1"}', ["default/aside"]],
    ] as const) {
      await withCaller({ settings, capabilities: { callouts } }, knows, async ({ proxy, aside, upstream, metrics }) => {
        assert.equal(judge(await sayRaw(proxy.port(), get("t"))), "500 filter_failed");
        assert.deepEqual([aside.connections, upstream.connections], [0, 0]);
        assert.equal(metrics.denied.get("callouts"), 1);
      });
    }
  });

  test("reload while it waits: the exchange ends with the filter that it began with", async () => {
    let release: (() => void) | undefined;
    const answer: Answer = (request, socket) => {
      if (release !== undefined) return knows(request);
      release = () => socket.write(knows(request));
      return undefined;
    };
    await withCaller({}, answer, async ({ proxy, parts }) => {
      const before = sayRaw(proxy.port(), get("before"));
      await until(() => release !== undefined);
      const other = buildPlugin({ text: "{}", exports: { on_request: "i32.const 0" } });
      await proxy.apply(parts(filterOf("caller", digestOf(other), { abi: "extism" })), new Map([[digestOf(other), other]]));
      release?.();
      const heard = await before;
      assert.equal(judge(heard), "200");
      assert.match(wholeBody(heard) ?? "", /\r\nx-user: user of before\r\n/);
      assert.equal(/x-user/.test(await sayRaw(proxy.port(), get("after"))), false);
    });
  });
});
