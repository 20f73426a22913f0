import { afterAll, beforeAll, describe, test } from "bun:test";
import assert from "node:assert/strict";
import { parseExposition, type Sample } from "../kit/exposition.ts";
import { TEST_MS, WAIT_MS } from "../kit/patience.ts";
import { threeFiltersYaml } from "../kit/three-filters.ts";
import { until } from "../kit/until.ts";
import { type Mesh, startMesh } from "./mesh.ts";
import { type Soak, startSoak } from "./soak-load.ts";
import { type SoakUpstream, startSoakUpstream } from "./soak-upstream.ts";

/** The two minutes; fewer by hand with SELVEDGE_SOAK_SECONDS. */
const SECONDS = Number(process.env.SELVEDGE_SOAK_SECONDS ?? 120);
const WORKERS = 2;
const SAMPLES = 60;
const GROWTH_MAX = 1.1;

let mesh: Mesh;
let upstream: SoakUpstream;

const resources = (): string => `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: {name: edge}
spec: {listeners: [{name: http, address: 127.0.0.1, port: ${mesh.httpPort}}]}
${threeFiltersYaml(["GET", "POST"], "x-soak")}---
apiVersion: selvedge.dev/v1
kind: Route
metadata: {name: main}
spec:
  rules: [{backends: [{service: up}], filters: [limit, guard, mark]}]
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: {name: aborted}
spec:
  rules: [{matches: [{path: {prefix: /aborted}}], backends: [{service: up}], filters: [limit, guard, mark]}]
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: {name: up}
spec: {endpoints: [{address: "127.0.0.1:${upstream.port}"}]}
`;

async function workerMegabytes(): Promise<number> {
  const { workers } = await mesh.status();
  return workers.reduce((sum, worker) => sum + worker.residentBytes, 0) / 2 ** 20;
}

async function scrape(): Promise<Sample[]> {
  const text = await (await fetch(`http://127.0.0.1:${mesh.adminPort}/metrics`)).text();
  return [...parseExposition(text).values()].flatMap((family) => family.samples);
}

const total = (samples: readonly Sample[], name: string): number =>
  samples.filter((sample) => sample.name === name).reduce((sum, sample) => sum + sample.value, 0);

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

/** Finished exchanges of a route as `code flag` → count. */
function requestsOf(samples: readonly Sample[], route: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { name, labels, value } of samples)
    if (name === "selvedge_requests_total" && labels.route === route) {
      // Of several services: who leaves before its request starts has none.
      const key = `${labels.code} ${labels.flag}`;
      found[key] = (found[key] ?? 0) + value;
    }
  return found;
}

async function soakFor(soak: Soak): Promise<number[]> {
  const megabytes: number[] = [];
  for (let i = 1; i <= SAMPLES && soak.failures.length === 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, (SECONDS * 1_000) / SAMPLES));
    megabytes.push(await workerMegabytes());
    if (i % 10 > 0) continue;
    const { answered, tunnels, echoes, aborted } = soak.counts;
    const counts = `${answered} answers, ${tunnels} tunnels, ${echoes} echoes, ${aborted} aborted`;
    process.stderr.write(`· ${counts}, workers ${megabytes.at(-1)?.toFixed(0)} MB\n`);
  }
  return megabytes;
}

beforeAll(async () => {
  upstream = await startSoakUpstream();
  mesh = await startMesh(WORKERS);
}, TEST_MS);

afterAll(async () => {
  await mesh?.stop();
  await upstream?.stop();
}, TEST_MS);

describe("soak", () => {
  test(
    `${SECONDS} s of everything at once: no request fails, memory is flat, nothing is left open, metrics add up`,
    async () => {
      await mesh.applied(await mesh.apply(resources()));
      const soak = startSoak(mesh.httpPort);
      const megabytes = await soakFor(soak);
      await soak.stop();
      assert.deepEqual(soak.failures, []);
      for (const kind of ["keep-alive", "bodies", "chunked", "websocket", "aborted", "slow talker", "slow reader", "pipeline"])
        assert.ok((soak.rounds.get(kind) ?? 0) > 0, `${kind} never went round`);

      // Idle connections to the upstream are kept for a while; none may stay for ever.
      await until(() => upstream.open === 0, 2 * WAIT_MS);
      await until(async () => total(await scrape(), "selvedge_requests_in_flight") === 0);
      const samples = await scrape();
      assert.equal(total(samples, "selvedge_connections"), 0, "downstream connections are open");
      assert.equal(total(samples, "selvedge_upstream_connections"), 0, "upstream connections are counted as open");
      assert.equal(total(samples, "selvedge_upstream_pending_requests"), 0);
      assert.equal(total(samples, "selvedge_filter_faults_total"), 0);

      const { answered, tunnels, aborted } = soak.counts;
      assert.deepEqual(requestsOf(samples, "default/main"), { "200 -": answered, "101 -": tunnels });
      assert.equal(upstream.requests, answered + tunnels, "the upstream got each of them once");
      // Who leaves may be gone before the head was read: then there was no exchange.
      const given = Object.values(requestsOf(samples, "default/aborted")).reduce((sum, count) => sum + count, 0);
      assert.ok(given > 0 && given <= aborted, `${given} of ${aborted} aborted requests are counted`);
      assert.equal(total(samples, "selvedge_requests_total"), answered + tunnels + given, "nothing else is counted");

      const third = Math.floor(megabytes.length / 3);
      const second = mean(megabytes.slice(third, 2 * third));
      const last = mean(megabytes.slice(2 * third));
      assert.ok(
        last <= second * GROWTH_MAX + 8,
        `workers grew from ${second.toFixed(0)} to ${last.toFixed(0)} MB: ${megabytes.map((each) => each.toFixed(0)).join(" ")}`,
      );
    },
    SECONDS * 1_000 + 2 * TEST_MS,
  );
});
