/** What filters of every ABI say is kept with the request that it is about; a line that nobody keeps asks nothing of the exchange. */
import assert from "node:assert/strict";
import { latin1Bytes } from "../../src/core/bytes.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { JsonLog } from "../../src/core/log.ts";
import type { FilterExchange } from "../../src/filters/contract.ts";
import { LogGate } from "../../src/filters/guest/log-gate.ts";
import { ComponentBench } from "../kit/component.ts";
import { buildPlugin, ExtismBench } from "../kit/extism.ts";
import { FilterBench, filterConfig } from "../kit/filters.ts";
import { OUT_A } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

const linesOf = ({ filterLogs }: Pick<FilterBench, "filterLogs">, filter: string): (string | undefined)[][] =>
  filterLogs.page({ filter }).lines.map(({ level, requestId, message }) => [level, requestId, message]);

describe("log lines of filters", () => {
  test("proxy-wasm: of a request, of its end, of standard error, and of no request", async () => {
    const bench = new FilterBench();
    bench.puppet.on("configure", function* (guest) {
      yield guest.host("proxy_log", 3, guest.put("start"), 5);
      return 1;
    });
    bench.puppet.on("request_headers", function* (guest) {
      yield guest.host("proxy_log", 2, guest.put("head"), 4);
      const vector = guest.put(Buffer.from(Uint32Array.of(guest.put("stderr"), 6).buffer));
      yield guest.host("fd_write", 2, vector, 1, OUT_A);
      return 0;
    });
    bench.puppet.on("log", function* (guest) {
      yield guest.host("proxy_log", 5, guest.put("end"), 3);
      return 0;
    });
    const module = await bench.load();
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    exchange.chain.log();
    exchange.chain.close();
    assert.deepEqual(bench.puppet.errors, []);
    assert.deepEqual(linesOf(bench, "default/puppet"), [
      ["warn", undefined, "start"],
      ["info", "id-1", "head"],
      ["error", "id-1", "stderr"],
      ["critical", "id-1", "end"],
    ]);
  });

  test("components", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "show user-agent", "request-body": "read 0", done: "show user-agent" });
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(false);
    exchange.chain.requestData(latin1Bytes("body"), true);
    exchange.chain.log();
    exchange.chain.close();
    const lines = linesOf(bench, "default/actor");
    assert.ok(lines.length >= 2);
    for (const line of lines) assert.deepEqual(line.slice(0, 2), ["info", "id-1"]);
  });

  test("plug-ins of Extism", async () => {
    const bench = new ExtismBench();
    const say = (name: string) => `i64.const 1 $alloc $${name}`;
    const module = await bench.load(
      buildPlugin({ exports: { on_request: `${say("log_error")} i32.const 0`, on_configure: `${say("log_info")} i32.const 0` } }),
    );
    bench.exchange([module]).chain.requestHead(true);
    assert.deepEqual(
      linesOf(bench, "default/plugin").map((line) => line.slice(0, 2)),
      [
        ["info", undefined],
        ["error", "id-1"],
      ],
    );
  });

  test("a line that is not kept asks nothing of the exchange; those that were too many are counted in the next", () => {
    const clock = new VirtualClock();
    const { filterLogs } = new FilterBench();
    const written: string[] = [];
    const log = new JsonLog("info", clock, (line) => written.push(line));
    const gate = new LogGate(filterConfig({ budget: { logLinesPerSecond: 1 } }), log, clock, filterLogs);
    let asked = 0;
    const counting = {
      attribute: (path: readonly string[]) => {
        asked++;
        return path.join(".");
      },
    } as unknown as FilterExchange;
    gate.write(1, "debug", counting);
    assert.equal(asked, 0);
    gate.write(2, "one", counting);
    gate.write(2, "two", counting);
    assert.equal(asked, 1);
    clock.advance(1_000);
    gate.write(2, "three", counting);
    assert.deepEqual(
      filterLogs.page({ filter: "default/puppet" }).lines.map(({ message, dropped }) => [message, dropped]),
      [
        ["one", undefined],
        ["three", 1],
      ],
    );
    assert.equal(JSON.parse(written[0] ?? "").requestId, "request.id");
  });
});
