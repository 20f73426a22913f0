import type { Bytes } from "../../core/bytes.ts";
import { METER_LIMITS } from "../../core/limits.ts";
import { malformed, overLimit } from "./error.ts";
import type { MutableGlobal } from "./meters.ts";
import { ByteReader } from "./reader.ts";
import { checkReferenceType, checkTypeForm, checkValueType, refuseHeader } from "./refuse.ts";

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
  tag: 13,
} as const;

/** In the order that the specification asks for (§5.5.2); custom sections stand anywhere. */
const ORDER = [
  SECTION.type,
  SECTION.import,
  SECTION.function,
  SECTION.table,
  SECTION.memory,
  SECTION.tag,
  SECTION.global,
  SECTION.export,
  SECTION.start,
  SECTION.element,
  SECTION.dataCount,
  SECTION.code,
  SECTION.data,
] as readonly number[];

/** Place of a section in the order; -1: unknown. */
export const rankOf = (id: number): number => ORDER.indexOf(id);

export interface Section {
  readonly id: number;
  /** Of its identifier, and of its content. */
  readonly at: number;
  readonly start: number;
  readonly end: number;
}

const HEADER_BYTES = 8;

/** The module's sections, in order. Throws `MeterError` when they are cut, doubled, unknown or out of order. */
export function splitSections(bytes: Bytes): Section[] {
  if (bytes.length < HEADER_BYTES || bytes[4] !== 1 || bytes[0] !== 0 || bytes[1] !== 0x61) throw refuseHeader(bytes);
  if (bytes[2] !== 0x73 || bytes[3] !== 0x6d || bytes[5] !== 0 || bytes[6] !== 0 || bytes[7] !== 0) throw refuseHeader(bytes);
  const reader = new ByteReader(bytes, HEADER_BYTES, bytes.length);
  const sections: Section[] = [];
  let last = -1;
  while (!reader.done) {
    const at = reader.at;
    const id = reader.byte();
    const size = reader.u32();
    const start = reader.at;
    reader.skip(size);
    if (id !== SECTION.custom) {
      const rank = rankOf(id);
      if (rank < 0) throw malformed(`the module has an unknown section, ${id}`);
      if (rank <= last) throw malformed("the module's sections are doubled or out of order");
      last = rank;
    } else new ByteReader(bytes, start, reader.at).name();
    sections.push({ id, at, start, end: reader.at });
    if (sections.length > METER_LIMITS.sections) throw overLimit(`the module has more than ${METER_LIMITS.sections} sections`);
  }
  return sections;
}

/** A function type: how many parameters and results, and where the types of the results stand in the module. */
export interface FunctionShape {
  readonly params: number;
  /** Slots that the parameters take: a vector counts two. */
  readonly paramSlots: number;
  readonly results: number;
  readonly resultsAt: number;
}

/** What the decoder of function bodies has to know of the rest of the module. */
export interface ModuleShape {
  readonly bytes: Bytes;
  readonly types: FunctionShape[];
  /** Type index of each function, imported ones first. */
  readonly functionTypes: number[];
  /** Functions that are exported or referred to: they can be called from elsewhere. The same one may come more than once. */
  readonly entries: number[];
  /** Type index of each tag, imported ones first. */
  readonly tagTypes: number[];
  importedFunctions: number;
  /** Operands of all blocks, branches and calls that have more than a few. */
  wideOperands: number;
  /** Locals, operands and blocks around at all blocks and branches. */
  heldValues: number;
  globals: number;
  /** Its own globals that are mutable. */
  readonly mutableGlobals: MutableGlobal[];
  importedMemories: number;
  memories: number;
  tables: number;
  /** Whether an imported function may be called through a table: then every such call is charged for it. */
  hostInTable: boolean;
  /** Index of the start function. Known from the beginning. */
  start: number | undefined;
  /** Whether it is exported or referred to, besides. */
  isStartDeclared: boolean;
}

