import { createHash, createHmac } from "node:crypto";
import type { Rng } from "../../src/core/rng.ts";
import type { OnceRequest } from "../kit/http-once.ts";

/** Chains of built-in filters and the requests generated for them: see envoy.test.ts. */

export interface FilterSpec {
  readonly module: "rate-limit" | "authz" | "transform";
  readonly settings: object;
}

export interface EnvoyChain {
  readonly name: string;
  readonly filters: readonly FilterSpec[];
  /** Statuses that must come up among the rows. */
  readonly statuses: readonly number[];
  readonly paths: readonly string[];
  readonly headers: readonly (readonly [string, readonly string[]])[];
  readonly bodies: readonly string[];
  readonly methods: readonly string[];
  readonly hosts: readonly string[];
}

// Envoy hands the host on as it came, we in lower case: only where nothing copies it do rows have capitals.
const LOWER_HOSTS = ["a.shop.example", "shop.example", "a.shop.example:8080"];
const HOSTS = [...LOWER_HOSTS, "A.SHOP.example:8080"];

const rateLimit: FilterSpec = {
  module: "rate-limit",
  settings: {
    claimsFrom: "idp",
    limits: [
      { name: "per-client", requests: 12, per: "hour", key: ["header:x-client"], missing: "skip" },
      { name: "per-ip-path", requests: 30, per: "day", burst: 8, key: ["clientIp", "path"], match: { pathPrefix: "/paid" } },
      {
        name: "costly",
        requests: 40,
        per: 3600,
        key: ["constant:all"],
        cost: { header: "x-cost", default: 2, max: 7 },
        match: { methods: ["POST"] },
      },
      {
        name: "must-have",
        requests: 100,
        per: "hour",
        key: ["header:x-needed"],
        missing: "refuse",
        match: { pathPrefix: "/needed" },
      },
      {
        name: "claims",
        requests: 5,
        per: "hour",
        key: ["claim:sub", "route"],
        missing: "empty",
        match: { pathPrefix: "/claims" },
      },
      { name: "watched", requests: 3, per: "hour", key: ["host", "method"], shadow: true },
    ],
  },
};

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const salt = "00112233445566778899aabbccddeeff";
const hmac = (text: string) => createHmac("sha256", Buffer.from(salt, "hex")).update(text).digest("hex");

const authz: FilterSpec = {
  module: "authz",
  settings: {
    explain: true,
    claimsFrom: "idp",
    apiKeys: {
      keys: [
        { id: "one", sha256: sha256("key-one") },
        { id: "two", hmacSha256: hmac("key-two-which-is-rather-long-so-that-it-fills-more-than-one-block-of-the-hash"), salt },
      ],
    },
    rules: [
      { name: "no-debug", effect: "deny", when: { headers: [{ name: "x-t-debug", exact: "on" }] } },
      { name: "no-admin", effect: "deny", when: { paths: ["/admin/*"], headers: [{ name: "x-t-team", absent: true }] } },
      { name: "watch", effect: "audit", when: { methods: ["DELETE"] } },
      { name: "public", effect: "allow", when: { paths: ["/public/*", { exact: "/" }], methods: ["GET", "HEAD"] } },
      {
        name: "team",
        effect: "allow",
        when: { paths: [{ template: "/teams/{id}/files/{rest=**}" }], headers: [{ name: "x-t-team", prefix: "core" }] },
      },
      { name: "keys", effect: "allow", when: { paths: [{ prefix: "/keys" }], apiKeys: ["one", "two"] } },
      { name: "second-key", effect: "allow", when: { paths: ["/second"], apiKeys: ["two"] } },
      { name: "keyed", effect: "allow", when: { principals: ["apikey:o*"], paths: ["/principal"] } },
      { name: "loopback", effect: "allow", when: { paths: ["/local"], sourceCidrs: ["127.0.0.0/8", "::1"] } },
      { name: "far", effect: "allow", when: { paths: ["/far"], sourceCidrs: ["10.0.0.0/8"] } },
      { name: "dev", effect: "allow", when: { paths: ["/dev"], claims: [{ path: "groups", oneOf: ["dev"] }] } },
      { name: "level", effect: "allow", when: { paths: ["/level"], claims: [{ path: "level", oneOf: [3, 2.5] }] } },
      { name: "bool", effect: "allow", when: { paths: ["/bool"], claims: [{ path: "admin", oneOf: [true] }] } },
      { name: "role", effect: "allow", when: { paths: ["/role"], claims: [{ path: ["realm", "roles"], oneOf: ["writer"] }] } },
      { name: "first", effect: "allow", when: { paths: ["/first"], claims: [{ path: "realm.roles.0", oneOf: ["reader"] }] } },
      { name: "dotted", effect: "allow", when: { paths: ["/dotted"], claims: [{ path: ["a.b", "c"], oneOf: [1] }] } },
      { name: "host", effect: "allow", when: { hosts: ["*.shop.example"], paths: ["/host"] } },
    ],
  },
};

