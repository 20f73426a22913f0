import { ModuleBuilder, op, uleb } from "./wasm.ts";

/**
 * Components that no compiler would make. `ComponentBuilder` writes definitions one after the other; `buildFilter` makes a small
 * filter of core code, so that a test can let it break one rule of the canonical ABI.
 */

type Bytes = readonly number[];
const text = (value: string): number[] => {
  const bytes = [...new TextEncoder().encode(value)];
  return [...uleb(bytes.length), ...bytes];
};
const vector = (items: readonly Bytes[]): number[] => [...uleb(items.length), ...items.flat()];
const externName = (name: string): number[] => [0x00, ...text(name)];

export const STRING = [0x73];
export const BOOL = [0x7f];
export const U32 = [0x79];
export const U16 = [0x7b];
export const U8 = [0x7d];
export const typeIndex = (index: number): number[] => uleb(index);
const labelled = (fields: readonly (readonly [string, Bytes])[]): number[] =>
  vector(fields.map(([name, type]) => [...text(name), ...type]));

export const type = {
  record: (fields: readonly (readonly [string, Bytes])[]): number[] => [0x72, ...labelled(fields)],
  variant: (cases: readonly (readonly [string, Bytes | undefined])[]): number[] => [
    0x71,
    ...vector(cases.map(([name, of]) => [...text(name), ...(of === undefined ? [0x00] : [0x01, ...of]), 0x00])),
  ],
  list: (of: Bytes): number[] => [0x70, ...of],
  tuple: (of: readonly Bytes[]): number[] => [0x6f, ...vector(of)],
  flags: (names: readonly string[]): number[] => [0x6e, ...vector(names.map(text))],
  option: (of: Bytes): number[] => [0x6b, ...of],
  result: (ok: Bytes, error: Bytes): number[] => [0x6a, 0x01, ...ok, 0x01, ...error],
  borrow: (resource: number): number[] => [0x68, ...uleb(resource)],
  func: (params: readonly (readonly [string, Bytes])[], result: Bytes): number[] => [
    ...[0x40, ...labelled(params)],
    ...[0x00, ...result],
  ],
  /** Of an interface that exports these resources, then functions of the types that are given (by index inside). */
  instance: (declarations: readonly Bytes[]): number[] => [0x42, ...vector(declarations)],
};
export const declare = {
  type: (of: Bytes): number[] => [0x01, ...of],
  /** The type of that index in the component around. */
  outerType: (index: number): number[] => [0x02, 0x03, 0x02, 0x01, ...uleb(index)],
  resource: (name: string): number[] => [0x04, ...externName(name), 0x03, 0x01],
  func: (name: string, index: number): number[] => [0x04, ...externName(name), 0x01, ...uleb(index)],
};

export class ComponentBuilder {
  readonly #out: number[] = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];

