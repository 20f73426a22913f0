import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { type HeaderBlock as Block, HeaderBlock, type RequestHead } from "../../src/core/head.ts";
import { BUILTIN_FILTER_FUEL } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { RATE_LIMIT_FUNCTION, RateLimitFunction } from "../../src/filters/rate-limit/foreign.ts";
import { RateLimitTable, tableBytes } from "../../src/filters/rate-limit/table.ts";
import { FilterBench, filterConfig } from "../kit/filters.ts";
import { describe, IS_BUN, test } from "../kit/suite.ts";

// The built-in filters in our host, in virtual time. Against the real Envoy: test/integration/envoy.test.ts.

type Name = "rate-limit" | "authz" | "transform";

const bytesOf = (name: Name) => new Uint8Array(readFileSync(new URL(`../../dist/filters/${name}.wasm`, import.meta.url)));

function benchWithTable(slots = 4096): FilterBench {
  const bench = new FilterBench();
  const table = new RateLimitTable(new BigInt64Array(new SharedArrayBuffer(tableBytes(slots))), { clock: bench.clock });
  const call = new RateLimitFunction(table);
  bench.foreign.registerPlaced(
    RATE_LIMIT_FUNCTION,
    (_filter, memory, at, size) => call.call(memory, at, size),
    (capabilities) => capabilities.rateLimit,
  );
  return bench;
}

const load = (bench: FilterBench, name: Name, settings: unknown, rateLimit = true): Promise<FilterModule> =>
  bench.load(
    filterConfig({
      settings: typeof settings === "string" ? settings : JSON.stringify(settings),
      capabilities: { callouts: [], sharedData: undefined, rateLimit, clock: true },
    }),
    bytesOf(name),
  );

interface Seen {
  readonly status: number;
  readonly headers: Block;
  readonly request: RequestHead;
}

/** A request without a body through one filter; 200 when it passed. */
function ask(bench: FilterBench, module: FilterModule, change: Partial<RequestHead> = {}): Seen {
  const exchange = bench.exchange([module], change);
  const result = exchange.chain.requestHead(true);
  const local = result === "respond" ? exchange.chain.localResponse : undefined;
  const headers = local?.headers.copy() ?? HeaderBlock.from([["x-up", "1"]]);
  exchange.response = {
    status: local?.status ?? (result === "forward" ? 200 : 599),
    reason: "",
    version: 11,
    upgrade: undefined,
    headers,
  };
  exchange.chain.responseHead(true);
  const { status } = exchange.response;
  exchange.chain.log();
  exchange.chain.close();
  return { status, headers, request: exchange.request };
}

const header = (name: string, ...values: string[]) => HeaderBlock.from(values.map((value) => [name, value] as const));

/** Settings that must be refused, and what the message must name. */
const REFUSED: readonly (readonly [Name, unknown, string])[] = [
  ["rate-limit", "", "no settings"],
  ["rate-limit", "{", "not well-formed"],
  ["rate-limit", "[]", "must be an object"],
  ["rate-limit", '{"limits":[],"limits":[]}', "/limits: given twice"],
  ["rate-limit", { limits: [] }, "/limits"],
  ["rate-limit", { limits: [{ name: "a b", requests: 1, per: "hour", key: ["clientIp"] }] }, "/limits/0/name"],
  ["rate-limit", { limits: [{ name: "a", requests: 1.5, per: "hour", key: ["clientIp"] }] }, "/limits/0/requests"],
  ["rate-limit", { limits: [{ name: "a", requests: 2e6, per: "second", key: ["clientIp"] }] }, "one request per microsecond"],
  ["rate-limit", { limits: [{ name: "a", requests: 1, per: "week", key: ["clientIp"] }] }, "/limits/0/per"],
  ["rate-limit", { limits: [{ name: "a", requests: 1, per: "hour", key: ["claim:sub"] }] }, "claimsFrom"],
  ["rate-limit", { limits: [{ name: "a", requests: 1, per: "hour", key: ["header:a b"] }] }, "/limits/0/key/0"],
  ["rate-limit", { limits: [{ name: "a", requests: 1, per: "hour", key: ["constant"], cost: 2 }] }, "/limits/0/cost"],
  ["authz", { rules: [{ name: "a", effect: "permit" }] }, "/rules/0/effect"],
  ["authz", { rules: [{ name: "a", effect: "deny", when: { paths: [] } }] }, "/rules/0/when/paths"],
  [
    "authz",
    { rules: [{ name: "a", effect: "deny", when: { headers: [{ name: "b", present: true, ignoreCase: true }] } }] },
    "/rules/0/when/headers/0",
  ],
  [
    "authz",
    { rules: [{ name: "a", effect: "deny", when: { headers: [{ name: "b", exact: "c", list: 1 }] } }] },
    "/rules/0/when/headers/0/list",
  ],
  ["authz", { rules: [{ name: "a", effect: "deny", when: { paths: ["a*"] } }] }, "/rules/0/when/paths/0"],
  ["authz", { rules: [{ name: "a", effect: "deny", when: { sourceCidrs: ["10.0.0.0/33"] } }] }, "/rules/0/when/sourceCidrs/0"],
  ["authz", { rules: [{ name: "a", effect: "deny", when: { apiKeys: ["x"] } }] }, "/rules/0/when/apiKeys/0"],
  [
    "authz",
    { rules: [{ name: "a", effect: "deny", when: { headers: [{ name: "x", exact: "1", prefix: "2" }] } }] },
    "/rules/0/when/headers/0",
  ],
  ["authz", { rules: [{ name: "a", effect: "deny" }], apiKeys: { keys: [{ id: "k", sha256: "00" }] } }, "/apiKeys/keys/0/sha256"],
  ["transform", {}, "nothing to do"],
  ["transform", { cors: { origins: ["*"], credentials: true } }, "/cors/credentials"],
  ["transform", { cors: { origins: ["https://*"] } }, "/cors/origins/0"],
  ["transform", { request: { headers: [{ op: "set", name: "content-length", value: "1" }] } }, "/request/headers/0/name"],
  ["transform", { request: { headers: [{ op: "set", name: "x", value: "{nope}" }] } }, "unknown attribute {nope}"],
  ["transform", { request: { headers: [{ op: "set", name: "x", value: "a\r\nb" }] } }, "control characters"],
  ["transform", { request: { headers: [{ op: "set", name: "x", value: "{response.code}" }] } }, "not known before"],
  ["transform", { request: { path: { set: "/a/../b" } } }, "/request/path/set"],
  ["transform", { request: { json: [{ op: "remove", pointer: "a" }] } }, "/request/json/0/pointer"],
  ["transform", { request: { json: [{ op: "remove", pointer: "/a~2" }] } }, "~0 and ~1"],
  ["transform", { request: { a: 1, "b/~": 2 } }, "/request/b~1~0"],
];

