import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import type { Authenticator } from "../../src/proxy/generation.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import { exchangeOnce } from "../kit/http-once.ts";
import { startProxy } from "../kit/proxy.ts";
import { endpointsOf, filterOf, forwardTo, routeOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";

// A body that comes in the same read as the head, while a new token is still being verified, must not pass by the filters.

test("what arrives during verification goes through the filters, and nothing of it upstream when the token is bad", async () => {
  const bodies: string[] = [];
  const upstream = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => {
      bodies.push(body);
      response.end("ok");
    });
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const address = upstream.address();
  const wasm = new Uint8Array(readFileSync(join(import.meta.dir, "..", "..", "dist", "filters", "transform.wasm")));
  const digest = `sha256:${createHash("sha256").update(wasm).digest("hex")}`;
  const clock = new SystemClock();
  const filterHost = new ProxyWasmHost({
    clock,
    log: SILENT_LOG,
    metrics: new RecordingMetrics(),
    shared: new SharedState(),
    foreign: new ForeignFunctions(),
  });
  let good = true;
  const authenticator: Authenticator = {
    verify: async () => {
      await Bun.sleep(5);
      return good ? { kind: "none" } : { kind: "denied", reason: "bad", status: 401 };
    },
  };
  const settings = JSON.stringify({ request: { json: [{ op: "remove", pointer: "/secret" }] } });
  const snapshot = snapshotOf({
    routes: [routeOf("all", [forwardTo("up", { filters: ["default/edit"], authentication: "default/any" })])],
    services: [serviceOf("up")],
    endpoints: [endpointsOf("up", [typeof address === "object" && address !== null ? address.port : 0])],
    filters: [filterOf("edit", digest, { settings })],
    authentications: [{ name: "default/any", required: false, jwt: [] }],
  });
  const proxy = await startProxy(snapshot, { filterHost, modules: new Map([[digest, wasm]]), authenticator });
  try {
    const request = {
      method: "POST",
      target: "/",
      headers: [
        ["host", "a"],
        ["content-type", "application/json"],
      ],
      body: '{"secret":1,"a":2}',
    } as const;
    expect((await exchangeOnce(proxy.port(), request)).status).toBe(200);
    expect(bodies).toEqual(['{"a":2}']);
    good = false;
    expect((await exchangeOnce(proxy.port(), request)).status).toBe(401);
    expect(bodies.length).toBe(1);
  } finally {
    await proxy.stop();
    upstream.closeAllConnections();
    await new Promise((resolve) => upstream.close(resolve));
  }
});
