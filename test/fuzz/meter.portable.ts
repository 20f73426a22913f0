// Invariants: metering changes no result, no trap, no byte of memory and no host call; the charge is never less than what runs, the
// same on every runtime; mutated bytes give a MeterError or bytes that are valid exactly when the mutant was.
import assert from "node:assert/strict";
import { SeededRng } from "../../src/core/rng.ts";
import {
  classifyTrap,
  DEPTH_EXPORT,
  FUEL_EXPORT,
  MeterError,
  type MeterOptions,
  meterModule,
} from "../../src/filters/meter/index.ts";
import { readMeter, setMeter } from "../kit/metered.ts";
import { randomArguments, randomModule } from "../kit/random-module.ts";
import { describe, test } from "../kit/suite.ts";

const MODULES = Number(process.env.SELVEDGE_FUZZ_MODULES ?? 40);
const MUTANTS = Number(process.env.SELVEDGE_FUZZ_MUTANTS ?? 4_000);
/** By hand some thousands of each: that takes minutes. */
const PATIENCE_MS = 240_000 + MODULES * 300 + MUTANTS * 10;
const CALLS = 3;
const STEPS = 300;
const MEMORY_BYTES = 3 * 65_536;
const OPTIONS: MeterOptions = { fuel: 2 ** 31 - 1, depth: 2 ** 31 - 1, memoryBytes: MEMORY_BYTES, tableElements: 16 };

/** Settings that move charges to other places. */
const OTHER_SPLITS: readonly Partial<MeterOptions>[] = [
  { splitFuel: 8, foreignFuel: 0 },
  { splitFuel: 1_000, foreignFuel: 100_000 },
];

interface Seen {
  readonly outcomes: string[];
  readonly log: number[];
  /** Fuel that each call took; of the unmetered one nothing. */
  readonly fuel: number[];
  readonly memory: string;
}

/** Fuel of the first modules: the same on every runtime, and a change of weights or of the plan is seen (then METER_VERSION changes). */
const FIRST_TOTALS = [
  15901, 85212, 27342, 69754, 11625, 354, 11193, 576, 675294, 306762, 22746, 43116, 19134, 77736, 528, 62247, 22698, 101175, 4512,
  35526,
];

const show = (value: unknown): string =>
  Array.isArray(value) ? value.map(show).join() : Object.is(value, -0) ? "-0" : String(value);

/** What a trap says, without the place, which rewriting moves. */
const describeError = (error: unknown): string =>
  error instanceof WebAssembly.Exception ? "exception" : String(error).replace(/\(evaluating.*|@\+\d+/g, "");

function hash(bytes: Uint8Array): string {
  let value = 0x811c9dc5;
  for (const byte of bytes) value = Math.imul(value ^ byte, 0x01000193);
  return `${bytes.length}:${value >>> 0}`;
}

/** Calls each function a few times, the same for the same seed. */
function observe(
  wasm: Uint8Array<ArrayBuffer>,
  functions: readonly (readonly ("i32" | "i64" | "f64")[])[],
  seed: number,
  budget?: number,
): Seen {
  const log: number[] = [];
  const host = {
    log: (value: number): number => {
      log.push(value);
      return log.length;
    },
  };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { host });
  const isMetered = exports[FUEL_EXPORT] !== undefined;
  const depth = (): number => (isMetered ? readMeter(exports, DEPTH_EXPORT) : 0);
  const rng = new SeededRng(seed);
  const outcomes: string[] = [];
  const fuel: number[] = [];
  for (let round = 0; round < CALLS; round++) {
    functions.forEach((params, i) => {
      (exports.steps as WebAssembly.Global).value = STEPS;
      if (isMetered) setMeter(exports, FUEL_EXPORT, budget ?? OPTIONS.fuel);
      const args = randomArguments(rng, params);
      const depthBefore = depth();
      try {
        outcomes.push(show((exports[`f${i}`] as (...values: unknown[]) => unknown)(...args)));
        assert.equal(depth(), depthBefore);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        outcomes.push(describeError(error));
      }
      if (isMetered) fuel.push((budget ?? OPTIONS.fuel) - readMeter(exports, FUEL_EXPORT));
    });
  }
  return { outcomes, log, fuel, memory: hash(new Uint8Array((exports.memory as WebAssembly.Memory).buffer)) };
}

const meter = (wasm: Uint8Array<ArrayBuffer>, options: Partial<MeterOptions> = {}): Uint8Array<ArrayBuffer> =>
  meterModule(wasm, { ...OPTIONS, ...options }).bytes;

