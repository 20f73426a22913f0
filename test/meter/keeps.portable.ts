// What a module that keeps its state gives back, what it says cannot be given back, and that no module reaches it.
import assert from "node:assert/strict";
import {
  KEEP_EXPORT,
  KEPT_EXPORT,
  MEMORY_EXPORT,
  METER_EXPORTS,
  meterModule,
  RESTORE_EXPORT,
  TOUCHED_EXPORT,
} from "../../src/filters/meter/index.ts";
import { ModuleAssembler } from "../kit/assembler.ts";
import { MeteredGuest, setMeter, TEST_METER } from "../kit/metered.ts";
import { describe, test } from "../kit/suite.ts";

const keep = ({ exports }: MeteredGuest): void => void setMeter(exports, KEEP_EXPORT, 0);
const restore = ({ exports }: MeteredGuest): number => setMeter(exports, RESTORE_EXPORT, 0);

describe("meter: state that is kept", () => {
  test("mutable globals of every type, to the bit", () => {
    const module = new ModuleAssembler();
    const own = module.func({ name: "own", body: "" });
    const values = [
      ["i32", "i32.const 7", "i32.const -1"],
      ["i64", "i64.const 9", "i64.const -1"],
      ["f32", "f32.const 1.5", "i32.const 2143289345 f32.reinterpret_i32"],
      ["f64", "f64.const 2.5", "i64.const 9221120237041090561 f64.reinterpret_i64"],
      ["v128", `v128.const ${Array.from({ length: 16 }, (_, i) => i).join(" ")}`, "i32.const 3 i32x4.splat"],
      ["funcref", "ref.null funcref", `ref.func ${own}`],
      ["externref", "ref.null externref", "local.get 0"],
    ] as const;
    const isSame = {
      i32: "i32.const 7 i32.eq",
      i64: "i64.const 9 i64.eq",
      f32: "f32.const 1.5 f32.eq",
      f64: "f64.const 2.5 f64.eq",
      v128: `${values[4][1]} i8x16.eq i8x16.all_true`,
      funcref: "ref.is_null",
      externref: "ref.is_null",
    } as const;
    let change = "";
    let same = "i32.const 1";
    values.forEach(([type, initial, other], i) => {
      module.global(type, initial);
      change += ` ${other} global.set ${i}`;
      same += ` global.get ${i} ${isSame[type]} i32.and`;
    });
    module.func({ name: "change", params: ["externref"], body: change });
    module.func({ name: "same", results: ["i32"], body: same });
    const guest = new MeteredGuest(module.build(), { keeps: true });
    keep(guest);
    guest.call("change", {});
    assert.equal(guest.call("same"), 0);
    assert.equal(restore(guest), 0);
    assert.equal(guest.call("same"), 1);
    // What is kept later counts.
    guest.call("change", {});
    keep(guest);
    assert.equal(restore(guest), 0);
    assert.equal(guest.call("same"), 0);
  });

  test("tables and segments are noted once they are touched, not before", () => {
    const module = new ModuleAssembler();
    module.table(2, 8).memory(1);
    module.elements([module.func({ name: "own", body: "" })]).data([1]);
    const touching: Readonly<Record<string, string>> = {
      set: "i32.const 0 ref.null funcref table.set 0",
      grow: "ref.null funcref i32.const 0 table.grow 0 drop",
      fill: "i32.const 0 ref.null funcref i32.const 0 table.fill 0",
      copy: "i32.const 0 i32.const 0 i32.const 0 table.copy 0 0",
      init: "i32.const 0 i32.const 0 i32.const 0 table.init 0 0",
      elements: "elem.drop 0",
      data: "data.drop 0",
    };
    const harmless = "i32.const 0 table.get 0 drop table.size 0 drop i32.const 0 i32.const 0 i32.const 1 memory.init 0 0";
    module.func({ name: "harmless", body: `${harmless} i32.const 0 i32.const 0 i32.const 9 memory.fill 0` });
    for (const [name, body] of Object.entries(touching)) {
      module.func({ name, body });
      // In a function whose callers pay for it, nothing else would be changed.
      const inner = module.func({ body });
      module.func({ name: `${name} inside`, body: `loop call ${inner} end` });
    }
    const guest = new MeteredGuest(module.build(), { keeps: true });
    keep(guest);
    guest.call("harmless");
    assert.equal(restore(guest), 0);
    for (const name of Object.keys(touching)) {
      for (const each of [name, `${name} inside`]) {
        guest.call(each);
        assert.equal(restore(guest), 1, each);
        keep(guest);
        assert.equal(restore(guest), 0, each);
      }
    }
  });

  test("its own memory is shown, exported or not; an imported one is not", () => {
    const memoryOf = (module: ModuleAssembler): unknown => {
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 2 });
      return new MeteredGuest(module.build(), { keeps: true }, { env: { memory } }).exports[MEMORY_EXPORT];
    };
    assert.ok(memoryOf(new ModuleAssembler().memory(1)) instanceof WebAssembly.Memory);
    assert.equal(memoryOf(new ModuleAssembler().importRaw("env", "memory", 0x02, 0x00, 1)), undefined);
    assert.equal(memoryOf(new ModuleAssembler()), undefined);
  });

  test("no module has exports of these names, and without keeping there are none of them", () => {
    for (const name of [...METER_EXPORTS, `${KEPT_EXPORT}0`]) {
      const wasm = new ModuleAssembler().memory(1, undefined, name).build();
      for (const keeps of [false, true]) assert.throws(() => meterModule(wasm, { ...TEST_METER, keeps }), /metered twice/);
    }
    const { exports } = new MeteredGuest(new ModuleAssembler().memory(1).build());
    for (const name of [KEEP_EXPORT, RESTORE_EXPORT, MEMORY_EXPORT, TOUCHED_EXPORT]) assert.equal(exports[name], undefined);
  });
});
