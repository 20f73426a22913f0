import type { Rng } from "../../src/core/rng.ts";
import { ModuleAssembler, type Type } from "./assembler.ts";

type Number = "i32" | "i64" | "f64";
const NUMBERS: readonly Number[] = ["i32", "i64", "f64"];

const UNARY: Readonly<Record<Number, readonly string[]>> = {
  i32: ["i32.eqz", "i32.clz", "i32.popcnt", "i32.extend8_s", "i64.eqz<i64", "i32.wrap_i64<i64", "i32.trunc_sat_f64_s<f64"],
  i64: ["i64.ctz", "i64.extend32_s", "i64.extend_i32_u<i32", "i64.trunc_sat_f64_u<f64"],
  f64: ["f64.neg", "f64.sqrt", "f64.nearest", "f64.convert_i32_s<i32", "f64.convert_i64_u<i64"],
};
const BINARY: Readonly<Record<Number, readonly string[]>> = {
  i32: ["i32.add", "i32.mul", "i32.xor", "i32.shr_s", "i32.lt_u", "i32.div_s", "i32.rem_u", "i64.eq<i64", "f64.lt<f64"],
  i64: ["i64.add", "i64.sub", "i64.rotl", "i64.or", "i64.div_u"],
  f64: ["f64.add", "f64.mul", "f64.div", "f64.max"],
};

/** Index of the step counter among the module's globals, and of the first one that code may use. */
const STEPS = 0;
const FIRST_GLOBAL = 1;
const MEMORY_MASK = 0xffff;

interface Signature {
  readonly params: readonly Number[];
  readonly results: readonly Number[];
}

/** What a random module has, for the test that runs it. */
export interface RandomModule {
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** Its exports `f0`, `f1`, …, with their parameters. */
  readonly functions: readonly (readonly Number[])[];
}

/**
 * A valid module made from a seed: nested blocks, loops, arms, branch tables, calls of all kinds, memory and table operations,
 * exceptions. It ends: every loop and call takes a step off a counter of its own, and traps when that is used up. It imports
 * `host.log(i32) -> i32` and exports `memory` and `steps`.
 */
export function randomModule(rng: Rng): RandomModule {
  return new Generator(rng).build();
}

class Generator {
  readonly #rng: Rng;
  readonly #module = new ModuleAssembler();
  readonly #signatures: Signature[] = [];
  /** Either kind of exceptions: engines refuse both in one module. */
  readonly #hasNewExceptions: boolean;
  readonly #logIndex: number;
  #locals: Number[] = [];
  #results: readonly Number[] = [];
  /** Open labels, innermost last: types that a branch takes along. */
  #labels: (readonly Number[])[] = [];
  #size = 0;

  constructor(rng: Rng) {
    this.#rng = rng;
    this.#hasNewExceptions = rng.below(2) === 0;
    this.#logIndex = this.#module.importFunction("host", "log", ["i32"], ["i32"]);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#rng.below(list.length)] as T;
  }

