import assert from "node:assert/strict";
import { needsOf } from "../../src/cli/filter/capabilities.ts";
import { utf8Bytes } from "../../src/core/bytes.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { FilterBench, filterConfig, playInRequest as play } from "../kit/filters.ts";
import { type Command, OUT_A, OUT_B, OUT_C, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

describe("proxy-wasm: logs, time, metrics, foreign functions, gRPC", () => {
  test("levels, unknown levels, and the host's own level", async () => {
    const [bench] = await play(function* (guest) {
      for (let level = 0; level <= 5; level++) assert.equal(yield guest.host("proxy_log", level, guest.put("m"), 1), abi.OK);
      assert.equal(yield guest.host("proxy_log", 6, guest.put("m"), 1), abi.BAD_ARGUMENT);
      assert.equal(yield guest.host("proxy_get_log_level", OUT_A), abi.OK);
      assert.equal(guest.u32(OUT_A), 1);
      return 0;
    });
    assert.deepEqual(bench.log.lines, ["debug m", "debug m", "info m", "warn m", "error m", "error m"]);
  });

  test("log lines per second are capped, the rest is counted", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      for (let i = 0; i < 5; i++) assert.equal(yield guest.host("proxy_log", 2, guest.put("m"), 1), abi.OK);
      return 0;
    });
    const module = await bench.load(filterConfig({ budget: { logLinesPerSecond: 3 } }));
    bench.exchange([module]).chain.requestHead(true);
    assert.equal(bench.log.lines.length, 3);
    bench.clock.advance(1000);
    bench.exchange([module]).chain.requestHead(true);
    assert.deepEqual(bench.log.lines.slice(3), ["warn log lines of a filter were dropped", "info m", "info m", "info m"]);
    assert.deepEqual(bench.puppet.errors, []);
  });

  test("time is rounded to milliseconds unless the capability is granted", async () => {
    const times: bigint[] = [];
    const script: Script = function* (guest) {
      assert.equal(yield guest.host("proxy_get_current_time_nanoseconds", OUT_C), abi.OK);
      times.push(guest.u64(OUT_C));
      assert.equal(yield guest.host("clock_time_get", 0, 1n, OUT_C), abi.WASI_SUCCESS);
      times.push(guest.u64(OUT_C));
      assert.equal(yield guest.host("clock_time_get", 2, 1n, OUT_C), abi.WASI_NOTSUP);
      return 0;
    };
    for (const clock of [false, true]) {
      const bench = new FilterBench();
      bench.clock.advance(1.25);
      bench.puppet.on("request_headers", script);
      const capabilities = { ...filterConfig().capabilities, clock };
      bench.exchange([await bench.load(filterConfig({ capabilities }))]).chain.requestHead(true);
      assert.deepEqual(bench.puppet.errors, []);
    }
    const whole = 1_700_000_000_001_000_000n;
    assert.deepEqual(times, [whole, whole, whole + 250_000n, whole + 250_000n]);
  });

  test("metrics: kinds, ids of others, negative counters, the cap", async () => {
    const [bench] = await play(
      function* (guest) {
        const define = (type: number, name: string): Command =>
          guest.host("proxy_define_metric", type, guest.put(name), name.length, OUT_A);
        assert.equal(yield define(0, "hits"), abi.OK);
        const counter = guest.u32(OUT_A);
        assert.equal(yield define(0, "hits"), abi.OK);
        assert.equal(guest.u32(OUT_A), counter);
        assert.equal(yield define(1, "load"), abi.OK);
        const gauge = guest.u32(OUT_A);
        assert.equal(yield define(2, "sizes"), abi.INTERNAL_FAILURE);
        assert.equal(yield define(3, "x"), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host("proxy_increment_metric", counter, 5n), abi.OK);
        assert.equal(yield guest.host("proxy_increment_metric", counter, -1n), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host("proxy_record_metric", gauge, 42n), abi.OK);
        assert.equal(yield guest.host("proxy_increment_metric", gauge, -2n), abi.OK);
        assert.equal(yield guest.host("proxy_get_metric", gauge, OUT_C), abi.OK);
        assert.equal(guest.u64(OUT_C), 40n);
        assert.equal(yield guest.host("proxy_record_metric", 99, 1n), abi.NOT_FOUND);
        assert.equal(yield guest.host("proxy_increment_metric", 99, 1n), abi.NOT_FOUND);
        assert.equal(yield guest.host("proxy_get_metric", 99, OUT_C), abi.NOT_FOUND);
        return 0;
      },
      { budget: { metrics: 2 } },
    );
    assert.deepEqual([...bench.metrics.values.values()], [5, 40]);
  });

  test("foreign functions: unknown, not granted, wrong arguments, a result; no gRPC service is granted", async () => {
    const bench = new FilterBench();
    bench.foreign.register("secret", utf8Bytes.bind(undefined, "x"), () => false);
    bench.foreign.register(
      "reverse",
      (_config, args) => (args.length === 0 ? undefined : Uint8Array.from(args).reverse()),
      () => true,
    );
    bench.puppet.on("request_headers", function* (guest) {
      const call = (name: string, args: string): Command =>
        guest.host("proxy_call_foreign_function", guest.put(name), name.length, guest.put(args), args.length, OUT_A, OUT_B);
      assert.equal(yield call("none", ""), abi.NOT_FOUND);
      assert.equal(yield call("secret", ""), abi.NOT_FOUND);
      assert.equal(yield call("reverse", ""), abi.BAD_ARGUMENT);
      assert.equal(yield call("reverse", "abc"), abi.OK);
      assert.equal(guest.given(OUT_A, OUT_B), "cba");
      for (const name of ["call", "stream"]) {
        assert.equal(yield guest.host(`proxy_grpc_${name}`, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), abi.PARSE_FAILURE);
        assert.equal(yield guest.host(`proxy_grpc_${name}`, -1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), abi.INVALID_MEMORY_ACCESS);
      }
      for (const name of ["send", "cancel", "close"])
        assert.equal(yield guest.host(`proxy_grpc_${name}`, 1, 0, 0, 0), abi.NOT_FOUND);
      assert.equal(yield guest.host("proxy_get_status", OUT_A, OUT_B, OUT_C), abi.OK);
      return 0;
    });
    bench.exchange([await bench.load()]).chain.requestHead(true);
    assert.deepEqual(bench.puppet.errors, []);
  });

  test("gRPC to a service that is granted: what `filter inspect` says of it", async () => {
    const bench = new FilterBench();
    const service = "default/auth";
    bench.puppet.on("request_headers", function* (guest) {
      for (const name of ["call", "stream"]) {
        const asked = yield guest.host(`proxy_grpc_${name}`, guest.put(service), service.length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        assert.equal(asked, abi.INTERNAL_FAILURE);
      }
      return 0;
    });
    bench
      .exchange([await bench.load(filterConfig({ capabilities: { ...filterConfig().capabilities, callouts: [service] } }))])
      .chain.requestHead(true);
    assert.deepEqual(bench.puppet.errors, []);
    assert.match(needsOf([{ module: "env", name: "proxy_grpc_call" }])[0]?.what ?? "", /INTERNAL_FAILURE/);
  });

  test("WASI: output goes to the log, randomness comes, there is no environment", async () => {
    const [bench] = await play(function* (guest) {
      const iovec = Buffer.alloc(16);
      iovec.writeUInt32LE(guest.put("hello "), 0);
      iovec.writeUInt32LE(6, 4);
      iovec.writeUInt32LE(guest.put("world\n"), 8);
      iovec.writeUInt32LE(6, 12);
      const at = guest.put(iovec);
      assert.equal(yield guest.host("fd_write", 1, at, 2, OUT_A), abi.WASI_SUCCESS);
      assert.equal(guest.u32(OUT_A), 12);
      assert.equal(yield guest.host("fd_write", 2, at, 1, OUT_A), abi.WASI_SUCCESS);
      assert.equal(yield guest.host("fd_write", 3, at, 1, OUT_A), abi.WASI_BADF);
      assert.equal(yield guest.host("fd_write", 1, at, -1, OUT_A), abi.WASI_INVAL);
      assert.equal(yield guest.host("fd_write", 1, -8, 2, OUT_A), abi.WASI_FAULT);
      const random = guest.put(Buffer.alloc(32));
      assert.equal(yield guest.host("random_get", random, 32), abi.WASI_SUCCESS);
      assert.notEqual(guest.memory.toString("hex", random, random + 32), "00".repeat(32));
      assert.equal(yield guest.host("random_get", random, 65_537), abi.WASI_INVAL);
      assert.equal(yield guest.host("environ_sizes_get", OUT_A, OUT_B), abi.WASI_SUCCESS);
      assert.deepEqual([guest.u32(OUT_A), guest.u32(OUT_B)], [0, 0]);
      assert.equal(yield guest.host("args_sizes_get", OUT_A, -1), abi.WASI_FAULT);
      assert.equal(yield guest.host("fd_close", 5), abi.WASI_BADF);
      // Nothing ever comes of waiting, and nobody waits; where it cannot be said, the guest is told.
      guest.memory.writeUInt32LE(7, OUT_A);
      assert.equal(yield guest.host("poll_oneoff", 0, 0, 1, OUT_A), abi.WASI_SUCCESS);
      assert.equal(guest.u32(OUT_A), 0);
      assert.equal(yield guest.host("poll_oneoff", 0, 0, 1, -1), abi.WASI_FAULT);
      return 0;
    });
    assert.deepEqual(bench.log.lines, ["info hello world", "error hello"]);
  });
});