describe("fuzz: metered modules", () => {
  test(
    "random modules do the same as before, for at least what they cost",
    () => {
      const rng = new SeededRng(20_261_121);
      let charged = 0;
      let exactly = 0;
      let returned = 0;
      let calls = 0;
      const totals: number[] = [];
      for (let i = 0; i < MODULES; i++) {
        const { wasm, functions } = randomModule(rng);
        assert.ok(WebAssembly.validate(wasm), `module ${i} is not valid`);
        const before = observe(wasm, functions, i);
        const after = observe(meter(wasm), functions, i);
        const exact = observe(meter(wasm, { splitFuel: 0 }), functions, i);
        const keeping = observe(meter(wasm, { keeps: true }), functions, i);
        assert.deepEqual(keeping.fuel, after.fuel, `module ${i}`);
        const others = OTHER_SPLITS.map((splits) => observe(meter(wasm, splits), functions, i));
        for (const seen of [after, exact, keeping, ...others]) {
          assert.deepEqual(seen.outcomes, before.outcomes, `module ${i}`);
          assert.deepEqual(seen.log, before.log, `module ${i}`);
          assert.equal(seen.memory, before.memory, `module ${i}`);
        }
        after.fuel.forEach((fuel, k) => {
          // A fault in the middle of a loop leaves uncounted what the loop has done: hosts count all that was given.
          if (before.outcomes[k]?.includes("Error")) return;
          const least = exact.fuel[k] as number;
          assert.ok(fuel >= least, `module ${i}, call ${k}: ${fuel} is less than ${least}`);
          // A root pays for at most 128 units of others, or as much as it costs itself; a loop has four of its own at least.
          assert.ok(fuel <= 200 + least * 33, `module ${i}, call ${k}: ${fuel} is much more than ${least}`);
          charged += fuel;
          exactly += least;
        });
        calls += before.outcomes.length;
        returned += before.outcomes.filter((outcome) => !/error|exception/i.test(outcome)).length;
        if (i < 20) totals.push(after.fuel.reduce((sum, fuel) => sum + fuel, 0));
      }
      assert.ok(charged < exactly * 2, `${charged} charged for ${exactly}`);
      // The generator has to make modules that do something: neither all traps nor none.
      assert.ok(returned > calls / 10 && returned < calls, `${returned} of ${calls} returned`);
      assert.deepEqual(totals, FIRST_TOTALS);
    },
    PATIENCE_MS,
  );

  test(
    "with little fuel they do the same until it is used up",
    () => {
      const rng = new SeededRng(7);
      let exhausted = 0;
      for (let i = 0; i < MODULES; i++) {
        const { wasm, functions } = randomModule(rng);
        const budget = 1 + rng.below(3_000);
        const { exports } = new WebAssembly.Instance(new WebAssembly.Module(meter(wasm)), { host: { log: () => 1 } });
        const original = new WebAssembly.Instance(new WebAssembly.Module(wasm), { host: { log: () => 1 } }).exports;
        for (const [k, params] of functions.entries()) {
          const args = randomArguments(rng, params);
          for (const each of [exports, original]) (each.steps as WebAssembly.Global).value = STEPS;
          setMeter(exports, FUEL_EXPORT, budget);
          const run = (from: WebAssembly.Exports): string => {
            try {
              return show((from[`f${k}`] as (...values: unknown[]) => unknown)(...args));
            } catch (error) {
              return describeError(error);
            }
          };
          const after = run(exports);
          if (classifyTrap(exports) === "fuel") {
            exhausted++;
            // What it left behind is half-done: the two worlds part here.
            break;
          }
          assert.equal(after, run(original), `module ${i}, function ${k}`);
        }
      }
      assert.ok(exhausted > MODULES / 10 && exhausted < MODULES, `${exhausted} of ${MODULES} ran out`);
    },
    PATIENCE_MS,
  );

  test(
    "mutated bytes are refused by a MeterError, or are as valid as the mutant was",
    () => {
      const rng = new SeededRng(99);
      let refused = 0;
      let valid = 0;
      let invalid = 0;
      for (let i = 0; i < MUTANTS; ) {
        const original = randomModule(rng).wasm;
        for (let k = 0; k < 40; k++, i++) {
          const answer = judge(mutate(original, rng), `mutant ${i}`);
          if (answer === "refused") refused++;
          else if (answer === "valid") valid++;
          else invalid++;
        }
      }
      assert.ok(refused > MUTANTS / 20 && valid > MUTANTS / 50 && invalid > MUTANTS / 20, `${refused} ${valid} ${invalid}`);
    },
    PATIENCE_MS,
  );

  test("cut modules", () => {
    const { wasm } = randomModule(new SeededRng(5));
    let refused = 0;
    for (let length = 0; length < wasm.length; length++) {
      if (judge(wasm.slice(0, length), `${length} bytes`) === "refused") refused++;
    }
    // All but those that are cut between two sections in front of the functions.
    assert.ok(refused > wasm.length - 10, String(refused));
  });
});

/** What becomes of bytes: never more than a MeterError, never another validity. */
function judge(bytes: Uint8Array<ArrayBuffer>, name: string): "refused" | "valid" | "invalid" {
  let rewritten: Uint8Array<ArrayBuffer>;
  try {
    rewritten = meter(bytes);
  } catch (error) {
    assert.ok(error instanceof MeterError, String(error));
    return "refused";
  }
  const isValid = WebAssembly.validate(bytes);
  assert.equal(WebAssembly.validate(rewritten), isValid, name);
  assert.equal(WebAssembly.validate(meter(bytes, { keeps: true })), isValid, name);
  return isValid ? "valid" : "invalid";
}

function mutate(original: Uint8Array<ArrayBuffer>, rng: SeededRng): Uint8Array<ArrayBuffer> {
  const mutant = original.slice();
  for (let changes = 1 + rng.below(3); changes > 0; changes--) {
    // Half of the changes hit the small sections in front of the code.
    const at = rng.below(2) === 0 ? rng.below(mutant.length) : rng.below(Math.min(mutant.length, 300));
    mutant[at] = rng.below(4) === 0 ? rng.below(256) : ((mutant[at] as number) + rng.below(7) - 3) & 0xff;
  }
  return mutant;
}