  #types(max: number): Number[] {
    return Array.from({ length: this.#rng.below(max + 1) }, () => this.#pick(NUMBERS));
  }

  build(): RandomModule {
    const module = this.#module;
    const count = 2 + this.#rng.below(5);
    for (let i = 0; i < count; i++) this.#signatures.push({ params: this.#types(3), results: this.#types(2) });
    module.memory(1, 3, "memory").table(8, 16).tag(["i32"]);
    module.global("i32", "i32.const 0", "steps");
    for (const type of NUMBERS) module.global(type, `${type}.const ${this.#rng.below(100)}`);
    module.data([1, 2, 3, 4, 5, 6, 7, 8]);
    for (let i = 0; i < count; i++) this.#function(i);
    this.#privateFunctions(count + 1);
    module.elements(
      this.#signatures.map((_, i) => i + 1),
      0,
    );
    return { wasm: module.build(), functions: this.#signatures.map(({ params }) => params) };
  }

  /** Two functions that only the module itself can call: a short one with two ways, and one that calls that and itself. */
  #privateFunctions(short: number): void {
    const type = this.#module.type([], ["i32"]);
    const ways = [
      `local.get 0 i32.const ${this.#rng.below(9)} i32.gt_u if local.get 0 return end local.get 0 i32.const 3 i32.mul`,
      `local.get 0 if #${type} local.get 0 i32.popcnt else i32.const 8 i32.load8_u end`,
      "local.get 0 i32.const 7 i32.and local.get 0 br_if 0 drop i32.const 1",
    ];
    this.#module.func({ params: ["i32"], results: ["i32"], body: this.#pick(ways) });
    const again = `local.get 0 i32.const ${this.#pick([1, 3, 7])} i32.and if local.get 0 i32.const -1 i32.add call ${short + 1} end`;
    this.#module.func({ params: ["i32"], body: `${this.#step()} ${again} loop local.get 0 call ${short} drop end` });
  }

  #function(index: number): void {
    const { params, results } = this.#signatures[index] as Signature;
    const locals = this.#types(4);
    this.#locals = [...params, ...locals];
    this.#results = results;
    this.#labels = [results];
    this.#size = 40 + this.#rng.below(120);
    const body = `${this.#step()} ${this.#block(3)} ${results.map((type) => this.#value(type, 2)).join(" ")}`;
    this.#module.func({ name: `f${index}`, params, results, locals, body });
  }

