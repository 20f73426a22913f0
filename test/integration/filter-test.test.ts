import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { EXIT } from "../../src/cli/command.ts";
import { inFolder, type Ran, runInFolder } from "../kit/command-line.ts";
import { TEST_MS } from "../kit/patience.ts";
import { ModuleBuilder, op } from "../kit/wasm.ts";

setDefaultTimeout(TEST_MS);

/** Runs `filter test` on one table. */
const runTable = (yaml: string, files: Record<string, string | Uint8Array> = {}, flags: readonly string[] = []): Promise<Ran> =>
  inFolder({ "a.test.yaml": yaml, ...files }, (folder) => runInFolder(folder, ["filter", "test", "a.test.yaml", ...flags]));

interface JsonReport {
  readonly ok: boolean;
  readonly passed: number;
  readonly failed: number;
  readonly tests: readonly {
    readonly name: string;
    readonly line: number;
    readonly failures: readonly { line: number; column: number; path: string; expected: string; actual: string }[];
  }[];
}

async function failuresOf(yaml: string, files: Record<string, string | Uint8Array> = {}): Promise<string[]> {
  const ran = await runTable(yaml, files, ["--json"]);
  const { tests } = JSON.parse(ran.out) as JsonReport;
  return tests.flatMap(({ failures }) =>
    failures.map(({ line, column, path, expected, actual }) => `${line}:${column} ${path}: ${expected} / ${actual}`),
  );
}

/** A filter that does one thing in one callback. */
function guest(callback: string, body: readonly number[], results: readonly "i32"[] = ["i32"]): Uint8Array {
  const builder = new ModuleBuilder().memory(1);
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  builder.func("malloc", ["i32"], ["i32"], op.i32(1024));
  const params = callback === "proxy_on_configure" ? 2 : 3;
  builder.func(callback, new Array<"i32">(params).fill("i32"), results, body);
  return builder.build();
}
const TRAP = guest("proxy_on_request_headers", op.unreachable);
const PAUSE = guest("proxy_on_request_headers", op.i32(1));
const NOTHING = guest("proxy_on_request_headers", op.i32(0));
const REFUSE = guest("proxy_on_configure", op.i32(0));

const RATE_LIMIT = `module: { builtin: rate-limit }
settings: { limits: [{ name: x, requests: 2, per: minute, key: [clientIp] }] }
`;
const TRANSFORM = "module: { builtin: transform }\n";

