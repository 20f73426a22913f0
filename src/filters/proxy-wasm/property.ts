import type { Bytes } from "../../core/bytes.ts";
import type { AttributeValue } from "../contract.ts";
import { InternTable } from "../guest/interned.ts";
import type { GuestMemory } from "../guest/memory.ts";

const paths = new InternTable<readonly string[]>((text) => {
  const path = (text.endsWith("\0") ? text.slice(0, -1) : text).split("\0");
  // Names of fields are asked for in any case; what is granted and what is looked up must be one and the same.
  if (path.length > 2 && (path[1] === "headers" || path[1] === "trailers")) path[2] = (path[2] as string).toLowerCase();
  return path;
});

/** A property path (segments parted by NUL) as segments, no longer than a name may be. Check the range with `has` first. */
export function readPath(memory: GuestMemory, at: number, size: number): readonly string[] {
  memory.work.text(size >>> 0);
  const path = paths.find(memory.words, memory.bytes, at >>> 0, size >>> 0);
  memory.work.items(path.length);
  return path;
}

type Pairs = readonly (readonly [string, string])[];
export const isPairs = (value: AttributeValue): value is Pairs => Array.isArray(value);

/** Hands a value over as Envoy serialises it: integers in 8 bytes little-endian, a boolean in one, texts and bytes as they are, maps as pairs. */
export function giveAttribute(memory: GuestMemory, value: AttributeValue, atPointer: number, sizePointer: number): number {
  if (isPairs(value)) {
    const names = value.map((pair) => pair[0]);
    const values = value.map((pair) => pair[1]);
    return memory.givePairs(names, values, atPointer, sizePointer);
  }
  // Claims were made bytes of one by one.
  if (value instanceof Uint8Array) memory.work.text(value.byteLength);
  const encoded = encodeAttribute(value);
  if (typeof encoded === "string") return memory.giveText(encoded, atPointer, sizePointer);
  return memory.giveBytes(encoded, atPointer, sizePointer);
}

function encodeAttribute(value: Exclude<AttributeValue, Pairs>): string | Bytes {
  if (typeof value === "string" || value instanceof Uint8Array) return value;
  if (typeof value === "boolean") return value ? "\x01" : "\x00";
  if (typeof value === "number") return encodeInteger(value);
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt.asIntN(64, value));
  return bytes;
}

function encodeInteger(value: number): Bytes {
  const bytes = Buffer.alloc(8);
  if (Number.isInteger(value)) bytes.writeBigInt64LE(BigInt(value));
  else bytes.writeDoubleLE(value);
  return bytes;
}
