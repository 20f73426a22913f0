// The meter refuses by name what it does not count, and at its bounds; what it keeps and leaves out of a module.
import assert from "node:assert/strict";
import { METER_LIMITS } from "../../src/core/limits.ts";
import { DEPTH_EXPORT, FUEL_EXPORT, MeterError, type MeterProblem, meterModule } from "../../src/filters/meter/index.ts";
import { assemble, ModuleAssembler } from "../kit/assembler.ts";
import { TEST_METER } from "../kit/metered.ts";
import { describe, test } from "../kit/suite.ts";
import { uleb } from "../kit/wasm.ts";

const meter = (wasm: Uint8Array<ArrayBuffer>) => meterModule(wasm, TEST_METER);

function refuses(wasm: Uint8Array<ArrayBuffer>, problem: MeterProblem, words: RegExp): void {
  assert.throws(
    () => meter(wasm),
    (error) => {
      assert.ok(error instanceof MeterError, String(error));
      assert.match(error.message, words);
      assert.equal(error.problem, problem, error.message);
      return true;
    },
  );
}

const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const rawFrom = (bytes: readonly number[]): Uint8Array<ArrayBuffer> => Uint8Array.from([...HEADER, ...bytes]);
const raw = (...bytes: number[]): Uint8Array<ArrayBuffer> => rawFrom(bytes);

/** A module whose one function has these bytes as its instructions. */
function withCode(...code: number[]): Uint8Array<ArrayBuffer> {
  const body = [0x00, ...code, 0x0b];
  const section = [1, ...uleb(body.length), ...body];
  return raw(1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1, 10, ...uleb(section.length), ...section);
}