describe("what holds passes", () => {
  test("several exchanges of one filter, shared state, virtual time; a test of its own starts anew", async () => {
    const ran = await runTable(`${RATE_LIMIT}tests:
  - name: two pass, the third waits
    steps:
      - { request: {}, expect: { verdict: continue, response: { status: 200 } } }
      - { request: { source: "192.0.2.9" }, expect: { verdict: continue } }
      - { request: {} }
      - request: {}
        expect:
          verdict: respond
          upstream: null
          response: { status: 429, headers: { retry-after: 30, x-none: null, ratelimit: { contains: r=0 } }, body: { contains: "" } }
      - { advance: 29s }
      - { request: {}, expect: { verdict: respond } }
      - { advance: 1s }
      - { request: {}, expect: { verdict: continue, metrics: { selvedge_rate_limit_refused_total: 2 } } }
  - name: nothing is left of it
    request: {}
    expect: { response: { headers: { ratelimit: { contains: r=1 } } } }
  - name: settings are refused
    settings: { limits: [] }
    refused: { contains: at least one }
`);
    expect(ran).toMatchObject({ exit: EXIT.ok, error: "" });
    expect(ran.out).toContain("3 passed\n");
  });

  test("heads, bodies in pieces, trailers, attributes and TLS in both directions", async () => {
    const ran = await runTable(`${TRANSFORM}settings:
  claimsFrom: idp
  request:
    headers:
      - { op: set, name: x-who, value: "{claim:sub} {connection.uri_san_peer_certificate} {source.address}" }
      - { op: remove, name: x-gone }
    path: { replacePrefix: { from: /a, to: /b } }
    json: [{ op: set, pointer: /x, value: 2 }]
  response:
    headers: [{ op: add, name: x-seen, value: "{response.code}" }]
    json: [{ op: remove, pointer: /secret }]
tests:
  - name: all at once
    request:
      method: POST
      url: "https://Shop.example/a/c?q=%20"
      headers: { content-type: application/json, x-gone: [1, 2], x-many: [1, 2], x-utf8: "ü" }
      body: { chunks: ['{"x"', ":1}"] }
      trailers: { x-t: end }
      tls: { uris: ["spiffe://mesh/ns/a/sa/b"] }
      attributes: { metadata.filter_metadata.envoy.filters.http.jwt_authn.idp.sub: ann }
    upstream:
      status: 201
      headers: { content-type: application/json }
      body: { json: { secret: 1, y: [true] } }
      trailers: { x-end: "1" }
      after: 2s
    expect:
      verdict: continue
      upstream:
        method: POST
        path: "/b/c?q=%20"
        host: shop.example
        headers: { x-gone: null, x-many: ["1", "2"], x-utf8: "ü", x-who: { contains: "spiffe://mesh/ns/a/sa/b" } }
        body: { json: { x: 2 } }
        trailers: { x-t: end }
      response:
        status: 201
        complete: true
        headers: { x-seen: 201 }
        body: { json: { y: [true] }, not: "", matches: "^..y", startsWith: "{", endsWith: "}" }
        trailers: { x-end: "1" }
      callouts: []
`);
    expect(ran.out + ran.error).toContain("1 passed\n");
  });

  test("a trap gives what onFailure says; the next step meets a new instance", async () => {
    const ran = await runTable(
      `module: { file: trap.wasm }
tests:
  - name: closed
    steps:
      - request: {}
        expect:
          verdict: fail
          failure: { startsWith: filter_failed, contains: trap }
          upstream: null
          response: { status: 500, headers: { x-selvedge-failure: filter_failed } }
          logs: [{ level: error, contains: a filter broke }]
      - { request: {}, expect: { verdict: fail, failure: { contains: trap } } }
  - name: open
    onFailure: open
    request: {}
    expect: { verdict: continue, response: { status: 200 } }
`,
      { "trap.wasm": TRAP },
    );
    expect(ran.out).toContain("2 passed\n");
  });

  test("an endless loop runs out of fuel, in a request and in reading the settings", async () => {
    const ran = await runTable(
      `tests:
  - name: loop
    request: {}
    expect: { verdict: fail, failure: { contains: fuel }, response: { status: 500 } }
module: { file: loop.wasm }
`,
      { "loop.wasm": guest("proxy_on_request_headers", [...op.loop, ...op.br(0), ...op.end, ...op.i32(0)]) },
    );
    expect(ran.out).toContain("1 passed\n");
    const start = await runTable(`module: { file: start.wasm }\ntests: [{ name: a, refused: { contains: fuel } }]`, {
      "start.wasm": guest("proxy_on_configure", [...op.loop, ...op.br(0), ...op.end, ...op.i32(1)]),
    });
    expect(start.out).toContain("1 passed\n");
  });

  test("a pause is seen, or its deadline passes", async () => {
    const ran = await runTable(
      `module: { file: pause.wasm }
tests:
  - name: held
    request: { body: x }
    expect: { verdict: pause, upstream: null, response: null }
  - name: too long
    budget: { pause: 3s }
    request: {}
    expect: { verdict: fail, failure: { contains: filter_timeout }, response: { status: 504 } }
`,
      { "pause.wasm": PAUSE },
    );
    expect(ran.out).toContain("2 passed\n");
  });
});

