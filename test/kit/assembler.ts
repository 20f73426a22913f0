/**
 * A small assembler of WebAssembly modules for tests of the meter: bodies are flat text (`local.get 0 i32.const 1 i32.add`), with
 * the names of the meter's own table of instructions. It checks nothing, so it can write invalid modules as well.
 */
import { MISCELLANEOUS, type OpcodeTable, PLAIN, VECTOR } from "../../src/filters/meter/opcodes.ts";
import { sleb, uleb } from "./wasm.ts";

const TYPES = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b, funcref: 0x70, externref: 0x6f, exnref: 0x69 } as const;
export type Type = keyof typeof TYPES;

/** Signed LEB128 of any width. */
export function slebBig(value: bigint): number[] {
  const out: number[] = [];
  let rest = value;
  for (;;) {
    const byte = Number(rest & 0x7fn);
    rest >>= 7n;
    if ((rest === 0n && (byte & 0x40) === 0) || (rest === -1n && (byte & 0x40) !== 0)) return [...out, byte];
    out.push(byte | 0x80);
  }
}

const CODES = new Map<string, number[]>();
const addNames = (prefix: number[], table: OpcodeTable): void =>
  table.names.forEach((name, opcode) => {
    if (name !== undefined) CODES.set(name, prefix.length === 0 ? [opcode] : [...prefix, ...uleb(opcode)]);
  });
addNames([], PLAIN);
addNames([0xfc], MISCELLANEOUS);
addNames([0xfd], VECTOR);

const text = (value: string): number[] => {
  const bytes = [...new TextEncoder().encode(value)];
  return [...uleb(bytes.length), ...bytes];
};
const vector = (items: readonly (readonly number[])[]): number[] => [...uleb(items.length), ...items.flat()];
const types = (list: readonly Type[]): number[] => vector(list.map((type) => [TYPES[type]]));

/** Instructions whose operands are that many indices. */
const INDICES: Readonly<Record<string, number>> = {
  br: 1,
  br_if: 1,
  call: 1,
  return_call: 1,
  call_indirect: 2,
  return_call_indirect: 2,
  throw: 1,
  rethrow: 1,
  catch: 1,
  delegate: 1,
  "memory.size": 1,
  "memory.grow": 1,
  "memory.fill": 1,
  "memory.copy": 2,
  "memory.init": 2,
  "data.drop": 1,
  "elem.drop": 1,
  "table.init": 2,
  "table.copy": 2,
  "table.grow": 1,
  "table.size": 1,
  "table.fill": 1,
  "table.get": 1,
  "table.set": 1,
  "ref.func": 1,
  "local.get": 1,
  "local.set": 1,
  "local.tee": 1,
  "global.get": 1,
  "global.set": 1,
};

/**
 * Assembles flat text. Blocks may name a result type (`block i32`) or a type index (`block #3`); memory instructions may name an
 * offset (`i32.load +8`); `br_table 0 1 ,2` has its default behind the comma; `try_table i32 catch:0:1 catch_all:0 ;`.
 */
export function assemble(source: string): number[] {
  const tokens = source.split(/\s+/).filter((token) => token !== "");
  const out: number[] = [];
  let at = 0;
  const index = (): number[] => uleb(Number(tokens[at++]));
  const blockType = (): number[] => {
    const token = tokens[at];
    if (token !== undefined && token in TYPES) {
      at++;
      return [TYPES[token as Type]];
    }
    if (token?.startsWith("#") !== true) return [0x40];
    at++;
    return sleb(Number(token.slice(1)));
  };
  const immediates = (name: string): number[] => {
    const count = INDICES[name];
    if (count !== undefined) return Array.from({ length: count }, index).flat();
    if (/^(block|loop|if|try)$/.test(name)) return blockType();
    if (/load|store/.test(name)) {
      const offset = tokens[at]?.startsWith("+") === true ? Number((tokens[at++] as string).slice(1)) : 0;
      return [0, ...uleb(offset), ...(name.endsWith("_lane") ? [0] : [])];
    }
    switch (name) {
      case "i32.const":
        return sleb(Number(tokens[at++]));
      case "i64.const":
        return slebBig(BigInt(tokens[at++] as string));
      case "f32.const":
        return [...new Uint8Array(new Float32Array([Number(tokens[at++])]).buffer)];
      case "f64.const":
        return [...new Uint8Array(new Float64Array([Number(tokens[at++])]).buffer)];
      case "v128.const":
      case "i8x16.shuffle":
        return Array.from({ length: 16 }, () => Number(tokens[at++]));
      case "ref.null":
      case "select_t": {
        const type = TYPES[tokens[at++] as Type];
        return name === "select_t" ? [1, type] : [type];
      }
      case "br_table": {
        const labels: number[][] = [];
        while (tokens[at]?.startsWith(",") === false) labels.push(index());
        return [...vector(labels), ...uleb(Number((tokens[at++] as string).slice(1)))];
      }
      case "try_table":
        return [...blockType(), ...vector(catches())];
      default:
        return name.includes("_lane") ? [Number(tokens[at++])] : [];
    }
  };
  const catches = (): number[][] => {
    const list: number[][] = [];
    for (; tokens[at] !== ";"; at++) {
      const [kind, ...operands] = (tokens[at] as string).split(":");
      list.push([
        ["catch", "catch_ref", "catch_all", "catch_all_ref"].indexOf(kind ?? ""),
        ...operands.flatMap((each) => uleb(Number(each))),
      ]);
    }
    at++;
    return list;
  };
  while (at < tokens.length) {
    const name = tokens[at++] as string;
    const code = CODES.get(name);
    if (code === undefined) throw new Error(`no instruction ${name}`);
    out.push(...code, ...immediates(name));
  }
  return out;
}

