import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { AuthenticationConfig, FilterConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { JwtAuthenticator } from "../../src/filters/jwt/authenticator.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import { RATE_LIMIT_FUNCTION, RateLimitFunction } from "../../src/filters/rate-limit/foreign.ts";
import { RateLimitTable, tableBytes } from "../../src/filters/rate-limit/table.ts";
import { cluster, httpListener, jwtFilter, type RunningEnvoy, startEnvoy, wasmFilter } from "../kit/envoy.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import { exchangeOnce, type OnceAnswer, type OnceRequest } from "../kit/http-once.ts";
import { TEST_MS } from "../kit/patience.ts";
import { startProxy, type TestProxy } from "../kit/proxy.ts";
import { endpointsOf, filterOf, forwardTo, listenerOf, routeOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import { ENVOY_CHAINS, type FilterSpec, requestFor } from "./envoy-rows.ts";

// The same modules, by sha-256, in the real Envoy and in our proxy: the same answers, and the same requests upstream.

const ROWS_PER_CHAIN = 120;
const FILTERS = join(import.meta.dir, "..", "..", "dist", "filters");
const pathOf = (name: string) => join(FILTERS, `${name}.wasm`);
const digestOf = (name: string) =>
  `sha256:${createHash("sha256")
    .update(readFileSync(pathOf(name)))
    .digest("hex")}`;

let upstream: Server;
let upstreamPort = 0;
let envoy: RunningEnvoy;
const ours: TestProxy[] = [];
let tokens: Record<string, string> = {};

/** Answers with what it was asked, as far as it must not depend on the proxy. */
function startUpstream(): Promise<void> {
  upstream = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const seen: string[] = [];
      for (let i = 0; i < request.rawHeaders.length; i += 2) {
        const name = (request.rawHeaders[i] as string).toLowerCase();
        if (/^(x-t-|content-type|authorization|x-api-key|origin)/.test(name)) seen.push(`${name}: ${request.rawHeaders[i + 1]}`);
      }
      const body = Buffer.concat(parts).toString("latin1");
      response.setHeader("content-type", request.url?.includes("plain") ? "text/plain" : "application/json");
      response.setHeader("x-up", "1");
      response.setHeader("access-control-allow-origin", "https://upstream.example");
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      const text = JSON.stringify({
        method: request.method,
        url: request.url,
        seen: seen.sort(),
        body,
        secret: "s",
        nested: { n: 1 },
      });
      response.end(request.url?.includes("broken") ? `${text}}` : text);
    });
  });
  return new Promise((resolve) =>
    upstream.listen(0, "127.0.0.1", () => {
      const address = upstream.address();
      upstreamPort = typeof address === "object" && address !== null ? address.port : 0;
      resolve();
    }),
  );
}

async function startOurs(filters: readonly FilterSpec[], authentication: AuthenticationConfig): Promise<TestProxy> {
  const clock = new SystemClock();
  const foreign = new ForeignFunctions();
  const table = new RateLimitFunction(new RateLimitTable(new BigInt64Array(new SharedArrayBuffer(tableBytes(4096))), { clock }));
  foreign.registerPlaced(
    RATE_LIMIT_FUNCTION,
    (_filter, memory, at, size) => table.call(memory, at, size),
    (capabilities) => capabilities.rateLimit,
  );
  const filterHost = new ProxyWasmHost({
    clock,
    log: SILENT_LOG,
    metrics: new RecordingMetrics(),
    shared: new SharedState(),
    foreign,
  });
  const configs: FilterConfig[] = filters.map((filter) =>
    filterOf(filter.module, digestOf(filter.module), {
      settings: JSON.stringify(filter.settings),
      capabilities: { callouts: [], sharedData: undefined, rateLimit: true, clock: true },
    }),
  );
  const base = listenerOf();
  const rule = forwardTo("up", { filters: configs.map((each) => each.name), authentication: authentication.name });
  const snapshot = snapshotOf({
    listeners: [{ ...base, forwarding: { ...base.forwarding, xForwarded: false, requestIdHeader: undefined } }],
    routes: [routeOf("all", [rule])],
    services: [serviceOf("up")],
    endpoints: [endpointsOf("up", [upstreamPort])],
    filters: configs,
    authentications: [authentication],
  });
  const modules = new Map(
    filters.map((filter) => [digestOf(filter.module), new Uint8Array(readFileSync(pathOf(filter.module)))]),
  );
  const authenticator = new JwtAuthenticator(authentication, { clock, rng: new SeededRng(1), log: SILENT_LOG });
  return startProxy(snapshot, { filterHost, modules, authenticator });
}

