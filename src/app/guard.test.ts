import { describe, expect, test } from "bun:test";
import { parseExposition } from "../../test/kit/exposition.ts";
import { snapshotOf } from "../../test/kit/snapshot.ts";
import type { ListenerTlsConfig } from "../config/snapshot.ts";
import { VirtualClock } from "../core/clock.ts";
import type { FilterLogQuery } from "../core/filter-logs.ts";
import { MetricsAggregator } from "../proxy/observe/aggregator.ts";
import { createAdmin } from "./admin.ts";
import { assertGuarded, checkAccess, isLoopback } from "./guard.ts";
import type { ProxyHost } from "./host.ts";

const loopback = { host: "127.0.0.1", token: undefined };
const statusOf = (headers: Record<string, string>, options = loopback as Parameters<typeof checkAccess>[1]) =>
  checkAccess(new Headers(headers), options)?.status;

describe("guard of local HTTP interfaces (class 44)", () => {
  test("what is loopback", () => {
    for (const host of ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "::1", "[::1]"]) expect(isLoopback(host)).toBe(true);
    for (const host of ["0.0.0.0", "10.0.0.1", "::", "127.0.0.1.evil.example", "localhost.evil.example", ""])
      expect(isLoopback(host)).toBe(false);
  });

  test("an address that others reach needs a token", () => {
    expect(() => assertGuarded({ host: "0.0.0.0", token: undefined }, "--token")).toThrow("--token");
    expect(() => assertGuarded({ host: "0.0.0.0", token: "" }, "--token")).toThrow();
    assertGuarded({ host: "0.0.0.0", token: "secret" }, "--token");
    assertGuarded(loopback, "--token");
  });

  test("DNS rebinding: the Host must be a loopback name", () => {
    for (const host of ["127.0.0.1:8081", "localhost:8081", "localhost", "[::1]:8081"])
      expect(statusOf({ host })).toBeUndefined();
    for (const host of ["evil.example", "evil.example:8081", "", "127.0.0.1.evil.example", "localhost@evil.example"])
      expect(statusOf({ host })).toBe(421);
  });

  test("CSRF: other origins and sites are refused, our own and no origin are not", () => {
    const host = "127.0.0.1:8081";
    expect(statusOf({ host, origin: "http://127.0.0.1:8081" })).toBeUndefined();
    for (const origin of ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8081"])
      expect(statusOf({ host, origin })).toBe(403);
    expect(statusOf({ host, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(statusOf({ host, "sec-fetch-site": "same-site" })).toBe(403);
    expect(statusOf({ host, "sec-fetch-site": "same-origin" })).toBeUndefined();
    expect(statusOf({ host, "sec-fetch-site": "none" })).toBeUndefined();
  });

  test("a token is compared whole, also on loopback when one is set", () => {
    const options = { host: "127.0.0.1", token: "s3cret" };
    const ask = (authorization?: string) =>
      statusOf({ host: "gateway.example", ...(authorization === undefined ? {} : { authorization }) }, options);
    expect(ask("Bearer s3cret")).toBeUndefined();
    expect(ask("bearer s3cret")).toBeUndefined();
    for (const wrong of [undefined, "", "Bearer", "Bearer ", "s3cret", "Bearer s3cre", "Bearer s3crets", "Basic s3cret"])
      expect(ask(wrong)).toBe(401);
  });
});

describe("admin", () => {
  const aggregator = new MetricsAggregator(new VirtualClock());
  aggregator.count("requests", ["r", "s", "200", "-"], 3);
  const state = { ready: false, serving: false, controlled: [] as string[], asked: [] as FilterLogQuery[] };
  const host: ProxyHost = {
    start: async () => {},
    get ready() {
      return state.ready;
    },
    get notReadyReason() {
      return state.ready ? "" : "draining";
    },
    status: async () => ({
      ...{ id: "a", version: "0", mode: "sidecar", ready: state.ready, reason: "", uptimeMs: 0, revision: 1, appliedRevision: 1 },
      ...{ digest: "", issues: [], inFlight: 0, source: "connected", workers: [] },
    }),
    metrics: async () => aggregator.families(),
    controlFilter: (filter, action) => {
      state.controlled.push(`${filter} ${action}`);
      return filter === "default/x" ? 2 : undefined;
    },
    filterLogs: async (query) => {
      state.asked.push(query);
      return query.filter === "default/x" ? { cursor: "1.1.1", lines: [], more: false, lost: 0 } : undefined;
    },
    events: async () => [
      { kind: "filter_broke", subject: "default/x", reason: "trap", worker: 1, count: 3, firstMs: 0, lastMs: 86_400_000 },
    ],
    snapshot: () => {
      if (!state.serving) return undefined;
      const snapshot = snapshotOf();
      const keyPem = "-----BEGIN PRIVATE KEY-----\nSECRETKEY\n-----END PRIVATE KEY-----\n";
      const tls: ListenerTlsConfig = {
        certificates: [{ hosts: ["*"], certificatePem: "CERT", keyPem }],
        clientAuth: "none",
        clientCaPem: undefined,
        minVersion: "TLSv1.2",
      };
      return { ...snapshot, listeners: snapshot.listeners.map((listener) => ({ ...listener, tls })) };
    },
    reopenLogs() {},
    drain: async () => {},
    stop: async () => {},
  };
  const handle = createAdmin(host, loopback);
  const get = (path: string, headers: Record<string, string> = { host: "127.0.0.1:8081" }, method = "GET") =>
    handle(new Request(`http://127.0.0.1:8081${path}`, { headers, method }));

  test("probes answer anybody; readiness follows the proxy", async () => {
    const anybody = { host: "10.0.0.7:8081" };
    expect((await get("/healthz", anybody)).status).toBe(200);
    const unready = await get("/readyz", anybody);
    expect([unready.status, await unready.text()]).toEqual([503, "not ready: draining\n"]);
    state.ready = true;
    expect((await get("/readyz", anybody)).status).toBe(200);
  });

  test("everything else asks the guard, also paths that do not exist and odd spellings", async () => {
    for (const path of [
      "/",
      "/metrics",
      "/status",
      "/config_dump",
      "/events",
      "/nothing",
      "/healthz/",
      "//healthz",
      "/Healthz",
    ]) {
      expect((await get(path, { host: "evil.example" })).status).toBe(421);
    }
  });

  test("metrics are valid, status is JSON, unknown paths and methods are 404", async () => {
    const metrics = await get("/metrics");
    expect(metrics.headers.get("content-type")).toContain("text/plain; version=0.0.4");
    expect(parseExposition(await metrics.text()).get("selvedge_requests_total")?.samples[0]?.value).toBe(3);
    expect(await (await get("/status")).json()).toMatchObject({ id: "a", appliedRevision: 1 });
    const { events } = (await (await get("/events")).json()) as { events: unknown[] };
    expect(events).toEqual([
      {
        ...{ time: "1970-01-02T00:00:00.000Z", kind: "filter_broke", subject: "default/x", reason: "trap", worker: 1, count: 3 },
        since: "1970-01-01T00:00:00.000Z",
      },
    ]);
    expect((await get("/nothing")).status).toBe(404);
    expect((await get("/status", { host: "127.0.0.1" }, "POST")).status).toBe(404);
  });

  test("filters are controlled by POST of whoever may, and by nothing else", async () => {
    for (const action of ["disable", "enable", "release"]) {
      const path = `/filters/default/x/${action}`;
      const done = await get(path, { host: "127.0.0.1" }, "POST");
      expect([done.status, await done.json()]).toEqual([200, { filter: "default/x", action, workers: 2 }]);
      expect((await get(path)).status).toBe(405);
      expect((await get(path, { host: "evil.example" }, "POST")).status).toBe(421);
      expect((await get(path, { host: "127.0.0.1:8081", origin: "http://evil.example" }, "POST")).status).toBe(403);
    }
    expect((await get("/filters/default/y/disable", { host: "127.0.0.1" }, "POST")).status).toBe(404);
    expect((await get("/filters/default/x/explode", { host: "127.0.0.1" }, "POST")).status).toBe(404);
    expect(state.controlled.slice(0, 3)).toEqual(["default/x disable", "default/x enable", "default/x release"]);
    expect(state.controlled).toHaveLength(4);
  });

  test("lines of a filter go to whoever may, and what is no question is refused", async () => {
    const logs = await get("/filters/default/x/logs?after=1.1.0&level=warn&sinceMs=5&tail=0");
    expect([logs.status, await logs.json()]).toEqual([200, { cursor: "1.1.1", lines: [], more: false, lost: 0 }]);
    expect(state.asked).toEqual([{ filter: "default/x", after: "1.1.0", level: "warn", sinceMs: 5, tail: 0 }]);
    expect((await get("/filters/default/y/logs")).status).toBe(404);
    for (const bad of ["level=loud", "tail=-1", "tail=x", "sinceMs=1.5"])
      expect((await get(`/filters/default/x/logs?${bad}`)).status).toBe(400);
    expect((await get("/filters/default/x/logs", { host: "evil.example" })).status).toBe(421);
    expect((await get("/filters/default/x/logs", { host: "127.0.0.1" }, "POST")).status).toBe(404);
  });

  test("the dump holds no private key", async () => {
    expect((await get("/config_dump")).status).toBe(404);
    state.serving = true;
    const text = await (await get("/config_dump")).text();
    expect(text).not.toContain("SECRETKEY");
    expect(text).toContain("CERT");
    expect(JSON.parse(text).listeners.length).toBeGreaterThan(0);
  });
});
