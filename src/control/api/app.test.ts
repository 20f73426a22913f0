import { describe, expect, test } from "bun:test";
import { builtinModules } from "../../config/modules.ts";
import { Budget } from "../../core/budgets.ts";
import { type Clock, SystemClock, VirtualClock } from "../../core/clock.ts";
import { FilterLogs } from "../../core/filter-logs.ts";
import { CONFIG_LIMITS, CONTROL_LIMITS } from "../../core/limits.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { SeededRng } from "../../core/rng.ts";
import { createControlPlane } from "../create.ts";
import { createControlApi } from "./app.ts";
import { answersOf, openApiDocument } from "./openapi.ts";
import { API_ROUTES, type RouteId } from "./routes.ts";
import { SCHEMAS } from "./schemas.ts";

const service = (name: string, port = 9000) =>
  JSON.stringify({
    apiVersion: "selvedge.dev/v1",
    kind: "Service",
    metadata: { name },
    spec: { endpoints: [`127.0.0.1:${port}`] },
  });
const ONE = "/api/v1/resources/Service/default";

async function startApi(
  guard: () => { status: number; message: string } | undefined = () => undefined,
  held?: Budget,
  clock?: Clock,
) {
  const plane = createControlPlane({
    backend: { kind: "memory" },
    ...{ modules: builtinModules(new Map()), version: "1.2.3", clock: new SystemClock(), rng: new SeededRng(1), log: SILENT_LOG },
  });
  await plane.start();
  const app = createControlApi({
    plane,
    guard,
    version: "1.2.3",
    log: SILENT_LOG,
    metrics: async () => "up 1\n",
    ...(held ? { held } : {}),
    ...(clock ? { clock } : {}),
  });
  const call = async (method: string, path: string, body?: string | Uint8Array, headers: Record<string, string> = {}) => {
    const init = {
      method,
      headers: { host: "127.0.0.1:8088", ...headers },
      ...(body === undefined ? {} : { body: Buffer.from(body) }),
    };
    const response = await app.request(`http://127.0.0.1:8088${path}`, init);
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") === true;
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
  };
  return { plane, app, call };
}

test("lines of a filter: a page of one proxy, and why there is none", async () => {
  const { call, plane } = await startApi();
  const logs = new FilterLogs(new SystemClock());
  const source = plane.bus?.source("edge-1", undefined, logs);
  await source?.start(() => {});
  source?.report({ kind: "applied", revision: 1, digest: "", applyMs: 1 });
  logs.add("default/x", 1, "debug", undefined, 0);
  logs.add("default/x", 3, "said", "id-1", 0);
  const path = "/api/v1/filters/default/x/logs";
  const page = await call("GET", `${path}?proxy=edge-1&level=info&tail=5`);
  expect([page.status, page.json.lines.map((line: { message: string }) => line.message)]).toEqual([200, ["said"]]);
  expect((await call("GET", `${path}?proxy=edge-1&after=${page.json.cursor}`)).json.lines).toEqual([]);
  expect((await call("GET", `${path}?proxy=nobody`)).status).toBe(404);
  expect((await call("GET", `${path}?proxy=edge-1&level=loud`)).status).toBe(400);
  await source?.stop();
  expect((await call("GET", `${path}?proxy=edge-1`)).status).toBe(503);
});