beforeAll(async () => {
  await startUpstream();
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "ES256" }] });
  const sign = (claims: Record<string, unknown>) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: "ES256", kid: "k" })
      .setIssuer("https://idp")
      .setExpirationTime("1h")
      .sign(privateKey);
  tokens = {
    ann: await sign({ sub: "ann", groups: ["ops", "dev"], level: 3, admin: true, realm: { roles: ["reader"] } }),
    bob: await sign({ sub: "bob", groups: [], level: 2.5, admin: false, realm: { roles: ["writer", "reader"] }, nick: "dev" }),
    eve: await sign({ sub: "eve", groups: "dev", level: "3", admin: "true", realm: ["reader"], "a.b": { c: 1 } }),
    old: await new SignJWT({ sub: "ann" })
      .setProtectedHeader({ alg: "ES256", kid: "k" })
      .setIssuer("https://idp")
      .setExpirationTime(1_000_000)
      .sign(privateKey),
    endless: await new SignJWT({ sub: "ann" })
      .setProtectedHeader({ alg: "ES256", kid: "k" })
      .setIssuer("https://idp")
      .sign(privateKey),
  };
  const authentication: AuthenticationConfig = {
    name: "default/idp",
    required: false,
    jwt: [
      {
        name: "idp",
        issuer: "https://idp",
        audiences: [],
        algorithms: ["ES256"],
        keys: { kind: "inline", jwks },
        fromHeaders: [],
        fromQuery: [],
        forward: false,
        clockSkewMs: 60_000,
        requireExpiration: true,
        maxTokenBytes: 8192,
      },
    ],
  };
  const listeners = ENVOY_CHAINS.map((chain, i) => {
    const filters = chain.filters.map((each) =>
      wasmFilter(`${each.module}-${i}`, pathOf(each.module), JSON.stringify(each.settings)),
    );
    return httpListener(`chain-${i}`, [jwtFilter("idp", "https://idp", jwks), ...filters], "up");
  });
  listeners.push(httpListener("lenient", [jwtFilter("idp", "https://idp", jwks, false)], "up"));
  envoy = await startEnvoy(listeners, [cluster("up", upstreamPort)]);
  for (const chain of ENVOY_CHAINS) ours.push(await startOurs(chain.filters, authentication));
  const lenient = authentication.jwt.map((each) => ({ ...each, requireExpiration: false }));
  ours.push(await startOurs([], { ...authentication, jwt: lenient }));
}, TEST_MS);

afterAll(async () => {
  for (const proxy of ours) await proxy.stop();
  await envoy?.stop();
  upstream?.closeAllConnections();
  await new Promise((resolve) => upstream?.close(resolve));
});

/** Fields that belong to a proxy, its connection or the clock. */
const OWN_FIELDS = new Set(["date", "server", "connection", "keep-alive", "transfer-encoding", "content-length", "via"]);
/** Seconds that may pass between the two answers to one request. */
const CLOCK_SECONDS = 5;

interface Comparable {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
}

/** Numbers that count down with the clock are cut out and compared apart. */
function comparable(answer: OnceAnswer): { rest: Comparable; seconds: number[] } {
  const seconds: number[] = [];
  const headers: string[] = [];
  for (const [name, value] of answer.headers) {
    if (OWN_FIELDS.has(name)) continue;
    const steady =
      name === "retry-after" || name === "ratelimit"
        ? value.replace(/(t=|^)(\d+)/g, (_, before: string, digits: string) => {
            seconds.push(Number(digits));
            return `${before}#`;
          })
        : value;
    headers.push(`${name}: ${steady}`);
  }
  return { rest: { status: answer.status, headers: headers.sort(), body: answer.body }, seconds };
}

