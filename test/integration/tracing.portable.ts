import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createProxy } from "../../src/app/create-proxy.ts";
import { ownCounters } from "../../src/app/filters.ts";
import type { Snapshot, TracingConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { TRACE_LIMITS } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { ANY_PLACE } from "../../src/proxy/observe/log-place.ts";
import type { ProxyObserver } from "../../src/proxy/observe/observer.ts";
import { postJson } from "../../src/proxy/observe/spans/post.ts";
import { type Collector, otlpSpans, type SeenSpan, startCollector } from "../kit/collector.ts";
import { CLOSE, partsFor } from "../kit/end-to-end.ts";
import { freePort } from "../kit/ports.ts";
import { okText, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { filterOf, forwardTo, routeOf, snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";
import { builtin } from "../kit/with-filters.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";
const request = (path = "/", flags = "01"): string =>
  `GET ${path} HTTP/1.1\r\nhost: shop.example\r\ntraceparent: 00-${TRACE}-${CALLER}-${flags}\r\n${CLOSE}\r\n`;

const exportTo = (url: string, more: Partial<TracingConfig["export"]> = {}): TracingConfig => ({
  start: false,
  sample: 1,
  export: { protocol: "otlp", url, serviceName: "edge", timeoutMs: 5_000, ...more },
});

interface Traced {
  readonly observer: ProxyObserver;
  /** Serves with these settings from now on. */
  apply(tracing: TracingConfig, slowFilterMs?: number): Promise<void>;
  say(text: string): Promise<string>;
  /** `traceparent` of each request that the upstream got. */
  readonly parents: readonly string[];
}

/** The data plane as the program makes it, with a built-in filter, in front of an upstream that keeps what it was told. */
async function withTraced(body: (traced: Traced) => Promise<void>): Promise<void> {
  const parents: string[] = [];
  const upstream = await startUpstream(({ head }) => {
    parents.push(/\r\ntraceparent: (.*)\r\n/.exec(head)?.[1] ?? "");
    return okText("hello");
  });
  const { proxy, observer } = await createProxy({
    ...{ clock: new SystemClock(), log: SILENT_LOG, counters: ownCounters(), reusePort: false, logPlaces: ANY_PLACE },
    node: { id: "edge-1", group: "gateway" },
  });
  const { wasm, part } = builtin("transform", { response: { headers: [{ op: "set", name: "x-a", value: "b" }] } });
  const digest = `sha256:${createHash("sha256").update(wasm).digest("hex")}`;
  const routes = [routeOf("r", [forwardTo("up", { filters: ["default/f"] })])];
  try {
    await body({
      observer,
      parents,
      async apply(tracing, slowFilterMs) {
        const base = snapshotOf({ ...partsFor(upstream), routes, filters: [filterOf("f", digest, part)] });
        const accessLog = { ...base.mesh.accessLog, ...(slowFilterMs === undefined ? {} : { slowFilterMs }) };
        const snapshot: Snapshot = { ...base, mesh: { ...base.mesh, accessLog, tracing } };
        const issues = await proxy.apply({ snapshot, modules: new Map([[digest, wasm]]), publishedAtMs: undefined });
        assert.deepEqual(issues, []);
        observer.configure(snapshot.mesh);
      },
      say: async (text) => {
        const [address] = proxy.addresses.values();
        assert.ok(address?.kind === "tcp");
        const heard = await sayRaw(address.port, text);
        // The answer may be out before the proxy has looked back at the exchange.
        await until(() => observer.metrics.inFlight === 0);
        return heard;
      },
    });
  } finally {
    await proxy.stop();
    observer.spans.abandon();
    await upstream.stop();
  }
}

const spansOf = ({ deliveries }: Collector): readonly SeenSpan[] => otlpSpans(deliveries.map(({ json }) => json));
const countsOf = (observer: ProxyObserver): readonly unknown[] =>
  observer.drain().counters.filter(([key]) => key === "traceSpans");

describe("spans of real exchanges", () => {
  test("chain from the caller over the proxy to the upstream, and name the filter that is slow", async () => {
    const collector = await startCollector();
    await withTraced(async ({ observer, apply, say, parents }) => {
      await apply(exportTo(`${collector.url}/v1/traces`), 0);
      const startMs = Date.now();
      assert.match(await say(request("/a?token=x")), /^HTTP\/1\.1 200/);
      await apply(exportTo(`${collector.url}/v1/traces`), 60_000);
      await say(request("/b"));
      await observer.spans.close();
      assert.deepEqual(countsOf(observer), [["traceSpans", ["sent"], 2]]);
      assert.deepEqual([collector.deliveries[0]?.path, collector.deliveries[0]?.type], ["/v1/traces", "application/json"]);
      const [slow, quick] = spansOf(collector);
      assert.ok(slow !== undefined && quick !== undefined);
      assert.deepEqual([slow.traceId, slow.parentSpanId, slow.name], [TRACE, CALLER, "GET /*"]);
      assert.deepEqual(parents, [`00-${TRACE}-${slow.spanId}-01`, `00-${TRACE}-${quick.spanId}-01`]);
      assert.deepEqual(slow.resource, { "service.name": "edge", "service.instance.id": "edge-1" });
      assert.deepEqual([slow.values["url.path"], slow.values["url.query"]], ["/a", "token=[redacted]"]);
      assert.deepEqual([slow.values["http.response.status_code"], slow.values["selvedge.service"]], ["200", "default/up"]);
      const [started, ended] = [slow.startTimeUnixNano, slow.endTimeUnixNano].map((text) => Number(text) / 1e6);
      assert.ok(started !== undefined && ended !== undefined && started < ended);
      // The clock of the wall has whole milliseconds.
      assert.ok(started > startMs - 2 && ended < Date.now() + 2, `${startMs} ${started} ${ended}`);
      const [event] = slow.events;
      assert.deepEqual([event?.values.name, event?.values.verdict, event?.values.slow], ["default/f", "continue", true]);
      assert.ok(Number(event?.values.us) > 0 && Number(event?.values.fuel) > 0);
      assert.equal(slow.values["selvedge.filters.slow"], "default/f");
      assert.deepEqual([quick.events[0]?.values.name, quick.events[0]?.values.slow], ["default/f", undefined]);
      assert.equal(quick.values["selvedge.filters.slow"], undefined);
    });
    await collector.stop();
  });

  test("are of what is sampled only, and come and go with the configuration", async () => {
    const collector = await startCollector();
    const zipkin = await startCollector((response) => void response.writeHead(202).end());
    await withTraced(async ({ observer, apply, say, parents }) => {
      const off: TracingConfig = { start: false, sample: 1 };
      await apply(off);
      await say(request("/off"));
      await apply(exportTo(`${collector.url}/v1/traces`));
      await say(request("/unsampled", "00"));
      await say(request("/on"));
      await apply(exportTo(`${zipkin.url}/api/v2/spans`, { protocol: "zipkin" }));
      await say(request("/zipkin"));
      // What waits still goes where it was meant to go.
      await apply(off);
      await say(request("/off-again"));
      await until(() => zipkin.deliveries.length === 1 && collector.deliveries.length === 1);
      await observer.spans.close();
      const given = (flags: string): string => `00-${TRACE}-${CALLER}-${flags}`;
      assert.deepEqual([parents[0], parents[1], parents[4]], [given("01"), given("00"), given("01")]);
      assert.deepEqual(
        spansOf(collector).map(({ values }) => values["url.path"]),
        ["/on"],
      );
      const [delivery] = zipkin.deliveries;
      assert.ok(delivery !== undefined);
      const [span] = delivery.json as { id: string; parentId: string; tags: Record<string, string> }[];
      assert.deepEqual([delivery.path, span?.parentId, span?.tags["url.path"]], ["/api/v2/spans", CALLER, "/zipkin"]);
      assert.equal(parents[3], `00-${TRACE}-${span?.id}-01`);
      assert.deepEqual(countsOf(observer), [["traceSpans", ["sent"], 2]]);
    });
    await collector.stop();
    await zipkin.stop();
  });

  test("are dropped and counted when the collector is away, hangs or refuses; requests do not notice", async () => {
    const refusing = await startCollector((response) => void response.writeHead(400).end("no"));
    const hanging = await startCollector(() => {});
    for (const url of [refusing.url, hanging.url, `http://127.0.0.1:${await freePort()}`]) {
      await withTraced(async ({ observer, apply, say }) => {
        await apply(exportTo(url));
        for (let i = 0; i < 3; i++) assert.match(await say(request()), /^HTTP\/1\.1 200/);
        // How long a collector that hangs may hold up the end is known of the sender (spans.portable.ts).
        if (url === hanging.url) observer.spans.abandon();
        else await observer.spans.close();
        assert.deepEqual(countsOf(observer), [["traceSpans", ["dropped"], 3]]);
      });
    }
    await refusing.stop();
    await hanging.stop();
  });
});

describe("posting to a collector", () => {
  const clock = new SystemClock();
  const post = (url: string, timeoutMs = 60_000, signal = new AbortController().signal): Promise<number> =>
    postJson(url, "{}", timeoutMs, clock, signal);

  test("an answer without end is cut off, a redirect not followed", async () => {
    let sent = 0;
    const collector = await startCollector((response, { url }) => {
      if (url === "/moved") {
        response.writeHead(302, { location: "/elsewhere" }).end();
        return;
      }
      const more = (): void => {
        while (!response.destroyed && response.write("x".repeat(16_384))) sent += 16_384;
      };
      response.on("drain", more);
      more();
    });
    assert.equal(await post(`${collector.url}/endless`), 200);
    await until(() => collector.open.size === 0);
    assert.ok(sent >= TRACE_LIMITS.answerBytes);
    assert.equal(await post(`${collector.url}/moved`), 302);
    assert.deepEqual(
      collector.deliveries.map(({ path }) => path),
      ["/endless", "/moved"],
    );
    await collector.stop();
  });

  test("a collector that never answers is left after the time, or when nobody waits any more", async () => {
    const collector = await startCollector(() => {});
    await assert.rejects(post(collector.url, 20), /no answer within 20 ms/);
    const stop = new AbortController();
    const waiting = post(collector.url, 60_000, stop.signal);
    await until(() => collector.deliveries.length === 2 || collector.open.size > 0);
    stop.abort();
    await assert.rejects(waiting, /given up/);
    await until(() => collector.open.size === 0);
    await collector.stop();
  });

  test("one that hangs up, or says what is no HTTP, is an error and no more", async () => {
    const closing = await startRawUpstream((socket) => void socket.destroy());
    await assert.rejects(post(`http://127.0.0.1:${closing.port}`));
    await closing.stop();
    const babbling = await startRawUpstream((socket) => void socket.end("no HTTP at all\r\n\r\n"));
    await assert.rejects(post(`http://127.0.0.1:${babbling.port}`));
    await babbling.stop();
  });
});
