import { ModuleAssembler, type Type } from "./assembler.ts";
import { AT, buildFilter } from "./component-builder.ts";

/** A place where a guest may leave something for the next exchange, as code of test/kit/assembler.ts. `$f`: a function of its own. */
export interface Leak {
  readonly name: string;
  /** Answers an i32: 0, nothing is there. Or traps. */
  readonly see: string;
  readonly leave: string;
  /** The instance is thrown away, for it cannot be put back. */
  readonly isFinal?: boolean;
}

const cell = (at: number): Omit<Leak, "name"> => ({
  see: `i32.const ${at} i32.load8_u`,
  leave: `i32.const ${at} i32.const 1 i32.store8`,
});

/** The modules below have a page of memory, three globals, a table of two elements, and a passive segment of each sort. */
export const LEAKS: readonly Leak[] = [
  { name: "memory that was zero", ...cell(20_000) },
  { name: "memory beside its data", ...cell(2_047) },
  { name: "the last byte of memory", ...cell(65_535) },
  { name: "a global", see: "global.get 0", leave: "i32.const 1 global.set 0" },
  {
    name: "a vector in a global",
    see: "global.get 1 v128.any_true",
    leave: "v128.const 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 global.set 1",
  },
  { name: "a reference in a global", see: "global.get 2 ref.is_null i32.eqz", leave: "ref.func $f global.set 2" },
  {
    name: "an element of a table",
    see: "i32.const 0 table.get 0 ref.is_null i32.eqz",
    leave: "i32.const 0 ref.func $f table.set 0",
    isFinal: true,
  },
  {
    name: "a table that is filled",
    see: "i32.const 1 table.get 0 ref.is_null i32.eqz",
    leave: "i32.const 0 ref.func $f i32.const 2 table.fill 0",
    isFinal: true,
  },
  {
    name: "a table that grew",
    see: "table.size 0 i32.const 2 i32.ne",
    leave: "ref.null funcref i32.const 1 table.grow 0 drop",
    isFinal: true,
  },
  {
    name: "a segment of elements that is dropped",
    see: "i32.const 0 i32.const 0 i32.const 1 table.init 0 0 i32.const 0",
    leave: "elem.drop 0",
    isFinal: true,
  },
  {
    name: "a segment of data that is dropped",
    see: "i32.const 3000 i32.const 0 i32.const 1 memory.init 0 0 i32.const 0",
    leave: "data.drop 0",
    isFinal: true,
  },
  {
    name: "memory that grew",
    see: "memory.size 0 i32.const 1 i32.ne",
    leave: "i32.const 1 memory.grow 0 drop",
    isFinal: true,
  },
];

const i32s = (count: number): Type[] => new Array<Type>(count).fill("i32");

/** Imports come before. Answers what replaces `$f`. */
function addPlaces(module: ModuleAssembler): number {
  module.table(2, 4).global("i32", "i32.const 0");
  module.global("v128", `v128.const ${new Array(16).fill(0).join(" ")}`);
  module.global("funcref", "ref.null funcref");
  const own = module.func({ name: "own", body: "" });
  module.elements([own]).data([1]);
  return own;
}

/** Logs what it sees, one character, then leaves something. */
export function leakyProxyWasm({ see, leave }: Leak): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler();
  const log = module.importFunction("env", "proxy_log", i32s(3), ["i32"]);
  const own = addPlaces(module.memory(1, 4, "memory"));
  module.data([7], 2_046);
  const body = `i32.const 512 ${see} i32.const 48 i32.add i32.store8 i32.const 2 i32.const 512 i32.const 1 call ${log} drop ${leave} i32.const 0`;
  module.func({ name: "proxy_on_request_headers", params: i32s(3), results: ["i32"], body: body.replaceAll("$f", String(own)) });
  module.func({ name: "proxy_on_memory_allocate", params: ["i32"], results: ["i32"], body: "i32.const 4096" });
  module.func({ name: "proxy_abi_version_0_2_1", body: "" });
  return module.build();
}

/** The same as a plug-in. */
export function leakyPlugin({ see, leave }: Leak): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler();
  const host = (name: string, params: Type[], results: Type[]): number =>
    module.importFunction("extism:host/env", name, params, results);
  const alloc = host("alloc", ["i64"], ["i64"]);
  const store = host("store_u8", ["i64", "i32"], []);
  const log = host("log_info", ["i64"], []);
  // Its memory is not exported: what hosts of plug-ins do not need.
  const own = addPlaces(module.memory(1, 4));
  module.data([7], 2_046);
  const body = `i64.const 1 call ${alloc} local.tee 0 ${see} i32.const 48 i32.add call ${store} local.get 0 call ${log} ${leave} i32.const 0`;
  module.func({ name: "on_request", results: ["i32"], locals: ["i64"], body: body.replaceAll("$f", String(own)) });
  return module.build();
}

/** The same as a component: the field `x-added` is as long as what it sees. Its memory is that of another core module. */
export function leakyComponent({ see, leave }: Leak): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler();
  const add = module.importFunction("host", "add", i32s(6), []);
  const drop = module.importFunction("host", "drop", ["i32"], []);
  module.importRaw("env", "memory", 0x02, 0x00, 1);
  const own = addPlaces(module);
  module
    .data([0, 0, 0, 0, 1], AT.configured)
    .data([0], AT.verdict)
    .data([...new TextEncoder().encode("x-added yes")], AT.name);
  module.func({ name: "realloc", params: i32s(4), results: ["i32"], body: `i32.const ${AT.heap}` });
  module.func({ name: "configure", params: i32s(2), results: ["i32"], body: `i32.const ${AT.configured}` });
  const field = `local.get 1 i32.const ${AT.name} i32.const 7 i32.const ${AT.value} ${see} i32.const 1024 call ${add}`;
  const body = `${field} local.get 1 call ${drop} ${leave} i32.const ${AT.verdict}`;
  module.func({ name: "on-request-head", params: i32s(3), results: ["i32"], body: body.replaceAll("$f", String(own)) });
  return buildFilter({}, module.build());
}