describe("meter: what is refused by name", () => {
  const FEATURES: Readonly<Record<string, readonly [Uint8Array<ArrayBuffer>, RegExp]>> = {
    "shared memory": [raw(5, 4, 1, 3, 1, 1), /shared memory \(threads\)/],
    "atomic instructions": [withCode(0xfe, 0x03, 0x00), /atomic instructions \(threads\)/],
    "a 64-bit memory": [raw(5, 3, 1, 4, 1), /memory64/],
    "a 64-bit table": [raw(4, 4, 1, 0x70, 4, 1), /memory64/],
    "an imported 64-bit memory": [raw(2, 8, 1, 1, 97, 1, 98, 2, 4, 1), /memory64/],
    "two memories": [raw(5, 5, 2, 0, 1, 0, 1), /multi-memory/],
    "a memory argument of another memory": [withCode(0x41, 0, 0x28, 0x42, 1, 0, 0x1a), /multi-memory/],
    "memory.grow of another memory": [withCode(0x41, 0, 0x40, 1, 0x1a), /multi-memory/],
    "a page size": [raw(5, 4, 1, 8, 1, 0), /custom page sizes/],
    "a struct": [raw(1, 3, 1, 0x5f, 0), /\(GC\)/],
    "a group of types": [raw(1, 3, 1, 0x4e, 0), /\(GC\)/],
    "a reference to anything": [raw(1, 5, 1, 0x60, 1, 0x6e, 0), /\(GC\)/],
    "an instruction of GC": [withCode(0xfb, 0x00, 0x00), /\(GC\)/],
    "a typed reference": [raw(1, 6, 1, 0x60, 1, 0x64, 0x70, 0), /typed function references/],
    "a table with an initial value": [raw(4, 9, 1, 0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b), /typed function references/],
    call_ref: [withCode(0x14, 0x00), /typed function references/],
    "stack switching": [withCode(0xe0, 0x00), /stack switching/],
    "wide arithmetic": [withCode(0xfc, 19), /wide arithmetic/],
    "an unknown instruction": [withCode(0x27), /unknown instruction, 0x27/],
    "an unknown miscellaneous instruction": [withCode(0xfc, 0x7f), /unknown instruction, 0xfc 127/],
    "an unknown vector instruction": [withCode(0xfd, 0xff, 0x7f), /unknown instruction, 0xfd 16383/],
    "a component": [Uint8Array.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]), /a WebAssembly component, not a core module/],
  };
  for (const [name, [wasm, words]] of Object.entries(FEATURES)) test(name, () => refuses(wasm, "unsupported", words));

  test("what is no module, or no longer one", () => {
    refuses(new Uint8Array(0), "malformed", /not a WebAssembly module/);
    refuses(Uint8Array.from([0, 0x61, 0x73, 0x6d, 2, 0, 0, 0]), "malformed", /not a WebAssembly module of version 1/);
    refuses(raw(14, 0), "malformed", /unknown section, 14/);
    refuses(raw(5, 1, 0, 5, 1, 0), "malformed", /doubled or out of order/);
    refuses(raw(5, 1, 0, 1, 1, 0), "malformed", /doubled or out of order/);
    refuses(raw(5, 5, 1), "malformed", /ends too early/);
    refuses(raw(5, 2, 0, 0), "malformed", /bytes behind its end/);
    refuses(raw(5, 5, 1, 1, 2, 1, 0), "malformed", /minimum is more than its maximum/);
    refuses(raw(3, 1, 0x85, 0x80), "malformed", /number|early/);
    refuses(raw(1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0), "malformed", /functions without code/);
    refuses(raw(0, 3, 2, 0xff, 0xfe), "malformed", /not UTF-8/);
  });

  test("indices that only the inserted code would make valid", () => {
    refuses(withCode(0x20, 0, 0x1a), "malformed", /local that is not there, 0/);
    refuses(withCode(0x23, 0, 0x1a), "malformed", /global that is not there, 0/);
    refuses(withCode(0x02, 0x01, 0x0b), "malformed", /no type 1/);
    refuses(withCode(0x10, 0, 0x0c, 1), "malformed", /label that is not there, 1/);
  });

  test("functions that only the meter adds, and what a start function may be", () => {
    const referring = (index: number, prepare: (module: ModuleAssembler) => void = () => {}): Uint8Array<ArrayBuffer> => {
      const module = new ModuleAssembler();
      module.func({ body: `ref.func ${index} drop` });
      prepare(module);
      return module.build();
    };
    const startOf = (index: number) => (module: ModuleAssembler) => void module.start(index);
    refuses(referring(1), "malformed", /no function 1/);
    refuses(referring(0, startOf(1)), "malformed", /no function 1/);
    // Exported as the start function it would be declared.
    refuses(referring(0, startOf(0)), "malformed", /not declared/);
    const declared = referring(0, (module) => void module.table(1).elements([0]).start(0));
    assert.ok(WebAssembly.validate(declared) && WebAssembly.validate(meter(declared).bytes));
    const wrong = new ModuleAssembler();
    wrong.start(wrong.func({ params: ["i32"], body: "" }));
    refuses(wrong.build(), "malformed", /start function with parameters/);
    refuses(new ModuleAssembler().memory(1, 1, "selvedge:start").build(), "unsupported", /metered twice/);
  });

  test("an export that looks like the meter's own", () => {
    for (const name of [FUEL_EXPORT, DEPTH_EXPORT]) {
      refuses(new ModuleAssembler().memory(1, 1, name).build(), "unsupported", /metered twice/);
    }
    refuses(meter(new ModuleAssembler().build()).bytes, "unsupported", /metered twice/);
  });
});

