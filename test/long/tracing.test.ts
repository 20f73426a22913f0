/**
 * Spans in real stores: Zipkin, and the OpenTelemetry collector. Two gateways, one behind the other, in front of a service: each
 * store has both spans in one trace, in order, with filters and failures, and finds them by what the documentation says to ask.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { otlpSpans, type SeenSpan } from "../kit/collector.ts";
import { CLOSE } from "../kit/end-to-end.ts";
import { TEST_MS } from "../kit/patience.ts";
import { okText, sayRaw, startUpstream } from "../kit/raw.ts";
import { freePort, newFolder, type RunningProgram, startProgram, startSelvedge, until } from "../kit/selvedge.ts";

setDefaultTimeout(TEST_MS);

const TRACE = "4bf92f3577b34da6a3ce929d0e0e47";
const CALLER = "00f067aa0ba902b7";
const SERVER = 2;
const MARK = `---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: mark }
spec: { module: { builtin: transform }, settings: { request: { headers: [{ op: set, name: x-edge, value: "1" }] } } }
`;

const folder = newFolder();
const at = (name: string): string => join(folder.path, name);
const programs: RunningProgram[] = [];
const seen: string[] = [];
let upstream: Awaited<ReturnType<typeof startUpstream>>;

beforeAll(async () => {
  upstream = await startUpstream(({ head }) => {
    seen.push(/\r\ntraceparent: (.*)\r\n/.exec(head)?.[1] ?? "");
    return okText("hello");
  });
});
afterAll(async () => {
  for (const { child } of programs) child.kill("SIGKILL");
  for (const { finished } of programs) await finished;
  await upstream.stop();
  folder.remove();
});

const start = (program: RunningProgram): RunningProgram => {
  programs.push(program);
  return program;
};

/** A gateway that sends its spans there. Answers its port. */
async function gateway(name: string, target: number, exportTo: string, filters = ""): Promise<number> {
  const port = await freePort();
  writeFileSync(
    at(`${name}.yaml`),
    `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: main }
spec: { listeners: [{ port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec:
  rules:
    - { matches: [{ path: { prefix: /gone } }], backends: [gone] }
    - { backends: [next]${filters === "" ? "" : `, filters: [${filters}]`} }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: next }
spec: { endpoints: ["127.0.0.1:${target}"] }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: gone }
spec: { endpoints: ["127.0.0.1:${await freePort()}"] }
---
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: { name: mesh }
spec: { tracing: { export: ${exportTo} }, accessLog: { enabled: false, slowFilter: 0s } }
${filters === "" ? "" : MARK}`,
  );
  const args = [
    "proxy",
    "-f",
    at(`${name}.yaml`),
    "--workers",
    "1",
    "--admin",
    `127.0.0.1:${await freePort()}`,
    "--id",
    `${name}-1`,
  ];
  await start(startSelvedge(args)).saw("selvedge proxy");
  return port;
}

/** Edge before inner before the service. Asks for a page and for what is gone, in two traces that end like this. Answers edge's port. */
async function askThrough(exportOf: (serviceName: string) => string, digits: readonly [string, string]): Promise<number> {
  const [ok, gone] = digits;
  const inner = await gateway(`inner${ok}`, upstream.port, exportOf("inner"));
  const edge = await gateway(`edge${ok}`, inner, exportOf("edge"), "mark");
  const ask = (path: string, digit: string): Promise<string> =>
    sayRaw(edge, `GET ${path} HTTP/1.1\r\nhost: shop.example\r\ntraceparent: 00-${TRACE}${digit}-${CALLER}-01\r\n${CLOSE}\r\n`);
  expect(await ask("/page?key=1", ok)).toStartWith("HTTP/1.1 200");
  expect(await ask("/gone", gone)).toStartWith("HTTP/1.1 503");
  return edge;
}

interface ZipkinSpan {
  readonly id: string;
  readonly parentId?: string;
  readonly kind: string;
  readonly name: string;
  readonly timestamp: number;
  readonly duration: number;
  readonly localEndpoint: { readonly serviceName: string };
  readonly remoteEndpoint: { readonly ipv4: string; readonly port: number };
  readonly annotations?: readonly { readonly value: string }[];
  readonly tags: Readonly<Record<string, string>>;
}

