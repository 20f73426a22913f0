// The meter: what runs pays, what has paid too much stops, and nobody catches that. The same numbers on every runtime.
import assert from "node:assert/strict";
import { classifyTrap, type MeterOptions, meterModule } from "../../src/filters/meter/index.ts";
import { type FunctionSource, ModuleAssembler } from "../kit/assembler.ts";
import { MeteredGuest, startMetered, TEST_METER } from "../kit/metered.ts";
import { describe, test } from "../kit/suite.ts";

type Prepare = (module: ModuleAssembler) => void;

/** A module with this one function, exported as `run`. */
function single(source: Omit<FunctionSource, "name">, prepare: Prepare = () => {}): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler();
  prepare(module);
  module.func({ ...source, name: "run" });
  return module.build();
}

function trapOf(guest: MeteredGuest, ...args: unknown[]): string {
  assert.throws(() => guest.call("run", ...args), WebAssembly.RuntimeError);
  return classifyTrap(guest.exports);
}

const memory: Prepare = (module) => void module.memory(1, 8, "memory");
const table: Prepare = (module) => void module.table(10, 5_000).elements([0]);

interface Row {
  readonly name: string;
  readonly source: Omit<FunctionSource, "name">;
  readonly prepare?: Prepare;
  readonly args?: readonly unknown[];
  readonly fuel: number;
  /** With every block charged for on its own. */
  readonly exact?: number;
}

const countdown = "loop local.get 0 i32.const -1 i32.add local.tee 0 br_if 0 end";

const GOLDEN: readonly Row[] = [
  { name: "nothing but the end", source: { body: "" }, fuel: 1 },
  { name: "each instruction is one", source: { body: "i32.const 1 i32.const 2 i32.add drop" }, fuel: 5 },
  { name: "a division", source: { body: "i32.const 1 i32.const 2 i32.div_u drop" }, fuel: 12 },
  { name: "a square root and a load", source: { body: "i32.const 0 f64.load f64.sqrt drop" }, prepare: memory, fuel: 13 },
  { name: "a loop, once", source: { params: ["i32"], body: countdown }, args: [1], fuel: 8, exact: 8 },
  { name: "a loop, ten times", source: { params: ["i32"], body: countdown }, args: [10], fuel: 62, exact: 53 },
  {
    name: "of two cheap arms everybody pays the dearer one",
    source: { params: ["i32"], body: "local.get 0 if nop nop nop else nop end" },
    args: [0],
    fuel: 7,
    exact: 5,
  },
  {
    name: "the dearer one, taken",
    source: { params: ["i32"], body: "local.get 0 if nop nop nop else nop end" },
    args: [1],
    fuel: 7,
    exact: 7,
  },
  {
    name: "of many cheap ways everybody pays the dearest",
    source: {
      params: ["i32"],
      body: `block block block local.get 0 br_table 0 1 ,2 end ${"nop ".repeat(20)} br 1 end nop br 0 end`,
    },
    args: [1],
    fuel: 29,
    exact: 10,
  },
  {
    name: "what follows a cheap arm is paid besides",
    source: { params: ["i32"], body: `local.get 0 if ${"nop ".repeat(9)} end local.get 0 if nop nop end` },
    args: [0],
    fuel: 18,
    exact: 5,
  },
  {
    name: "what costs much may have as much added",
    source: { params: ["i32"], body: `${"nop ".repeat(200)} local.get 0 if ${"nop ".repeat(40)} end` },
    args: [0],
    fuel: 244,
    exact: 203,
  },
  {
    name: "a dear arm is paid by whoever takes it",
    source: { params: ["i32"], body: `local.get 0 if ${"nop ".repeat(40)} end` },
    args: [0],
    fuel: 3,
  },
  {
    name: "a dear arm, taken",
    source: { params: ["i32"], body: `local.get 0 if ${"nop ".repeat(40)} end` },
    args: [1],
    fuel: 44,
  },
  { name: "what cannot be reached is free", source: { body: `return ${"nop ".repeat(500)}` }, fuel: 1 },
  {
    name: "memory.fill pays for its length",
    source: { body: "i32.const 0 i32.const 7 i32.const 8000 memory.fill 0" },
    prepare: memory,
    fuel: 104 + 1_000,
  },
  {
    name: "memory.copy of nothing",
    source: { body: "i32.const 0 i32.const 7 i32.const 0 memory.copy 0 0" },
    prepare: memory,
    fuel: 104,
  },
  {
    name: "memory.init",
    source: { body: "i32.const 0 i32.const 0 i32.const 16 memory.init 0 0 data.drop 0" },
    prepare: (module) => void module.memory(1).data(new Array<number>(16).fill(1)),
    fuel: 104 + 8 + 2,
  },
  {
    name: "table.fill pays for its length",
    source: { body: "i32.const 0 ref.null funcref i32.const 10 table.fill 0" },
    prepare: table,
    fuel: 104 + 320,
  },
  {
    name: "table.copy",
    source: { body: "i32.const 0 i32.const 1 i32.const 9 table.copy 0 0" },
    prepare: table,
    fuel: 104 + 288,
  },
  {
    name: "table.grow",
    source: { body: "ref.null funcref i32.const 100 table.grow 0 drop" },
    prepare: table,
    fuel: 5_004 + 800 + 10,
  },
  {
    name: "memory.grow, by the pages that are new and those that are there",
    source: { body: "i32.const 2 memory.grow 0 drop" },
    prepare: memory,
    fuel: 2_003 + 512 + 1_024,
  },
  { name: "memory.grow by nothing", source: { body: "i32.const 0 memory.grow 0 drop" }, prepare: memory, fuel: 2_003 },
  {
    name: "a vector division",
    source: { body: `v128.const ${"1 ".repeat(16)} v128.const ${"1 ".repeat(16)} f32x4.div drop` },
    fuel: 22,
  },
];

