// Where the counter is in a local alone, or charged without a check: what left is paid for, and what works without end stops.
import assert from "node:assert/strict";
import { classifyTrap } from "../../src/filters/meter/index.ts";
import { ModuleAssembler } from "../kit/assembler.ts";
import { MeteredGuest } from "../kit/metered.ts";
import { describe, test } from "../kit/suite.ts";

function trapOf(guest: MeteredGuest, ...args: unknown[]): string {
  assert.throws(() => guest.call("run", ...args), WebAssembly.RuntimeError);
  return classifyTrap(guest.exports);
}

/** Ways out of a loop that calls nothing, after `local 0` rounds: inside, the counter is in a local alone. */
const WAYS_OUT: Readonly<Record<string, string>> = {
  "its end": "loop #next local.get 0 br_if 0 end i32.const 7",
  br: "block loop #next local.get 0 if br 1 else br 2 end end end i32.const 7",
  br_if: "block loop #next local.get 0 i32.eqz br_if 1 br 0 end end i32.const 7",
  "br_if with an operand": "block i32 loop #next i32.const 7 local.get 0 i32.eqz br_if 1 drop br 0 end unreachable end",
  br_table: "block loop #next local.get 0 br_table 1 ,0 end end i32.const 7",
  return: "loop #next local.get 0 if br 1 end i32.const 7 return end unreachable",
  "a branch to the function": "loop #next local.get 0 if br 1 end i32.const 7 br 1 end unreachable",
  throw: "try loop #next local.get 0 br_if 0 throw 0 end catch 0 end i32.const 7",
  rethrow: "try try loop #next local.get 0 br_if 0 throw 0 end catch_all rethrow 0 end catch_all end i32.const 7",
  "throw, to a try_table": "block try_table catch:0:0 ; loop #next local.get 0 br_if 0 throw 0 end end end i32.const 7",
  "a throw in a function that its callers pay for": "try loop #next local.get 0 call 1 br 0 end catch 0 end i32.const 7",
  "an exception in another loop":
    "loop local.get 1 i32.const 1 i32.add local.set 1 local.get 0 local.set 2 try loop local.get 2 i32.const -1 i32.add local.tee 2 br_if 0 throw 0 end catch 0 end local.get 1 i32.const 3 i32.lt_u br_if 0 end i32.const 7",
  "two loops": "block loop loop #next local.get 0 i32.eqz br_if 2 br 0 end end end i32.const 7",
};

describe("fuel: loops that call nothing", () => {
  const build = (way: string, prelude = ""): Uint8Array<ArrayBuffer> => {
    const module = new ModuleAssembler();
    module.tag();
    const body = way.replaceAll("#next", "local.get 0 i32.const -1 i32.add local.set 0");
    module.func({ name: "run", params: ["i32"], locals: ["i32", "i32"], results: ["i32"], body: `${prelude} ${body}` });
    module.func({ params: ["i32"], body: "local.get 0 i32.eqz if throw 0 end" });
    return module.build();
  };
  for (const [name, way] of Object.entries(WAYS_OUT)) {
    test(`what a loop did is paid for when it is left: ${name}`, () => {
      // The same in a function with a guard.
      for (const prelude of ["", "local.get 0 i32.const -1 i32.eq if i32.const 0 call 0 drop end"]) {
        const wasm = build(way, prelude);
        const guest = new MeteredGuest(wasm);
        assert.equal(guest.call("run", 5), 7);
        const [little, much] = [guest.cost("run", 10), guest.cost("run", 110)];
        assert.ok(much - little >= 100 * 6 && much - little < 100 * 30, `${little}, ${much}`);
        const exact = new MeteredGuest(wasm, { splitFuel: 0 });
        assert.ok(much >= exact.cost("run", 110), `${much} is less than it should be`);
      }
    });
  }

  test("a check that reports and traps makes no loop slow, and is charged for what it is worth", () => {
    const module = new ModuleAssembler();
    module.importFunction("host", "abort");
    const get = "local.get 0 i32.const 1000 i32.ge_u if call 0 unreachable end local.get 0";
    module.func({ params: ["i32"], results: ["i32"], body: get });
    module.func({
      name: "run",
      params: ["i32"],
      body: "loop local.get 0 i32.const -1 i32.add local.tee 0 call 1 br_if 0 end",
    });
    let aborted = 0;
    const guest = new MeteredGuest(module.build(), {}, { host: { abort: () => aborted++ } });
    assert.equal(guest.cost("run", 100) - guest.cost("run", 50), 50 * 16);
    guest.fuel = 100_000;
    assert.equal(trapOf(guest, 2_000), "guest");
    assert.equal(aborted, 1);
  });

  test("the host sees what a loop has used before it reports", () => {
    const module = new ModuleAssembler();
    module.importFunction("host", "abort");
    const step = "local.get 0 i32.const -1 i32.add local.tee 0";
    module.func({ name: "run", params: ["i32"], body: `loop ${step} i32.eqz if call 0 unreachable end br 0 end` });
    const seen: number[] = [];
    const guest: MeteredGuest = new MeteredGuest(module.build(), {}, { host: { abort: () => void seen.push(guest.fuel) } });
    guest.fuel = 100_000;
    assert.equal(trapOf(guest, 1_000), "guest");
    assert.ok((seen[0] as number) < 100_000 - 1_000 * 7, String(seen[0]));
  });
});

describe("fuel: what is spent without a check", () => {
  test("a recursion that works on its way back stops as well", () => {
    // Each arm is charged for where it begins; none of these frames passes an entry or a loop after its call.
    const arm = `local.get 0 if ${"i32.const 9 i32.const 1 i32.div_u drop ".repeat(1_000)} end `;
    const module = new ModuleAssembler();
    module.func({
      name: "run",
      params: ["i32"],
      body: `local.get 0 i32.const 1 i32.gt_s if local.get 0 i32.const -1 i32.add call 0 end ${arm.repeat(20)}`,
    });
    const guest = new MeteredGuest(module.build());
    assert.equal(trapOf(guest, 1_000), "fuel");
    // Not all of it: 220,000 for each of a thousand frames.
    assert.ok(guest.fuel > -100_000, String(guest.fuel));
  });

  test("many arms that are cheap", () => {
    const arm = `local.get 0 if ${"nop ".repeat(50)} end `;
    const module = new ModuleAssembler();
    module.func({
      name: "run",
      params: ["i32"],
      body: `local.get 0 i32.const 1 i32.gt_s if local.get 0 i32.const -1 i32.add call 0 end ${arm.repeat(2_000)}`,
    });
    const guest = new MeteredGuest(module.build());
    guest.fuel = 200_000;
    assert.equal(trapOf(guest, 2_000), "fuel");
    assert.ok(guest.fuel > -200_000, String(guest.fuel));
  });
});
