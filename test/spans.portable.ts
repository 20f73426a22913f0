import assert from "node:assert/strict";
import { VirtualClock } from "../src/core/clock.ts";
import { TRACE_LIMITS } from "../src/core/limits.ts";
import { JsonLog } from "../src/core/log.ts";
import { OTLP } from "../src/proxy/observe/spans/otlp.ts";
import { SpanSender } from "../src/proxy/observe/spans/sender.ts";
import { type Span, spanOf } from "../src/proxy/observe/spans/span.ts";
import { ZIPKIN } from "../src/proxy/observe/spans/zipkin.ts";
import { otlpSpans, type SeenSpan } from "./kit/collector.ts";
import { makeHead, makeRecord } from "./kit/record.ts";
import { describe, test } from "./kit/suite.ts";

const ORIGIN = { serviceName: "edge", instance: "edge-1" };
/** From the clock of the records to 1970. */
const OFFSET_MS = 1_700_000_000_000;
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const ids = { traceId: TRACE, spanId: "00f067aa0ba902b7", parentSpanId: "53995c3f42cd8ad8" };
const runs = [
  { name: "default/fast", verdict: "continue", spentMs: 0.12, waitedMs: 0, fuel: 800 },
  { name: "default/slow", verdict: "pause", spentMs: 1, waitedMs: 6.5, fuel: 9_000_000_000 },
];

const make = (changes: Parameters<typeof makeRecord>[0] = {}): Span =>
  spanOf(makeRecord({ ...ids, filterRuns: () => runs, ...changes }), OFFSET_MS, 5);
const otlpOf = (span: Span): SeenSpan => {
  const [seen] = otlpSpans([JSON.parse(OTLP.join([OTLP.encode(span, ORIGIN)], ORIGIN))]);
  return seen as SeenSpan;
};
interface ZipkinSpan {
  readonly tags: Readonly<Record<string, string>>;
  readonly duration: number;
  readonly name: string;
  readonly remoteEndpoint?: object;
}
const zipkinOf = (span: Span): ZipkinSpan =>
  (JSON.parse(ZIPKIN.join([ZIPKIN.encode(span, ORIGIN)], ORIGIN)) as ZipkinSpan[])[0] as ZipkinSpan;

