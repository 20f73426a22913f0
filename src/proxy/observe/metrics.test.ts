import { describe, expect, test } from "bun:test";
import { type Family, parseExposition } from "../../../test/kit/exposition.ts";
import { makeRecord } from "../../../test/kit/record.ts";
import { VirtualClock } from "../../core/clock.ts";
import { FAILURES, Failure, type FailureCode } from "../../core/failure.ts";
import { MetricsAggregator } from "./aggregator.ts";
import type { MetricsDump } from "./dump.ts";
import { DumpBuilder } from "./dump.ts";
import { METRICS, OVERFLOW_LABEL, PAIRS_MAX } from "./metric-names.ts";
import { MetricsRecorder } from "./recorder.ts";
import { renderMetrics } from "./render.ts";

const HOUR_MS = 3_600_000;

async function scrape(aggregator: MetricsAggregator): Promise<Map<string, Family>> {
  const { text, contentType } = await renderMetrics(aggregator.families());
  expect(contentType).toContain("version=0.0.4");
  return parseExposition(text);
}

function sampleOf(families: Map<string, Family>, name: string, labels: Record<string, string> = {}): number | undefined {
  const samples = [...families.values()].flatMap((family) => family.samples);
  return samples.find((sample) => sample.name === name && Object.entries(labels).every(([k, v]) => sample.labels[k] === v))
    ?.value;
}

/** What a pipe does to a dump. */
const throughPipe = (dump: MetricsDump): MetricsDump => JSON.parse(JSON.stringify(dump));

