import { malformed } from "./error.ts";
import * as ops from "./opcodes.ts";
import type { ByteReader } from "./reader.ts";
import { checkValueType, refuseMultiMemory, refusePrefixed } from "./refuse.ts";
import type { ModuleShape } from "./shape.ts";

/** Operands that a block takes and leaves. */
export interface BlockShape {
  readonly params: number;
  readonly results: number;
}

const NOTHING: BlockShape = { params: 0, results: 0 };
const ONE_RESULT: BlockShape = { params: 0, results: 1 };

/** The type of a block: none, one result, or the index of a function type (§5.4.1). */
export function readBlockType(shape: ModuleShape, reader: ByteReader): BlockShape {
  const first = reader.byte();
  if (first === 0x40) return NOTHING;
  if (first < 0x80 && first >= 0x40) {
    checkValueType(first);
    return ONE_RESULT;
  }
  // A positive s33. Bit 6 of its last byte is the sign.
  let index = first & 0x7f;
  let byte = first;
  for (let shift = 7; byte >= 0x80; shift += 7) {
    byte = reader.byte();
    if (shift > 28 || (byte < 0x80 && (byte & 0x40) !== 0)) throw malformed("the module has a block of an unknown type");
    index += (byte & 0x7f) * 2 ** shift;
  }
  const type = shape.types[index];
  if (type === undefined) throw malformed(`the module has no type ${index}`);
  return type;
}

/** The type of a `select` that names it: one only (§3.3.4). */
export function readSelectType(reader: ByteReader): void {
  if (reader.count() !== 1) throw malformed("the module has a select of more than one type");
  checkValueType(reader.byte());
}

/** The index of a memory: there is only number 0. */
export function readMemoryIndex(reader: ByteReader): void {
  if (reader.byte() !== 0) throw refuseMultiMemory();
}

/** The flags of a memory argument: bit 6 says that the index of a memory follows. */
export function refuseMemoryArgument(flags: number): Error {
  return flags < 0x80 ? refuseMultiMemory() : malformed("the module has an alignment that is too large");
}

/** Reads an instruction behind 0xfc with its immediates. Returns its number. */
export function readMiscellaneous(reader: ByteReader): number {
  const opcode = reader.u32();
  const immediate = ops.MISCELLANEOUS.immediates[opcode] ?? ops.IMM_REFUSED;
  if (immediate === ops.IMM_REFUSED) throw refusePrefixed(0xfc, opcode);
  if (immediate === ops.IMM_NONE) return opcode;
  // Which memory, which table or which segment; those that copy or initialise have two.
  if (opcode === 10 || opcode === 11) readMemoryIndex(reader);
  else reader.u32();
  if (opcode === 8 || opcode === 10) readMemoryIndex(reader);
  else if (opcode === 12 || opcode === 14) reader.u32();
  return opcode;
}

/** Reads an instruction behind 0xfd with its immediates. Returns its number. */
export function readVector(reader: ByteReader): number {
  const opcode = reader.u32();
  const immediate = ops.VECTOR.immediates[opcode] ?? ops.IMM_REFUSED;
  switch (immediate) {
    case ops.IMM_NONE:
      break;
    case ops.IMM_16_BYTES:
      reader.skip(16);
      break;
    case ops.IMM_LANE:
      reader.skip(1);
      break;
    case ops.IMM_MEMORY_ARGUMENT:
    case ops.IMM_MEMORY_ARGUMENT_LANE: {
      const flags = reader.byte();
      if (flags >= 0x40) throw refuseMemoryArgument(flags);
      reader.u32();
      if (immediate === ops.IMM_MEMORY_ARGUMENT_LANE) reader.skip(1);
      break;
    }
    default:
      throw refusePrefixed(0xfd, opcode);
  }
  return opcode;
}

/** Which table a `table.grow` means: read once more, now for its index. */
export function readGrowingTable(reader: ByteReader, opcodeAt: number): number {
  reader.at = opcodeAt + 1;
  reader.u32();
  return reader.u32();
}