describe("fuel: golden counts", () => {
  for (const row of GOLDEN) {
    test(row.name, () => {
      const wasm = single(row.source, row.prepare);
      const args = row.args ?? [];
      assert.equal(new MeteredGuest(wasm).cost("run", ...args), row.fuel);
      assert.equal(new MeteredGuest(wasm, { splitFuel: 0 }).cost("run", ...args), row.exact ?? row.fuel);
    });
  }

  test("a call of the host, directly, at the end and through a table", () => {
    const build = (body: string, inTable: boolean): Uint8Array<ArrayBuffer> => {
      const module = new ModuleAssembler();
      const host = module.importFunction("host", "call");
      module.table(2);
      const own = module.func({ body: "" });
      module.func({ name: "run", body });
      return module.elements([inTable ? host : own, own], 0).build();
    };
    const imports = { host: { call: () => {} } };
    const cost = (body: string, inTable = false): number => new MeteredGuest(build(body, inTable), {}, imports).cost("run");
    assert.equal(cost("call 0"), 205);
    assert.equal(cost("return_call 0"), 204);
    assert.equal(cost("call 1"), 6);
    assert.equal(cost("i32.const 0 call_indirect 0 0"), 11);
    assert.equal(cost("i32.const 0 call_indirect 0 0", true), 210);
    assert.equal(cost("i32.const 1 return_call_indirect 0 0", true), 210);
  });
});

const LOOPS: Readonly<Record<string, string>> = {
  "br 0": "loop br 0 end",
  br_if: "loop i32.const 1 br_if 0 end",
  br_table: "loop i32.const 9 br_table 1 ,0 end",
  "an outer loop": "loop block loop br 2 end end end",
  "a loop in an arm": "i32.const 1 if loop br 0 end end",
  "a tail call": "return_call 0",
  "a tail call through a table": "i32.const 0 return_call_indirect 0 0",
  "a loop that throws and catches": "loop try throw 0 catch_all br 1 end end",
  "a catch that goes to the loop itself": "loop try_table catch_all:0 ; throw 0 end end",
  "a loop that grows memory": "loop i32.const 1 memory.grow 0 drop br 0 end",
  "a loop that fills memory": "loop i32.const 0 i32.const 0 i32.const 65536 memory.fill 0 br 0 end",
};