describe("metrics", () => {
  test("an exchange shows in every metric that speaks of it", async () => {
    const clock = new VirtualClock();
    const recorder = new MetricsRecorder(clock);
    const aggregator = new MetricsAggregator(clock);
    recorder.onConnectionOpen("default/main/http");
    recorder.onUpstreamConnect("default/shop", true, 2);
    recorder.onUpstreamConnect("default/shop", false, 2);
    recorder.onPoolPending("default/shop", 1);
    recorder.onConnectionFailure("default/main/http", new Failure("request_timeout"));
    recorder.onExchangeStart();
    recorder.onExchangeStart();
    recorder.onExchangeEnd(makeRecord());
    recorder.onExchangeEnd(makeRecord({ status: 503, failure: "no_endpoint", attempts: 3 }));
    recorder.onExchangeStart();
    recorder.onConfigApplied(7, 3, 12);
    const stats = recorder.filters.statsOf("rate-limit");
    stats.users++;
    stats.onCall("request_head", 2.5, 0);
    stats.onCall("request_head", 2.5, 61);
    stats.callFuel.record(1000, 61);
    stats.onFault("trap");
    stats.onVerdict("filter_failed");
    stats.onVerdict("pause");
    stats.fuel = 900;
    recorder.filters.onPull(() => {
      stats.instances += 2;
      stats.memoryBytes += 65_536;
    });
    aggregator.add("a", throughPipe(recorder.drain()));
    const families = await scrape(aggregator);
    const pair = { route: "default/shop", service: "default/shop" };
    expect(sampleOf(families, "selvedge_requests_total", { ...pair, code: "200", flag: "-" })).toBe(1);
    expect(sampleOf(families, "selvedge_requests_total", { ...pair, code: "503", flag: "UH" })).toBe(1);
    expect(sampleOf(families, "selvedge_request_duration_seconds_count", pair)).toBe(2);
    expect(sampleOf(families, "selvedge_request_duration_seconds_sum", pair)).toBeCloseTo(0.025);
    expect(sampleOf(families, "selvedge_request_bytes_total", pair)).toBe(20);
    expect(sampleOf(families, "selvedge_response_bytes_total", pair)).toBe(112);
    expect(sampleOf(families, "selvedge_requests_in_flight")).toBe(1);
    expect(sampleOf(families, "selvedge_connections", { listener: "default/main/http" })).toBe(1);
    expect(sampleOf(families, "selvedge_connection_failures_total", { code: "request_timeout" })).toBe(1);
    expect(sampleOf(families, "selvedge_upstream_attempts_total")).toBe(4);
    expect(sampleOf(families, "selvedge_upstream_connects_total", { result: "ok" })).toBe(1);
    expect(sampleOf(families, "selvedge_upstream_connects_total", { result: "failed" })).toBe(1);
    expect(sampleOf(families, "selvedge_upstream_connections")).toBe(1);
    expect(sampleOf(families, "selvedge_upstream_pending_requests")).toBe(1);
    expect(sampleOf(families, "selvedge_filter_calls_total", { phase: "request_head" })).toBe(2);
    const filter = "rate-limit";
    expect(sampleOf(families, "selvedge_filter_seconds_total", { filter })).toBeCloseTo(61 * 2.5e-6);
    expect(sampleOf(families, "selvedge_filter_call_seconds_count", { filter })).toBe(61);
    expect(sampleOf(families, "selvedge_filter_call_seconds_sum", { filter })).toBeCloseTo(61 * 2.5e-6);
    expect(sampleOf(families, "selvedge_filter_call_fuel_sum", { filter })).toBe(61_000);
    expect(sampleOf(families, "selvedge_filter_call_fuel_bucket", { filter, le: "512" })).toBe(0);
    expect(sampleOf(families, "selvedge_filter_call_fuel_bucket", { filter, le: "1024" })).toBe(61);
    expect(sampleOf(families, "selvedge_filter_faults_total", { filter, kind: "trap" })).toBe(1);
    expect(sampleOf(families, "selvedge_filter_verdicts_total", { filter, verdict: "fail" })).toBe(1);
    expect(sampleOf(families, "selvedge_filter_verdicts_total", { filter, verdict: "pause" })).toBe(1);
    expect(sampleOf(families, "selvedge_filter_instances", { filter })).toBe(2);
    expect(sampleOf(families, "selvedge_filter_memory_bytes", { filter })).toBe(65_536);
    expect(sampleOf(families, "selvedge_config_revision")).toBe(7);
    expect(sampleOf(families, "selvedge_config_applies_total", { result: "applied" })).toBe(1);
    expect(sampleOf(families, "selvedge_config_latency_seconds_sum")).toBeCloseTo(0.012);
  });

  test("every failure code counts under its own flag", async () => {
    const clock = new VirtualClock();
    const recorder = new MetricsRecorder(clock);
    const aggregator = new MetricsAggregator(clock);
    const codes = Object.keys(FAILURES) as FailureCode[];
    const wanted = new Map<string, number>();
    for (const failure of codes) {
      recorder.onExchangeStart();
      recorder.onExchangeEnd(makeRecord({ failure, status: FAILURES[failure].status }));
      const key = `${FAILURES[failure].status} ${FAILURES[failure].flag}`;
      wanted.set(key, (wanted.get(key) ?? 0) + 1);
    }
    aggregator.add("a", recorder.drain());
    const samples = (await scrape(aggregator)).get("selvedge_requests_total")?.samples ?? [];
    expect(new Map(samples.map(({ labels, value }) => [`${labels.code} ${labels.flag}`, value]))).toEqual(wanted);
  });

  test("totals of several workers add up and survive the death of one; its gauges do not", async () => {
    const clock = new VirtualClock();
    const aggregator = new MetricsAggregator(clock);
    const workers = [new MetricsRecorder(clock), new MetricsRecorder(clock)];
    for (const [i, worker] of workers.entries()) {
      for (let n = 0; n < 10; n++) {
        worker.onExchangeStart();
        worker.onExchangeEnd(makeRecord());
      }
      worker.onExchangeStart();
      worker.onConfigApplied(5 + i, 1, undefined);
      aggregator.add(`worker-${i}`, throughPipe(worker.drain()));
    }
    let families = await scrape(aggregator);
    expect(sampleOf(families, "selvedge_requests_total")).toBe(20);
    expect(sampleOf(families, "selvedge_requests_in_flight")).toBe(2);
    expect(sampleOf(families, "selvedge_config_revision")).toBe(5);
    aggregator.removeSource("worker-0");
    const fresh = new MetricsRecorder(clock);
    fresh.onExchangeStart();
    fresh.onExchangeEnd(makeRecord());
    aggregator.add("worker-0", throughPipe(fresh.drain()));
    families = await scrape(aggregator);
    expect(sampleOf(families, "selvedge_requests_total")).toBe(21);
    expect(sampleOf(families, "selvedge_requests_in_flight")).toBe(1);
  });

  test("a second dump holds only what is new", () => {
    const recorder = new MetricsRecorder(new VirtualClock());
    recorder.onExchangeStart();
    recorder.onExchangeEnd(makeRecord());
    const counter = recorder.filters.define("f", "counter", "hits");
    recorder.filters.increment(counter, 3);
    recorder.drain();
    const second = recorder.drain();
    expect(second.counters).toEqual([]);
    expect(second.histograms).toEqual([]);
    // The filter itself reads its total, not the difference.
    expect(recorder.filters.read(counter)).toBe(3);
  });

  test("pairs beyond the budget are counted together, in the worker and in the sum", async () => {
    const clock = new VirtualClock();
    const recorder = new MetricsRecorder(clock);
    const aggregator = new MetricsAggregator(clock);
    for (let i = 0; i < PAIRS_MAX + 50; i++) {
      recorder.onExchangeStart();
      recorder.onExchangeEnd(makeRecord({ routeName: `default/r${i}` }));
    }
    const dump = recorder.drain();
    aggregator.add("a", dump);
    // The same names again from another worker, and new ones: the sum stays within its own budget.
    const other = new MetricsRecorder(clock);
    for (let i = 0; i < PAIRS_MAX; i++) {
      other.onExchangeStart();
      other.onExchangeEnd(makeRecord({ routeName: `other/r${i}` }));
    }
    aggregator.add("b", other.drain());
    const families = await scrape(aggregator);
    const counts = families.get("selvedge_request_duration_seconds")?.samples.filter(({ name }) => name.endsWith("_count")) ?? [];
    expect(counts.length).toBeLessThanOrEqual(PAIRS_MAX + 1);
    expect(counts.reduce((sum, { value }) => sum + value, 0)).toBe(PAIRS_MAX * 2 + 50);
    expect(counts.some(({ labels }) => labels.route === OVERFLOW_LABEL)).toBe(true);
  });

  test("statuses beyond the budget of a pair are counted together", () => {
    const recorder = new MetricsRecorder(new VirtualClock());
    for (let status = 100; status < 300; status++) {
      recorder.onExchangeStart();
      recorder.onExchangeEnd(makeRecord({ status }));
    }
    const rows = recorder.drain().counters.filter(([metric]) => metric === "requests");
    expect(rows.length).toBe(65);
    expect(rows.reduce((sum, [, , value]) => sum + value, 0)).toBe(200);
  });

  test("idle series disappear, and come back when they are used again", async () => {
    const clock = new VirtualClock();
    const recorder = new MetricsRecorder(clock);
    const aggregator = new MetricsAggregator(clock);
    const useOnce = (): void => {
      recorder.onExchangeStart();
      recorder.onExchangeEnd(makeRecord({ startMs: clock.nowMs(), endMs: clock.nowMs() + 1 }));
    };
    clock.advance(1);
    useOnce();
    aggregator.add("a", recorder.drain());
    clock.advance(HOUR_MS + 1);
    expect(recorder.drain().counters).toEqual([]);
    expect((await scrape(aggregator)).has("selvedge_requests_total")).toBe(false);
    useOnce();
    aggregator.add("a", recorder.drain());
    expect(sampleOf(await scrape(aggregator), "selvedge_requests_total")).toBe(1);
  });

  test("names that filters choose cannot break the exposition, and are bounded in number", async () => {
    const clock = new VirtualClock();
    const recorder = new MetricsRecorder(clock);
    const aggregator = new MetricsAggregator(clock);
    const { filters } = recorder;
    const nasty = 'x"} 1\nevil_total 5\\ü';
    const counter = filters.define("f", "counter", nasty);
    filters.increment(counter, 2);
    filters.increment(counter, -5);
    const gauge = filters.define("f", "gauge", "level");
    filters.record(gauge, 7);
    filters.increment(gauge, -9);
    const histogram = filters.define("f", "histogram", "sizes");
    filters.record(histogram, 100);
    expect(filters.define("f", "counter", nasty)).toBe(counter);
    expect(filters.define("f", "counter", "x".repeat(257))).toBe(-1);
    let refused = 0;
    for (let i = 0; i < 300; i++) if (filters.define("f", "counter", `c${i}`) < 0) refused++;
    expect(refused).toBe(300 - (256 - 3));
    filters.record(-1, 5);
    filters.increment(99_999, 5);
    for (let i = 0; i < 1500; i++) {
      const stats = filters.statsOf(`f${i}`);
      stats.users++;
      stats.onFault("trap");
    }
    aggregator.add("a", throughPipe(recorder.drain()));
    const families = await scrape(aggregator);
    expect(sampleOf(families, "selvedge_filter_custom_total", { name: nasty })).toBe(2);
    expect(sampleOf(families, "selvedge_filter_custom", { name: "level" })).toBe(-2);
    expect(sampleOf(families, "selvedge_filter_custom_values_count", { name: "sizes" })).toBe(1);
    const faults = families.get("selvedge_filter_faults_total")?.samples ?? [];
    expect(faults.length).toBe(1001);
    expect(sampleOf(families, "selvedge_filter_faults_total", { filter: "__other__" })).toBe(500);
    // Those that nobody uses any more make room.
    filters.statsOf("f7").users--;
    filters.drain(new DumpBuilder());
    const fresh = filters.statsOf("late");
    expect(Object.is(fresh, filters.statsOf("later"))).toBe(false);
    expect(Object.is(filters.statsOf("later"), filters.statsOf("latest"))).toBe(true);
  });

  test("the table keeps the rules for names", () => {
    const names = Object.values(METRICS).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, kind, help } of Object.values(METRICS)) {
      expect(name).toMatch(/^selvedge_[a-z_]+$/);
      expect(name.endsWith("_total")).toBe(kind === "counter");
      expect(help).not.toBe("");
    }
  });
});
