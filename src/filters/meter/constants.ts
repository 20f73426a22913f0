import { malformed, unsupported } from "./error.ts";
import type { ByteReader } from "./reader.ts";
import { checkReferenceType } from "./refuse.ts";
import type { ModuleShape } from "./shape.ts";

/** Notes that a function can be called through a table, or from outside. */
export function noteReference(shape: ModuleShape, index: number): void {
  // Behind these come the meter's own.
  if (index >= shape.functionTypes.length) throw malformed(`the module has no function ${index}`);
  if (index === shape.start) shape.isStartDeclared = true;
  if (index < shape.importedFunctions) shape.hostInTable = true;
  else shape.entries.push(index);
}

/**
 * The same for an instruction, which may only name what is declared elsewhere. That the start function is exported now declares
 * it; so the engine would no longer object.
 */
export function noteInstructionReference(shape: ModuleShape, index: number): void {
  if (index === shape.start && !shape.isStartDeclared)
    throw malformed("the module refers to a function that it has not declared");
  noteReference(shape, index);
}

/**
 * Passes over a constant expression (WebAssembly 2.0 §3.3.10, with the extended ones: add, sub, mul). Notes whether it names
 * an imported function. Throws `MeterError`.
 */
export function skipConstant(shape: ModuleShape, reader: ByteReader): void {
  for (;;) {
    const opcode = reader.byte();
    switch (opcode) {
      case 0x0b:
        return;
      case 0x23: {
        const index = reader.u32();
        if (index >= shape.globals) throw malformed(`the module has no global ${index}`);
        break;
      }
      case 0x41:
        reader.skipNumber(5);
        break;
      case 0x42:
        reader.skipNumber(10);
        break;
      case 0x43:
        reader.skip(4);
        break;
      case 0x44:
        reader.skip(8);
        break;
      case 0xd0:
        checkReferenceType(reader.byte());
        break;
      case 0xd2:
        noteReference(shape, reader.u32());
        break;
      case 0xfd:
        if (reader.u32() !== 12) throw malformed("the module has a constant expression that is none");
        reader.skip(16);
        break;
      default:
        // i32 and i64: add, sub, mul.
        if ((opcode >= 0x6a && opcode <= 0x6c) || (opcode >= 0x7c && opcode <= 0x7e)) break;
        throw unsupported(
          `the module has an instruction in a constant expression that is not supported, 0x${opcode.toString(16)}`,
        );
    }
  }
}
