import assert from "node:assert/strict";
import { latin1Bytes } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { FilterBench, playInRequest as play, settle } from "../kit/filters.ts";
import { type Command, OUT_A, OUT_B, OUT_C, type PuppetGuest, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

type Steps<T> = Generator<Command, T, number>;

function* getValue(guest: PuppetGuest, map: number, key: string): Steps<string | number> {
  const status = yield guest.host("proxy_get_header_map_value", map, guest.put(key), key.length, OUT_A, OUT_B);
  return status === abi.OK ? guest.given(OUT_A, OUT_B) : status;
}
function* setValue(guest: PuppetGuest, verb: "add" | "replace", map: number, key: string, value: string): Steps<number> {
  return yield guest.host(`proxy_${verb}_header_map_value`, map, guest.put(key), key.length, guest.put(value), value.length);
}
function* getProperty(guest: PuppetGuest, ...path: string[]): Steps<string | number> {
  const joined = path.join("\0");
  const status = yield guest.host("proxy_get_property", guest.put(joined), joined.length, OUT_A, OUT_B);
  return status === abi.OK ? guest.given(OUT_A, OUT_B) : status;
}
const integer = (value: number | bigint): string => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes.toString("latin1");
};

describe("proxy-wasm: header maps", () => {
  test("pseudo headers, first value of many, host as authority, unknown keys and maps", async () => {
    await play(function* (guest) {
      assert.equal(yield* getValue(guest, 0, ":path"), "/cart?a=1");
      assert.equal(yield* getValue(guest, 0, ":method"), "GET");
      assert.equal(yield* getValue(guest, 0, ":authority"), "shop.example");
      assert.equal(yield* getValue(guest, 0, "Host"), "shop.example");
      assert.equal(yield* getValue(guest, 0, ":scheme"), "https");
      assert.equal(yield* getValue(guest, 0, "X-Many"), "1");
      assert.equal(yield* getValue(guest, 0, "x-none"), abi.NOT_FOUND);
      assert.equal(yield* getValue(guest, 0, ":nonsense"), abi.NOT_FOUND);
      for (const map of [1, 2, 3, 4, 5, 6, 7, 8, -1]) {
        assert.equal(yield* getValue(guest, map, "x-many"), abi.BAD_ARGUMENT, `map ${map}`);
        const pairs = map >= 0 && map <= 7 ? abi.OK : abi.BAD_ARGUMENT;
        assert.equal(yield guest.host("proxy_get_header_map_pairs", map, OUT_A, OUT_B), pairs);
        assert.equal(yield guest.host("proxy_get_header_map_size", map, OUT_A), abi.BAD_ARGUMENT);
        assert.equal(yield* setValue(guest, "add", map, "a", "b"), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host("proxy_remove_header_map_value", map, guest.put("a"), 1), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host("proxy_set_header_map_pairs", map, 0, 0), abi.BAD_ARGUMENT);
      }
      return 0;
    });
  });

  test("pairs carry every value, and their announced size is their size", async () => {
    await play(function* (guest) {
      assert.equal(yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B), abi.OK);
      const at = guest.u32(OUT_A);
      const size = guest.u32(OUT_B);
      const [copy, copySize] = guest.putPairs([
        [":authority", "shop.example"],
        [":path", "/cart?a=1"],
        [":method", "GET"],
        [":scheme", "https"],
        ["user-agent", "test"],
        ["x-many", "1"],
        ["x-many", "2"],
      ]);
      assert.equal(guest.memory.toString("latin1", at, at + size), guest.memory.toString("latin1", copy, copy + copySize));
      assert.equal(yield guest.host("proxy_get_header_map_size", 0, OUT_C), abi.OK);
      assert.equal(guest.u32(OUT_C), size);
      return 0;
    });
  });

  test("add, replace, remove and set; what could split or smuggle a message is refused", async () => {
    const [, exchange] = await play(function* (guest) {
      assert.equal(yield* setValue(guest, "add", 0, "X-New", "caf\xe9"), abi.OK);
      assert.equal(yield* setValue(guest, "replace", 0, "x-many", "3"), abi.OK);
      assert.equal(yield guest.host("proxy_remove_header_map_value", 0, guest.put("User-Agent"), 10), abi.OK);
      assert.equal(yield guest.host("proxy_remove_header_map_value", 0, guest.put("x-gone"), 6), abi.OK);
      const refused: [string, string][] = [
        ["x-split", "a\r\nb: c"],
        ["x-nul", "a\0b"],
        ["x bad", "a"],
        ["", "a"],
        ["x\r\ny", "a"],
        ["Transfer-Encoding", "chunked"],
        ["connection", "close"],
        ["upgrade", "h2c"],
        ["content-length", "1e3"],
        ["content-length", "+5"],
        [":path", "no-slash"],
        [":path", "/a b"],
        [":path", "/a\r\nx: y"],
        [":path", "/a#b"],
        [":method", "CONNECT"],
        [":method", "A B"],
        [":scheme", "ftp"],
        [":authority", "user@host"],
        [":nonsense", "a"],
      ];
      for (const [name, value] of refused) {
        assert.equal(yield* setValue(guest, "add", 0, name, value), abi.BAD_ARGUMENT, `${name}: ${value}`);
        assert.equal(yield* setValue(guest, "replace", 0, name, value), abi.BAD_ARGUMENT, `${name}: ${value}`);
      }
      assert.equal(yield guest.host("proxy_remove_header_map_value", 0, guest.put(":path"), 5), abi.BAD_ARGUMENT);
      return 0;
    });
    assert.deepEqual(exchange.request.headers.entries(), [
      ["x-many", "3"],
      ["x-new", "caf\xe9"],
    ]);
    assert.equal(exchange.request.path, "/cart");
    assert.equal(exchange.chain.targetChanged, false);
  });

  test("writing :path splits it and says so; set pairs replaces all fields", async () => {
    const [, exchange] = await play(function* (guest) {
      assert.equal(yield* setValue(guest, "replace", 0, ":path", "/new?x=%20?"), abi.OK);
      assert.equal(yield* setValue(guest, "replace", 0, ":method", "PUT"), abi.OK);
      const [at, size] = guest.putPairs([
        [":authority", "Other.Example"],
        ["X-Only", "1"],
        ["te", "trailers"],
        ["transfer-encoding", "chunked"],
      ]);
      assert.equal(yield guest.host("proxy_set_header_map_pairs", 0, at, size), abi.OK);
      return 0;
    });
    const { path, query, method, authority, headers } = exchange.request;
    assert.deepEqual([path, query, method, authority], ["/new", "x=%20?", "PUT", "other.example"]);
    assert.deepEqual(headers.entries(), [
      ["x-only", "1"],
      ["te", "trailers"],
    ]);
    assert.equal(exchange.chain.targetChanged, true);
  });

  test("malformed pairs are refused whole", async () => {
    const [bench, exchange] = await play(function* (guest) {
      const [at, size] = guest.putPairs([["a", "b"]]);
      for (const cut of [1, 2, 3, size - 1]) {
        assert.equal(yield guest.host("proxy_set_header_map_pairs", 0, at, cut), abi.BAD_ARGUMENT, `cut to ${cut}`);
      }
      for (const count of [0xffff_ffff, 0x2000_0001, 2]) {
        guest.memory.writeUInt32LE(count, at);
        assert.equal(yield guest.host("proxy_set_header_map_pairs", 0, at, size), abi.BAD_ARGUMENT, `count ${count}`);
      }
      guest.memory.writeUInt32LE(1, 65_532);
      assert.equal(yield guest.host("proxy_set_header_map_pairs", 0, 65_532, 4), abi.BAD_ARGUMENT, "lengths behind the memory");
      guest.memory.writeUInt32LE(1, at);
      guest.memory.writeUInt32LE(0xffff_fff0, at + 4);
      assert.equal(yield guest.host("proxy_set_header_map_pairs", 0, at, size), abi.BAD_ARGUMENT);
      return 0;
    });
    assert.equal(exchange.request.headers.length, 3);
    assert.deepEqual(bench.metrics.traps, []);
  });

  test("the request may be read but not changed once its head went on; responses have :status", async () => {
    const bench = new FilterBench();
    bench.puppet.on("response_headers", function* (guest) {
      assert.equal(yield* getValue(guest, 0, ":path"), "/cart?a=1");
      assert.equal(yield* setValue(guest, "add", 0, "x-late", "1"), abi.BAD_ARGUMENT);
      assert.equal(yield* getValue(guest, 2, ":status"), "204");
      assert.equal(yield* setValue(guest, "replace", 2, ":status", "404"), abi.OK);
      for (const status of ["99", "101", "600", "abc", "0x1"]) {
        assert.equal(yield* setValue(guest, "replace", 2, ":status", status), abi.BAD_ARGUMENT, status);
      }
      assert.equal(yield* setValue(guest, "add", 2, "set-cookie", "b=2"), abi.OK);
      return 0;
    });
    const exchange = bench.exchange([await bench.load()]);
    assert.equal(exchange.chain.requestHead(true), "forward");
    assert.equal(exchange.respond(204, [["set-cookie", "a=1"]], true), "forward");
    assert.deepEqual(bench.puppet.errors, []);
    assert.equal(exchange.response?.status, 404);
    assert.deepEqual(exchange.response?.headers.getAll("set-cookie"), ["a=1", "b=2"]);
  });

  test("trailers are read, changed and, at the end of a body, added", async () => {
    const bench = new FilterBench();
    bench.puppet
      .on("request_trailers", function* (guest, _id, count) {
        assert.equal(count, 1);
        assert.equal(yield* getValue(guest, 1, "grpc-status"), "0");
        assert.equal(yield* setValue(guest, "replace", 1, "grpc-status", "1"), abi.OK);
        return 0;
      })
      .on("response_body", function* (guest, _id, _size, end) {
        const status = yield* setValue(guest, "add", 3, "x-sum", "1");
        assert.equal(status, end === 1 ? abi.OK : abi.BAD_ARGUMENT);
        return 0;
      });
    const exchange = bench.exchange([await bench.load()]);
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestEnd(HeaderBlock.from([["grpc-status", "0"]])), "forward");
    assert.equal(exchange.chain.requestTrailers?.get("grpc-status"), "1");
    exchange.respond(200, [], false);
    assert.equal(exchange.chain.responseData(latin1Bytes("a"), false), "forward");
    assert.equal(exchange.chain.responseEnd(undefined), "forward");
    assert.equal(exchange.chain.responseTrailers?.get("x-sum"), "1");
    assert.deepEqual(bench.puppet.errors, []);
  });
});

