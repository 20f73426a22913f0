import type { Bytes } from "../../core/bytes.ts";
import type { CompiledModule } from "../guest/compiler.ts";

/** A component as it is written, before anything of it is linked (Component Model, "Binary Format"). */
export interface ComponentDefinition {
  readonly definitions: readonly Definition[];
}

export type CoreSort = "func" | "table" | "memory" | "global";
export type Sort = "module" | "func" | "value" | "type" | "component" | "instance" | CoreOnly;
/** Core sorts in a place where component sorts stand as well. */
export type CoreOnly = "core-func" | "core-table" | "core-memory" | "core-global" | "core-type" | "core-instance";

export interface NamedIndex {
  readonly name: string;
  readonly sort: Sort;
  readonly index: number;
}

export type Definition =
  | { readonly kind: "module"; readonly module: CoreModule }
  | {
      readonly kind: "core-instance";
      readonly module: number;
      readonly args: readonly { readonly name: string; readonly instance: number }[];
    }
  | { readonly kind: "core-exports"; readonly exports: readonly NamedIndex[] }
  | { readonly kind: "component"; readonly component: ComponentDefinition }
  | { readonly kind: "instance"; readonly component: number; readonly args: readonly NamedIndex[] }
  | { readonly kind: "exports"; readonly exports: readonly NamedIndex[] }
  | AliasDefinition
  | { readonly kind: "type"; readonly type: TypeDefinition }
  | { readonly kind: "core-types"; readonly count: number }
  | { readonly kind: "lift"; readonly func: number; readonly options: CanonOptions; readonly type: number }
  | { readonly kind: "lower"; readonly func: number; readonly options: CanonOptions }
  | { readonly kind: "resource"; readonly call: "new" | "drop" | "rep"; readonly type: number }
  | { readonly kind: "import"; readonly name: string; readonly item: ItemType }
  | { readonly kind: "export"; readonly name: string; readonly sort: Sort; readonly index: number };

/** A core module inside a component; metered and compiled once, before anything is linked. */
export interface CoreModule {
  readonly bytes: Bytes;
  compiled: CompiledModule | undefined;
  /** Of the functions that it exports; made with its first instance. */
  types?: ReadonlyMap<string, string>;
}

export type AliasDefinition =
  | { readonly kind: "alias"; readonly sort: Sort; readonly instance: number; readonly name: string }
  | { readonly kind: "alias-core"; readonly sort: CoreSort; readonly instance: number; readonly name: string }
  | { readonly kind: "alias-outer"; readonly sort: Sort; readonly depth: number; readonly index: number };

export interface CanonOptions {
  readonly encoding: "utf8" | "utf16" | "latin1+utf16";
  readonly memory: number | undefined;
  readonly realloc: number | undefined;
  readonly postReturn: number | undefined;
}

/** A primitive by its name, or a type by its index. */
export type TypeReference = Primitive | number;

export type Primitive = "bool" | "s8" | "u8" | "s16" | "u16" | "s32" | "u32" | "s64" | "u64" | "f32" | "f64" | "char" | "string";

export interface Labelled {
  readonly name: string;
  readonly type: TypeReference;
}

export type TypeDefinition =
  | { readonly kind: "primitive"; readonly type: Primitive }
  | { readonly kind: "record"; readonly fields: readonly Labelled[] }
  | { readonly kind: "tuple"; readonly types: readonly TypeReference[] }
  | { readonly kind: "variant"; readonly cases: readonly { readonly name: string; readonly type: TypeReference | undefined }[] }
  | { readonly kind: "enum" | "flags"; readonly names: readonly string[] }
  | { readonly kind: "list" | "option"; readonly type: TypeReference }
  | { readonly kind: "result"; readonly ok: TypeReference | undefined; readonly error: TypeReference | undefined }
  | { readonly kind: "own" | "borrow"; readonly resource: number }
  | { readonly kind: "function"; readonly params: readonly Labelled[]; readonly result: TypeReference | undefined }
  | { readonly kind: "resource"; readonly destructor: number | undefined }
  | { readonly kind: "instance" | "component"; readonly declarations: readonly Declaration[] };

/** What stands in the type of an instance. */
export type Declaration =
  | { readonly kind: "type"; readonly type: TypeDefinition }
  | AliasDefinition
  | { readonly kind: "export" | "import"; readonly name: string; readonly item: ItemType };

/** What an import or export is. */
export type ItemType =
  | { readonly kind: "func" | "component" | "instance" | "module"; readonly type: number }
  | { readonly kind: "type"; readonly equals: number | undefined };