  section(id: number, content: Bytes): this {
    this.#out.push(id, ...uleb(content.length));
    for (const byte of content) this.#out.push(byte);
    return this;
  }
  module(bytes: Uint8Array): this {
    return this.section(1, [...bytes]);
  }
  /** An instance of a core module; arguments are core instances by name. */
  instantiate(module: number, args: readonly (readonly [string, number])[] = []): this {
    const given = vector(args.map(([name, instance]) => [...text(name), 0x12, ...uleb(instance)]));
    return this.section(2, [0x01, 0x00, ...uleb(module), ...given]);
  }
  /** A core instance made of core functions. */
  coreExports(functions: readonly (readonly [string, number])[]): this {
    const exports = vector(functions.map(([name, index]) => [...text(name), 0x00, ...uleb(index)]));
    return this.section(2, [0x01, 0x01, ...exports]);
  }
  aliasCore(sort: "func" | "memory" | "global", instance: number, name: string): this {
    const code = { func: 0x00, memory: 0x02, global: 0x03 }[sort];
    return this.section(6, [0x01, 0x00, code, 0x01, ...uleb(instance), ...text(name)]);
  }
  alias(sort: "func" | "type", instance: number, name: string): this {
    return this.section(6, [0x01, sort === "func" ? 0x01 : 0x03, 0x00, ...uleb(instance), ...text(name)]);
  }
  types(...definitions: readonly Bytes[]): this {
    return this.section(7, vector(definitions));
  }
  importInstance(name: string, index: number): this {
    return this.section(10, [0x01, ...externName(name), 0x05, ...uleb(index)]);
  }
  lift(core: number, index: number, options: Bytes = [0x02, 0x03, 0x00, 0x04, 0x00]): this {
    return this.section(8, [0x01, 0x00, 0x00, ...uleb(core), ...options, ...uleb(index)]);
  }
  lower(func: number, options: Bytes = [0x02, 0x03, 0x00, 0x04, 0x00]): this {
    return this.section(8, [0x01, 0x01, 0x00, ...uleb(func), ...options]);
  }
  resource(call: "new" | "drop" | "rep", index: number): this {
    return this.section(8, [0x01, { new: 0x02, drop: 0x03, rep: 0x04 }[call], ...uleb(index)]);
  }
  component(inner: Uint8Array): this {
    return this.section(4, [...inner]);
  }
  instances(...components: readonly number[]): this {
    return this.section(5, vector(components.map((index) => [0x00, ...uleb(index), 0x00])));
  }
  /** Exports an interface made of functions. */
  exportInterface(name: string, instance: number, functions: readonly (readonly [string, number])[]): this {
    const exports = vector(functions.map(([each, index]) => [...externName(each), 0x01, ...uleb(index)]));
    this.section(5, [0x01, 0x01, ...exports]);
    return this.section(11, [0x01, ...externName(name), 0x05, ...uleb(instance), 0x00]);
  }
  build(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#out);
  }
}

const CALLBACKS = [
  ...["request-head", "request-body", "request-trailers"],
  ...["response-head", "response-body", "response-trailers", "done"],
];

/** Where the parts of a guest's memory are. */
export const AT = { configured: 16, verdict: 64, name: 512, value: 520, heap: 4096 } as const;
/** Functions that the guest may call, and its own ones after them. */
export const HOST = { addHeader: 0, dropRequest: 1, realloc: 2 } as const;

export interface FilterCode {
  /** Answers where the result of `configure` is. Default: a pointer to `ok` with the callback of request heads. */
  readonly configure?: Bytes;
  /** Parameters: exchange, handle of the request, end. Answers where the verdict is. */
  readonly requestHead?: Bytes;
  /** Parameters: old pointer, old size, alignment, size. Answers a pointer. */
  readonly realloc?: Bytes;
  /** What lies in memory from `AT.verdict` on. Default: `continue`. */
  readonly verdict?: Bytes;
  readonly start?: Bytes;
  /** What a function takes instead of its i32s: the code under test must fit. */
  readonly wrongParams?: Readonly<Partial<Record<"realloc" | "configure" | "on-request-head", readonly ("i32" | "i64")[]>>>;
}

/** Adds the header `x-added: yes` to the request whose handle is the second parameter. */
export const ADD_HEADER = [
  ...[...op.localGet(1), ...op.i32(AT.name), ...op.i32(7), ...op.i32(AT.value), ...op.i32(3), ...op.i32(1024)],
  ...op.call(HOST.addHeader),
];
export const DROP_REQUEST = [...op.localGet(1), ...op.call(HOST.dropRequest)];