describe("resources", () => {
  test("PUT creates and replaces, GET reads with an ETag, DELETE deletes", async () => {
    const { call } = await startApi();
    const created = await call("PUT", `${ONE}/shop`, service("shop"));
    expect(created.status).toBe(201);
    expect(created.json).toMatchObject({ ok: true, revision: 1, changes: [{ key: "Service/default/shop", kind: "created" }] });
    const read = await call("GET", `${ONE}/shop`);
    expect(read.headers.get("etag")).toBe('"1"');
    expect(read.json.written.spec.endpoints).toEqual(["127.0.0.1:9000"]);
    expect((await call("PUT", `${ONE}/shop`, service("shop", 9001))).status).toBe(200);
    expect((await call("GET", "/api/v1/resources?kind=Service")).json.resources).toHaveLength(1);
    expect((await call("GET", "/api/v1/resources?kind=Route")).json.resources).toHaveLength(0);
    expect((await call("DELETE", `${ONE}/shop`)).status).toBe(200);
    expect((await call("GET", `${ONE}/shop`)).status).toBe(404);
    expect((await call("DELETE", `${ONE}/shop`)).status).toBe(404);
  });

  test("If-Match and If-None-Match", async () => {
    const { call } = await startApi();
    const put = (port: number, headers: Record<string, string>) => call("PUT", `${ONE}/shop`, service("shop", port), headers);
    expect((await put(1, { "if-match": '"1"' })).status).toBe(412);
    expect((await put(1, { "if-match": "*" })).status).toBe(412);
    expect((await put(1, { "if-none-match": "*" })).status).toBe(201);
    expect((await put(2, { "if-none-match": "*" })).status).toBe(412);
    expect((await put(2, { "if-match": '"1"' })).status).toBe(200);
    expect((await put(3, { "if-match": '"1"' })).json).toMatchObject({ ok: false, reason: "conflict", status: 412 });
    expect((await put(3, { "if-match": "*" })).status).toBe(200);
    for (const bad of ['W/"3"', '"0"', "3", '"a"', '"1", "3"']) expect((await put(4, { "if-match": bad })).status).toBe(400);
    expect((await put(4, { "if-none-match": '"3"' })).status).toBe(400);
    expect((await put(4, { "if-match": "*", "if-none-match": "*" })).status).toBe(400);
    expect((await call("DELETE", `${ONE}/shop`, undefined, { "if-match": '"1"' })).status).toBe(412);
    expect((await call("DELETE", `${ONE}/shop`, undefined, { "if-match": '"3"' })).status).toBe(200);
  });

  test("the body of a PUT must be the resource of the path", async () => {
    const { call } = await startApi();
    expect((await call("PUT", `${ONE}/other`, service("shop"))).status).toBe(400);
    expect((await call("PUT", `${ONE}/shop`, `${service("shop")}\n---\n${service("cart")}`)).status).toBe(400);
    expect((await call("PUT", `${ONE}/shop`, "{")).status).toBe(422);
  });
});

describe("applies", () => {
  test("all issues at once, as a problem with places", async () => {
    const { call } = await startApi();
    const { status, json, headers } = await call("POST", "/api/v1/apply", `${service("a", 99999)}\n---\n${service("b", 99998)}`);
    expect(status).toBe(422);
    expect(headers.get("content-type")).toBe("application/problem+json");
    expect(json).toMatchObject({ ok: false, reason: "invalid", title: "Unprocessable Content" });
    expect(json.issues.map((issue: { line: number; file: string }) => [issue.file, issue.line])).toEqual([
      ["<api>", 1],
      ["<api>", 3],
    ]);
  });

  test("a dry run says what would change and changes nothing", async () => {
    const { call } = await startApi();
    const dry = await call("POST", "/api/v1/apply?dryRun=true", service("shop"));
    expect(dry.json).toMatchObject({ ok: true, revision: 0, changes: [{ kind: "created" }] });
    expect(dry.json.diff[0].after.metadata.name).toBe("shop");
    expect((await call("GET", "/api/v1/status")).json.revision).toBe(0);
  });

  test("history, rollback, backup, restore, delete, wait", async () => {
    const { call } = await startApi();
    await call("POST", "/api/v1/apply", service("shop"), { "x-selvedge-author": "ann\u00e4" });
    await call("POST", "/api/v1/apply", service("cart"));
    const history = (await call("GET", "/api/v1/history")).json.entries;
    expect(history.map((entry: { author: string }) => entry.author)).toEqual(["api", "ann"]);
    const diff = await call("GET", "/api/v1/diff?from=1&to=2");
    expect(diff.json).toMatchObject({ from: 1, to: 2, changes: [{ key: "Service/default/cart", after: { kind: "Service" } }] });
    expect((await call("GET", "/api/v1/diff?from=1")).json).toEqual(diff.json);
    expect((await call("GET", "/api/v1/diff?from=3")).json.issues[0].code).toBe("unknown_revision");
    for (const bad of ["", "?from=0", "?from=x", "?from=1&to=-1", "?from=1.5"])
      expect((await call("GET", `/api/v1/diff${bad}`)).status).toBe(400);
    const backup = await call("GET", "/api/v1/backup");
    expect((await call("POST", "/api/v1/rollback", '{"revision":1}')).json).toMatchObject({ ok: true, revision: 3 });
    expect((await call("POST", "/api/v1/rollback", '{"revision":99}')).status).toBe(404);
    for (const bad of ["", "{}", '{"revision":"1"}', '{"revision":0}', "[]"])
      expect((await call("POST", "/api/v1/rollback", bad)).status).toBe(400);
    expect((await call("POST", "/api/v1/restore", backup.text)).json).toMatchObject({ ok: true, revision: 4 });
    expect((await call("POST", "/api/v1/restore", "{}")).json.issues[0].code).toBe("bad_backup");
    expect((await call("POST", "/api/v1/restore", "nope")).status).toBe(400);
    expect((await call("POST", "/api/v1/delete", "Service/shop\nService/cart")).json.changes).toHaveLength(2);
    expect((await call("POST", "/api/v1/delete", "Service/shop")).status).toBe(404);
    expect((await call("GET", "/api/v1/wait?timeoutMs=1")).json).toEqual({ ok: true, pending: [], rejected: [] });
    expect((await call("GET", "/api/v1/wait?minimum=1&timeoutMs=1")).json.ok).toBe(false);
    expect((await call("GET", "/api/v1/wait?timeoutMs=600001")).status).toBe(400);
  });

  test("modules are kept by digest, and only WebAssembly", async () => {
    const { call } = await startApi();
    const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    expect((await call("POST", "/api/v1/modules", empty)).json.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect((await call("POST", "/api/v1/modules", "not wasm")).status).toBe(422);
  });

  test("bodies are bounded, with and without Content-Length, and must be UTF-8", async () => {
    const { app, call } = await startApi();
    const edge = new Uint8Array(CONFIG_LIMITS.documentBytes).fill(0x20);
    expect((await call("POST", "/api/v1/apply", edge)).status).not.toBe(413);
    expect((await call("POST", "/api/v1/apply", new Uint8Array(CONFIG_LIMITS.documentBytes + 1))).status).toBe(413);
    const endless = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(1024 * 1024)) });
    const response = await app.request("http://127.0.0.1/api/v1/apply", { method: "POST", body: endless });
    expect(response.status).toBe(413);
    expect((await call("POST", "/api/v1/apply", new Uint8Array([0xff, 0xfe, 0x41]))).status).toBe(422);
  });
});

