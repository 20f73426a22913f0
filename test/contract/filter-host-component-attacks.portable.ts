import assert from "node:assert/strict";
import { ComponentBench } from "../kit/component.ts";
import {
  ADD_HEADER,
  AT,
  BOOL,
  buildFilter,
  ComponentBuilder,
  DROP_REQUEST,
  declare,
  type FilterCode,
  HOST,
  STRING,
  type,
  typeIndex,
} from "../kit/component-builder.ts";
import { filterConfig } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";
import { ModuleBuilder, op } from "../kit/wasm.ts";

// Guests that break the rules of the canonical ABI, made by hand: no compiler makes such.

const config = filterConfig({ name: "default/hostile", abi: "component", settings: '{"a":"é"}' });
const u32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >>> 24) & 0xff];
const answer = op.i32(AT.verdict);

describe("component: guests that break a rule", () => {
  test("one that keeps to them all is heard", async () => {
    const bench = new ComponentBench();
    const module = await bench.load(config, buildFilter({ requestHead: [...ADD_HEADER, ...DROP_REQUEST, ...answer] }));
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "forward");
    assert.equal(exchange.request.headers.get("x-added"), "yes");
  });

  const fail = (at: number, length: number): number[] => [3, 0, 0, 0, ...u32(at), ...u32(length)];
  const respond = (headersAt: number, headers: number, bodyAt: number, body: number): number[] => [
    ...[2, 0, 0, 0, 200, 0, 0, 0],
    ...[...u32(headersAt), ...u32(headers), ...u32(bodyAt), ...u32(body)],
  ];
  const trapsInCallback: readonly (readonly [name: string, code: FilterCode, reason: RegExp])[] = [
    ["a verdict beyond the memory", { requestHead: [...DROP_REQUEST, ...op.i32(65_536)] }, /pointer beyond/],
    ["a verdict at -4", { requestHead: [...DROP_REQUEST, ...op.i32(-4)] }, /pointer beyond/],
    ["a verdict that is not aligned", { requestHead: [...DROP_REQUEST, ...op.i32(AT.verdict + 1)] }, /not aligned/],
    ["a case that does not exist", { verdict: [4] }, /case that does not exist/],
    ["a reason beyond the memory", { verdict: fail(0xffff_fff0, 0x20) }, /pointer beyond/],
    ["a reason longer than the memory", { verdict: fail(0, 0xffff_ffff) }, /pointer beyond/],
    ["a reason that is not UTF-8", { verdict: [...fail(AT.verdict + 12, 2), 0xc3, 0x28] }, /not UTF-8/],
    ["a body longer than the memory", { verdict: respond(0, 0, 0, 65_537) }, /pointer beyond/],
    ["headers whose bytes do not fit 32 bits", { verdict: respond(0, 0x1000_0001, 0, 0) }, /pointer beyond/],
    ["headers that are not aligned", { verdict: respond(2, 1, 0, 0) }, /not aligned/],
    ["a lent handle that is kept", { requestHead: answer }, /lent for one call was kept/],
    ["a handle dropped twice", { requestHead: [...DROP_REQUEST, ...DROP_REQUEST, ...answer] }, /handle that does not exist/],
    ["handle 0", { requestHead: [...op.i32(0), ...op.call(HOST.dropRequest), ...answer] }, /handle that does not exist/],
    ["a handle out of thin air", { requestHead: [...op.i32(7), ...op.call(HOST.dropRequest), ...answer] }, /does not exist/],
    [
      "a call with a handle that was dropped",
      { requestHead: [...DROP_REQUEST, ...ADD_HEADER, ...answer] },
      /handle that does not exist/,
    ],
    [
      "a name beyond the memory",
      {
        requestHead: [
          ...[...op.localGet(1), ...op.i32(-8), ...op.i32(16), ...op.i32(0), ...op.i32(0), ...op.i32(1024)],
          ...[...op.call(HOST.addHeader), ...answer],
        ],
      },
      /pointer beyond/,
    ],
    [
      "a result beyond the memory",
      {
        requestHead: [
          ...[...op.localGet(1), ...op.i32(AT.name), ...op.i32(7), ...op.i32(0), ...op.i32(0), ...op.i32(-1)],
          ...[...op.call(HOST.addHeader), ...answer],
        ],
      },
      /pointer beyond/,
    ],
    [
      "a fault that the guest catches",
      {
        // try { drop(7) } catch (anything) {}; then it goes on as if nothing had been
        requestHead: [
          ...[0x06, 0x40, ...op.i32(7), ...op.call(HOST.dropRequest), 0x19, ...op.end],
          ...[...ADD_HEADER, ...DROP_REQUEST, ...answer],
        ],
      },
      /handle that does not exist/,
    ],
    [
      "an endless loop",
      { requestHead: [...op.loop, ...op.br(0), ...op.end, ...answer] },
      /used up its fuel of 1000000 in one callback/,
    ],
    ["an endless recursion", { requestHead: [...op.i32(0), ...op.i32(0), ...op.i32(0), ...op.call(4)] }, /calls nest too deep/],
  ];
  for (const [name, code, reason] of trapsInCallback) {
    test(name, async () => {
      const bench = new ComponentBench();
      const module = await bench.load(config, buildFilter(code));
      const exchange = bench.exchange([module]);
      assert.equal(exchange.chain.requestHead(true), "failed");
      assert.match(String(exchange.chain.failure), reason);
      assert.equal(exchange.request.headers.has("x-added"), false, "nothing after the fault counts");
      assert.equal(module.status().traps, 1);
    });
  }

  const refusedAtLoad: readonly (readonly [name: string, code: FilterCode, reason: RegExp])[] = [
    ["an allocator that points beyond the memory", { realloc: op.i32(65_530) }, /pointer beyond/],
    ["an allocator that traps", { realloc: op.unreachable }, /trap: unreachable/],
    ["an allocator that never ends", { realloc: [...op.loop, ...op.br(0), ...op.end, ...op.i32(0)] }, /fuel/],
    ["an allocator that calls out", { realloc: [...ADD_HEADER, ...op.i32(AT.heap)] }, /from the allocator/],
    [
      "a start function that never ends",
      { start: [...op.loop, ...op.br(0), ...op.end] },
      /used up its fuel of \d+ while it started/,
    ],
    ["a start function that traps", { start: op.unreachable }, /./],
    [
      "a callback whose core function has another type",
      { requestHead: op.i32(AT.verdict), wrongParams: { "on-request-head": ["i32", "i64", "i32"] } },
      /the core export on-request-head is \(i32, i64, i32\) -> i32, not \(i32, i32, i32\) -> i32$/,
    ],
    [
      "configure of another core type",
      { wrongParams: { configure: ["i32"] } },
      /configure is \(i32\) -> i32, not \(i32, i32\) -> i32$/,
    ],
    [
      "an allocator of another core type",
      { wrongParams: { realloc: ["i64", "i32"] } },
      /realloc is \(i64, i32\) -> i32, not \(i32, i32, i32, i32\) -> i32$/,
    ],
    ["configure that traps", { configure: op.unreachable }, /trap: unreachable/],
  ];
  for (const [name, code, reason] of refusedAtLoad) {
    test(`refused when it is loaded: ${name}`, async () => {
      const bench = new ComponentBench();
      await assert.rejects(bench.load(config, buildFilter(code)), reason);
      assert.equal(bench.shared.size, 0);
      assert.equal(bench.clock.pending, 0);
    });
  }
});

