import { type MeterError, malformed, unsupported } from "./error.ts";
import { VALUE_TYPES } from "./value-types.ts";

/** Names of what is not metered, so that a refusal says what to switch off in the compiler. */

const GC_FORMS = "garbage-collected types (GC)";
const TYPED_REFERENCES = "typed function references";

/** Why an instruction of one byte is refused. */
export function refuseOpcode(opcode: number): MeterError {
  if (opcode === 0xfb) return unsupported(`the module uses ${GC_FORMS}, which are not supported`);
  if (opcode === 0xfe) return unsupported("the module uses atomic instructions (threads), which are not supported");
  if (opcode === 0x14 || opcode === 0x15 || (opcode >= 0xd3 && opcode <= 0xd6))
    return unsupported(`the module uses ${TYPED_REFERENCES}, which are not supported`);
  if (opcode >= 0xe0 && opcode <= 0xe6) return unsupported("the module uses stack switching, which is not supported");
  return unsupported(`the module uses an unknown instruction, 0x${opcode.toString(16)}`);
}

/** Why an instruction behind 0xfc or 0xfd is refused. */
export function refusePrefixed(prefix: number, opcode: number): MeterError {
  if (prefix === 0xfc && opcode >= 19 && opcode <= 22)
    return unsupported("the module uses wide arithmetic, which is not supported");
  return unsupported(`the module uses an unknown instruction, 0x${prefix.toString(16)} ${opcode}`);
}

const REFERENCE_TYPES = new Set([0x70, 0x6f, 0x69]);

/** Throws unless `type` is a number, a vector, funcref, externref or exnref. */
export function checkValueType(type: number): void {
  if (!VALUE_TYPES.has(type)) throw refuseType(type);
}

/** Throws unless `type` is funcref, externref or exnref (as a value type or as a heap type: the bytes are the same). */
export function checkReferenceType(type: number): void {
  if (!REFERENCE_TYPES.has(type)) throw refuseType(type);
}

function refuseType(type: number): MeterError {
  // 0x40: a table with an initial value, of the same proposal.
  if (type === 0x63 || type === 0x64 || type === 0x40)
    return unsupported(`the module uses ${TYPED_REFERENCES}, which are not supported`);
  if (type >= 0x67 && type <= 0x78) return unsupported(`the module uses ${GC_FORMS}, which are not supported`);
  return malformed(`the module has an unknown type, 0x${type.toString(16)}`);
}

/** Throws unless a type definition is that of a function. */
export function checkTypeForm(form: number): void {
  if (form === 0x60) return;
  if ((form >= 0x4c && form <= 0x50) || form === 0x5e || form === 0x5f || form === 0x65)
    throw unsupported(`the module uses ${GC_FORMS}, which are not supported`);
  if (form === 0x5d) throw unsupported("the module uses stack switching, which is not supported");
  throw malformed(`the module has an unknown form of type, 0x${form.toString(16)}`);
}

/** Throws unless the flags of limits say nothing but whether there is a maximum. */
export function checkLimitFlags(flags: number): void {
  if ((flags & 2) !== 0) throw unsupported("the module uses shared memory (threads), which is not supported");
  if ((flags & 4) !== 0) throw unsupported("the module uses 64-bit memories or tables (memory64), which are not supported");
  if ((flags & 8) !== 0) throw unsupported("the module uses custom page sizes, which are not supported");
  if (flags > 1) throw malformed("the module has unknown flags in a limit");
}

export const refuseMultiMemory = (): MeterError =>
  unsupported("the module has more than one memory (multi-memory), which is not supported");

/** Why bytes that do not begin as a core module are refused. */
export function refuseHeader(bytes: Uint8Array): MeterError {
  if (bytes[0] !== 0 || bytes[1] !== 0x61 || bytes[2] !== 0x73 || bytes[3] !== 0x6d) return malformed("not a WebAssembly module");
  if (bytes[6] === 1) return unsupported("this is a WebAssembly component, not a core module");
  return malformed("not a WebAssembly module of version 1");
}