describe("proxy-wasm: properties", () => {
  test("Envoy's attributes in Envoy's encoding", async () => {
    await play(function* (guest) {
      const expected: [string[], string | number][] = [
        [["request", "path"], "/cart?a=1"],
        [["request", "url_path"], "/cart"],
        [["request", "query"], "a=1"],
        [["request", "host"], "shop.example"],
        [["request", "scheme"], "https"],
        [["request", "method"], "GET"],
        [["request", "useragent"], "test"],
        [["request", "headers", "x-many"], "1,2"],
        [["request", "referer"], abi.NOT_FOUND],
        [["request", "id"], "id-1"],
        [["request", "protocol"], "HTTP/1.1"],
        [["request", "time"], integer(1_700_000_000_123_000_000n)],
        [["request", "duration"], integer(12_000_000)],
        [["request", "size"], integer(0)],
        [["response", "code"], abi.NOT_FOUND],
        [["source", "address"], "192.0.2.1:4711"],
        [["source", "port"], integer(4711)],
        [["destination", "address"], "192.0.2.2:8080"],
        [["destination", "port"], integer(8080)],
        [["connection", "id"], integer(7)],
        [["connection", "mtls"], "\0"],
        [["connection", "tls_version"], abi.NOT_FOUND],
        [["upstream", "address"], "10.0.0.1:80"],
        [["upstream", "port"], integer(80)],
        [["xds", "route_name"], "default/shop"],
        [["cluster_name"], "default/shop"],
        [["plugin_name"], "default/puppet"],
        [["metadata", "filter_metadata", "ns", "key"], "dynamic"],
        [["metadata", "filter_metadata", "ns", "other"], abi.NOT_FOUND],
        [["nonsense"], abi.NOT_FOUND],
        [[""], abi.NOT_FOUND],
      ];
      for (const [path, value] of expected) assert.equal(yield* getProperty(guest, ...path), value, path.join("."));
      return 0;
    });
  });

  test("what a filter sets is found by it and by log notes, and forges nothing", async () => {
    const [, exchange] = await play(function* (guest) {
      const set = function* (path: string, value: string): Steps<number> {
        return yield guest.host("proxy_set_property", guest.put(path), path.length, guest.put(value), value.length);
      };
      assert.equal(yield* set("my_key", "v"), abi.OK);
      assert.equal(yield* set("source\0address", "6.6.6.6:1"), abi.OK);
      assert.equal(yield* set("selvedge.log.why", "because"), abi.OK);
      assert.equal(yield* getProperty(guest, "my_key"), "v");
      assert.equal(yield* getProperty(guest, "filter_state", "wasm.my_key"), "v");
      assert.equal(yield* getProperty(guest, "source", "address"), "192.0.2.1:4711");
      return 0;
    });
    assert.deepEqual([...(exchange.chain.notes ?? [])], [["why", "because"]]);
  });
});