describe("meter: bounds", () => {
  const body = (text: string, locals = 0): Uint8Array<ArrayBuffer> => {
    const module = new ModuleAssembler();
    module.func({ body: text, locals: new Array<"i32">(locals).fill("i32") });
    return module.build();
  };
  const accepts = (wasm: Uint8Array<ArrayBuffer>): void => {
    assert.ok(WebAssembly.validate(wasm));
    assert.ok(WebAssembly.validate(meter(wasm).bytes));
  };

  test("memory and tables that begin larger than the bound", () => {
    accepts(new ModuleAssembler().memory(4).build());
    refuses(new ModuleAssembler().memory(5).build(), "limit", /a memory of 5 pages, the limit is 4/);
    accepts(new ModuleAssembler().table(1_000).build());
    refuses(new ModuleAssembler().table(1_001).build(), "limit", /a table of 1001 elements, the limit is 1000/);
    refuses(raw(5, 6, 1, 1, 1, 0x81, 0x80, 0x04), "malformed", /may not be that large/);
  });

  test("tables", () => {
    const tables = (count: number): Uint8Array<ArrayBuffer> => {
      const module = new ModuleAssembler();
      for (let i = 0; i < count; i++) module.table(1);
      return module.build();
    };
    accepts(tables(METER_LIMITS.tables));
    refuses(tables(METER_LIMITS.tables + 1), "limit", /17 tables, the limit is 16/);
  });

  test("nesting", () => {
    const nested = (depth: number): Uint8Array<ArrayBuffer> =>
      withCode(...new Array<number[]>(depth).fill([0x02, 0x40]).flat(), ...new Array<number>(depth).fill(0x0b));
    assert.ok(meter(nested(METER_LIMITS.nesting)).report.instructions > METER_LIMITS.nesting);
    refuses(nested(METER_LIMITS.nesting + 1), "limit", /nested deeper than 4000/);
  });

  test("locals", () => {
    accepts(body("", METER_LIMITS.locals));
    refuses(body("", METER_LIMITS.locals + 1), "limit", /more than 20000 locals/);
    // Functions with as many locals as one may have, in one run each.
    const many = (functions: number): Uint8Array<ArrayBuffer> => {
      const locals = uleb(METER_LIMITS.locals);
      const body = [locals.length + 3, 1, ...locals, 0x7f, 0x0b];
      const types = [...uleb(functions), ...new Array<number>(functions).fill(0)];
      const code = [...uleb(functions), ...new Array(functions).fill(body).flat()];
      return raw(1, 4, 1, 0x60, 0, 0, 3, ...uleb(types.length), ...types, 10, ...uleb(code.length), ...code);
    };
    accepts(many(METER_LIMITS.localsInAll / METER_LIMITS.locals));
    refuses(many(METER_LIMITS.localsInAll / METER_LIMITS.locals + 1), "limit", /locals in all/);
    // One run of four milliards.
    refuses(
      raw(1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 11, 1, 9, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b, 0x0b),
      "limit",
      /locals/,
    );
  });

  test("targets of a br_table", () => {
    const branches = (count: number): Uint8Array<ArrayBuffer> =>
      withCode(...assemble("i32.const 0"), 0x0e, ...uleb(count), ...new Array<number>(count + 1).fill(0));
    accepts(branches(METER_LIMITS.branchTargets));
    refuses(branches(METER_LIMITS.branchTargets + 1), "limit", /32769 targets in a br_table/);
  });

  test("operands of blocks, branches and calls that have many", () => {
    // A block takes 500 and leaves 500; so does a branch out of it, and a call of a function of its type.
    const type = [0x60, ...uleb(500), ...new Array<number>(500).fill(0x7f), ...uleb(500), ...new Array<number>(500).fill(0x7f)];
    const types = [2, ...type, 0x60, 0, 0];
    const section = (id: number, bytes: readonly number[]): number[] => [id, ...uleb(bytes.length), ...bytes];
    const made = (count: number, each: readonly number[]): Uint8Array<ArrayBuffer> => {
      const operands = new Array<readonly number[]>(500).fill([0x41, 0]).flat();
      const drops = new Array<number>(500).fill(0x1a);
      const code = [0, ...operands, ...new Array<readonly number[]>(count).fill(each).flat(), ...drops, 0x0b];
      const body = [0, 0x00, 0x0b];
      const functions = [2, ...uleb(code.length), ...code, ...uleb(body.length), ...body];
      return raw(...section(1, types), ...section(3, [2, 1, 0]), ...section(10, functions));
    };
    const most = (each: number): number => Math.floor(METER_LIMITS.wideOperands / each);
    const block = [0x02, 0x00, 0x0b];
    const call = [0x10, 0x01];
    for (const each of [block, call]) {
      accepts(made(most(1_000), each));
      refuses(made(most(1_000) + 1, each), "limit", /4000000 operands in all/);
    }
    // A block with a branch: 1,500.
    accepts(made(most(1_500), [0x02, 0x00, 0x0c, 0x00, 0x0b]));
    refuses(made(most(1_500) + 1, [0x02, 0x00, 0x0c, 0x00, 0x0b]), "limit", /operands/);
  });

  test("locals and operands at blocks and branches, where they are many", () => {
    const made = (locals: number, pushed: number, count: number, each: readonly number[]): Uint8Array<ArrayBuffer> => {
      const section = (id: number, bytes: readonly number[]): number[] => [id, ...uleb(bytes.length), ...bytes];
      const repeat = (times: number, bytes: readonly number[]): number[] =>
        new Array<readonly number[]>(times).fill(bytes).flat();
      const code = [
        1,
        ...uleb(locals),
        0x7f,
        ...repeat(pushed, [0x41, 0]),
        ...repeat(count, each),
        ...repeat(pushed, [0x1a]),
        0x0b,
      ];
      return rawFrom([...section(1, [1, 0x60, 0, 0]), ...section(3, [1, 0]), ...section(10, [1, ...uleb(code.length), ...code])]);
    };
    const bound = /more than \d+ locals and operands at its blocks and branches/;
    const loop = [0x03, 0x40, 0x0b];
    const { heldValues, heldPerByte } = METER_LIMITS;
    const most = heldValues / 20_000;
    accepts(made(20_000, 0, most, loop));
    refuses(made(20_000, 0, most + 1, loop), "limit", bound);
    const left = [0x02, 0x40, 0x0c, 0x00, 0x0b];
    accepts(made(20_000, 0, most / 2, left));
    refuses(made(20_000, 0, most / 2 + 1, left), "limit", bound);
    // Blocks around a branch count by the quarter.
    const nested = (depth: number, times: number): Uint8Array<ArrayBuffer> => {
      const opened = new Array<number[]>(depth).fill([0x03, 0x40]).flat();
      const closed = new Array<number[]>(depth).fill([0x41, 0, 0x0d, 0, 0x0b]).flat();
      return made(0, 0, times, [...opened, ...closed]);
    };
    accepts(nested(METER_LIMITS.nesting - 10, 1));
    accepts(nested(2_800, 2));
    refuses(nested(2_900, 2), "limit", bound);
    // Operands below count as locals do; they are bytes of the module as well.
    accepts(made(10_000, 10_000, most + 1, loop));
    refuses(made(10_000, 10_000, most + 3, loop), "limit", bound);
    // Few values at many blocks: each byte of the module allows for some.
    const many = heldValues / (300 - loop.length * heldPerByte);
    assert.ok(many - heldValues / 300 > 100);
    accepts(made(300, 0, Math.floor(many), loop));
    refuses(made(300, 0, Math.ceil(many) + 1, loop), "limit", bound);
  });

  test("parameters", () => {
    const params = (count: number): Uint8Array<ArrayBuffer> =>
      raw(1, ...uleb(4 + uleb(count).length + count - 1), 1, 0x60, ...uleb(count), ...new Array<number>(count).fill(0x7f), 0);
    accepts(params(METER_LIMITS.params));
    refuses(params(METER_LIMITS.params + 1), "limit", /1001 parameters/);
  });

  test("functions, bytes and cost of one", () => {
    const count = METER_LIMITS.functions + 1;
    refuses(
      rawFrom([1, 4, 1, 0x60, 0, 0, 3, ...uleb(uleb(count).length + count), ...uleb(count), ...new Array<number>(count).fill(0)]),
      "limit",
      /200001 functions, the limit is 200000/,
    );
    const filled = (size: number, pattern: readonly number[]): Uint8Array<ArrayBuffer> => {
      const front = [1, ...uleb(size)];
      const head = raw(1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 4, 4, 1, 0x70, 0, 1, 10, ...uleb(front.length + size), ...front);
      const wasm = new Uint8Array(head.length + size);
      wasm.set(head);
      for (let i = 1; i < size - 1; i++) wasm[head.length + i] = pattern[(i - 1) % pattern.length] as number;
      wasm[wasm.length - 1] = 0x0b;
      return wasm;
    };
    const nop = assemble("nop");
    assert.equal(meter(filled(METER_LIMITS.functionBytes, nop)).report.instructions, METER_LIMITS.functionBytes - 1);
    refuses(filled(METER_LIMITS.functionBytes + 1, nop), "limit", /a function of 4194305 bytes/);
    // Each of these costs a little more than 5,000.
    const grow = assemble("ref.null funcref i32.const 0 table.grow 0 drop");
    assert.equal(meter(filled(50_000 * grow.length + 2, grow)).report.functions, 1);
    refuses(filled(60_000 * grow.length + 2, grow), "limit", /costs too much in one pass/);
  });
});

