import { uleb } from "./wasm.ts";

const FUNCTION_SECTION = 3;
const CODE_SECTION = 10;
const HEADER_BYTES = 8;
/** Of one function that is added. */
const BODY_BYTES = 4_000;

/** `(i32.const 77) (i32.const 9) i32.xor if (i32.const 1) drop end`: a branch in every ten bytes, as compilers write them. */
const STEP = [0x41, 0xcd, 0x00, 0x41, 0x09, 0x73, 0x04, 0x40, 0x41, 0x01, 0x1a, 0x0b];
const UNREACHABLE_END = [0x00, 0x0b];

/**
 * The same module with functions behind its own that nobody calls, until it is about so large: what an engine and the meter have to
 * read. It must define a function; the new ones have the type of its first.
 */
export function enlargeModule(wasm: Uint8Array, bytes: number): Uint8Array<ArrayBuffer> {
  const count = Math.ceil((bytes - wasm.byteLength) / BODY_BYTES);
  const steps = Array.from({ length: Math.floor((BODY_BYTES - 8) / STEP.length) }, () => STEP).flat();
  const body = Uint8Array.from([0, ...steps, ...UNREACHABLE_END]);
  const parts: Uint8Array[] = [wasm.subarray(0, HEADER_BYTES)];
  for (let at = HEADER_BYTES; at < wasm.byteLength; ) {
    const id = wasm[at] as number;
    const [size, start] = readUleb(wasm, at + 1);
    const content = wasm.subarray(start, start + size);
    at = start + size;
    parts.push(id === FUNCTION_SECTION || id === CODE_SECTION ? enlarge(id, content, count, body) : section(id, content));
  }
  return new Uint8Array(Buffer.concat(parts));
}

function enlarge(id: number, content: Uint8Array, count: number, body: Uint8Array): Uint8Array {
  const [own, start] = readUleb(content, 0);
  const item =
    id === CODE_SECTION ? Buffer.concat([Uint8Array.from(uleb(body.byteLength)), body]) : uleb(readUleb(content, start)[0]);
  const added = Buffer.alloc(item.length * count, Uint8Array.from(item));
  return section(id, Buffer.concat([Uint8Array.from(uleb(own + count)), content.subarray(start), added]));
}

function section(id: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.from([id, ...uleb(content.byteLength)]), content]);
}

/** The number, and where it ends. */
function readUleb(bytes: Uint8Array, start: number): readonly [number, number] {
  let value = 0;
  for (let at = start, scale = 1; ; at++, scale *= 128) {
    const byte = bytes[at] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 128) return [value, at + 1];
  }
}
