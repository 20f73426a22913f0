import { CONFIG_LIMITS, METER_LIMITS } from "../../core/limits.ts";
import { VALUE_TYPES } from "../../filters/meter/value-types.ts";
import type { WasmReader } from "./wasm-reader.ts";

/** A core module's imports, exports and sizes, read from its sections without compiling it. */
export interface CoreModule {
  readonly imports: readonly CoreImport[];
  readonly exports: readonly CoreExport[];
  readonly memories: readonly CoreLimits[];
  readonly tables: readonly CoreLimits[];
  /** Functions that the module itself defines. */
  readonly functions: number;
  readonly codeBytes: number;
  readonly dataBytes: number;
  readonly hasStart: boolean;
  readonly custom: readonly CustomSection[];
}

export interface CoreImport {
  readonly module: string;
  readonly name: string;
  readonly kind: CoreKind;
  /** `(i32, i32) -> i32`; "" for what is no function. */
  readonly type: string;
}

export interface CoreExport {
  readonly name: string;
  readonly kind: CoreKind;
  readonly type: string;
}

/** Of a memory in pages of 64 KiB, of a table in elements. */
export interface CoreLimits {
  readonly minimum: number;
  /** Undefined: none declared. */
  readonly maximum: number | undefined;
  readonly shared: boolean;
  /** Addresses of 64 bits. */
  readonly wide: boolean;
  readonly imported: boolean;
}

export interface CustomSection {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export type CoreKind = "function" | "table" | "memory" | "global" | "tag";

const KINDS: readonly CoreKind[] = ["function", "table", "memory", "global", "tag"];
/** Entries of one list: what is more is no filter. */
const ENTRIES_MAX = 1_000_000;

interface Draft {
  readonly types: string[];
  readonly functions: number[];
  readonly imports: CoreImport[];
  readonly exports: CoreExport[];
  readonly memories: CoreLimits[];
  readonly tables: CoreLimits[];
  readonly custom: CustomSection[];
  defined: number;
  codeBytes: number;
  dataBytes: number;
  hasStart: boolean;
}

/** `reader` stands behind the header. Throws an `Error` with the offset when the sections are malformed. */
export function readCoreModule(reader: WasmReader): CoreModule {
  const draft: Draft = {
    ...{ types: [], functions: [], imports: [], exports: [], memories: [], tables: [], custom: [] },
    ...{ defined: 0, codeBytes: 0, dataBytes: 0, hasStart: false },
  };
  for (let count = 0; !reader.done; count++) {
    if (count >= METER_LIMITS.sections) throw new Error(`the module has more than ${METER_LIMITS.sections} sections`);
    const id = reader.byte();
    const section = reader.part(reader.u32());
    readSection(draft, id, section);
  }
  const { types: _types, functions: _functions, defined, ...rest } = draft;
  return { ...rest, functions: defined };
}

function readSection(draft: Draft, id: number, section: WasmReader): void {
  const size = section.end - section.at;
  switch (id) {
    case 0: {
      const name = section.name();
      draft.custom.push({ name, bytes: section.take(section.end - section.at) });
      break;
    }
    case 1:
      readTypes(draft, section);
      break;
    case 2:
      each(section, () => draft.imports.push(readImport(draft, section)));
      break;
    case 3:
      each(section, () => draft.functions.push(section.u32()));
      draft.defined = draft.functions.length - draft.imports.filter(({ kind }) => kind === "function").length;
      break;
    case 4:
      readTables(draft, section);
      break;
    case 5:
      each(section, () => draft.memories.push(readLimits(section, false)));
      break;
    case 7:
      each(section, () => draft.exports.push(readExport(draft, section)));
      break;
    case 8:
      draft.hasStart = true;
      break;
    case 10:
      draft.codeBytes = size;
      break;
    case 11:
      draft.dataBytes = size;
      break;
    default:
      if (id > 13) throw section.fault(`there is no section ${id}`);
  }
}

function each(reader: WasmReader, read: () => void): void {
  const count = reader.u32();
  if (count > ENTRIES_MAX) throw reader.fault(`a list of ${count} entries`);
  for (let i = 0; i < count; i++) read();
}

/** Function types are described; of other types (garbage collection) only the fact is known: then the rest is left out. */
function readTypes(draft: Draft, reader: WasmReader): void {
  const count = reader.u32();
  for (let i = 0; i < count && i < ENTRIES_MAX; i++) {
    if (reader.byte() !== 0x60) return;
    const parameters = readValueTypes(reader);
    const results = readValueTypes(reader);
    if (parameters === undefined || results === undefined) return;
    draft.types.push(`(${parameters.join(", ")})${results.length === 0 ? "" : ` -> ${results.join(", ")}`}`);
  }
}

function readValueTypes(reader: WasmReader): string[] | undefined {
  const types: string[] = [];
  const count = reader.u32();
  if (count > METER_LIMITS.params) return undefined;
  for (let i = 0; i < count; i++) {
    const type = VALUE_TYPES.get(reader.byte());
    if (type === undefined) return undefined;
    types.push(type);
  }
  return types;
}

function readImport(draft: Draft, reader: WasmReader): CoreImport {
  const module = reader.name();
  const name = reader.name();
  const kind = readKind(reader);
  let type = "";
  if (kind === "function") {
    const index = reader.u32();
    draft.functions.push(index);
    type = draft.types[index] ?? "";
  } else if (kind === "table") {
    reader.byte();
    draft.tables.push(readLimits(reader, true));
  } else if (kind === "memory") draft.memories.push(readLimits(reader, true));
  else if (kind === "global") reader.take(2);
  else {
    reader.byte();
    reader.u32();
  }
  return { module, name, kind, type };
}

function readExport(draft: Draft, reader: WasmReader): CoreExport {
  const name = reader.name();
  const kind = readKind(reader);
  const index = reader.u32();
  const type = kind === "function" ? (draft.types[draft.functions[index] ?? -1] ?? "") : "";
  return { name, kind, type };
}

function readKind(reader: WasmReader): CoreKind {
  const kind = KINDS[reader.byte()];
  if (kind === undefined) throw reader.fault("an import or export of an unknown kind");
  return kind;
}

/** A table may carry its initial value; then what follows in the section is not read. */
function readTables(draft: Draft, reader: WasmReader): void {
  const count = reader.u32();
  for (let i = 0; i < count && i < CONFIG_LIMITS.listItems; i++) {
    if (reader.byte() === 0x40) return;
    draft.tables.push(readLimits(reader, false));
  }
}

function readLimits(reader: WasmReader, imported: boolean): CoreLimits {
  const flags = reader.byte();
  const wide = (flags & 4) !== 0;
  const read = (): number => (wide ? Number(reader.u64()) : reader.u32());
  const minimum = read();
  const maximum = (flags & 1) === 0 ? undefined : read();
  return { minimum, maximum, shared: (flags & 2) !== 0, wide, imported };
}