describe("proxy-wasm: buffers", () => {
  test("ids, ranges and availability", async () => {
    await play(
      function* (guest) {
        const read = function* (buffer: number, start: number, size: number): Steps<string | number> {
          const status = yield guest.host("proxy_get_buffer_bytes", buffer, start, size, OUT_A, OUT_B);
          return status === abi.OK ? guest.given(OUT_A, OUT_B) : status;
        };
        assert.equal(yield* read(7, 0, 100), '{"a":"\xc3\xa9"}');
        assert.equal(yield* read(7, 1, 3), '"a"');
        assert.equal(yield* read(7, 10, 1), "");
        assert.equal(yield* read(7, 11, 1), "");
        assert.equal(yield* read(7, 1, -1), abi.BAD_ARGUMENT);
        assert.equal(yield* read(6, 0, 100), "");
        for (const buffer of [0, 1, 2, 3, 4, 5, 8]) assert.equal(yield* read(buffer, 0, 1), abi.NOT_FOUND, `buffer ${buffer}`);
        for (const buffer of [9, -1]) assert.equal(yield* read(buffer, 0, 1), abi.BAD_ARGUMENT, `buffer ${buffer}`);
        assert.equal(yield guest.host("proxy_get_buffer_status", 7, OUT_A, OUT_B), abi.OK);
        assert.equal(guest.u32(OUT_A), 10);
        assert.equal(yield guest.host("proxy_get_buffer_status", 9, OUT_A, OUT_B), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host("proxy_set_buffer_bytes", 7, 0, 0, 0, 1), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host("proxy_set_buffer_bytes", 0, 0, 0, 0, 1), abi.NOT_FOUND);
        return 0;
      },
      { settings: '{"a":"é"}' },
    );
  });

  test("a body is read, prepended to, appended to, replaced in the middle, and its source is not touched", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_body", function* (guest, _id, size) {
      assert.equal(size, 5);
      const set = (start: number, length: number, text: string): Command =>
        guest.host("proxy_set_buffer_bytes", 0, start, length, guest.put(text), text.length);
      assert.equal(yield set(0, 0, "<"), abi.OK);
      assert.equal(yield set(-1, 0, ">"), abi.OK);
      assert.equal(yield set(3, 2, "LL!"), abi.OK);
      assert.equal(yield guest.host("proxy_get_buffer_bytes", 0, 0, 99, OUT_A, OUT_B), abi.OK);
      assert.equal(guest.given(OUT_A, OUT_B), "<heLL!o>");
      return 0;
    });
    const exchange = bench.exchange([await bench.load()]);
    exchange.chain.requestHead(false);
    const source = latin1Bytes("hello");
    assert.equal(exchange.chain.requestData(source, false), "forward");
    assert.equal(Buffer.from(exchange.chain.data).toString(), "<heLL!o>");
    assert.equal(Buffer.from(source).toString(), "hello");
    assert.deepEqual(bench.puppet.errors, []);
  });
});

