/**
 * A tiny builder of WebAssembly modules, for guests that no compiler would make: malformed, lying, trapping ones. Bodies are
 * given as opcodes; `op` has those that tests need.
 */

export type ValueType = "i32" | "i64" | "f64";

const TYPE_BYTES: Readonly<Record<ValueType, number>> = { i32: 0x7f, i64: 0x7e, f64: 0x7c };

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Unsigned LEB128. */
export function uleb(value: number): number[] {
  const out: number[] = [];
  let rest = value >>> 0;
  do {
    const byte = rest & 0x7f;
    rest >>>= 7;
    out.push(rest === 0 ? byte : byte | 0x80);
  } while (rest !== 0);
  return out;
}

/** Signed LEB128 of 32 bits. */
export function sleb(value: number): number[] {
  const out: number[] = [];
  let rest = value | 0;
  for (;;) {
    const byte = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && (byte & 0x40) === 0) || (rest === -1 && (byte & 0x40) !== 0)) return [...out, byte];
    out.push(byte | 0x80);
  }
}

const text = (value: string): number[] => {
  const bytes = [...new TextEncoder().encode(value)];
  return [...uleb(bytes.length), ...bytes];
};
const vector = (items: readonly number[][]): number[] => [...uleb(items.length), ...items.flat()];

export const op = {
  unreachable: [0x00],
  loop: [0x03, 0x40],
  block: [0x02, 0x40],
  if: [0x04, 0x40],
  else: [0x05],
  end: [0x0b],
  return: [0x0f],
  drop: [0x1a],
  br: (depth: number): number[] => [0x0c, ...uleb(depth)],
  brIf: (depth: number): number[] => [0x0d, ...uleb(depth)],
  call: (index: number): number[] => [0x10, ...uleb(index)],
  callIndirect: (type: number): number[] => [0x11, ...uleb(type), 0x00],
  localGet: (index: number): number[] => [0x20, ...uleb(index)],
  globalGet: (index: number): number[] => [0x23, ...uleb(index)],
  globalSet: (index: number): number[] => [0x24, ...uleb(index)],
  i32Load: (offset: number): number[] => [0x28, 0x02, ...uleb(offset)],
  i64Load: (offset: number): number[] => [0x29, 0x03, ...uleb(offset)],
  i32Store: (offset: number): number[] => [0x36, 0x02, ...uleb(offset)],
  memoryGrow: [0x40, 0x00],
  i32: (value: number): number[] => [0x41, ...sleb(value)],
  i64Zero: [0x42, 0x00],
  i32Eqz: [0x45],
  i32Eq: [0x46],
  i32Add: [0x6a],
  i32And: [0x71],
};

export class ModuleBuilder {
  readonly #types: FunctionType[] = [];
  readonly #imports: number[][] = [];
  readonly #functions: { readonly type: number; readonly body: readonly number[] }[] = [];
  readonly #exports: number[][] = [];
  readonly #globals: number[][] = [];
  readonly #data: number[][] = [];
  #elements: readonly number[] = [];
  #memory: number[] | undefined;
  #memoryImport: number[] | undefined;
  #globalImport: number[] | undefined;
  #start: number | undefined;

  type(params: readonly ValueType[], results: readonly ValueType[]): number {
    const same = (a: readonly ValueType[], b: readonly ValueType[]): boolean => a.join() === b.join();
    const known = this.#types.findIndex((type) => same(type.params, params) && same(type.results, results));
    if (known >= 0) return known;
    return this.#types.push({ params, results }) - 1;
  }

