import assert from "node:assert/strict";
import type { FilterCapabilities } from "../../src/config/snapshot.ts";
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { FilterBench, filterConfig, type TestExchange } from "../kit/filters.ts";
import { OUT_A, OUT_B, type PuppetGuest, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/**
 * A hostile filter for each capability, as a proxy-wasm guest: without the grant nothing of it happens and the call answers
 * the ABI's own error, which is counted; with it exactly that happens.
 */

type Capabilities = Partial<FilterCapabilities>;

/** What a resource that says nothing grants. */
const DEFAULTS: Capabilities = {
  random: false,
  headers: { request: { read: ["*"], write: ["*"] }, response: { read: ["*"], write: ["*"] } },
  attributes: { read: ["*"], write: ["*"] },
};

interface Played {
  readonly bench: FilterBench;
  readonly exchange: TestExchange;
  readonly statuses: readonly number[];
  /** Denials by capability. */
  readonly denied: Readonly<Record<string, number>>;
}

/** Everything an attacker wants to have. */
const CREDENTIALS: readonly (readonly [string, string])[] = [
  ["authorization", "Bearer secret"],
  ["cookie", "session=secret"],
  ["x-api-key", "secret"],
];

/** Runs a whole exchange with scripts by callback; `calls` keep what host calls answered. */
async function play(
  capabilities: Capabilities,
  scripts: Readonly<Record<string, (guest: PuppetGuest, keep: (status: number) => void) => ReturnType<Script>>>,
): Promise<Played> {
  const bench = new FilterBench();
  const statuses: number[] = [];
  for (const [callback, script] of Object.entries(scripts))
    bench.puppet.on(callback, (guest) => script(guest, (status) => statuses.push(status)));
  const module = await bench.load(filterConfig({ capabilities: { ...DEFAULTS, ...capabilities } }));
  const headers = HeaderBlock.from([["user-agent", "test"], ["referer", "http://a.example/"], ...CREDENTIALS]);
  const exchange = bench.exchange([module], { headers });
  const { chain } = exchange;
  if (chain.requestHead(false) === "forward") {
    chain.requestData(latin1Bytes("request"), true);
    if (
      exchange.respond(
        200,
        [
          ["set-cookie", "session=secret"],
          ["x-up", "1"],
        ],
        false,
      ) === "forward"
    )
      chain.responseData(latin1Bytes("response"), true);
  }
  for (const error of bench.puppet.errors) throw error;
  return { bench, exchange, statuses, denied: Object.fromEntries(bench.metrics.denied) };
}

const fieldArgs = (guest: PuppetGuest, map: number, name: string, value: string): number[] => [
  ...[map, guest.put(name), name.length, guest.put(value), value.length],
];
const nameArgs = (guest: PuppetGuest, map: number, name: string): number[] => [map, guest.put(name), name.length];
const pathOf = (...parts: string[]): string => parts.join("\0");

describe("capabilities: fields", () => {
  test("credentials are not there by default: not by name, not in the list, not in its size, not as attributes", async () => {
    let listed = "";
    let size = 0;
    const { statuses, denied } = await play(
      {},
      {
        request_headers: function* (guest, keep) {
          for (const [name] of CREDENTIALS)
            keep(yield guest.host("proxy_get_header_map_value", ...nameArgs(guest, 0, name), OUT_A, OUT_B));
          for (const [name] of CREDENTIALS) {
            const path = pathOf("request", "headers", name);
            keep(yield guest.host("proxy_get_property", guest.put(path), path.length, OUT_A, OUT_B));
          }
          keep(yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B));
          listed = guest.given(OUT_A, OUT_B);
          keep(yield guest.host("proxy_get_header_map_size", 0, OUT_A));
          size = guest.u32(OUT_A);
          const all = pathOf("request", "headers");
          keep(yield guest.host("proxy_get_property", guest.put(all), all.length, OUT_A, OUT_B));
          listed += guest.given(OUT_A, OUT_B);
          return 0;
        },
        response_headers: function* (guest, keep) {
          keep(yield guest.host("proxy_get_header_map_value", ...nameArgs(guest, 2, "set-cookie"), OUT_A, OUT_B));
          keep(yield guest.host("proxy_get_header_map_value", ...nameArgs(guest, 2, "x-up"), OUT_A, OUT_B));
          keep(yield guest.host("proxy_get_header_map_pairs", 2, OUT_A, OUT_B));
          listed += guest.given(OUT_A, OUT_B);
          return 0;
        },
      },
    );
    const none = abi.NOT_FOUND;
    assert.deepEqual(statuses, [none, none, none, none, none, none, 0, 0, 0, none, 0, 0]);
    assert.ok(!listed.includes("secret"), listed);
    assert.ok(!/authorization|cookie|x-api-key/.test(listed), listed);
    assert.match(listed, /user-agent.*x-up/s);
    const [first = ""] = listed.split("x-up");
    assert.ok(size > 0 && size < first.length, "the size tells of what is listed");
    assert.deepEqual(denied, { headers: 7 });
  });

  test("a credential that is named is read, and only that one", async () => {
    const headers = { request: { read: ["authorization"], write: [] }, response: { read: [], write: [] } };
    let listed = "";
    const { statuses } = await play(
      { headers },
      {
        request_headers: function* (guest, keep) {
          keep(yield guest.host("proxy_get_header_map_value", ...nameArgs(guest, 0, "authorization"), OUT_A, OUT_B));
          assert.equal(guest.given(OUT_A, OUT_B), "Bearer secret");
          for (const name of ["cookie", "user-agent", ":path", ":authority", "host", ":method"])
            keep(yield guest.host("proxy_get_header_map_value", ...nameArgs(guest, 0, name), OUT_A, OUT_B));
          for (const name of ["path", "query", "url_path", "host", "method", "scheme", "useragent", "referer"]) {
            const path = pathOf("request", name);
            keep(yield guest.host("proxy_get_property", guest.put(path), path.length, OUT_A, OUT_B));
          }
          yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B);
          listed = guest.given(OUT_A, OUT_B);
          return 0;
        },
        response_headers: function* (guest, keep) {
          keep(yield guest.host("proxy_get_header_map_value", ...nameArgs(guest, 2, ":status"), OUT_A, OUT_B));
          const code = pathOf("response", "code");
          keep(yield guest.host("proxy_get_property", guest.put(code), code.length, OUT_A, OUT_B));
          return 0;
        },
      },
    );
    assert.deepEqual(statuses, [0, ...new Array<number>(16).fill(abi.NOT_FOUND)]);
    assert.equal(listed.split("\0").filter((part) => part === "Bearer secret").length, 1);
    assert.ok(!/cookie|user-agent|:path|shop.example/.test(listed), listed);
  });

  test("where a request goes and whom it came from is not written by default; ordinary fields are", async () => {
    const denied = [
      ":path",
      ":authority",
      "host",
      ":method",
      ":scheme",
      "x-forwarded-for",
      "forwarded",
      "authorization",
      "cookie",
    ];
    const { statuses, exchange } = await play(
      {},
      {
        request_headers: function* (guest, keep) {
          for (const name of denied) {
            const value = name === ":method" ? "POST" : "/evil";
            keep(yield guest.host("proxy_replace_header_map_value", ...fieldArgs(guest, 0, name, value)));
            keep(yield guest.host("proxy_add_header_map_value", ...fieldArgs(guest, 0, name, value)));
          }
          for (const name of ["authorization", "cookie"])
            keep(yield guest.host("proxy_remove_header_map_value", ...nameArgs(guest, 0, name)));
          keep(yield guest.host("proxy_add_header_map_value", ...fieldArgs(guest, 0, "x-mine", "1")));
          return 0;
        },
        response_headers: function* (guest, keep) {
          keep(yield guest.host("proxy_add_header_map_value", ...fieldArgs(guest, 2, "set-cookie", "session=evil")));
          keep(yield guest.host("proxy_replace_header_map_value", ...fieldArgs(guest, 2, ":status", "201")));
          return 0;
        },
      },
    );
    const no = abi.INTERNAL_FAILURE;
    assert.deepEqual(statuses, [...new Array<number>(denied.length * 2 + 2).fill(no), 0, no, 0]);
    const { request, response } = exchange;
    assert.equal(`${request.method} ${request.scheme} ${request.authority} ${request.path}`, "GET https shop.example /cart");
    assert.deepEqual(request.headers.entries().slice(2), [...CREDENTIALS, ["x-mine", "1"]]);
    assert.deepEqual(response?.headers.getAll("set-cookie"), ["session=secret"]);
    assert.equal(response?.status, 201);
  });

  test("what is named is written, and nothing else; prefixes count, `**` is all", async () => {
    const headers = {
      request: { read: ["**"], write: ["x-shop-*", ":path", "cookie"] },
      response: { read: [], write: ["**"] },
    };
    const { statuses, exchange } = await play(
      { headers },
      {
        request_headers: function* (guest, keep) {
          for (const [name, value] of [
            ["x-shop-a", "1"],
            [":path", "/new?b=2"],
            ["cookie", "mine"],
            ["x-other", "1"],
            ["x-shop", "1"],
          ] as const)
            keep(yield guest.host("proxy_replace_header_map_value", ...fieldArgs(guest, 0, name, value)));
          return 0;
        },
        response_headers: function* (guest, keep) {
          keep(yield guest.host("proxy_replace_header_map_value", ...fieldArgs(guest, 2, "set-cookie", "mine")));
          return 0;
        },
      },
    );
    const no = abi.INTERNAL_FAILURE;
    assert.deepEqual(statuses, [0, 0, 0, no, no, 0]);
    assert.equal(exchange.request.path, "/new");
    assert.deepEqual(exchange.request.headers.get("cookie"), "mine");
    assert.equal(exchange.request.headers.has("x-other") || exchange.request.headers.has("x-shop"), false);
    assert.deepEqual(exchange.response?.headers.getAll("set-cookie"), ["mine"]);
  });

  test("replacing the whole map leaves what is not granted as it was; one that would change it does nothing", async () => {
    const ordinary: readonly (readonly [string, string])[] = [
      ["user-agent", "other"],
      ["x-new", "1"],
    ];
    const line: readonly (readonly [string, string])[] = [
      ...([
        [":path", "/cart?a=1"],
        [":authority", "shop.example"],
        [":method", "GET"],
      ] as const),
    ];
    for (const [pairs, expected] of [
      [[...line, ...ordinary], abi.OK],
      [ordinary, abi.OK],
      [[[":path", "/evil"], ...ordinary], abi.INTERNAL_FAILURE],
      [[["authorization", "evil"], ...ordinary], abi.INTERNAL_FAILURE],
      [[["x-forwarded-for", "6.6.6.6"], ...ordinary], abi.INTERNAL_FAILURE],
    ] as const) {
      const { statuses, exchange, denied } = await play(
        {},
        {
          request_headers: function* (guest, keep) {
            keep(yield guest.host("proxy_set_header_map_pairs", 0, ...guest.putPairs(pairs)));
            return 0;
          },
        },
      );
      assert.deepEqual(statuses, [expected]);
      assert.deepEqual(denied, expected === abi.OK ? {} : { headers: 1 });
      const { headers, path } = exchange.request;
      assert.equal(path, "/cart");
      for (const [name, value] of CREDENTIALS) assert.deepEqual(headers.getAll(name), [value]);
      assert.equal(headers.get("user-agent"), expected === abi.OK ? "other" : "test");
      assert.equal(headers.has("referer"), expected !== abi.OK);
    }
  });

  test("trailers follow the fields of their direction", async () => {
    const bench = new FilterBench();
    const statuses: number[] = [];
    bench.puppet.on("request_trailers", function* (guest) {
      statuses.push(yield guest.host("proxy_get_header_map_value", ...nameArgs(guest, 1, "x-api-key"), OUT_A, OUT_B));
      statuses.push(yield guest.host("proxy_add_header_map_value", ...fieldArgs(guest, 1, "x-forwarded-for", "1")));
      statuses.push(yield guest.host("proxy_add_header_map_value", ...fieldArgs(guest, 1, "x-ok", "1")));
      return 0;
    });
    const { chain } = bench.exchange([await bench.load(filterConfig({ capabilities: DEFAULTS }))]);
    chain.requestHead(false);
    chain.requestEnd(HeaderBlock.from([["x-api-key", "secret"]]));
    assert.deepEqual(statuses, [abi.NOT_FOUND, abi.INTERNAL_FAILURE, 0]);
    assert.deepEqual(chain.requestTrailers?.entries(), [
      ["x-api-key", "secret"],
      ["x-ok", "1"],
    ]);
  });
});