describe("fuel: exhaustion", () => {
  const looping = (body: string): Uint8Array<ArrayBuffer> =>
    single({ body }, (module) => {
      module.memory(1, 8).table(1).elements([0], 0).tag();
    });

  for (const [name, body] of Object.entries(LOOPS)) {
    test(`an endless loop stops, and stays stopped: ${name}`, () => {
      const guest = new MeteredGuest(looping(body));
      assert.equal(trapOf(guest), "fuel");
      assert.ok(guest.fuel < 0 && guest.fuel > -100_000, String(guest.fuel));
      for (let i = 0; i < 100; i++) assert.equal(trapOf(guest), "fuel");
      guest.fuel = 5_000;
      assert.equal(trapOf(guest), "fuel");
    });
  }

  test("exactly enough is enough", () => {
    const guest = new MeteredGuest(single({ params: ["i32"], body: countdown }));
    guest.fuel = 62;
    guest.call("run", 10);
    assert.equal(guest.fuel, 0);
    guest.fuel = 61;
    assert.equal(trapOf(guest, 10), "fuel");
  });

  test("catch_all catches neither exhaustion nor other traps, in both kinds of exceptions", () => {
    for (const body of [
      "try loop br 0 end catch_all end",
      "block try_table catch_all:0 ; loop br 0 end end end",
      "try i32.const 0 i32.const 0 i32.const 65536 memory.fill 0 call 0 catch_all end",
    ]) {
      assert.equal(trapOf(new MeteredGuest(looping(body), { fuel: 20_000, depth: 2 ** 30 })), "fuel");
    }
    assert.equal(trapOf(new MeteredGuest(looping("try call 0 catch_all end"))), "depth");
    assert.equal(trapOf(new MeteredGuest(looping("try unreachable catch_all end"))), "guest");
  });

  test("the start function pays from the fuel that the module is given", () => {
    const module = new ModuleAssembler();
    module.start(module.func({ body: "loop br 0 end" }));
    assert.throws(() => new MeteredGuest(module.build()), WebAssembly.RuntimeError);
    const { bytes } = meterModule(module.build(), TEST_METER);
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    assert.throws(() => startMetered(exports), WebAssembly.RuntimeError);
    assert.equal(classifyTrap(exports), "fuel");
    const short = new ModuleAssembler();
    short.start(short.func({ body: "nop" }));
    assert.equal(new MeteredGuest(short.build(), { fuel: 100 }).fuel, 98);
  });

  test("a host that swallows the trap of an inner call helps nobody", () => {
    const module = new ModuleAssembler();
    module.importFunction("host", "again");
    module.func({ name: "loop", body: "loop br 0 end" });
    module.func({ name: "run", body: "loop call 0 br 0 end" });
    const guest: { it?: MeteredGuest } = {};
    let swallowed = 0;
    guest.it = new MeteredGuest(
      module.build(),
      {},
      {
        host: {
          again: () => {
            try {
              guest.it?.call("loop");
            } catch {
              swallowed++;
            }
          },
        },
      },
    );
    assert.equal(trapOf(guest.it), "fuel");
    assert.equal(swallowed, 1);
  });
});

describe("fuel: lengths", () => {
  const fill = (options: Partial<MeterOptions> = {}): MeteredGuest =>
    new MeteredGuest(
      single({ params: ["i32", "i32"], body: "local.get 0 i32.const 1 local.get 1 memory.fill 0" }, memory),
      options,
    );

  test("a length beyond the memory traps as it always did, whatever it is", () => {
    for (const length of [-1, 0x7fff_ffff, 65_537, 4 * 65_536 + 1, 8 * 65_536]) {
      assert.equal(trapOf(fill(), 0, length), "guest", String(length));
    }
    assert.equal(trapOf(fill(), 65_536, 1), "guest");
  });

  test("a length that is there but not paid for traps before it works", () => {
    const guest = fill({ fuel: 200 });
    assert.equal(trapOf(guest, 0, 65_536), "fuel");
    assert.equal(new Uint8Array((guest.exports.memory as WebAssembly.Memory).buffer)[0], 0);
  });

  test("growth beyond the bound answers -1", () => {
    const grow = new MeteredGuest(
      single({ params: ["i32"], results: ["i32"], body: "local.get 0 memory.grow 0" }, (module) => void module.memory(1)),
    );
    assert.deepEqual(grow.report.memory, { minPages: 1, maxPages: 4 });
    assert.deepEqual([grow.call("run", 3), grow.call("run", 1), grow.call("run", -1), grow.call("run", 0)], [1, -1, -1, 4]);
    const growTable = new MeteredGuest(
      single({ params: ["i32"], results: ["i32"], body: "ref.null funcref local.get 0 table.grow 0" }, table),
    );
    const answers = [990, 1, -1, 0].map((count) => growTable.call("run", count));
    assert.deepEqual(answers, [10, -1, -1, 1_000]);
  });
});