describe("what does not hold is shown where it stands", () => {
  test("every part of an expectation", async () => {
    const failures = await failuresOf(
      `module: { file: nothing.wasm }
tests:
  - name: a
    request: { method: POST, body: hello, trailers: { t: 1 } }
    upstream: { body: world, headers: { x: [a, b] } }
    expect:
      verdict: fail
      failure: x
      upstream:
        method: GET
        body: { bytes: 4, base64: aGVsbA==, json: {}, contains: z, not: hello }
        trailers: { t: 2 }
      response:
        status: 404
        headers: { x: a, y: "1", z: { present: true } }
        complete: false
      logs: [something]
      notes: { n: "1" }
      callouts: [{ service: s }]
      metrics: { m: 1 }
`,
      { "nothing.wasm": NOTHING },
    );
    expect(failures).toEqual([
      '7:16 tests[0].expect.verdict: "fail" / "continue"',
      '10:17 tests[0].expect.upstream.method: "GET" / "POST"',
      '11:65 tests[0].expect.upstream.body.contains: something with "z" in it / "hello"',
      '11:73 tests[0].expect.upstream.body.not: anything but "hello" / "hello"',
      '11:51 tests[0].expect.upstream.body.json: {} / "hello"',
      "11:35 tests[0].expect.upstream.body.base64: aGVsbA== / aGVsbG8=",
      "11:24 tests[0].expect.upstream.body.bytes: 4 bytes / 5 bytes",
      '12:24 tests[0].expect.upstream.trailers.t: "2" / "1"',
      "14:17 tests[0].expect.response.status: 404 / 200",
      "16:19 tests[0].expect.response.complete: an answer that was cut off / a complete answer",
      '15:23 tests[0].expect.response.headers.x: "a" / "a", "b"',
      '15:29 tests[0].expect.response.headers.y: "1" / no such field',
      "15:37 tests[0].expect.response.headers.z: a field of this name / no such field",
      '8:16 tests[0].expect.failure: "x" / nothing',
      '17:14 tests[0].expect.logs[0]: a line with "something" in it / no lines',
      '18:19 tests[0].expect.notes.n: "1" / no such field',
      "19:17 tests[0].expect.callouts: 1 calls / 0",
      "20:21 tests[0].expect.metrics.m: 1 / no such metric",
    ]);
  });

  test("a filter that starts though it must not, and one that does not start", async () => {
    const files = { "refuse.wasm": REFUSE };
    expect(await failuresOf(`module: { file: refuse.wasm }\ntests:\n  - { name: a, request: {} }\n`, files)).toEqual([
      "3:5 tests[0]: a filter that starts / proxy_on_configure answered false",
    ]);
    expect(await failuresOf(`module: { file: n.wasm }\ntests:\n  - { name: a, refused: no }\n`, { "n.wasm": NOTHING })).toEqual([
      "3:25 tests[0].refused: a filter that refuses to start / it started",
    ]);
    const [noModule] = await failuresOf(`module: { file: a.wasm }\ntests:\n  - { name: a, request: {} }\n`, {
      "a.wasm": "hello",
    });
    expect(noModule).toContain("3:5 tests[0]: a filter that starts / bad_module spec.module.file: a.wasm is not a WebAssembly");
  });

  test("text output names file, line and column, and the filter's log", async () => {
    const ran = await runTable(`${RATE_LIMIT}tests:\n  - name: a\n    request: {}\n    expect: { response: { status: 429 } }\n`);
    expect(ran.exit).toBe(EXIT.failed);
    expect(ran.out).toContain("✗ a");
    expect(ran.out).toContain("  a.test.yaml:6:35 tests[0].expect.response.status\n    expected: 429\n    actual:   200\n");
    expect(ran.out).toEndWith("0 passed, 1 failed\n");
  });
});

describe("mistakes", () => {
  test("all issues of a table at once, each with its place", async () => {
    const ran = await runTable(`${TRANSFORM}tests:
  - name: a
    reqest: {}
    expect: { verdict: nope, response: { body: { matches: "(" } } }
  - request: {}
    advance: 3
  - { name: c, request: {}, steps: [{ advance: 1s, upstream: {} }] }
budget: { memory: 1 }
`);
    expect(ran.exit).toBe(EXIT.usage);
    const places = ran.error
      .split("\n")
      .map((line) => line.replace("error: ", "").split(":").slice(0, 3).join(":").split(" ", 2).join(" "));
    expect(places.slice(0, -2)).toEqual([
      "a.test.yaml:4:5 unknown_key",
      "a.test.yaml:5:24 unknown_value",
      "a.test.yaml:5:59 bad_regex",
      "a.test.yaml:6:5 missing_field",
      "a.test.yaml:7:14 wrong_type",
      "a.test.yaml:8:5 choose_one",
      "a.test.yaml:8:37 choose_one",
      "a.test.yaml:9:19 wrong_type",
    ]);
    expect(ran.error).toContain("did you mean request?");
  });

  test("files and folders that are not there", async () => {
    await inFolder(
      { "empty/x.txt": "", "b.test.yaml": "module: { file: none.wasm }\ntests: [{ name: a, request: {} }]" },
      async (folder) => {
        const run = async (...argv: string[]): Promise<string> => {
          const { exit, error } = await runInFolder(folder, ["filter", "test", ...argv]);
          return `${exit} ${error}`;
        };
        expect(await run("nowhere")).toContain("2 error: nowhere: there is no such file or folder");
        expect(await run("empty")).toContain("2 error: empty has no test table");
        expect(await run("b.test.yaml")).toContain("none.wasm: there is no such file\nselvedge filter build makes it");
        expect(await run("b.test.yaml", "--only", "zzz")).toContain("none.wasm");
        expect(await run(".", "extra")).toContain("unexpected argument");
      },
    );
    const noModule = await runTable("tests: [{ name: a, request: {} }]");
    expect(noModule.error).toContain("a.test.yaml:1:1 missing_field: There is no module to test.");
    expect((await runTable("")).error).toContain("The file is empty.");
    expect((await runTable("tests: [")).error).toContain("yaml_syntax");
    expect((await runTable(`${TRANSFORM}tests: [{ name: a, request: {} }]`, {}, ["--only", "zzz"])).error).toContain(
      "--only fits no name",
    );
  });
});