const transform: FilterSpec = {
  module: "transform",
  settings: {
    claimsFrom: "idp",
    maxBodyBytes: 300,
    request: {
      headers: [
        { op: "set", name: "x-t-set", value: "{request.method} {request.host} {request.path}?{request.query} {{}}" },
        { op: "add", name: "x-t-add", value: "{request.header.x-t-in}" },
        { op: "set", name: "x-t-who", value: "{claim:sub}/{route}" },
        { op: "remove", name: "x-t-gone" },
        { op: "rename", from: "x-t-old", to: "x-t-new" },
        { op: "set", name: "x-t-in", value: "over" },
      ],
      path: { replacePrefix: { from: "/api", to: "/v2/" } },
      query: [
        { op: "remove", name: "token" },
        { op: "rename", from: "q", to: "query" },
        { op: "set", name: "from", value: "{request.header.x-t-in}&=é" },
      ],
      json: [
        { op: "set", pointer: "/added", value: { deep: [1, "two"] } },
        { op: "remove", pointer: "/secret" },
        { op: "rename", pointer: "/old~1name", to: 'new"name' },
        { op: "set", pointer: "/list/1", value: null },
        { op: "set", pointer: "/list/-", value: "end" },
        { op: "remove", pointer: "/list/0" },
      ],
    },
    response: {
      headers: [
        { op: "set", name: "x-code", value: "{response.code} {response.header.x-up}" },
        { op: "rename", from: "x-up", to: "x-down" },
        { op: "add", name: "set-cookie", value: "c=3" },
      ],
    },
    cors: {
      origins: ["https://app.example", "https://*.good.example"],
      methods: ["GET", "PUT"],
      headers: ["x-a"],
      exposeHeaders: ["x-code"],
      credentials: true,
      maxAgeSeconds: 60,
    },
  },
};

const answers: FilterSpec = {
  module: "transform",
  settings: {
    onBodyError: "pass",
    response: {
      headers: [{ op: "remove", name: "set-cookie" }],
      json: [
        { op: "remove", pointer: "/secret" },
        { op: "set", pointer: "/nested/m", value: [true] },
        { op: "rename", pointer: "/nested/n", to: "k" },
      ],
    },
  },
};

const BODIES = [
  "",
  "",
  '{"a":1.50,"secret":"x","list":[1,2,3]}',
  '{ "old/name" : {"x":[ ] }, "list" : [ ] , "s\\u0065cret" : 2 }',
  '{"list":[0],"secret":1,"secret":2}',
  '{"a":',
  "[1,2]",
  `{"big":"${"b".repeat(400)}"}`,
  '{"text":"\xc3\xa9\xe2\x82\xac \\ud83d\\ude00","new\\"name":1,"old/name":2}',
];

const COMMON: readonly (readonly [string, readonly string[]])[] = [
  ["content-type", ["application/json", "application/json", "application/problem+json; charset=utf-8", "text/plain"]],
];

