import type { Bytes } from "../../core/bytes.ts";
import type { FilterBudget } from "../../core/limits.ts";
import { CONFIG_LIMITS, PROXY_WASM_LIMITS } from "../../core/limits.ts";

const PAGE_BYTES = 65_536;
/** A 32-bit memory has no more (WebAssembly specification, "Limits"). */
const PAGES_MAX = 65_536;
const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const SECTION_TABLE = 4;
const SECTION_MEMORY = 5;

/**
 * Makes a module safe to instantiate: the maxima of its memory and tables are cut to the budget, so that the engine itself
 * answers -1 to growth beyond it. The metering of fuel belongs here too. Throws an `Error` that says what is wrong.
 */
export function prepareModule(wasm: Bytes, budget: FilterBudget): Bytes {
  if (wasm.byteLength > CONFIG_LIMITS.moduleBytes)
    throw new Error(`the module is larger than ${CONFIG_LIMITS.moduleBytes} bytes`);
  if (HEADER.some((byte, i) => wasm[i] !== byte)) throw new Error("not a WebAssembly core module of version 1");
  const out: number[] = [];
  const parts: Bytes[] = [wasm.subarray(0, HEADER.length)];
  const reader = new Reader(wasm, HEADER.length);
  while (reader.at < wasm.byteLength) {
    const start = reader.at;
    const id = reader.byte();
    const size = reader.u32();
    const end = reader.at + size;
    if (end > wasm.byteLength) throw new Error(`section ${id} is longer than the module`);
    if (id === SECTION_MEMORY || id === SECTION_TABLE) {
      const section = new Reader(wasm.subarray(0, end), reader.at);
      const body = id === SECTION_MEMORY ? limitMemories(section, budget.memoryBytes) : limitTables(section);
      if (section.at !== end) throw new Error(`section ${id} has bytes behind its end`);
      out.length = 0;
      out.push(id);
      writeU32(out, body.length);
      parts.push(Uint8Array.from(out), Uint8Array.from(body));
    } else parts.push(wasm.subarray(start, end));
    reader.at = end;
  }
  return joinParts(parts);
}

function limitMemories(reader: Reader, memoryBytes: number): number[] {
  const count = reader.u32();
  if (count > 1) throw new Error("the module has more than one memory");
  const body: number[] = [];
  writeU32(body, count);
  for (let i = 0; i < count; i++) {
    const limitPages = Math.floor(memoryBytes / PAGE_BYTES);
    const declared = writeLimits(
      body,
      reader,
      limitPages,
      (minimum) => `the module needs ${minimum} pages of memory, the budget is ${limitPages}`,
    );
    if (declared > PAGES_MAX && declared !== Number.POSITIVE_INFINITY)
      throw new Error(`the module's memory may have more than ${PAGES_MAX} pages`);
  }
  return body;
}

function limitTables(reader: Reader): number[] {
  const count = reader.u32();
  if (count > PROXY_WASM_LIMITS.tables) throw new Error(`the module has more than ${PROXY_WASM_LIMITS.tables} tables`);
  const body: number[] = [];
  writeU32(body, count);
  for (let i = 0; i < count; i++) {
    const type = reader.byte();
    if (type !== 0x70 && type !== 0x6f) throw new Error("the module has a table of an unsupported type");
    body.push(type);
    const limit = PROXY_WASM_LIMITS.tableElements;
    writeLimits(body, reader, limit, (minimum) => `the module needs a table of ${minimum} elements, the limit is ${limit}`);
  }
  return body;
}

/** Copies limits (flags, minimum, maximum) with the maximum cut to `limit`. Answers the declared one; `Infinity`: none. */
function writeLimits(out: number[], reader: Reader, limit: number, describe: (minimum: number) => string): number {
  const flags = reader.byte();
  if (flags > 1) throw new Error("shared and 64-bit memories are not supported");
  const minimum = reader.u32();
  const declared = flags === 1 ? reader.u32() : Number.POSITIVE_INFINITY;
  if (minimum > declared) throw new Error("the module declares a minimum that is more than its maximum");
  if (minimum > limit) throw new Error(describe(minimum));
  out.push(1);
  writeU32(out, minimum);
  writeU32(out, Math.min(declared, limit));
  return declared;
}

function writeU32(out: number[], value: number): void {
  let rest = value >>> 0;
  while (rest >= 0x80) {
    out.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.push(rest);
}

class Reader {
  constructor(
    readonly bytes: Bytes,
    public at: number,
  ) {}

  byte(): number {
    const value = this.bytes[this.at];
    if (value === undefined) throw new Error("the module ends too early");
    this.at++;
    return value;
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) {
        if (value > 0xffff_ffff) break;
        return value;
      }
    }
    throw new Error("the module has a number that is too large");
  }
}

function joinParts(parts: readonly Bytes[]): Bytes {
  let size = 0;
  for (const part of parts) size += part.byteLength;
  const joined = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.byteLength;
  }
  return joined;
}