describe("capabilities: bodies", () => {
  const touch: Readonly<Record<string, (guest: PuppetGuest, keep: (status: number) => void) => ReturnType<Script>>> = {
    request_body: function* (guest, keep) {
      keep(yield guest.host("proxy_get_buffer_bytes", 0, 0, 100, OUT_A, OUT_B));
      keep(yield guest.host("proxy_set_buffer_bytes", 0, 0, 100, guest.put("evil"), 4));
      return 0;
    },
    response_body: function* (guest, keep) {
      keep(yield guest.host("proxy_get_buffer_bytes", 1, 0, 100, OUT_A, OUT_B));
      keep(yield guest.host("proxy_set_buffer_bytes", 1, 0, 100, guest.put("evil"), 4));
      return 0;
    },
  };

  test("none: its callbacks are not called, and its buffers are denied everywhere", async () => {
    const { bench, exchange, statuses, denied } = await play(
      { bodies: { request: "none", response: "none" } },
      {
        ...touch,
        request_headers: function* (guest, keep) {
          for (const buffer of [0, 1]) {
            keep(yield guest.host("proxy_get_buffer_bytes", buffer, 0, 100, OUT_A, OUT_B));
            keep(yield guest.host("proxy_get_buffer_status", buffer, OUT_A, OUT_B));
            keep(yield guest.host("proxy_set_buffer_bytes", buffer, 0, 100, guest.put("evil"), 4));
          }
          return 0;
        },
      },
    );
    assert.deepEqual(statuses, new Array<number>(6).fill(abi.INTERNAL_FAILURE));
    assert.deepEqual(denied, { bodies: 6 });
    assert.ok(!bench.puppet.entered.some((each) => each.endsWith("_body")));
    assert.equal(latin1Text(exchange.chain.data), "response");
  });

  test("read: it sees them and changes nothing", async () => {
    const { exchange, statuses, denied } = await play({ bodies: { request: "read", response: "read" } }, touch);
    assert.deepEqual(statuses, [0, abi.INTERNAL_FAILURE, 0, abi.INTERNAL_FAILURE]);
    assert.deepEqual(denied, { bodies: 2 });
    assert.equal(latin1Text(exchange.chain.data), "response");
  });

  test("write, by direction", async () => {
    const { exchange, statuses } = await play({ bodies: { request: "none", response: "write" } }, touch);
    assert.deepEqual(statuses, [0, 0]);
    assert.equal(latin1Text(exchange.chain.data), "evil");
  });
});

