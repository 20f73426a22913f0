import { readSections } from "../../config/wasm-sections.ts";
import type { Bytes } from "../../core/bytes.ts";
import { ByteReader } from "../meter/reader.ts";
import { VALUE_TYPES } from "../meter/value-types.ts";

/** Sections of a core module, by their ids. */
const [TYPES, IMPORTS, FUNCTIONS, EXPORTS] = [1, 2, 3, 7];
const [FUNCTION, TABLE, MEMORY, GLOBAL] = [0, 1, 2, 3];

/**
 * Types of the functions that a core module exports, by name, as text: `(i32, i32) -> i32`. The engines do not tell them to a host. The
 * module must have been compiled: what is not valid is not noticed here.
 */
export function exportedTypes(wasm: Bytes, isWanted: (name: string) => boolean = () => true): Map<string, string> {
  const sections = readSections(wasm);
  const reader = (id: number): ByteReader => {
    const content = sections.find((section) => section.id === id)?.content ?? Uint8Array.of(0);
    return new ByteReader(content, 0, content.byteLength);
  };
  const wanted = readExports(reader(EXPORTS), isWanted);
  const types = new Map<string, string>();
  if (wanted.size === 0) return types;
  const texts = readTypes(reader(TYPES));
  const indices = readTypeIndices(reader(IMPORTS), reader(FUNCTIONS), Math.max(...wanted.values()));
  for (const [name, index] of wanted) types.set(name, texts[indices[index] ?? -1] ?? "of an unknown type");
  return types;
}

/** Index of each exported function. */
function readExports(reader: ByteReader, isWanted: (name: string) => boolean): Map<string, number> {
  const wanted = new Map<string, number>();
  for (let left = reader.count(); left > 0; left--) {
    const name = reader.name();
    const kind = reader.byte();
    const index = reader.u32();
    if (kind === FUNCTION && isWanted(name)) wanted.set(name, index);
  }
  return wanted;
}

function readTypes(reader: ByteReader): string[] {
  const texts: string[] = [];
  const list = (): string[] => Array.from({ length: reader.count() }, () => VALUE_TYPES.get(reader.byte()) ?? "?");
  for (let left = reader.count(); left > 0; left--) {
    // Functions alone: the meter refuses all other types.
    reader.byte();
    const params = list();
    texts.push(signatureText(params, list()));
  }
  return texts;
}

/** `() -> ()`, `(i32, i64) -> i32`. */
export function signatureText(params: readonly string[], results: readonly string[]): string {
  return `(${params.join(", ")}) -> ${results.length === 1 ? results[0] : `(${results.join(", ")})`}`;
}

/** Type of each function, those that are imported first; as far as `last`. */
function readTypeIndices(imports: ByteReader, functions: ByteReader, last: number): number[] {
  const indices: number[] = [];
  for (let left = imports.count(); left > 0; left--) {
    imports.name();
    imports.name();
    const kind = imports.byte();
    if (kind === FUNCTION) indices.push(imports.u32());
    else if (kind === TABLE || kind === MEMORY) {
      if (kind === TABLE) imports.byte();
      const hasMaximum = (imports.byte() & 1) === 1;
      imports.u32();
      if (hasMaximum) imports.u32();
    } else if (kind === GLOBAL) imports.skip(2);
    else {
      // A tag: its attribute and its type.
      imports.byte();
      imports.u32();
    }
  }
  for (let left = functions.count(); left > 0 && indices.length <= last; left--) indices.push(functions.u32());
  return indices;
}

/**
 * Throws an `Error` that names every export whose type is none of those that its host would call it with: a call would do
 * something else than its author meant, or fail in the middle of a request.
 */
export function refuseWrongTypes(
  types: ReadonlyMap<string, string>,
  expected: (name: string) => readonly string[] | undefined,
): void {
  const wrong: string[] = [];
  for (const [name, type] of types) {
    const good = expected(name);
    if (good !== undefined && !good.includes(type)) wrong.push(`the export ${name} is ${type}, not ${good.join(" or ")}`);
  }
  if (wrong.length > 0) throw new Error(wrong.join("; "));
}