describe("a span of an exchange", () => {
  test("in OTLP: ids in hex, times and numbers as text, the conventions' names, each filter an event", () => {
    const { values, events, ...rest } = otlpOf(make());
    assert.deepEqual([rest.traceId, rest.spanId, rest.parentSpanId, rest.kind], [TRACE, ids.spanId, ids.parentSpanId, 2]);
    assert.deepEqual([rest.name, rest.status], ["GET /items", undefined]);
    assert.deepEqual([rest.startTimeUnixNano, rest.endTimeUnixNano], ["1700000000100000000", "1700000000112500000"]);
    assert.deepEqual(rest.resource, { "service.name": "edge", "service.instance.id": "edge-1" });
    assert.deepEqual(values, {
      "http.request.method": "GET",
      "url.scheme": "http",
      "network.protocol.version": "1.1",
      "url.path": "/items",
      "server.address": "shop.example",
      "client.address": "192.0.2.7",
      "network.peer.address": "192.0.2.7",
      "network.peer.port": "40000",
      "http.route": "/items",
      "http.response.status_code": "200",
      "http.request.body.size": "10",
      "http.response.body.size": "56",
      "selvedge.request_id": "0123456789abcdef0123456789abcdef",
      "selvedge.listener": "default/main/http",
      "selvedge.route": "default/shop",
      "selvedge.rule": "0",
      "selvedge.service": "default/shop",
      "selvedge.endpoint": "10.0.0.1:80",
      "selvedge.attempts": "1",
      "selvedge.answered_by": "upstream",
      "selvedge.filters.slow": "default/slow",
    });
    assert.deepEqual(
      events.map((event) => [event.name, event.values]),
      [
        ["selvedge.filter", { name: "default/fast", verdict: "continue", us: "120", fuel: "800" }],
        [
          "selvedge.filter",
          { name: "default/slow", verdict: "pause", us: "1000", waited_us: "6500", fuel: "9000000000", slow: true },
        ],
      ],
    );
  });

  test("in Zipkin: microseconds as numbers, tags as texts, each filter an annotation", () => {
    assert.deepEqual(zipkinOf(make({ filterRuns: () => runs.slice(1), endMs: 100 })), {
      traceId: TRACE,
      id: ids.spanId,
      parentId: ids.parentSpanId,
      name: "GET /items",
      kind: "SERVER",
      timestamp: 1_700_000_000_100_000,
      duration: 1,
      localEndpoint: { serviceName: "edge" },
      remoteEndpoint: { ipv4: "192.0.2.7", port: 40_000 },
      annotations: [
        { timestamp: 1_700_000_000_100_000, value: "filter default/slow pause us=1000 waited_us=6500 fuel=9000000000 slow" },
      ],
      tags: zipkinOf(make()).tags,
    });
    assert.equal(zipkinOf(make()).duration, 12_500);
    assert.equal(zipkinOf(make()).tags["http.response.status_code"], "200");
    assert.equal(zipkinOf(make()).tags["service.instance.id"], "edge-1");
    assert.deepEqual(zipkinOf(make({ clientAddress: "2001:db8::1" })).remoteEndpoint, { ipv6: "2001:db8::1" });
    assert.equal(zipkinOf(make({ clientAddress: "" })).remoteEndpoint, undefined);
  });

  test("a trace that starts here has no parent", () => {
    const span = make({ parentSpanId: "" });
    assert.equal("parentSpanId" in otlpOf(span), false);
    assert.equal("parentId" in zipkinOf(span), false);
  });

  test("5xx and answers that broke off are errors; what the caller did is none, though it is told", () => {
    const judge = (changes: Parameters<typeof makeRecord>[0]) => {
      const span = make(changes);
      const { values, status } = otlpOf(span);
      assert.equal(zipkinOf(span).tags.error, status?.message);
      return [values["error.type"], status?.code];
    };
    assert.deepEqual(judge({ status: 503, failure: "no_endpoint" }), ["no_endpoint", 2]);
    assert.deepEqual(judge({ status: 500 }), ["500", 2]);
    assert.deepEqual(judge({ status: 200, failure: "upstream_reset" }), ["upstream_reset", 2]);
    assert.deepEqual(judge({ status: 404, failure: "no_route" }), ["no_route", undefined]);
    assert.deepEqual(judge({ status: 0, failure: "downstream_reset" }), ["downstream_reset", undefined]);
    assert.deepEqual(judge({ status: 404 }), [undefined, undefined]);
  });

  test("credentials in the query are redacted; long and odd texts are cut and escaped; methods are of few names", () => {
    const request = makeHead({ method: "BREW", query: `token=s3cret&q=${"x".repeat(5_000)}` });
    const span = make({ request, originalPath: '/a"\n\u0000', pathPattern: "", originalAuthority: "[2001:db8::2]:8443" });
    const { values, name } = otlpOf(span);
    assert.equal(name, "HTTP default/shop");
    assert.deepEqual([values["http.request.method"], values["http.request.method_original"]], ["_OTHER", "BREW"]);
    assert.deepEqual([values["server.address"], values["server.port"]], ["2001:db8::2", "8443"]);
    assert.equal(values["url.path"], '/a"\n\u0000');
    const query = String(values["url.query"]);
    assert.ok(query.startsWith("token=[redacted]&q=x"));
    assert.equal(query.length, TRACE_LIMITS.valueChars + 1);
    assert.equal(zipkinOf(span).tags["url.query"], query);
  });

  test("times keep what a double cannot hold", () => {
    const span = { ...make(), startMs: 1_764_383_999_999.999, endMs: 1_764_384_000_000 };
    assert.match(otlpOf(span).startTimeUnixNano, /^1764383999999999\d{3}$/);
    assert.equal(otlpOf(span).endTimeUnixNano, "1764384000000000000");
  });
});

type Reply = number | Error | Promise<number>;
const NEVER = new Promise<number>(() => {});

/** A sender whose collector answers as told. */
function setUp(answer: (body: string) => Reply) {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const bodies: string[] = [];
  const collector = {
    url: "http://collector.example/v1/traces",
    join: (spans: readonly string[]) => spans.join(","),
    post: async (body: string) => {
      bodies.push(body);
      const reply = await answer(body);
      if (reply instanceof Error) throw reply;
      return reply;
    },
  };
  const sender = new SpanSender(collector, clock, new JsonLog("info", clock, (line) => void lines.push(line)));
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await settle();
  };
  const fill = (count: number): void => {
    for (let i = 0; i < count; i++) {
      if (sender.full) sender.drop();
      else sender.add("s");
    }
  };
  return { sender, clock, lines, bodies, settle, pass, fill };
}