describe("capabilities: answers, log, metrics, attributes", () => {
  const answer: Readonly<Record<string, (guest: PuppetGuest, keep: (status: number) => void) => ReturnType<Script>>> = {
    request_headers: function* (guest, keep) {
      const [at, size] = guest.putPairs([
        ["set-cookie", "session=evil"],
        ["x-mine", "1"],
      ]);
      keep(yield guest.host("proxy_send_local_response", 403, 0, 0, guest.put("no"), 2, at, size, -1));
      return 1;
    },
  };

  test("respond: denied, nothing is answered, nor is a stream closed", async () => {
    const { exchange, statuses, denied } = await play(
      { respond: false },
      {
        request_headers: function* (guest, keep) {
          keep(yield guest.host("proxy_send_local_response", 403, 0, 0, guest.put("no"), 2, 0, 0, -1));
          keep(yield guest.host("proxy_close_stream", 0));
          return 0;
        },
      },
    );
    assert.deepEqual(statuses, [abi.INTERNAL_FAILURE, abi.INTERNAL_FAILURE]);
    assert.deepEqual(denied, { respond: 2 });
    assert.equal(exchange.response?.status, 200);
    assert.equal(exchange.chain.localResponse, undefined);
  });

  test("respond: a refusal goes out, without the fields that it may not write", async () => {
    const { exchange, statuses, denied } = await play({}, answer);
    assert.deepEqual(statuses, [0]);
    assert.equal(exchange.chain.localResponse?.status, 403);
    assert.deepEqual(exchange.chain.localResponse?.headers.entries(), [
      ["x-mine", "1"],
      ["content-type", "text/plain"],
    ]);
    assert.deepEqual(denied, { headers: 1 });
  });

  test("log: no line by any way, also not as the reason of a refusal", async () => {
    const { bench, statuses, denied } = await play(
      { log: false },
      {
        request_headers: function* (guest, keep) {
          keep(yield guest.host("proxy_log", 4, guest.put("evil"), 4));
          const text = guest.put("evil");
          const vector = guest.put(Buffer.from(Uint32Array.of(text, 4).buffer));
          keep(yield guest.host("fd_write", 2, vector, 1, OUT_A));
          return 0;
        },
      },
    );
    assert.deepEqual(statuses, [abi.INTERNAL_FAILURE, abi.WASI_NOTCAPABLE]);
    assert.deepEqual(denied, { log: 2 });
    assert.deepEqual(bench.log.lines, []);
    const silent = new FilterBench();
    silent.puppet.on("configure", function* (guest) {
      yield guest.host("proxy_log", 4, guest.put("evil"), 4);
      return 0;
    });
    await assert.rejects(silent.load(filterConfig({ capabilities: { log: false } })), /proxy_on_configure answered false/);
  });

  test("metrics: none is defined, read or changed, and no counter of its memory is mapped", async () => {
    const { bench, statuses, denied } = await play(
      { metrics: false },
      {
        request_headers: function* (guest, keep) {
          keep(yield guest.host("proxy_define_metric", 0, guest.put("evil"), 4, OUT_A));
          keep(yield guest.host("proxy_increment_metric", 1, 1n));
          keep(yield guest.host("proxy_record_metric", 1, 1n));
          keep(yield guest.host("proxy_get_metric", 1, OUT_A));
          return 0;
        },
      },
    );
    assert.deepEqual(statuses, new Array<number>(4).fill(abi.INTERNAL_FAILURE));
    assert.deepEqual(denied, { metrics: 4 });
    assert.deepEqual(bench.metrics.names, []);
  });

  const set = (guest: PuppetGuest, ...parts: string[]): ReturnType<PuppetGuest["host"]> => {
    const path = pathOf(...parts);
    return guest.host("proxy_set_property", guest.put(path), path.length, guest.put("evil"), 4);
  };
  const FORGED: readonly (readonly string[])[] = [
    ["selvedge.principal"],
    ["filter_state", "wasm.selvedge.principal"],
    ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "users", "sub"],
    ["source", "address"],
    ["connection", "uri_san_peer_certificate"],
    ["connection_id"],
  ];

  test("attributes: nobody forges what the proxy says, by any of its names", async () => {
    const { exchange, statuses } = await play(
      {},
      {
        request_headers: function* (guest, keep) {
          for (const parts of FORGED) keep(yield set(guest, ...parts));
          keep(yield set(guest, "selvedge.log.note"));
          keep(yield set(guest, "mine"));
          return 0;
        },
      },
    );
    assert.deepEqual(statuses, [...FORGED.map(() => abi.INTERNAL_FAILURE), 0, 0]);
    assert.deepEqual([...(exchange.chain.notes ?? [])], [["note", "evil"]]);
  });

  test("attributes: one that is granted by name is set; what is not granted is not read", async () => {
    const { statuses } = await play(
      { attributes: { read: ["source.*", "selvedge.principal"], write: ["selvedge.principal"] } },
      {
        request_headers: function* (guest, keep) {
          keep(yield set(guest, "selvedge.principal"));
          keep(yield set(guest, "selvedge.log.note"));
          for (const parts of [
            ["selvedge.principal"],
            ["source", "address"],
            ["metadata", "filter_metadata", "ns", "key"],
            ["request", "id"],
          ]) {
            const path = pathOf(...parts);
            keep(yield guest.host("proxy_get_property", guest.put(path), path.length, OUT_A, OUT_B));
          }
          return 0;
        },
      },
    );
    assert.deepEqual(statuses, [0, abi.INTERNAL_FAILURE, 0, 0, abi.NOT_FOUND, abi.NOT_FOUND]);
  });
});
