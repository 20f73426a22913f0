import { signatureText } from "../guest/signatures.ts";
import type { CoreFunction } from "./functions.ts";
import { type Flat, type FunctionType, joinFlat } from "./types.ts";

/** Name and type of a function of a core module, by the object that the engine made for it: the same for as long as it lives. */
const known = new WeakMap<object, { readonly name: string; readonly type: string }>();

/** Engines do not tell the type of a function: what its module says is kept. */
export function rememberTypes(exports: WebAssembly.ModuleImports, types: ReadonlyMap<string, string>): void {
  for (const [name, type] of types) {
    const value = exports[name];
    if (typeof value === "function" && !known.has(value)) known.set(value, { name, type });
  }
}

const NAMES: Readonly<Record<Flat, string>> = { i: "i32", l: "i64", f: "f32", d: "f64" };
const ALLOCATOR = "(i32, i32, i32, i32) -> i32";

/**
 * A component is valid only when the core functions behind it have the types that the canonical ABI gives them, and no engine looks at
 * that here: a call would go on with numbers made of others. Throws an `Error` that names the export. What is no core module's is ours.
 */
export function refuseWrongCore(type: FunctionType, core: CoreFunction, postReturn: CoreFunction | undefined): void {
  const params = joinFlat(type.params.map((param) => param.type)) ?? (["i"] as const);
  const flat = type.result?.flat;
  const results: readonly Flat[] = type.result === undefined ? [] : flat?.length === 1 ? flat : ["i"];
  const text = (list: readonly Flat[]): string[] => list.map((each) => NAMES[each]);
  refuse(core, signatureText(text(params), text(results)));
  if (postReturn !== undefined) refuse(postReturn, signatureText(text(results), []));
}

/** The same of what makes room in a guest's memory. */
export const refuseWrongAllocator = (realloc: CoreFunction): void => refuse(realloc, ALLOCATOR);

function refuse(core: CoreFunction, good: string): void {
  const found = known.get(core);
  if (found !== undefined && found.type !== good) throw new Error(`the core export ${found.name} is ${found.type}, not ${good}`);
}