describe("access", () => {
  test("a body that does not come to its end in time is given up, and what it held is there for others", async () => {
    const clock = new VirtualClock();
    const held = new Budget(1_000);
    const { app } = await startApi(undefined, held, clock);
    let cancelled = false;
    const slow = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array(900)),
      cancel: () => {
        cancelled = true;
      },
    });
    const init = { method: "PUT", headers: { host: "127.0.0.1:8088" }, body: slow, duplex: "half" } as RequestInit;
    const answer = app.request(`http://127.0.0.1:8088${ONE}/a`, init);
    while (held.held < 900) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(CONTROL_LIMITS.bodyMs);
    expect([(await answer).status, held.held, cancelled]).toEqual([408, 0, true]);
  });

  test("bodies of all requests together are bounded: one byte more is told to come again, and may when the others are done", async () => {
    const body = Buffer.from(service("a"));
    const held = new Budget(2 * body.byteLength);
    const { call, app } = await startApi(undefined, held);
    let more: ReadableStreamDefaultController<Uint8Array> | undefined;
    const slow = new ReadableStream<Uint8Array>({
      start(controller) {
        more = controller;
        controller.enqueue(new Uint8Array(body.subarray(0, 10)));
      },
    });
    const init = { method: "PUT", headers: { host: "127.0.0.1:8088" }, body: slow, duplex: "half" } as RequestInit;
    const first = app.request(`http://127.0.0.1:8088${ONE}/a`, init);
    while (held.held < 10) await new Promise((resolve) => setImmediate(resolve));
    const fits = service("b").padEnd(2 * body.byteLength - 10);
    for (const [method, path] of [
      ["PUT", `${ONE}/b`],
      ["POST", "/api/v1/apply"],
      ["POST", "/api/v1/modules"],
      ["POST", "/api/v1/restore"],
    ] as const) {
      const busy = await call(method, path, `${fits} `);
      expect([busy.status, busy.json.reason, busy.headers.get("retry-after")]).toEqual([503, "busy", "5"]);
    }
    expect((await call("PUT", `${ONE}/b`, fits)).status).toBe(201);
    more?.enqueue(new Uint8Array(body.subarray(10)));
    more?.close();
    expect((await first).status).toBe(201);
    expect((await call("PUT", `${ONE}/b`, `${fits} `)).status).toBe(200);
  });

  test("the guard stands before everything but the health checks, unknown paths included", async () => {
    const { call } = await startApi(() => ({ status: 401, message: "no" }));
    for (const route of API_ROUTES) {
      const { status, headers } = await call(route.method.toUpperCase(), route.path);
      expect([route.path, status]).toEqual([route.path, route.open ? 200 : 401]);
      if (!route.open) expect(headers.get("www-authenticate")).toBe("Bearer");
    }
    expect((await call("GET", "/nothing")).status).toBe(401);
    for (const path of ["/healthz/../api/v1/status", "//healthz", "/healthz/"])
      expect((await call("GET", path)).status).toBe(401);
  });

  test("unknown paths and methods", async () => {
    const { call } = await startApi();
    expect((await call("GET", "/nothing")).status).toBe(404);
    expect((await call("POST", "/api/v1/status")).status).toBe(405);
  });
});