export const ENVOY_CHAINS: readonly EnvoyChain[] = [
  {
    name: "rate-limit",
    hosts: LOWER_HOSTS,
    filters: [rateLimit],
    statuses: [200, 429],
    methods: ["GET", "GET", "POST"],
    paths: ["/", "/paid/a", "/paid/a?x=1", "/paid/b", "/paidb", "/needed", "/needed/x", "/claims", "/claims/1"],
    headers: [
      ["x-client", ["a", "a", "b", "\xe9\xff"]],
      ["x-cost", ["1", "3", "100", "-1", "x", ""]],
      ["x-needed", ["1"]],
    ],
    bodies: ["", "hello"],
  },
  {
    name: "authz",
    hosts: HOSTS,
    filters: [authz],
    statuses: [200, 401, 403],
    methods: ["GET", "GET", "GET", "POST", "DELETE"],
    paths: [
      ...[
        "/",
        "/public/x",
        "/public",
        "/publicity",
        "/public/../admin/x",
        "/admin/x",
        "/admin",
        "/teams/7/files/a/b",
        "/teams/7/files",
        "/teams//files/a",
      ],
      ...[
        "/keys",
        "/keys/1",
        "/second",
        "/principal",
        "/local",
        "/far",
        "/dev",
        "/level",
        "/bool",
        "/role",
        "/first",
        "/dotted",
        "/host",
        "/%64ev",
      ],
    ],
    headers: [
      ["x-api-key", ["key-one", "key-two-which-is-rather-long-so-that-it-fills-more-than-one-block-of-the-hash", "wrong", ""]],
      ["x-t-debug", ["off", "off", "on"]],
      ["x-t-team", ["core", "core-2", "other"]],
    ],
    bodies: ["", ""],
  },
  {
    name: "transform",
    hosts: LOWER_HOSTS,
    filters: [transform],
    statuses: [200, 204, 403, 400, 413],
    methods: ["GET", "POST", "POST", "PUT", "OPTIONS"],
    paths: ["/", "/api", "/api/x/y", "/apix", "/api/?token=1&q=2", "/?q&to%6ben=1&from=x&from=y", "/p?a=1&&b=2", "/plain?"],
    headers: [
      ...COMMON,
      ["x-t-in", ["one", "two words", "\xe9"]],
      ["x-t-old", ["o1", "o2"]],
      ["x-t-gone", ["g"]],
      ["x-t-set", ["mine"]],
      [
        "origin",
        [
          "https://app.example",
          "https://a.b.good.example",
          "https://good.example",
          "https://evil.example",
          "https://evilgood.example",
          "null",
        ],
      ],
      ["access-control-request-method", ["PUT"]],
    ],
    bodies: BODIES,
  },
  {
    name: "all three, and answers",
    hosts: LOWER_HOSTS,
    filters: [authz, rateLimit, answers],
    statuses: [200, 403, 429],
    methods: ["GET", "GET", "POST"],
    paths: ["/public/1", "/public/plain", "/public/broken", "/keys/a", "/dev", "/local", "/nowhere"],
    headers: [
      ["x-client", ["a", "a", "b"]],
      ["x-api-key", ["key-one", "wrong"]],
      ["x-t-debug", ["off", "off", "on"]],
    ],
    bodies: ["", "", "x"],
  },
];

/** Fields of which Envoy makes one when there are several. */
const JOINED = new Set(["content-type", "origin", "access-control-request-method"]);

const pick = <T>(rng: Rng, from: readonly T[]): T => from[rng.below(from.length)] as T;

/** One request; every field may be absent, there once, or (rarely) twice. */
export function requestFor(chain: EnvoyChain, rng: Rng, tokens: Readonly<Record<string, string>>): OnceRequest {
  const headers: [string, string][] = [["host", pick(rng, chain.hosts)]];
  for (const [name, values] of chain.headers) {
    if (rng.next() < 0.65) headers.push([name, pick(rng, values)]);
    if (rng.next() < 0.1 && !JOINED.has(name)) headers.push([name, pick(rng, values)]);
  }
  const token = rng.next() < 0.6 ? pick(rng, ["ann", "ann", "bob", "bob", "eve", "eve", "old", "endless"]) : undefined;
  if (token !== undefined) headers.push(["authorization", `Bearer ${tokens[token]}`]);
  const method = pick(rng, chain.methods);
  const body = method === "GET" || method === "OPTIONS" ? "" : pick(rng, chain.bodies);
  return { method, target: pick(rng, chain.paths), headers, body };
}