async function compare(request: OnceRequest, chain: number): Promise<OnceAnswer> {
  const theirs = await exchangeOnce(envoy.ports[chain] as number, request);
  const mine = await exchangeOnce((ours[chain] as TestProxy).port(), request);
  // A refused token is answered by the proxy itself, each in its own words.
  if (theirs.status === 401 && mine.status === 401) return mine;
  const [a, b] = [comparable(theirs), comparable(mine)];
  expect({ request, answer: b.rest }).toEqual({ request, answer: a.rest });
  expect(b.seconds.length).toBe(a.seconds.length);
  b.seconds.forEach((value, i) => {
    expect(Math.abs(value - (a.seconds[i] as number))).toBeLessThanOrEqual(CLOCK_SECONDS);
  });
  return mine;
}

describe("the same module in Envoy and here", () => {
  ENVOY_CHAINS.forEach((chain, index) => {
    test(
      `${chain.name}: ${ROWS_PER_CHAIN} generated requests`,
      async () => {
        const rng = new SeededRng(1000 + index);
        const statuses = new Map<number, number>();
        for (let row = 0; row < ROWS_PER_CHAIN; row++) {
          const { status } = await compare(requestFor(chain, rng, tokens), index);
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
        }
        // A row of equal answers proves little when they are all the same.
        for (const status of chain.statuses)
          expect({ status, seen: (statuses.get(status) ?? 0) > 0 }).toEqual({ status, seen: true });
      },
      TEST_MS,
    );
  });

  test("a token without exp: refused by both where they require one, accepted by both where not", async () => {
    const ask = (port: number, token: string) =>
      exchangeOnce(port, {
        method: "GET",
        target: "/",
        headers: [
          ["host", "a"],
          ["authorization", `Bearer ${tokens[token]}`],
        ],
        body: "",
      });
    const last = ENVOY_CHAINS.length;
    const statuses = async (chain: number, token: string) => [
      (await ask(envoy.ports[chain] as number, token)).status,
      (await ask((ours[chain] as TestProxy).port(), token)).status,
    ];
    expect(await statuses(0, "endless")).toEqual([401, 401]);
    expect(await statuses(last, "endless")).toEqual([200, 200]);
    expect(await statuses(last, "ann")).toEqual([200, 200]);
    expect(await statuses(last, "old")).toEqual([401, 401]);
  });

  test(
    "settings that are wrong are refused by both, with the place",
    async () => {
      const settings = { limits: [{ name: "a", requests: 0, per: "fortnight", key: ["nobody"] }], extra: 1 };
      const filterHost = new ProxyWasmHost({
        clock: new SystemClock(),
        log: SILENT_LOG,
        metrics: new RecordingMetrics(),
        shared: new SharedState(),
        foreign: new ForeignFunctions(),
      });
      const config = filterOf("rate-limit", digestOf("rate-limit"), { settings: JSON.stringify(settings) });
      const refused = await filterHost.load(new Uint8Array(readFileSync(pathOf("rate-limit"))), config).then(
        () => "accepted",
        (error: Error) => error.message,
      );
      const listener = httpListener("bad", [wasmFilter("bad", pathOf("rate-limit"), JSON.stringify(settings))], "up");
      const theirs = await startEnvoy([listener], [cluster("up", upstreamPort)]).then(
        async (running) => {
          // Envoy comes up all the same and denies everything.
          const answer = await exchangeOnce(running.ports[0] as number, {
            method: "GET",
            target: "/",
            headers: [["host", "a"]],
            body: "",
          });
          const log = running.log();
          await running.stop();
          return `${answer.status} ${log}`;
        },
        (error: Error) => error.message,
      );
      for (const place of ["/limits/0/requests", "/limits/0/per", "/limits/0/key/0", "/extra"]) {
        expect(theirs).toContain(`${place}:`);
        expect(refused).toContain(place);
      }
    },
    TEST_MS,
  );
});