describe("meter: what stays and what goes", () => {
  const sections = (wasm: Uint8Array<ArrayBuffer>, name: string): number =>
    WebAssembly.Module.customSections(new WebAssembly.Module(wasm), name).length;

  test("names stay, what points into the code goes", () => {
    const module = new ModuleAssembler();
    module.func({ name: "run", body: "nop" });
    for (const name of [
      "name",
      "producers",
      ".debug_info",
      ".debug_line",
      "metadata.code.branch_hint",
      "sourceMappingURL",
      "own",
    ])
      module.custom(name, name === "name" ? [1, 4, 1, 0, 1, 97] : []);
    const { bytes, report } = meter(module.build());
    assert.deepEqual(report.droppedSections, [".debug_info", ".debug_line", "metadata.code.branch_hint", "sourceMappingURL"]);
    for (const name of ["name", "producers", "own"]) assert.equal(sections(bytes, name), 1, name);
    for (const name of report.droppedSections) assert.equal(sections(bytes, name), 0, name);
  });

  test("exports stay in order, with the two counters behind them; imports stay", () => {
    const module = new ModuleAssembler();
    module.importFunction("env", "f");
    module.memory(1, 1, "memory");
    module.func({ name: "run", body: "call 0" });
    const compiled = new WebAssembly.Module(meter(module.build()).bytes);
    assert.deepEqual(
      WebAssembly.Module.exports(compiled).map(({ name }) => name),
      ["memory", "run", FUEL_EXPORT, DEPTH_EXPORT],
    );
    assert.deepEqual(WebAssembly.Module.imports(compiled), [{ module: "env", name: "f", kind: "function" }]);
  });

  test("the same bytes for the same bytes", () => {
    const module = new ModuleAssembler();
    module.memory(1);
    module.func({ name: "run", params: ["i32"], results: ["i32", "i32"], body: "local.get 0 local.get 0" });
    const wasm = module.build();
    const before = wasm.slice();
    assert.deepEqual(meter(wasm).bytes, meter(wasm).bytes);
    assert.deepEqual(wasm, before);
  });

  test("an imported memory has to be bounded by the host", () => {
    const module = new ModuleAssembler().importRaw("env", "memory", 2, 0, 1).build();
    const { bytes, report } = meter(module);
    assert.deepEqual(report.memory, { minPages: 1, maxPages: 4 });
    const compiled = new WebAssembly.Module(bytes);
    const link = (maximum: number): WebAssembly.Instance =>
      new WebAssembly.Instance(compiled, { env: { memory: new WebAssembly.Memory({ initial: 1, maximum }) } });
    link(4);
    assert.throws(() => link(5), WebAssembly.LinkError);
  });
});