describe("proxy-wasm: stream control and local replies", () => {
  test("unknown and unsupported streams", async () => {
    await play(function* (guest) {
      for (const call of ["proxy_continue_stream", "proxy_close_stream"]) {
        assert.equal(yield guest.host(call, 2), abi.UNIMPLEMENTED);
        assert.equal(yield guest.host(call, 3), abi.UNIMPLEMENTED);
        assert.equal(yield guest.host(call, 4), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host(call, -1), abi.BAD_ARGUMENT);
      }
      return 0;
    });
  });

  test("a local reply carries status, details, headers, body and gRPC status; framing fields are dropped", async () => {
    const [, exchange] = await play(function* (guest) {
      const [at, size] = guest.putPairs([
        ["X-Why", "no"],
        ["content-length", "999"],
        ["transfer-encoding", "chunked"],
        ["x-split", "a\r\nb"],
      ]);
      const send = (status: number): Command =>
        guest.host("proxy_send_local_response", status, guest.put("why"), 3, guest.put("denied"), 6, at, size, 7);
      assert.equal(yield send(199), abi.BAD_ARGUMENT);
      assert.equal(yield send(600), abi.BAD_ARGUMENT);
      assert.equal(yield send(403), abi.OK);
      return 1;
    });
    const { localResponse } = exchange.chain;
    assert.deepEqual(localResponse?.headers.entries(), [
      ["x-why", "no"],
      ["content-type", "text/plain"],
    ]);
    assert.equal(Buffer.from(localResponse?.body ?? []).toString(), "denied");
    assert.deepEqual([localResponse?.status, localResponse?.grpcStatus, localResponse?.details], [403, 7, "why"]);
  });

  test("continue_stream inside the callback undoes its pause; close_stream ends the exchange", async () => {
    const [, exchange] = await play(function* (guest) {
      assert.equal(yield guest.host("proxy_continue_stream", 0), abi.OK);
      return 1;
    });
    await settle();
    assert.deepEqual(exchange.events, []);
    const bench = new FilterBench();
    const resumeAndPause: Script = function* (guest) {
      assert.equal(yield guest.host("proxy_continue_stream", 0), abi.OK);
      return 1;
    };
    bench.puppet.on("request_headers", resumeAndPause).on("request_body", function* () {
      yield* [];
      return 1;
    });
    const again = bench.exchange([await bench.load()]);
    assert.equal(again.chain.requestHead(false), "forward");
    assert.equal(again.chain.requestData(latin1Bytes("x"), true), "held");
    await settle();
    assert.deepEqual(again.events, [], "a later pause is not resumed by it");
    const [, closed] = await play(
      function* (guest) {
        assert.equal(yield guest.host("proxy_close_stream", 0), abi.OK);
        return 0;
      },
      { onFailure: "open" },
    );
    assert.equal(closed.chain.localResponse?.details, "closed_by_filter");
  });
});