/** The core module with the code under test. */
function buildCore(code: FilterCode): Uint8Array<ArrayBuffer> {
  const core = new ModuleBuilder();
  core.import("host", "add", ["i32", "i32", "i32", "i32", "i32", "i32"], []);
  core.import("host", "drop", ["i32"], []);
  core.importMemory("env", "memory", 1);
  core.data(AT.configured, Uint8Array.from([0, 0, 0, 0, 1]));
  core.data(AT.verdict, Uint8Array.from(code.verdict ?? [0]));
  core.data(AT.name, new TextEncoder().encode("x-added yes"));
  const { wrongParams = {} } = code;
  core.func(
    "realloc",
    [...(wrongParams.realloc ?? (["i32", "i32", "i32", "i32"] as const))],
    ["i32"],
    code.realloc ?? op.i32(AT.heap),
  );
  core.func(
    "configure",
    [...(wrongParams.configure ?? (["i32", "i32"] as const))],
    ["i32"],
    code.configure ?? op.i32(AT.configured),
  );
  const requestHead = code.requestHead ?? [...DROP_REQUEST, ...op.i32(AT.verdict)];
  core.func("on-request-head", [...(wrongParams["on-request-head"] ?? (["i32", "i32", "i32"] as const))], ["i32"], requestHead);
  if (code.start !== undefined) core.start(core.func(undefined, [], [], code.start));
  return core.build();
}

/** A memory with an allocator that knows one place only. */
function buildMemory(): Uint8Array<ArrayBuffer> {
  const memory = new ModuleBuilder().memory(1);
  memory.func("realloc", ["i32", "i32", "i32", "i32"], ["i32"], op.i32(AT.heap));
  return memory.build();
}

const HTTP = type.instance([
  declare.resource("request"),
  declare.type([0x6d, ...vector(["not-now", "invalid", "over-budget"].map(text))]),
  declare.type([0x6a, 0x00, 0x01, 0x01]),
  declare.type(type.borrow(0)),
  declare.type(
    type.func(
      [
        ["self", typeIndex(3)],
        ["name", STRING],
        ["value", STRING],
      ],
      typeIndex(2),
    ),
  ),
  declare.func("[method]request.add-header", 4),
]);

/** A filter for request heads that may add a header; `core`: its own core module, of the same shape. Index spaces are counted by hand, in the order of the lines. */
export function buildFilter(code: FilterCode, core: Uint8Array = buildCore(code)): Uint8Array<ArrayBuffer> {
  return new ComponentBuilder()
    .types(HTTP)
    .importInstance("selvedge:filter/http@0.1.0", 0)
    .alias("type", 0, "request")
    .alias("func", 0, "[method]request.add-header")
    .module(buildMemory())
    .module(core)
    .instantiate(0)
    .aliasCore("memory", 0, "memory")
    .aliasCore("func", 0, "realloc")
    .lower(0)
    .resource("drop", 1)
    .coreExports([
      ["add", 1],
      ["drop", 2],
    ])
    .instantiate(1, [
      ["host", 1],
      ["env", 0],
    ])
    .aliasCore("func", 2, "realloc")
    .aliasCore("func", 2, "configure")
    .aliasCore("func", 2, "on-request-head")
    .types(
      type.flags(CALLBACKS),
      type.result(typeIndex(2), STRING),
      type.func([["settings", STRING]], typeIndex(3)),
      type.record([
        ["name", STRING],
        ["value", STRING],
      ]),
      type.list(typeIndex(5)),
      type.list(U8),
      type.record([
        ["status", U16],
        ["headers", typeIndex(6)],
        ["body", typeIndex(7)],
      ]),
      type.variant([
        ["continue", undefined],
        ["pause", undefined],
        ["respond", typeIndex(8)],
        ["fail", STRING],
      ]),
      type.borrow(1),
      type.func(
        [
          ["exchange", U32],
          ["request", typeIndex(10)],
          ["end", BOOL],
        ],
        typeIndex(9),
      ),
    )
    .lift(4, 4, [0x02, 0x03, 0x00, 0x04, 0x03])
    .lift(5, 11, [0x02, 0x03, 0x00, 0x04, 0x03])
    .exportInterface("selvedge:filter/configuration@0.1.0", 1, [["configure", 1]])
    .exportInterface("selvedge:filter/heads@0.1.0", 3, [["on-request-head", 2]])
    .build();
}