describe("built-in filters", () => {
  test("wrong settings are refused with the place", async () => {
    for (const [name, settings, place] of REFUSED) {
      const message = await load(new FilterBench(), name, settings).then(
        () => "accepted",
        (error: Error) => error.message,
      );
      assert.ok(message.includes(place), `${name} ${JSON.stringify(settings)}: ${message}`);
    }
  });

  test("every example of docs/filters.md is accepted", async () => {
    const text = readFileSync(new URL("../../docs/filters.md", import.meta.url), "utf8");
    let count = 0;
    for (const [, yaml] of text.matchAll(/```yaml\n([^`]*)```/g)) {
      for (const document of parseAllDocuments(yaml as string)) {
        const resource = document.toJS() as { spec?: { module?: { builtin?: Name }; settings?: unknown } };
        const name = resource.spec?.module?.builtin;
        if (name === undefined) continue;
        await load(new FilterBench(), name, resource.spec?.settings);
        count++;
      }
    }
    assert.equal(count, 3);
  });

  test("rate limit: burst, refill, headers, retry-after; the same with the table and with shared data", async () => {
    for (const table of [true, false]) {
      const bench = benchWithTable();
      const module = await load(
        bench,
        "rate-limit",
        { limits: [{ name: "a", requests: 3, per: "minute", key: ["header:x-k"] }] },
        table,
      );
      const request = { headers: header("x-k", "1") };
      const answers = [1, 2, 3, 4].map(() => ask(bench, module, { headers: request.headers.copy() }));
      assert.deepEqual(
        answers.map((each) => each.status),
        [200, 200, 200, 429],
      );
      assert.deepEqual(
        answers.map((each) => each.headers.get("ratelimit")),
        ['"a";r=2;t=20', '"a";r=1;t=40', '"a";r=0;t=60', '"a";r=0;t=60'],
      );
      assert.equal(answers[3]?.headers.get("retry-after"), "20");
      assert.equal(answers[3]?.headers.getAll("ratelimit-policy").join(), '"a";q=3;w=60');
      assert.equal(ask(bench, module, { headers: header("x-k", "2") }).status, 200);
      // Two values are another caller than either.
      assert.equal(ask(bench, module, { headers: header("x-k", "1", "2") }).status, 200);
      bench.clock.advance(20_000);
      assert.deepEqual(
        [ask(bench, module, request).status, ask(bench, module, { headers: header("x-k", "1") }).status],
        [200, 429],
      );
    }
  });

  test("rate limit: several limits, nothing is consumed when one refuses; shadow only counts", async () => {
    for (const table of [true, false]) {
      const bench = benchWithTable();
      const limits = [
        { name: "wide", requests: 5, per: "hour", key: ["constant"] },
        { name: "narrow", requests: 1, per: "hour", key: ["header:x-k"] },
        { name: "watch", requests: 1, per: "hour", key: ["constant"], shadow: true },
      ];
      const module = await load(bench, "rate-limit", { limits }, table);
      for (let i = 0; i < 8; i++) assert.equal(ask(bench, module, { headers: header("x-k", "a") }).status, i === 0 ? 200 : 429);
      for (let i = 0; i < 4; i++) assert.equal(ask(bench, module, { headers: header("x-k", `b${i}`) }).status, 200);
      assert.equal(ask(bench, module, { headers: header("x-k", "c") }).status, 429);
      const shown = bench.log.lines.filter((line) => !line.startsWith("debug "));
      assert.equal(shown.filter((line) => line.includes("shadow")).length, 4);
      // Whoever is refused all the time must not fill the log.
      assert.equal(shown.length, 4, shown.join("\n"));
      assert.equal(bench.log.lines.filter((line) => line.startsWith("debug ")).length, 8);
    }
  });

  test("authz: a deny sees any value of a header, an allow needs all", async () => {
    const bench = new FilterBench();
    const rules = [
      { name: "bad", effect: "deny", when: { headers: [{ name: "x-role", exact: "bad" }] } },
      { name: "good", effect: "allow", when: { headers: [{ name: "x-role", prefix: "good" }] } },
    ];
    const module = await load(bench, "authz", { rules, explain: true });
    const reason = (...values: string[]) =>
      ask(bench, module, { headers: header("x-role", ...values) }).headers.get("x-selvedge-authz-reason");
    assert.equal(reason("good"), "allowed by rule good");
    assert.equal(reason("good", "good-2"), "allowed by rule good");
    assert.equal(reason("good", "other"), "no allow rule matched");
    assert.equal(reason("good", "bad"), "denied by rule bad");
    assert.equal(reason("bad", "good"), "denied by rule bad");
    assert.equal(reason(), "no allow rule matched");
  });

  test("authz: a list in one value is several values, case counts unless configured, and lists can be switched off", async () => {
    const bench = new FilterBench();
    const judge = async (effect: string, condition: object, ...values: string[]): Promise<boolean> => {
      const rules = [
        { name: "it", effect, when: { headers: [{ name: "x-role", ...condition }] } },
        ...(effect === "deny" ? [{ name: "rest", effect: "allow" }] : []),
      ];
      const module = await load(bench, "authz", { rules });
      return (ask(bench, module, { headers: header("x-role", ...values) }).status === 200) === (effect === "allow");
    };
    const table: readonly (readonly [string, object, readonly string[], boolean])[] = [
      // Denied wherever it stands in a list, in whatever spelling of the list.
      ["deny", { exact: "admin" }, ["user, admin"], true],
      ["deny", { exact: "admin" }, ["user,admin\t, x"], true],
      ["deny", { exact: "admin" }, ["user", ", admin ,"], true],
      ["deny", { exact: "admin" }, ["user, administrator"], false],
      ["deny", { exact: "user, admin" }, ["user, admin"], true],
      ["deny", { exact: "admin", list: false }, ["user, admin"], false],
      ["deny", { prefix: "adm" }, ["user, administrator"], true],
      ["deny", { exact: "admin" }, ["ADMIN"], false],
      ["deny", { exact: "admin", ignoreCase: true }, ["user, AdMiN"], true],
      ["deny", { exact: "Admin", ignoreCase: true }, ["admin"], true],
      ["deny", { prefix: "ADM", ignoreCase: true }, ["administrator"], true],
      // Allowed only when nothing stands beside it.
      ["allow", { exact: "user" }, ["user"], true],
      ["allow", { exact: "user" }, ["user, admin"], false],
      ["allow", { exact: "user" }, ["user, user"], false],
      ["allow", { exact: "user, admin" }, ["user, admin"], true],
      ["allow", { exact: "user" }, ["USER"], false],
      ["allow", { exact: "user", ignoreCase: true }, ["USER", "user"], true],
      ["allow", { prefix: "user" }, ["user-1, user-2"], true],
      ["allow", { prefix: "user" }, ["user-1, admin"], false],
      ["allow", { prefix: "user" }, ["user-1,"], false],
      ["allow", { prefix: "user", list: false }, ["user-1 (a, b)"], true],
      ["allow", { prefix: "user" }, [""], false],
      ["allow", { prefix: "user" }, [], false],
    ];
    for (const [effect, condition, values, expected] of table)
      assert.equal(await judge(effect, condition, ...values), expected, JSON.stringify([effect, condition, values]));
  });

  test("authz: with deny rules alone the rest passes; the key is taken out of the request", async () => {
    const bench = new FilterBench();
    const sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    const module = await load(bench, "authz", {
      apiKeys: { keys: [{ id: "k", sha256 }] },
      rules: [{ name: "d", effect: "deny", when: { apiKeys: ["k"], methods: ["PUT"] } }],
    });
    const get = ask(bench, module, { headers: header("x-api-key", "secret") });
    assert.deepEqual([get.status, get.request.headers.has("x-api-key")], [200, false]);
    assert.equal(ask(bench, module, { method: "PUT", headers: header("x-api-key", "secret") }).status, 403);
    assert.equal(ask(bench, module, { method: "PUT", headers: header("x-api-key", "Secret") }).status, 200);
  });

  test("transform: a prefix is replaced by segments, and nothing above it is reached", async () => {
    const bench = new FilterBench();
    const module = await load(bench, "transform", { request: { path: { replacePrefix: { from: "/api", to: "/" } } } });
    const path = (from: string) => ask(bench, module, { path: from }).request.path;
    assert.deepEqual(["/api", "/api/", "/api/a", "/api../admin", "/apix", "/x/api"].map(path), [
      "/",
      "/",
      "/a",
      "/api../admin",
      "/apix",
      "/x/api",
    ]);
  });

  test("transform: a second Content-Type does not take a JSON body out of reach", async () => {
    const bench = new FilterBench();
    const module = await load(bench, "transform", { request: { json: [{ op: "remove", pointer: "/role" }] } });
    const isEdited = (...types: string[]): boolean => {
      const exchange = bench.exchange([module], { method: "POST", headers: header("content-type", ...types) });
      const isHeld =
        exchange.chain.requestHead(false) === "respond" ||
        exchange.chain.requestData(Buffer.from("not JSON"), true) === "respond";
      exchange.chain.close();
      return isHeld;
    };
    assert.equal(isEdited("application/json"), true);
    assert.equal(isEdited("text/plain", "application/json"), true);
    assert.equal(isEdited("application/json", "text/plain"), true);
    assert.equal(isEdited("text/plain, application/json;a=b"), true);
    assert.equal(isEdited("application/problem+json\t, text/plain"), true);
    assert.equal(isEdited("text/plain"), false);
    assert.equal(isEdited("text/plain", "application/jsonx", ","), false);
    assert.equal(isEdited(), false);
  });

  test("a body of a mebibyte is edited on the fuel that a built-in filter has", async () => {
    const bench = new FilterBench();
    const settings = { request: { json: [{ op: "set", pointer: "/b", value: 1 }] }, maxBodyBytes: 4_000_000 };
    const budget = { ...BUILTIN_FILTER_FUEL, bufferBytes: 4_000_000, outputBytes: 4_000_000 };
    const config = filterConfig({ settings: JSON.stringify(settings), budget });
    const module = await bench.load(config, bytesOf("transform"));
    const entry = { id: 1, name: "a name", tags: ["a", '\\"'], ok: true };
    const body = Buffer.from(JSON.stringify({ items: new Array(25_000).fill(entry) }));
    assert.ok(body.length > 1_000_000);
    const { chain } = bench.exchange([module], { method: "POST", headers: header("content-type", "application/json") });
    assert.equal(chain.requestHead(false), "forward");
    assert.equal(chain.requestData(body, true), "forward");
    assert.ok(Buffer.from(chain.data).toString("latin1").endsWith(',"b":1}'));
    assert.equal(module.status().traps, 0);
  });

  test("a million exchanges: memory stays as it was", async () => {
    const bench = benchWithTable();
    const json = {
      request: { json: [{ op: "set", pointer: "/b", value: 1 }], headers: [{ op: "set", name: "x", value: "{request.path}" }] },
    };
    const modules = [
      await load(bench, "rate-limit", { limits: [{ name: "a", requests: 1e6, per: "second", key: ["clientIp", "path"] }] }),
      await load(bench, "authz", { rules: [{ name: "a", effect: "allow", when: { methods: ["POST"] } }], explain: true }),
      await load(bench, "transform", json),
    ];
    const headers = header("content-type", "application/json");
    const body = Buffer.from('{"a":1}');
    const run = (count: number): void => {
      for (let i = 0; i < count; i++) {
        const exchange = bench.exchange(modules, { method: "POST", headers: headers.copy() });
        assert.equal(exchange.chain.requestHead(false), "forward");
        exchange.chain.requestData(body, true);
        exchange.response = { status: 200, reason: "", version: 11, upgrade: undefined, headers: new HeaderBlock() };
        exchange.chain.responseHead(true);
        exchange.chain.close();
      }
    };
    run(10_000);
    const memory = () => modules.map((module) => module.status().memoryBytes);
    const before = memory();
    // Three filters each. Once is enough for the million.
    run(IS_BUN ? 330_000 : 20_000);
    assert.deepEqual(memory(), before);
    assert.deepEqual(
      modules.map((module) => module.status().traps),
      [0, 0, 0],
    );
  });
});