describe("OpenAPI", () => {
  test("every served route is in the document and every documented one is served", async () => {
    const { app, call } = await startApi();
    const { paths } = (await call("GET", "/openapi.json")).json as { paths: Record<string, Record<string, unknown>> };
    const documented = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    const served = app.routes
      .filter((route) => route.method !== "ALL")
      .map((route) => `${route.method.toLowerCase()} ${route.path.replace(/:(\w+)/g, "{$1}")}`);
    expect(documented.sort()).toEqual([...new Set(served)].sort());
  });

  test("answers are what the document says: status, content type and schema", async () => {
    const { call } = await startApi();
    await call("POST", "/api/v1/apply", service("shop"));
    await call("POST", "/api/v1/apply", service("cart"));
    const backup = (await call("GET", "/api/v1/backup")).text;
    const bodies: Partial<Record<RouteId, string>> = {
      ...{
        write: service("shop", 1),
        apply: service("shop", 2),
        deleteMany: "Service/cart",
        rollback: '{"revision":1}',
        restore: backup,
      },
      putModule: "x",
    };
    for (const route of API_ROUTES) {
      const path = route.path.replace("{kind}", "Service").replace("{namespace}", "default").replace("{name}", "shop");
      const query = { wait: "?timeoutMs=1", difference: "?from=1" }[route.id as string] ?? "";
      const { status, json, headers } = await call(route.method.toUpperCase(), path + query, bodies[route.id]);
      const answer = answersOf(route)[status];
      expect([route.id, status, answer === undefined]).toEqual([route.id, status, false]);
      if (typeof answer === "string") expect(headers.get("content-type")).toStartWith(answer);
      else expect([route.id, mismatch(json, answer as Schema)]).toEqual([route.id, undefined]);
    }
  });

  test("every reference leads somewhere", () => {
    const text = JSON.stringify(openApiDocument("1"));
    for (const [, name] of text.matchAll(/#\/components\/schemas\/(\w+)/g))
      expect(Object.keys(SCHEMAS)).toContain(name as string);
  });
});

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
}

/** The part of JSON Schema that the document uses; also refuses fields that the schema does not know. */
function mismatch(value: unknown, schema: Schema, at = "$"): string | undefined {
  if (schema.$ref !== undefined) return mismatch(value, SCHEMAS[schema.$ref.split("/").at(-1) ?? ""] as Schema, at);
  if ("const" in schema) return value === schema.const ? undefined : `${at} is not ${String(schema.const)}`;
  if (schema.enum !== undefined) return schema.enum.includes(value) ? undefined : `${at} is not in the list`;
  if (schema.type === "array") {
    if (!Array.isArray(value)) return `${at} is not a list`;
    return value.map((each, i) => mismatch(each, schema.items ?? {}, `${at}[${i}]`)).find((each) => each !== undefined);
  }
  if (schema.type === "object" && schema.properties !== undefined) {
    if (typeof value !== "object" || value === null) return `${at} is not an object`;
    const missing = (schema.required ?? []).find((name) => !(name in value));
    if (missing !== undefined) return `${at}.${missing} is missing`;
    for (const [name, each] of Object.entries(value)) {
      const known = schema.properties[name];
      const wrong = known === undefined ? `${at}.${name} is not documented` : mismatch(each, known, `${at}.${name}`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }
  const actual = Array.isArray(value) ? "array" : value === null ? "null" : typeof value;
  const fits = schema.type === undefined || schema.type === actual || (schema.type === "integer" && Number.isInteger(value));
  return fits ? undefined : `${at} is a ${actual}, not a ${schema.type}`;
}