describe("sending spans", () => {
  const { batchSpans, batchBytes, flushMs, pendingSpans, pendingBytes, batchTries, retryFirstMs, closeMs } = TRACE_LIMITS;

  test("a batch goes when it is old, long or large enough", async () => {
    const { sender, bodies, settle, pass, fill, clock } = setUp(() => 202);
    fill(2);
    await pass(flushMs - 1);
    assert.equal(bodies.length, 0);
    await pass(1);
    assert.deepEqual(bodies, ["s,s"]);
    fill(batchSpans);
    await settle();
    sender.add("x".repeat(batchBytes));
    await settle();
    assert.deepEqual(
      bodies.map((body) => body.length),
      [3, 2 * batchSpans - 1, batchBytes],
    );
    assert.deepEqual(sender.takeCounts(), { sent: batchSpans + 3, dropped: 0 });
    assert.equal(clock.pending, 0);
  });

  test("one request at a time; what waits is bounded in number and bytes, and more is counted", async () => {
    const { sender, bodies, fill, settle } = setUp(() => NEVER);
    fill(pendingSpans + 7);
    await settle();
    assert.equal(bodies.length, 1);
    assert.deepEqual(sender.takeCounts(), { sent: 0, dropped: 7 });
    const large = setUp(() => NEVER);
    large.sender.add("x".repeat(pendingBytes - 1));
    assert.equal(large.sender.full, false);
    large.sender.add("x");
    assert.equal(large.sender.full, true);
  });

  test("a collector that is away is asked less and less often, and told of once; what it missed comes when it is back", async () => {
    let isAway = true;
    const { sender, bodies, pass, fill, lines } = setUp(() => (isAway ? new Error("ECONNREFUSED") : 200));
    fill(1);
    await pass(flushMs);
    await pass(retryFirstMs - 1);
    assert.equal(bodies.length, 1);
    await pass(1);
    assert.equal(bodies.length, 2);
    await pass(2 * retryFirstMs - 1);
    assert.equal(bodies.length, 2);
    isAway = false;
    await pass(1);
    assert.deepEqual(bodies, ["s", "s", "s"]);
    assert.deepEqual(sender.takeCounts(), { sent: 1, dropped: 0 });
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { message: string }).message),
      ["spans cannot be exported", "spans are exported again"],
    );
  });

  test("a batch that never arrives is dropped after its tries; a refused one at once", async () => {
    const away = setUp(() => 503);
    away.fill(3);
    await away.pass(flushMs);
    for (let i = 1; i < batchTries; i++) await away.pass(TRACE_LIMITS.retryLastMs);
    assert.equal(away.bodies.length, batchTries);
    assert.deepEqual(away.sender.takeCounts(), { sent: 0, dropped: 3 });
    for (const status of [302, 400, 413]) {
      const refusing = setUp(() => status);
      refusing.fill(3);
      await refusing.pass(flushMs);
      await refusing.pass(TRACE_LIMITS.retryLastMs);
      assert.equal(refusing.bodies.length, 1);
      assert.deepEqual(refusing.sender.takeCounts(), { sent: 0, dropped: 3 });
    }
  });

  test("no line of the log for each batch", async () => {
    const { lines, pass, fill, bodies } = setUp(() => 400);
    for (let i = 0; i < 5; i++) {
      fill(1);
      await pass(TRACE_LIMITS.retryLastMs);
      await pass(flushMs);
    }
    assert.ok(bodies.length >= 4);
    assert.ok(lines.length < bodies.length, `${lines.length} lines, ${bodies.length} batches`);
  });

  test("closing sends what waits, also while the collector is left alone; a collector that hangs holds it up for so long only", async () => {
    let status = 503;
    const { sender, pass, fill, bodies } = setUp(() => status);
    fill(1);
    await pass(flushMs);
    status = 200;
    fill(1);
    await sender.close();
    assert.equal(bodies.length, 3);
    assert.deepEqual(sender.takeCounts(), { sent: 2, dropped: 0 });

    const hung = setUp(() => NEVER);
    hung.fill(5);
    let isClosed = false;
    const closed = hung.sender.close().then(() => {
      isClosed = true;
    });
    await hung.pass(closeMs - 1);
    assert.equal(isClosed, false);
    await hung.pass(1);
    await closed;
    assert.deepEqual(hung.sender.takeCounts(), { sent: 0, dropped: 5 });
    assert.equal(hung.clock.pending, 0);
  });
});
