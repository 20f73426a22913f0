import { utf8Bytes } from "../../core/bytes.ts";
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
 * What a metered module has besides its own: two mutable globals, and two exported functions `(i32) -> i32` that set one of them
 * and answer what was in it. The globals themselves are not exported: JavaScriptCore reaches an exported one through a pointer,
 * which cost real modules three percent, and setting `Global.value` from JavaScript takes ten times as long as such a call.
 */
export const METER_FUNCTIONS = 2;

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

export function writeMeterExport(sink: ByteSink, name: string, functionIndex: number): void {
  const bytes = utf8Bytes(name);
  sink.reserve(bytes.length + 11);
  sink.u32(bytes.length);
  sink.copy(bytes, 0, bytes.length);
  sink.byte(0x00);
  sink.u32(functionIndex);
}

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