  /** A step off the counter. */
  #step(): string {
    return `global.get ${STEPS} i32.const -1 i32.add global.set ${STEPS} global.get ${STEPS} i32.const 0 i32.lt_s if unreachable end`;
  }

  /** A few statements. */
  #block(depth: number): string {
    return Array.from({ length: 1 + this.#rng.below(4) }, () => this.#statement(depth)).join(" ");
  }

  #statement(depth: number): string {
    this.#size--;
    if (depth <= 0 || this.#size < 0) return this.#simple();
    switch (this.#rng.below(12)) {
      case 0:
        return this.#labelled("block", [], this.#types(2), depth);
      case 1:
      case 2:
        return this.#loop(depth);
      case 3:
      case 4:
        return this.#arms(depth);
      case 5:
        return `${this.#value("i32", 2)} ${this.#branchIf()}`;
      case 6:
        return this.#branchTable(depth);
      case 7:
        return this.#exception(depth);
      case 8:
        return this.#labelled("block", this.#types(2), this.#types(2), depth);
      case 9:
        return this.#leave();
      default:
        return this.#simple();
    }
  }

  #values(types: readonly Number[], depth: number): string {
    return types.map((type) => this.#value(type, depth)).join(" ");
  }
  #drop(types: readonly Number[]): string {
    return types.map(() => "drop").join(" ");
  }

  /** A block that leaves values, which are dropped. */
  #labelled(keyword: string, params: readonly Number[], results: readonly Number[], depth: number): string {
    const type = this.#module.type(params, results);
    this.#labels.push(results);
    const body = `${this.#drop(params)} ${this.#block(depth - 1)} ${this.#values(results, 1)}`;
    this.#labels.pop();
    return `${this.#values(params, 1)} ${keyword} #${type} ${body} end ${this.#drop(results)}`;
  }

  #loop(depth: number): string {
    this.#labels.push([]);
    const body = `${this.#step()} ${this.#block(depth - 1)} ${this.#rng.below(3) > 0 ? `${this.#value("i32", 1)} br_if 0` : ""}`;
    this.#labels.pop();
    return `loop ${body} end`;
  }

  #arms(depth: number): string {
    const results = this.#types(1);
    const type = this.#module.type([], results);
    const condition = this.#value("i32", 2);
    this.#labels.push(results);
    const then = `${this.#block(depth - 1)} ${this.#values(results, 1)}`;
    const otherwise = `else ${this.#block(depth - 1)} ${this.#values(results, 1)}`;
    this.#labels.pop();
    const hasElse = results.length > 0 || this.#rng.below(2) === 0;
    return `${condition} if #${type} ${then} ${hasElse ? otherwise : ""} end ${this.#drop(results)}`;
  }

  /** Labels whose branch takes nothing along. */
  #plainLabels(): number[] {
    const top = this.#labels.length - 1;
    return this.#labels.flatMap((types, i) => (types.length === 0 ? [top - i] : []));
  }

  #branchIf(): string {
    const labels = this.#plainLabels();
    return labels.length === 0 ? "drop" : `br_if ${this.#pick(labels)}`;
  }

  #branchTable(depth: number): string {
    this.#labels.push([]);
    const labels = this.#plainLabels();
    const list = Array.from({ length: this.#rng.below(4) }, () => this.#pick(labels));
    const text = `block ${this.#block(depth - 1)} ${this.#value("i32", 1)} br_table ${list.join(" ")} ,${this.#pick(labels)} end`;
    this.#labels.pop();
    return text;
  }

  /** Leaves the function or a block for good; what follows in the block cannot be reached. */
  #leave(): string {
    const label = this.#rng.below(this.#labels.length);
    const types = this.#labels[this.#labels.length - 1 - label] as readonly Number[];
    switch (this.#rng.below(10)) {
      case 0:
        return `${this.#values(this.#results, 1)} return`;
      case 1:
        return `${this.#value("i32", 1)} throw 0`;
      case 2:
        return this.#tailCall();
      case 3:
        return "unreachable";
      default:
        return `${this.#values(types, 1)} br ${label}`;
    }
  }

  #tailCall(): string {
    const fits = this.#signatures.findIndex(({ results }) => results.join() === this.#results.join());
    if (fits < 0) return "nop";
    return `${this.#values((this.#signatures[fits] as Signature).params, 1)} return_call ${fits + 1}`;
  }

  #exception(depth: number): string {
    const thrower = this.#rng.below(2) === 0 ? `${this.#value("i32", 1)} if i32.const 5 throw 0 end` : "";
    if (this.#hasNewExceptions) {
      // Caught: an i32, and for catch_all nothing.
      this.#labels.push(["i32"], [], []);
      const body = `${this.#block(depth - 1)} ${thrower}`;
      this.#labels.length -= 3;
      return `block i32 block try_table catch:0:1 catch_all:0 ; ${body} end end i32.const 3 end drop`;
    }
    this.#labels.push([]);
    const body = `${this.#block(depth - 1)} ${thrower}`;
    const caught = this.#block(depth - 1);
    const text = this.#pick([
      `try ${body} catch 0 drop ${caught} end`,
      `try ${body} catch_all ${caught} end`,
      `try ${body} catch 0 drop catch_all ${caught} end`,
    ]);
    this.#labels.pop();
    return text;
  }

  #local(type: Number): number | undefined {
    const fits = this.#locals.flatMap((each, i) => (each === type ? [i] : []));
    return fits.length === 0 ? undefined : this.#pick(fits);
  }

  #simple(): string {
    const type = this.#pick(NUMBERS);
    const local = this.#local(type);
    switch (this.#rng.below(14)) {
      case 0:
      case 1:
        return `${this.#value(type, 2)} global.set ${FIRST_GLOBAL + NUMBERS.indexOf(type)}`;
      case 2:
        return `${this.#address()} ${this.#value("i64", 2)} i64.store`;
      case 3:
        return `${this.#address()} ${this.#value("i32", 1)} i32.store8 +3`;
      case 4:
        return this.#call(type);
      case 5:
        return `${this.#value("i32", 2)} call ${this.#logIndex} drop`;
      case 6:
        return this.#bulk();
      case 7:
        return `${this.#value("i32", 2)} call ${this.#signatures.length + 1} drop`;
      case 8:
        return `${this.#value("i32", 2)} call ${this.#signatures.length + 2}`;
      default:
        return local === undefined ? `${this.#value(type, 3)} drop` : `${this.#value(type, 3)} local.set ${local}`;
    }
  }

  #address(): string {
    const value = this.#value("i32", 1);
    // Now and then one that may be out of bounds.
    return this.#rng.below(40) === 0 ? value : `${value} i32.const ${MEMORY_MASK >> 1} i32.and`;
  }

  #bulk(): string {
    const length = this.#rng.below(20) === 0 ? this.#value("i32", 1) : `i32.const ${this.#rng.below(300)}`;
    return this.#pick([
      `${this.#address()} ${this.#value("i32", 1)} ${length} memory.fill 0`,
      `${this.#address()} ${this.#address()} ${length} memory.copy 0 0`,
      `${this.#address()} i32.const ${this.#rng.below(4)} i32.const ${this.#rng.below(6)} memory.init 0 0`,
      `i32.const ${this.#rng.below(4)} memory.grow 0 drop`,
      `i32.const ${this.#rng.below(8)} i32.const ${this.#rng.below(8)} i32.const ${this.#rng.below(5)} table.copy 0 0`,
      `i32.const ${this.#rng.below(8)} ref.func ${1 + this.#rng.below(this.#signatures.length)} table.set 0`,
      `ref.null funcref i32.const ${this.#rng.below(5)} table.grow 0 drop`,
    ]);
  }

  #call(type: Number): string {
    const index = this.#rng.below(this.#signatures.length);
    const { params, results } = this.#signatures[index] as Signature;
    const args = this.#values(params, 1);
    if (this.#rng.below(3) > 0) return `${args} call ${index + 1} ${this.#drop(results)}`;
    const typeIndex = this.#module.type(params, results);
    return `${args} i32.const ${type === "i32" ? index : this.#rng.below(9)} call_indirect ${typeIndex} 0 ${this.#drop(results)}`;
  }

  /** Something that leaves one value of this type. */
  #value(type: Number, depth: number): string {
    const local = this.#local(type);
    if (depth <= 0 || this.#size < -200) return this.#leaf(type, local);
    this.#size--;
    switch (this.#rng.below(9)) {
      case 0:
      case 1:
        return this.#operation(this.#pick(UNARY[type]), type, 1, depth);
      case 2:
      case 3:
        return this.#operation(this.#pick(BINARY[type]), type, 2, depth);
      case 4:
        return `${this.#value(type, depth - 1)} ${this.#value(type, depth - 1)} ${this.#value("i32", depth - 1)} select`;
      case 5:
        return type === "f64" ? this.#leaf(type, local) : `${this.#address()} ${type}.load`;
      case 6:
        return `${this.#value("i32", depth - 1)} if ${type} ${this.#value(type, depth - 1)} else ${this.#value(type, depth - 1)} end`;
      default:
        return this.#leaf(type, local);
    }
  }

  /** `name` or `name<type of its operands`. */
  #operation(spec: string, type: Number, operands: number, depth: number): string {
    const [name, from] = spec.split("<");
    const types = new Array<Number>(operands).fill((from ?? type) as Number);
    return `${this.#values(types, depth - 1)} ${name}`;
  }

  #leaf(type: Number, local: number | undefined): string {
    if (type === "i32" && this.#rng.below(8) === 0) return this.#pick(["memory.size 0", "table.size 0"]);
    if (local !== undefined && this.#rng.below(3) > 0) return `local.get ${local}`;
    if (this.#rng.below(3) === 0) return `global.get ${FIRST_GLOBAL + NUMBERS.indexOf(type)}`;
    return `${type}.const ${this.#rng.below(3) === 0 ? this.#rng.below(1 << 20) : this.#rng.below(9) - 4}`;
  }
}

/** The types that JavaScript passes to such a function. */
export function randomArguments(rng: Rng, params: readonly Type[]): (number | bigint)[] {
  return params.map((type) => (type === "i64" ? BigInt(rng.below(1_000)) - 500n : rng.below(1_000) - 500));
}