describe("component: components that are built to hurt the host", () => {
  const refuse = async (wasm: Uint8Array, reason: RegExp): Promise<void> => {
    const bench = new ComponentBench();
    await assert.rejects(bench.load(config, wasm), reason);
    assert.equal(bench.shared.size, 0);
  };

  test("a core module that reaches for another one's fuel", async () => {
    const thief = new ModuleBuilder().importGlobal("victim", "selvedge:fuel");
    thief.func("spin", [], [], []);
    const victim = new ModuleBuilder();
    victim.func("run", [], [], op.unreachable);
    const first = new ComponentBuilder().module(victim.build()).module(thief.build()).instantiate(0);
    await refuse(first.instantiate(1, [["victim", 0]]).build(), /selvedge:fuel|victim/);
    const second = new ComponentBuilder().module(victim.build()).instantiate(0).aliasCore("global", 0, "selvedge:fuel");
    await refuse(second.build(), /exports no global selvedge:fuel/);
  });

  test("components that instantiate each other more and more often", async () => {
    let bomb = new ComponentBuilder().build();
    for (let i = 0; i < 24; i++) bomb = new ComponentBuilder().component(bomb).instances(0, 0).build();
    await refuse(bomb, /steps to link/);
  });

  test("components nested deeper than the limit", async () => {
    let nested = new ComponentBuilder().build();
    for (let i = 0; i < 33; i++) nested = new ComponentBuilder().component(nested).build();
    await refuse(nested, /nested deeper than 32/);
  });

  test("types that double again and again", async () => {
    const twice = (index: number): number[] => type.tuple([typeIndex(index), typeIndex(index)]);
    const types = [type.tuple([STRING, STRING]), ...Array.from({ length: 40 }, (_, i) => twice(i))];
    await refuse(new ComponentBuilder().types(...types).build(), /too many types|more than 65536 bytes/);
  });

  test("a resource of WASI that is called like one of ours", async () => {
    const fake = type.instance([declare.resource("request")]);
    const http = type.instance([
      // The request of the other interface, from outside.
      declare.outerType(1),
      declare.type(type.borrow(0)),
      declare.type(type.option(STRING)),
      declare.type(
        type.func(
          [
            ["self", typeIndex(1)],
            ["name", STRING],
          ],
          typeIndex(2),
        ),
      ),
      declare.func("[method]request.header", 3),
    ]);
    const builder = new ComponentBuilder().types(fake).importInstance("wasi:cli/stdin@0.2.0", 0).alias("type", 0, "request");
    await refuse(
      builder.types(http).importInstance("selvedge:filter/http@0.1.0", 2).build(),
      /borrow<wasi:cli\/stdin@0.2.0#request>/,
    );
  });

  test("more memories than the limit, and one memory twice", async () => {
    const memory = new ModuleBuilder().memory(1).build();
    const twice = new ComponentBuilder().module(memory).instantiate(0).instantiate(0);
    await refuse(twice.build(), /two instances of a core module that has a memory/);
    const five = new ComponentBuilder();
    for (let i = 0; i < 5; i++) five.module(memory);
    await refuse(five.build(), /more than 4 linear memories/);
  });

  test("memories that are too large together", async () => {
    const memory = new ModuleBuilder().memory(513).build();
    // 1,024 pages are the budget: 512 for each of two.
    await refuse(new ComponentBuilder().module(memory).module(memory).build(), /513/);
  });

  test("more core instances than the limit", async () => {
    const builder = new ComponentBuilder().module(new ModuleBuilder().build());
    for (let i = 0; i < 65; i++) builder.instantiate(0);
    await refuse(builder.build(), /more than 64 core instances/);
  });

  test("more core modules than the limit", async () => {
    const builder = new ComponentBuilder();
    for (let i = 0; i < 65; i++) builder.module(new ModuleBuilder().build());
    await refuse(builder.build(), /more than 64 core modules/);
  });

  test("a core module that is not valid, or that the meter does not know", async () => {
    const invalid = new ModuleBuilder();
    invalid.func("f", [], ["i32"], []);
    await refuse(new ComponentBuilder().module(invalid.build()).build(), /not valid/);
  });

  for (const label of ["__proto__", "a.b", "", "a--b", "1a", "x y", "a'];evil()//"]) {
    test(`a label that is no name: ${JSON.stringify(label)}`, async () => {
      await refuse(new ComponentBuilder().types(type.record([[label, STRING]])).build(), /label is no name/);
    });
  }

  test("core names of the language are names like others", async () => {
    const core = new ModuleBuilder();
    for (const name of ["__proto__", "constructor", "toString"]) core.func(name, [], [], []);
    const builder = new ComponentBuilder().module(core.build()).instantiate(0);
    for (const name of ["__proto__", "constructor", "toString"]) builder.aliasCore("func", 0, name);
    await refuse(builder.build(), /exports no selvedge:filter\/configuration/);
    await refuse(builder.aliasCore("func", 0, "hasOwnProperty").build(), /exports no func hasOwnProperty/);
  });

  const dangling: readonly (readonly [string, ComponentBuilder, RegExp])[] = [
    ["a core module", new ComponentBuilder().instantiate(0), /core module 0 does not exist/],
    ["a type", new ComponentBuilder().types(type.list(typeIndex(9))), /type 9 does not exist/],
    ["itself", new ComponentBuilder().types(type.list(typeIndex(0))), /type 0 does not exist/],
    ["a component", new ComponentBuilder().instances(3), /component 3 does not exist/],
    ["a function", new ComponentBuilder().types(type.func([], BOOL)).lift(5, 0, [0x00]), /core function 5 does not exist/],
  ];
  for (const [name, builder, reason] of dangling) {
    test(`an index that points nowhere: ${name}`, async () => refuse(builder.build(), reason));
  }
});