describe("Zipkin", () => {
  let url = "";

  beforeAll(async () => {
    const jar = process.env.SELVEDGE_ZIPKIN ?? "";
    expect(existsSync(jar)).toBe(true);
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    const env = { ...process.env, QUERY_PORT: String(port), STORAGE_TYPE: "mem", SELF_TRACING_ENABLED: "false" };
    start(startProgram("java", ["-Xmx256m", "-jar", jar], { env, cwd: folder.path }));
    await until(async () => (await fetch(`${url}/health`)).ok);
  });

  /** What it answers, once it has it. */
  async function query<T>(path: string, isThere: (value: T) => boolean): Promise<T> {
    let value: T | undefined;
    await until(async () => {
      const response = await fetch(`${url}/api/v2/${path}`);
      value = response.ok ? ((await response.json()) as T) : undefined;
      return value !== undefined && isThere(value);
    });
    return value as T;
  }

  test("one trace over two gateways; failures, slow filters and the graph of services are found", async () => {
    const startUs = Date.now() * 1000;
    await askThrough((name) => `{ protocol: zipkin, url: "${url}", serviceName: ${name} }`, ["01", "02"]);
    const spans = await query<ZipkinSpan[]>(`trace/${TRACE}01`, (list) => list.length === 2);
    const edge = spans.find(({ localEndpoint }) => localEndpoint.serviceName === "edge") as ZipkinSpan;
    const inner = spans.find(({ localEndpoint }) => localEndpoint.serviceName === "inner") as ZipkinSpan;
    expect(edge).toMatchObject({ parentId: CALLER, kind: "SERVER", remoteEndpoint: { ipv4: "127.0.0.1" } });
    expect([inner.parentId, inner.kind]).toEqual([edge.id, "SERVER"]);
    expect(seen.at(-1)).toBe(`00-${TRACE}01-${inner.id}-01`);
    expect(edge.tags).toMatchObject({
      ...{ "http.request.method": "GET", "http.response.status_code": "200", "url.path": "/page" },
      ...{ "selvedge.route": "default/all", "selvedge.service": "default/next", "service.instance.id": "edge01-1" },
    });
    expect(edge.annotations?.map(({ value }) => value.replace(/=\d+/g, "=N"))).toEqual([
      "filter default/mark continue us=N fuel=N slow",
    ]);
    for (const { timestamp, duration } of spans) {
      expect(timestamp).toBeGreaterThanOrEqual(startUs);
      expect(timestamp + duration).toBeLessThanOrEqual((Date.now() + 1) * 1000);
    }

    const [failed] = await query<ZipkinSpan[][]>("traces?serviceName=edge&annotationQuery=error", (list) => list.length === 1);
    expect(failed?.[0]?.tags).toMatchObject({
      "url.path": "/gone",
      "error.type": "connect_failed",
      "selvedge.service": "default/gone",
    });
    const slow = await query<ZipkinSpan[][]>(
      "traces?annotationQuery=selvedge.filters.slow=default/mark",
      (list) => list.length > 0,
    );
    expect(slow.map((trace) => trace[0]?.tags["url.path"])).toEqual(["/page"]);
    const links = await query<object[]>(`dependencies?endTs=${Date.now() + 60_000}`, (list) => list.length > 0);
    expect(links).toContainEqual({ parent: "edge", child: "inner", callCount: 1 });
  });

  test("a store that is away costs no request, and what waits is sent when it is back", async () => {
    const port = await freePort();
    const edge = await gateway("late", upstream.port, `{ protocol: zipkin, url: "http://127.0.0.1:${port}", serviceName: late }`);
    const heard = await sayRaw(edge, `GET / HTTP/1.1\r\nhost: a\r\ntraceparent: 00-${TRACE}03-${CALLER}-01\r\n${CLOSE}\r\n`);
    expect(heard).toStartWith("HTTP/1.1 200");
    const relay = Bun.serve({
      ...{ port, hostname: "127.0.0.1" },
      fetch: async (request) =>
        new Response(
          null,
          await fetch(`${url}/api/v2/spans`, { method: "POST", headers: request.headers, body: await request.arrayBuffer() }),
        ),
    });
    const spans = await query<ZipkinSpan[]>(`trace/${TRACE}03`, (list) => list.length === 1);
    await relay.stop(true);
    expect(spans[0]?.localEndpoint.serviceName).toBe("late");
  });
});

test("the OpenTelemetry collector takes both spans, whole", async () => {
  const program = process.env.SELVEDGE_OTEL_COLLECTOR ?? "";
  expect(existsSync(program)).toBe(true);
  const port = await freePort();
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
    exporters: { file: { path: at("spans.jsonl") } },
    service: { telemetry: { metrics: { level: "none" } }, pipelines: { traces: { receivers: ["otlp"], exporters: ["file"] } } },
  };
  writeFileSync(at("collector.json"), JSON.stringify(config));
  await start(startProgram(program, ["--config", `file:${at("collector.json")}`])).saw("Everything is ready");
  await askThrough((name) => `{ url: "http://127.0.0.1:${port}", serviceName: ${name} }`, ["04", "05"]);
  let spans: SeenSpan[] = [];
  await until(() => {
    const lines = existsSync(at("spans.jsonl")) ? readFileSync(at("spans.jsonl"), "utf8").split("\n").slice(0, -1) : [];
    spans = otlpSpans(lines.map((line) => JSON.parse(line)));
    return spans.length === 3;
  });
  const of = (service: string, digit: string): SeenSpan | undefined =>
    spans.find(({ traceId, resource }) => traceId === `${TRACE}${digit}` && resource["service.name"] === service);
  const [edge, inner, gone] = [of("edge", "04"), of("inner", "04"), of("edge", "05")];
  expect([edge?.parentSpanId, edge?.kind, inner?.parentSpanId]).toEqual([CALLER, SERVER, edge?.spanId]);
  expect(seen.at(-1)).toBe(`00-${TRACE}04-${inner?.spanId}-01`);
  expect(edge?.values).toMatchObject({ "http.request.method": "GET", "http.response.status_code": "200", "url.path": "/page" });
  expect(edge?.events.map(({ name, values }) => [name, values.name, values.verdict, values.slow])).toEqual([
    ["selvedge.filter", "default/mark", "continue", true],
  ]);
  expect(BigInt(edge?.endTimeUnixNano ?? 0)).toBeGreaterThan(BigInt(edge?.startTimeUnixNano ?? 0));
  expect([gone?.status?.code, gone?.values["error.type"]]).toEqual([2, "connect_failed"]);
});
