import { METER_LIMITS } from "../../core/limits.ts";
import { noteReference, skipConstant } from "./constants.ts";
import { malformed, overLimit } from "./error.ts";
import type { ByteReader } from "./reader.ts";
import { checkLimitFlags, checkValueType, refuseMultiMemory } from "./refuse.ts";
import { checkCount, type ModuleShape, readReferenceType, readTag, readTypeIndex } from "./shape.ts";
import type { ByteSink } from "./sink.ts";

/** A 32-bit memory has no more pages (WebAssembly 2.0 §3.2.4). */
const PAGES_MAX = 65_536;

/** The largest memory and tables, in pages of 64 KiB and elements. */
export interface SizeBounds {
  readonly memoryPages: number;
  readonly tableElements: number;
}

export interface Limits {
  readonly min: number;
  /** After the cut. */
  readonly max: number;
}

/** Copies limits with the maximum cut to `bound`, so that the engine itself answers -1 to growth beyond it. */
function copyLimits(reader: ByteReader, sink: ByteSink, bound: number, validMax: number, what: string): Limits {
  const flags = reader.byte();
  checkLimitFlags(flags);
  const min = reader.u32();
  const declared = flags === 1 ? reader.u32() : undefined;
  // What is invalid must not become valid by the cut.
  if (min > validMax || (declared ?? 0) > validMax) throw malformed(`the module has a ${what} that may not be that large`);
  if (declared !== undefined && min > declared)
    throw malformed(`the module has a ${what} whose minimum is more than its maximum`);
  if (min > bound)
    throw overLimit(`the module needs a ${what} of ${min} ${what === "memory" ? "pages" : "elements"}, the limit is ${bound}`);
  const max = Math.min(declared ?? bound, bound);
  sink.reserve(16);
  sink.byte(1);
  sink.u32(min);
  sink.u32(max);
  return { min, max };
}

function copyMemory(shape: ModuleShape, reader: ByteReader, sink: ByteSink, bounds: SizeBounds): Limits {
  if (++shape.memories > 1) throw refuseMultiMemory();
  return copyLimits(reader, sink, bounds.memoryPages, PAGES_MAX, "memory");
}

function copyTable(shape: ModuleShape, reader: ByteReader, sink: ByteSink, bounds: SizeBounds): void {
  checkCount(++shape.tables, METER_LIMITS.tables, "tables");
  const type = readReferenceType(reader);
  sink.reserve(1);
  sink.byte(type);
  copyLimits(reader, sink, bounds.tableElements, 0xffff_ffff, "table");
}

export function copyTables(shape: ModuleShape, reader: ByteReader, sink: ByteSink, bounds: SizeBounds): void {
  const count = reader.count();
  sink.reserve(5);
  sink.u32(count);
  for (let i = 0; i < count; i++) copyTable(shape, reader, sink, bounds);
  reader.finish("the table section");
}

/** Returns the limits of the module's own memory, if there is one. */
export function copyMemories(shape: ModuleShape, reader: ByteReader, sink: ByteSink, bounds: SizeBounds): Limits | undefined {
  const count = reader.count();
  sink.reserve(5);
  sink.u32(count);
  let limits: Limits | undefined;
  for (let i = 0; i < count; i++) limits = copyMemory(shape, reader, sink, bounds);
  reader.finish("the memory section");
  return limits;
}

/** Imported memories and tables are bounded as well: the host has to hand over one whose maximum is not above the bound. */
export function copyImports(shape: ModuleShape, reader: ByteReader, sink: ByteSink, bounds: SizeBounds): Limits | undefined {
  const count = reader.count();
  checkCount(count, METER_LIMITS.imports, "imports");
  sink.reserve(5);
  sink.u32(count);
  let memory: Limits | undefined;
  for (let i = 0; i < count; i++) {
    const start = reader.at;
    reader.name();
    reader.name();
    const kind = reader.byte();
    const typeAt = reader.at;
    if (kind === 1 || kind === 2) {
      sink.reserve(typeAt - start);
      sink.copy(reader.bytes, start, typeAt);
      if (kind === 1) {
        copyTable(shape, reader, sink, bounds);
        // Whoever made it may have put the host's functions in.
        shape.hostInTable = true;
      } else memory = copyMemory(shape, reader, sink, bounds);
      continue;
    }
    readImport(shape, reader, kind);
    sink.reserve(reader.at - start);
    sink.copy(reader.bytes, start, reader.at);
  }
  reader.finish("the import section");
  shape.importedMemories = shape.memories;
  shape.importedFunctions = shape.functionTypes.length;
  return memory;
}

function readImport(shape: ModuleShape, reader: ByteReader, kind: number): void {
  if (kind === 0) shape.functionTypes.push(readTypeIndex(shape, reader));
  else if (kind === 3) readGlobalType(shape, reader, false);
  else if (kind === 4) readTag(shape, reader);
  else throw malformed("the module has an import of an unknown kind");
}

function readGlobalType(shape: ModuleShape, reader: ByteReader, isOwn: boolean): void {
  const type = reader.byte();
  checkValueType(type);
  const mutability = reader.byte();
  if (mutability > 1) throw malformed("the module has a global that is neither constant nor mutable");
  if (isOwn && mutability === 1) shape.mutableGlobals.push({ index: shape.globals, type });
  shape.globals++;
}

/** Passes over the module's own globals. */
export function readGlobals(shape: ModuleShape, reader: ByteReader, count: number): void {
  checkCount(count, METER_LIMITS.globals, "globals");
  for (let i = 0; i < count; i++) {
    readGlobalType(shape, reader, true);
    skipConstant(shape, reader);
  }
  reader.finish("the global section");
}

/** Passes over the element segments; notes whether they hold an imported function. */
export function readElements(shape: ModuleShape, reader: ByteReader): void {
  const count = reader.count();
  checkCount(count, METER_LIMITS.elementSegments, "element segments");
  let total = 0;
  for (let i = 0; i < count; i++) {
    const flags = reader.u32();
    if (flags > 7) throw malformed("the module has an unknown kind of element segment");
    const isActive = (flags & 1) === 0;
    const hasExpressions = (flags & 4) !== 0;
    if (isActive && (flags & 2) !== 0) reader.u32();
    if (isActive) skipConstant(shape, reader);
    if ((flags & 3) !== 0) {
      if (hasExpressions) readReferenceType(reader);
      else if (reader.byte() !== 0) throw malformed("the module has an element segment of an unknown kind");
    }
    const items = reader.count();
    total += items;
    checkCount(total, METER_LIMITS.elements, "elements");
    for (let k = 0; k < items; k++) {
      if (hasExpressions) skipConstant(shape, reader);
      else noteReference(shape, reader.u32());
    }
  }
  reader.finish("the element section");
}
