import { utf8Bytes } from "../../core/bytes.ts";
import { METER_LIMITS } from "../../core/limits.ts";
import type { ByteSink } from "./sink.ts";

/**
 * The exported function `(i32) -> i32` that sets the fuel and answers what was left; negative: exhausted. A module with an export
 * of this name, or of the two others, is refused.
 */
export const FUEL_EXPORT = "selvedge:fuel";
/** The same for how much deeper calls may nest. Negative: exceeded. */
export const DEPTH_EXPORT = "selvedge:depth";
/** The exported start function, if the module has one. */
export const START_EXPORT = "selvedge:start";
/**
 * Only of modules that keep their state (`MeterOptions.keeps`), `(i32) -> i32` both, what they are given does not matter: the first
 * keeps the values of all mutable globals of the module's own, the second gives them back and answers whether something happened
 * since that cannot be undone (1: a table was written or a segment dropped).
 */
export const KEEP_EXPORT = "selvedge:keep";
export const RESTORE_EXPORT = "selvedge:restore";
/** Of the same: the module's own memory, if it has one, exported or not. */
export const MEMORY_EXPORT = "selvedge:memory";
/**
 * Of the same, globals, unless there are more than `METER_LIMITS.keptGlobals` mutable ones: not 0 once a table was written or a segment
 * dropped since it was kept; and, in front of a number, the copies of the mutable globals in their order, so that a host can carry
 * them over to another instance.
 */
export const TOUCHED_EXPORT = "selvedge:touched";
export const KEPT_EXPORT = "selvedge:kept:";
/** What no module may export, and no module sees of another; see `isMeterExport`. */
export const METER_EXPORTS: readonly string[] = [
  FUEL_EXPORT,
  DEPTH_EXPORT,
  START_EXPORT,
  KEEP_EXPORT,
  RESTORE_EXPORT,
  MEMORY_EXPORT,
  TOUCHED_EXPORT,
];

export const isMeterExport = (name: string): boolean => METER_EXPORTS.includes(name) || name.startsWith(KEPT_EXPORT);

/** A mutable global of the module's own. */
export interface MutableGlobal {
  readonly index: number;
  /** One byte: of a number, a vector or a reference. */
  readonly type: number;
}

/**
 * What a metered module has besides its own: two mutable globals, and two exported functions `(i32) -> i32` that set one of them
 * and answer what was in it. The globals themselves are not exported: JavaScriptCore reaches an exported one through a pointer,
 * which cost real modules three percent, and setting `Global.value` from JavaScript takes ten times as long as such a call.
 */
const METER_FUNCTIONS = 2;
/** How many functions are added, all of one type. */
export const meterFunctions = (keeps: boolean): number => METER_FUNCTIONS + (keeps ? 2 : 0);
/** How many globals are added: fuel and depth; whether something cannot be undone; a copy of each mutable one. */
export const meterGlobals = (keeps: boolean, mutable: readonly MutableGlobal[]): number => 2 + (keeps ? 1 + mutable.length : 0);

const TYPE_I32 = 0x7f;

export function writeMeterType(sink: ByteSink): void {
  sink.reserve(5);
  for (const byte of [0x60, 1, TYPE_I32, 1, TYPE_I32]) sink.byte(byte);
}

export function writeMeterGlobals(sink: ByteSink, initials: readonly number[]): void {
  sink.reserve(9 * initials.length);
  for (const initial of initials) {
    sink.byte(TYPE_I32);
    sink.byte(0x01);
    sink.byte(0x41);
    sink.s32(initial);
    sink.byte(0x0b);
  }
}

const KIND_GLOBAL = 0x03;

/** How many of the globals are exported: whether something cannot be undone, and the copies; none when there are too many. */
const exportedGlobals = (mutable: readonly MutableGlobal[]): number =>
  mutable.length > METER_LIMITS.keptGlobals ? 0 : 1 + mutable.length;

/** How many exports there are for keeping, without that of the memory. */
export const keeperExports = (mutable: readonly MutableGlobal[]): number => 2 + exportedGlobals(mutable);

/** All of them. `firstGlobal`: the first of the meter's. */
export function writeKeeperExports(
  sink: ByteSink,
  firstFunction: number,
  firstGlobal: number,
  mutable: readonly MutableGlobal[],
): void {
  writeMeterExport(sink, KEEP_EXPORT, firstFunction + METER_FUNCTIONS);
  writeMeterExport(sink, RESTORE_EXPORT, firstFunction + METER_FUNCTIONS + 1);
  const touched = firstGlobal + 2;
  for (let i = 0; i < exportedGlobals(mutable); i++)
    writeMeterExport(sink, i === 0 ? TOUCHED_EXPORT : `${KEPT_EXPORT}${i - 1}`, touched + i, KIND_GLOBAL);
}

export function writeMeterExport(sink: ByteSink, name: string, index: number, kind = 0x00): void {
  const bytes = utf8Bytes(name);
  sink.reserve(bytes.length + 11);
  sink.u32(bytes.length);
  sink.copy(bytes, 0, bytes.length);
  sink.byte(kind);
  sink.u32(index);
}

/** The copies of mutable globals, zero or null to begin with. */
export function writeKeptGlobals(sink: ByteSink, mutable: readonly MutableGlobal[]): void {
  for (const { type } of mutable) {
    sink.reserve(24);
    sink.byte(type);
    sink.byte(0x01);
    for (const byte of INITIALS.get(type) ?? [0xd0, type]) sink.byte(byte);
    sink.byte(0x0b);
  }
}

/** Zeros of numbers and vectors; references begin as null. */
const INITIALS: ReadonlyMap<number, readonly number[]> = new Map([
  [TYPE_I32, [0x41, 0]],
  [0x7e, [0x42, 0]],
  [0x7d, [0x43, 0, 0, 0, 0]],
  [0x7c, [0x44, 0, 0, 0, 0, 0, 0, 0, 0]],
  [0x7b, [0xfd, 0x0c, ...new Array<number>(16).fill(0)]],
]);

/** `global.get n, local.get 0, global.set n` for each of the two. */
export function writeMeterBodies(sink: ByteSink, firstGlobal: number): void {
  for (let global = firstGlobal; global < firstGlobal + METER_FUNCTIONS; global++) {
    sink.reserve(20);
    const sizeAt = sink.length++;
    sink.byte(0x00);
    sink.byte(0x23);
    sink.u32(global);
    sink.byte(0x20);
    sink.byte(0x00);
    sink.byte(0x24);
    sink.u32(global);
    sink.byte(0x0b);
    sink.patchU32(sizeAt, sink.length - sizeAt - 1, 1);
  }
}

/** Keeping: every value into its copy, and nothing is touched any more. Giving back: the other way, and whether something is. */
export function writeKeeperBodies(sink: ByteSink, touched: number, mutable: readonly MutableGlobal[]): void {
  for (const isKeeping of [true, false]) {
    const bound = 16 + mutable.length * 12;
    sink.reserve(bound + 5);
    const width = 5;
    const sizeAt = sink.length;
    sink.length += width;
    sink.byte(0x00);
    mutable.forEach(({ index }, i) => {
      const copy = touched + 1 + i;
      sink.byte(0x23);
      sink.u32(isKeeping ? index : copy);
      sink.byte(0x24);
      sink.u32(isKeeping ? copy : index);
    });
    if (isKeeping) {
      sink.byte(0x41);
      sink.byte(0x00);
      sink.byte(0x24);
      sink.u32(touched);
    }
    sink.byte(0x23);
    sink.u32(touched);
    sink.byte(0x0b);
    sink.patchU32(sizeAt, sink.length - sizeAt - width, width);
  }
}