export const newShape = (bytes: Bytes): ModuleShape => ({
  bytes,
  types: [],
  functionTypes: [],
  entries: [],
  tagTypes: [],
  wideOperands: 0,
  heldValues: 0,
  importedFunctions: 0,
  globals: 0,
  mutableGlobals: [],
  importedMemories: 0,
  memories: 0,
  tables: 0,
  hostInTable: false,
  start: undefined,
  isStartDeclared: false,
});

/** Refuses `count` of something above its bound. */
export function checkCount(count: number, limit: number, what: string): void {
  if (count > limit) throw overLimit(`the module has ${count} ${what}, the limit is ${limit}`);
}

export function readTypes(shape: ModuleShape, reader: ByteReader): void {
  const count = reader.count();
  checkCount(count, METER_LIMITS.types, "types");
  for (let i = 0; i < count; i++) {
    checkTypeForm(reader.byte());
    const params = reader.count();
    checkCount(params, METER_LIMITS.params, "parameters in a function");
    let paramSlots = 0;
    for (let k = 0; k < params; k++) {
      const type = reader.byte();
      checkValueType(type);
      paramSlots += slotsOf(type);
    }
    const results = reader.count();
    checkCount(results, METER_LIMITS.params, "results in a function");
    const resultsAt = reader.at;
    for (let k = 0; k < results; k++) checkValueType(reader.byte());
    shape.types.push({ params, paramSlots, results, resultsAt });
  }
  reader.finish("the type section");
}

/** Slots of the depth guard that a value takes: 8 bytes each. */
export const slotsOf = (type: number): number => (type === 0x7b ? 2 : 1);

export function readTypeIndex(shape: ModuleShape, reader: ByteReader): number {
  const type = reader.u32();
  if (type >= shape.types.length) throw malformed(`the module has no type ${type}`);
  return type;
}

export function readFunctions(shape: ModuleShape, reader: ByteReader): void {
  const count = reader.count();
  checkCount(count, METER_LIMITS.functions, "functions");
  for (let i = 0; i < count; i++) shape.functionTypes.push(readTypeIndex(shape, reader));
  reader.finish("the function section");
}

export function readTags(shape: ModuleShape, reader: ByteReader): void {
  const count = reader.count();
  checkCount(count, METER_LIMITS.types, "tags");
  for (let i = 0; i < count; i++) readTag(shape, reader);
  reader.finish("the tag section");
}

export function readTag(shape: ModuleShape, reader: ByteReader): void {
  if (reader.byte() !== 0) throw malformed("the module has a tag that is no exception");
  shape.tagTypes.push(readTypeIndex(shape, reader));
}

/** A table's or a global's reference type, as one byte. */
export function readReferenceType(reader: ByteReader): number {
  const type = reader.byte();
  checkReferenceType(type);
  return type;
}

/** Reads the index of a tag. Returns how many values it carries. */
export function readTagParams(shape: ModuleShape, reader: ByteReader): number {
  const tag = reader.u32();
  const type = shape.types[shape.tagTypes[tag] ?? -1];
  if (type === undefined) throw malformed(`the module has no tag ${tag}`);
  return type.params;
}

/** Counts what a block, a branch or a call takes and leaves: a few bytes of code can move a thousand operands, and each costs a compiler. */
export function countWide(shape: ModuleShape, operands: number): void {
  if (operands <= METER_LIMITS.fewOperands) return;
  shape.wideOperands += operands;
  if (shape.wideOperands > METER_LIMITS.wideOperands)
    throw overLimit(`the module has blocks, branches and calls with more than ${METER_LIMITS.wideOperands} operands in all`);
}

/**
 * The same for a block or a branch. Compilers note there where each of the locals and operands is that are there (`held`), and JavaScriptCore looks
 * through the blocks around it (`depth`), each of which takes a quarter of the time. Of code that cannot be reached `held` may be any number.
 */
export function countAt(shape: ModuleShape, operands: number, held: number, depth: number): void {
  countWide(shape, operands);
  shape.heldValues += Math.max(0, held) + depth / 4;
  const most = METER_LIMITS.heldValues + shape.bytes.length * METER_LIMITS.heldPerByte;
  if (shape.heldValues > most)
    throw overLimit(
      `the module has more than ${most} locals and operands at its blocks and branches in all, or blocks around those`,
    );
}