export interface FunctionSource {
  readonly name?: string;
  readonly params?: readonly Type[];
  readonly results?: readonly Type[];
  readonly locals?: readonly Type[];
  readonly body: string;
}

/** Builds a module section by section. Imports come before functions, tags and globals of its own. */
export class ModuleAssembler {
  readonly #types: number[][] = [];
  readonly #imports: number[][] = [];
  readonly #functions: number[] = [];
  readonly #bodies: number[][] = [];
  readonly #tables: number[][] = [];
  readonly #memories: number[][] = [];
  readonly #tags: number[][] = [];
  readonly #globals: number[][] = [];
  readonly #exports: number[][] = [];
  readonly #elements: number[][] = [];
  readonly #data: number[][] = [];
  readonly #customs: number[][] = [];
  #importedFunctions = 0;
  #start: number | undefined;

  type(params: readonly Type[] = [], results: readonly Type[] = []): number {
    const bytes = [0x60, ...types(params), ...types(results)];
    const known = this.#types.findIndex((each) => each.join() === bytes.join());
    return known >= 0 ? known : this.#types.push(bytes) - 1;
  }

  importFunction(module: string, name: string, params: readonly Type[] = [], results: readonly Type[] = []): number {
    this.#imports.push([...text(module), ...text(name), 0x00, ...uleb(this.type(params, results))]);
    return this.#importedFunctions++;
  }

  /** An import of any kind, its description as bytes. */
  importRaw(module: string, name: string, ...description: number[]): this {
    this.#imports.push([...text(module), ...text(name), ...description]);
    return this;
  }

  /** Returns the function's index. */
  func(source: FunctionSource): number {
    const index = this.#importedFunctions + this.#functions.length;
    this.#functions.push(this.type(source.params, source.results));
    const runs = (source.locals ?? []).map((type) => [1, TYPES[type]]);
    const code = [...vector(runs), ...assemble(source.body), 0x0b];
    this.#bodies.push([...uleb(code.length), ...code]);
    if (source.name !== undefined) this.exportAs(source.name, 0, index);
    return index;
  }

  exportAs(name: string, kind: number, index: number): this {
    this.#exports.push([...text(name), kind, ...uleb(index)]);
    return this;
  }

  memory(min: number, max?: number, name?: string): this {
    this.#memories.push(max === undefined ? [0, ...uleb(min)] : [1, ...uleb(min), ...uleb(max)]);
    return name === undefined ? this : this.exportAs(name, 2, 0);
  }

  table(min: number, max?: number, type: Type = "funcref"): this {
    this.#tables.push([TYPES[type], ...(max === undefined ? [0, ...uleb(min)] : [1, ...uleb(min), ...uleb(max)])]);
    return this;
  }

  tag(params: readonly Type[] = []): number {
    return this.#tags.push([0, ...uleb(this.type(params))]) - 1;
  }

  /** A mutable global, its initial value as an instruction. Returns its index among the module's own. */
  global(type: Type, initial: string, name?: string): number {
    const index = this.#globals.push([TYPES[type], 1, ...assemble(initial), 0x0b]) - 1;
    if (name !== undefined) this.exportAs(name, 3, index);
    return index;
  }

  /** Functions put into table 0 from `offset` on; undefined: a passive segment. */
  elements(functions: readonly number[], offset?: number): this {
    const head = offset === undefined ? [1, 0] : [0, ...assemble(`i32.const ${offset}`), 0x0b];
    this.#elements.push([...head, ...vector(functions.map(uleb))]);
    return this;
  }

  /** Bytes put into memory from `offset` on; undefined: a passive segment. */
  data(bytes: readonly number[], offset?: number): this {
    const head = offset === undefined ? [1] : [0, ...assemble(`i32.const ${offset}`), 0x0b];
    this.#data.push([...head, ...uleb(bytes.length), ...bytes]);
    return this;
  }

  custom(name: string, bytes: readonly number[] = []): this {
    this.#customs.push([...text(name), ...bytes]);
    return this;
  }

  start(index: number): this {
    this.#start = index;
    return this;
  }

  build(): Uint8Array<ArrayBuffer> {
    const out = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
    const section = (id: number, items: readonly (readonly number[])[]): void => {
      if (items.length === 0) return;
      const content = vector(items);
      out.push(id, ...uleb(content.length), ...content);
    };
    section(1, this.#types);
    section(2, this.#imports);
    section(3, this.#functions.map(uleb));
    section(4, this.#tables);
    section(5, this.#memories);
    section(13, this.#tags);
    section(6, this.#globals);
    section(7, this.#exports);
    if (this.#start !== undefined) out.push(8, uleb(this.#start).length, ...uleb(this.#start));
    section(9, this.#elements);
    if (this.#data.length > 0) out.push(12, uleb(this.#data.length).length, ...uleb(this.#data.length));
    section(10, this.#bodies);
    section(11, this.#data);
    for (const custom of this.#customs) out.push(0, ...uleb(custom.length), ...custom);
    return Uint8Array.from(out);
  }
}
