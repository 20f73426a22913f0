import { METER_LIMITS } from "../core/limits.ts";

/**
 * Custom sections of a WebAssembly module or component (specification, "Custom Section"): how metadata and signatures travel
 * inside the file. Only the outline is read; what is inside other sections does not matter here.
 */

export interface WasmSection {
  readonly id: number;
  /** Of custom sections (id 0); "" otherwise. */
  readonly name: string;
  /** Where the section begins and ends, with its id and size. */
  readonly start: number;
  readonly end: number;
  /** What follows the name of a custom section, or the whole content. */
  readonly content: Uint8Array;
}

const HEADER_BYTES = 8;
const CUSTOM = 0;
const EXPORTS = 7;

/**
 * The sections in order; stops at the first thing that cannot be read, and at more sections than a module may have, because whoever
 * runs the module refuses it anyway.
 */
export function readSections(wasm: Uint8Array): WasmSection[] {
  const sections: WasmSection[] = [];
  let at = HEADER_BYTES;
  while (at < wasm.byteLength && sections.length < METER_LIMITS.sections) {
    const id = wasm[at] as number;
    const size = readLength(wasm, at + 1);
    const end = size === undefined ? -1 : size.end + size.value;
    if (size === undefined || end > wasm.byteLength) break;
    let name = "";
    let from = size.end;
    if (id === CUSTOM) {
      const length = readLength(wasm, from);
      if (length === undefined || length.end + length.value > end) break;
      from = length.end + length.value;
      name = Buffer.from(wasm.subarray(length.end, from)).toString("utf8");
    }
    sections.push({ id, name, start: at, end, content: wasm.subarray(from, end) });
    at = end;
  }
  return sections;
}

/** The content of the first custom section of a name; undefined: there is none. */
export function findCustomSection(wasm: Uint8Array, name: string): Uint8Array | undefined {
  return readSections(wasm).find((section) => section.id === CUSTOM && section.name === name)?.content;
}

/** Names of what a core module exports; stops at the first thing that cannot be read. */
export function readExportNames(wasm: Uint8Array): string[] {
  const content = readSections(wasm).find((section) => section.id === EXPORTS)?.content ?? new Uint8Array(0);
  const names: string[] = [];
  const count = readLength(content, 0);
  let at = count?.end ?? 0;
  while (names.length < Math.min(count?.value ?? 0, METER_LIMITS.exports)) {
    const length = readLength(content, at);
    const end = length === undefined ? content.byteLength : length.end + length.value;
    // Behind the name: a kind, and an index.
    const index = readLength(content, end + 1);
    if (length === undefined || index === undefined) break;
    names.push(Buffer.from(content.subarray(length.end, end)).toString("utf8"));
    at = index.end;
  }
  return names;
}

/** The same module with one custom section more at its end. */
export function appendCustomSection(wasm: Uint8Array, name: string, content: Uint8Array): Uint8Array {
  const label = Buffer.from(name, "utf8");
  const inner = [...lengthBytes(label.byteLength), ...label];
  const head = Uint8Array.from([CUSTOM, ...lengthBytes(inner.length + content.byteLength), ...inner]);
  const out = new Uint8Array(wasm.byteLength + head.byteLength + content.byteLength);
  out.set(wasm, 0);
  out.set(head, wasm.byteLength);
  out.set(content, wasm.byteLength + head.byteLength);
  return out;
}

/** The same module without the custom sections of a name. */
export function removeCustomSections(wasm: Uint8Array, name: string): Uint8Array {
  const gone = readSections(wasm).filter((section) => section.id === CUSTOM && section.name === name);
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const { start, end } of gone) {
    parts.push(wasm.subarray(from, start));
    from = end;
  }
  parts.push(wasm.subarray(from));
  return new Uint8Array(Buffer.concat(parts));
}

/** Unsigned LEB128 of at most 32 bits. */
function readLength(bytes: Uint8Array, start: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if ((byte & 0x80) === 0) return { value, end: start + i + 1 };
  }
  return undefined;
}

function lengthBytes(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80);
  out.push(rest);
  return out;
}