  /** Imports come before functions. Returns the function's index. */
  import(module: string, name: string, params: readonly ValueType[], results: readonly ValueType[]): number {
    if (this.#functions.length > 0) throw new Error("imports come first");
    this.#imports.push([...text(module), ...text(name), 0x00, ...uleb(this.type(params, results))]);
    return this.#imports.length - 1;
  }

  /** The memory of another instance. */
  importMemory(module: string, name: string, minPages: number): this {
    this.#memoryImport = [...text(module), ...text(name), 0x02, 0x00, ...uleb(minPages)];
    return this;
  }

  /** The global i32 of another instance. */
  importGlobal(module: string, name: string): this {
    this.#globalImport = [...text(module), ...text(name), 0x03, 0x7f, 0x01];
    return this;
  }

  /** Returns the function's index; exported when it has a name. */
  func(name: string | undefined, params: readonly ValueType[], results: readonly ValueType[], body: readonly number[]): number {
    const index = this.#imports.length + this.#functions.length;
    this.#functions.push({ type: this.type(params, results), body });
    if (name !== undefined) this.#exports.push([...text(name), 0x00, ...uleb(index)]);
    return index;
  }

  /** A mutable i32. */
  global(initial: number, name?: string): number {
    this.#globals.push([0x7f, 0x01, ...op.i32(initial), 0x0b]);
    const index = this.#globals.length - 1;
    if (name !== undefined) this.#exports.push([...text(name), 0x03, ...uleb(index)]);
    return index;
  }

  memory(minPages: number, maxPages?: number, name: string | undefined = "memory"): this {
    this.#memory = maxPages === undefined ? [0x00, ...uleb(minPages)] : [0x01, ...uleb(minPages), ...uleb(maxPages)];
    if (name !== undefined) this.#exports.push([...text(name), 0x02, 0x00]);
    return this;
  }

  data(offset: number, bytes: Uint8Array): this {
    this.#data.push([0x00, ...op.i32(offset), 0x0b, ...uleb(bytes.length), ...bytes]);
    return this;
  }

  /** Functions in the one table, from element 0. */
  table(functions: readonly number[]): this {
    this.#elements = functions;
    return this;
  }

  start(index: number): this {
    this.#start = index;
    return this;
  }

  build(): Uint8Array<ArrayBuffer> {
    const types = this.#types.map(({ params, results }) => [
      0x60,
      ...vector(params.map((type) => [TYPE_BYTES[type]])),
      ...vector(results.map((type) => [TYPE_BYTES[type]])),
    ]);
    const out = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
    const section = (id: number, content: readonly number[]): void => {
      out.push(id, ...uleb(content.length), ...content);
    };
    section(1, vector(types));
    const others = [this.#memoryImport, this.#globalImport].filter((each) => each !== undefined);
    if (this.#imports.length + others.length > 0) section(2, vector([...this.#imports, ...others]));
    section(3, vector(this.#functions.map(({ type }) => uleb(type))));
    if (this.#elements.length > 0) section(4, [0x01, 0x70, 0x00, ...uleb(this.#elements.length)]);
    if (this.#memory !== undefined) section(5, [0x01, ...this.#memory]);
    if (this.#globals.length > 0) section(6, vector(this.#globals));
    section(7, vector(this.#exports));
    if (this.#start !== undefined) section(8, uleb(this.#start));
    if (this.#elements.length > 0)
      section(9, [0x01, 0x00, ...op.i32(0), 0x0b, ...vector(this.#elements.map((index) => uleb(index)))]);
    section(
      10,
      vector(
        this.#functions.map(({ body }) => {
          const code = [0x00, ...body, 0x0b];
          return [...uleb(code.length), ...code];
        }),
      ),
    );
    if (this.#data.length > 0) section(11, vector(this.#data));
    return Uint8Array.from(out);
  }
}

/** A proxy-wasm filter that answers every request itself, with this status. */
export function answering(status: number): Uint8Array {
  const builder = new ModuleBuilder().memory(1);
  const params = ["i32", "i32", "i32", "i32", "i32", "i32", "i32", "i32"] as const;
  const respond = builder.import("env", "proxy_send_local_response", params, ["i32"]);
  const nothing = [0, 0, 0, 0, 0, 0, -1].flatMap(op.i32);
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  builder.func("malloc", ["i32"], ["i32"], op.i32(1024));
  // Pause: the answer is given already.
  const body = [...op.i32(status), ...nothing, ...op.call(respond), ...op.drop, ...op.i32(1)];
  builder.func("proxy_on_request_headers", ["i32", "i32", "i32"], ["i32"], body);
  return builder.build();
}