describe("depth", () => {
  const recursion = (body: string, source: Partial<FunctionSource> = {}): MeteredGuest =>
    new MeteredGuest(
      single({ params: ["i32"], results: ["i32"], ...source, body }, (module) => {
        module.tag();
        module.table(1).elements([0], 0);
      }),
    );
  const deep = "local.get 0 if i32 local.get 0 i32.const -1 i32.add call 0 else i32.const 7 end";

  test("endless recursion stops, known as such", () => {
    const guest = recursion("local.get 0 call 0");
    assert.equal(trapOf(guest, 1), "depth");
    assert.ok(guest.fuel > 0);
    assert.equal(trapOf(recursion("local.get 0 i32.const 0 call_indirect 1 0"), 1), "depth");
  });

  test("a call takes 16, its parameters, its locals and its most operands, and gives it back", () => {
    // 16 + 1 parameter + 2 locals of which one is a vector + 2 operands.
    const guest = recursion(deep, { locals: ["v128", "i32"] });
    const before = guest.depth;
    assert.equal(guest.call("run", 5), 7);
    assert.equal(guest.depth, before);
    guest.depth = 6 * 22;
    assert.equal(guest.call("run", 5), 7);
    guest.depth = 6 * 22 - 1;
    assert.equal(trapOf(guest, 5), "depth");
  });

  const LEAVING: Readonly<Record<string, string>> = {
    return: `local.get 0 i32.eqz if i32.const 7 return end ${deep}`,
    "a branch to the function": `local.get 0 i32.eqz if i32.const 7 br 1 end ${deep}`,
    br_if: `i32.const 7 local.get 0 i32.eqz br_if 0 drop ${deep}`,
    br_table: `i32.const 7 local.get 0 br_table 0 ,0 drop ${deep}`,
    "a tail call": "local.get 0 if local.get 0 i32.const -1 i32.add return_call 0 end i32.const 7",
    "a tail call through a table":
      "local.get 0 if local.get 0 i32.const -1 i32.add i32.const 0 return_call_indirect 1 0 end i32.const 7",
    "throw and catch": `try i32 ${deep} drop throw 0 catch 0 i32.const 7 end`,
    "throw and catch_all": `try i32 ${deep} drop throw 0 catch_all i32.const 7 end`,
    "throw, rethrow": `try i32 try i32 ${deep} drop throw 0 catch_all rethrow 0 end catch_all i32.const 7 end`,
    delegate: `try i32 try i32 ${deep} drop throw 0 delegate 0 catch_all i32.const 7 end`,
    "a try_table": `block try_table catch:0:0 ; ${deep} drop throw 0 end end i32.const 7`,
    "a try_table with a reference": `block exnref try_table catch_all_ref:0 ; ${deep} drop throw 0 end unreachable end drop i32.const 7`,
    "a try_table that catches to a loop":
      "block loop local.get 0 i32.eqz br_if 1 local.get 0 i32.const -1 i32.add local.set 0 try_table catch_all:0 ; i32.const 0 call 0 drop throw 0 end end end i32.const 7",
  };
  for (const [name, body] of Object.entries(LEAVING)) {
    test(`what leaves gives back: ${name}`, () => {
      const guest = recursion(body);
      const before = guest.depth;
      assert.equal(guest.call("run", 6), 7);
      assert.equal(guest.depth, before);
    });
  }

  test("an exception from deep below is caught at the depth it is caught at", () => {
    // Engines refuse both kinds of exceptions in one module.
    for (const body of [
      "try i32.const 100 call 0 catch_all end",
      "block try_table catch_all:0 ; i32.const 100 call 0 end end",
      "try_table catch_all:0 ; i32.const 100 call 0 end",
    ]) {
      const module = new ModuleAssembler();
      module.tag();
      module.func({ params: ["i32"], body: "local.get 0 if local.get 0 i32.const -1 i32.add call 0 end throw 0" });
      module.func({ name: "run", body });
      const guest = new MeteredGuest(module.build());
      const before = guest.depth;
      for (let i = 0; i < 3; i++) guest.call("run");
      assert.equal(guest.depth, before, body);
    }
  });

  test("several results pass through the guard", () => {
    const module = new ModuleAssembler();
    module.func({
      name: "run",
      params: ["i32"],
      results: ["i32", "i64", "f64"],
      body: "local.get 0 i32.eqz if i32.const 1 i64.const 2 f64.const 3 return end local.get 0 i32.const -1 i32.add call 0",
    });
    const guest = new MeteredGuest(module.build());
    assert.deepEqual(guest.call("run", 4), [1, 2n, 3]);
    assert.equal(guest.depth, 60_000);
  });

  test("a function that cannot recurse is guarded only when its frame is large", () => {
    assert.equal(new MeteredGuest(single({ body: "nop" })).report.guardedFunctions, 0);
    const locals = (count: number): Uint8Array<ArrayBuffer> =>
      single({ body: "nop", locals: new Array<"i64">(count).fill("i64") });
    assert.equal(new MeteredGuest(locals(2_048 - 16)).report.guardedFunctions, 0);
    assert.equal(new MeteredGuest(locals(2_048 - 15)).report.guardedFunctions, 1);
  });

  test("callers pay for short functions that only they can call", () => {
    const module = new ModuleAssembler();
    module.func({ params: ["i32"], results: ["i32"], body: "local.get 0 i32.const 3 i32.mul" });
    module.func({ name: "run", params: ["i32"], results: ["i32"], body: "local.get 0 call 0 call 0" });
    const guest = new MeteredGuest(module.build());
    assert.equal(guest.call("run", 5), 45);
    // Four instructions each, and local.get, two calls of four, end.
    assert.equal(guest.cost("run", 5), 2 * 4 + 1 + 2 * 4 + 1);
    module.elements([0]);
    const declared = new MeteredGuest(module.build());
    assert.equal(declared.cost("run", 5), 2 * 4 + 1 + 2 * 4 + 1);
  });

  test("what is left is right after loops with and without calls, one in the other", () => {
    const count = "local.get 0 i32.const -1 i32.add local.tee 0 br_if 0";
    const bodies: Readonly<Record<string, number>> = {
      [`loop ${count} end`]: 10 * 6,
      [`loop call 0 ${count} end`]: 10 * (6 + 4 + 200),
      [`call 0 loop ${count} end`]: 4 + 200 + 10 * 6,
    };
    for (const [body, least] of Object.entries(bodies)) {
      const module = new ModuleAssembler();
      module.importFunction("host", "work");
      module.func({ name: "run", params: ["i32"], body });
      const guest = new MeteredGuest(module.build(), {}, { host: { work: () => {} } });
      const cost = guest.cost("run", 10);
      assert.ok(cost >= least && cost < least * 1.2 + 10, `${body}: ${cost}, at least ${least}`);
    }
  });

  test("a host that takes fuel during a call is not overruled", () => {
    const module = new ModuleAssembler();
    module.importFunction("host", "work");
    module.func({ name: "run", params: ["i32"], body: "call 0 loop local.get 0 br_if 0 end" });
    const guest: MeteredGuest = new MeteredGuest(
      module.build(),
      {},
      {
        host: {
          work: () => {
            guest.fuel = 5;
          },
        },
      },
    );
    guest.call("run", 0);
    assert.ok(guest.fuel < 5, String(guest.fuel));
  });

  test("recursion never reaches the engine's own stack check, whatever a frame holds", () => {
    const operands = `${"local.get 0 ".repeat(500)} call 0 ${"i32.add ".repeat(499)}`;
    const shapes: Readonly<Record<string, MeteredGuest>> = {
      small: recursion("local.get 0 call 0"),
      "many locals": recursion("local.get 0 call 0", { locals: new Array<"i64">(1_000).fill("i64") }),
      vectors: recursion("local.get 0 call 0", { locals: new Array<"v128">(500).fill("v128") }),
      operands: recursion(operands),
      indirect: recursion("local.get 0 i32.const 0 call_indirect 1 0 i32.const 1 i32.add"),
    };
    for (const [name, guest] of Object.entries(shapes)) {
      for (let i = 0; i < 20; i++) {
        guest.depth = 60_000;
        guest.fuel = 1_000_000;
        assert.equal(trapOf(guest, 1), "depth", name);
      }
    }
  });

  test("at the very edge of the depth the host still has room to finish", () => {
    const module = new ModuleAssembler();
    module.importFunction("host", "work");
    module.func({ name: "run", params: ["i32"], body: "call 0 local.get 0 i32.const 1 i32.add call 1" });
    let entered = 0;
    let completed = 0;
    const nest = (levels: number): number => (levels === 0 ? JSON.stringify([entered]).length : 1 + nest(levels - 1));
    const work = (): void => {
      entered++;
      if (nest(100) > 0) completed++;
    };
    const guest = new MeteredGuest(module.build(), {}, { host: { work } });
    for (let i = 0; i < 20; i++) {
      guest.depth = 60_000;
      guest.fuel = 10_000_000;
      assert.equal(trapOf(guest, 0), "depth");
    }
    assert.ok(entered > 20 * 1_000, String(entered));
    assert.equal(completed, entered);
  });
});
