import { type Bytes, latin1Bytes } from "../../core/bytes.ts";
import type { AttributeValue } from "../contract.ts";
import { InternTable } from "../guest/interned.ts";
import { type GuestMemory, pairsSize } from "../guest/memory.ts";

const paths = new InternTable<readonly string[]>((text) => {
  const path = (text.endsWith("\0") ? text.slice(0, -1) : text).split("\0");
  // Names of fields are asked for in any case; what is granted and what is looked up must be one and the same.
  if (path.length > 2 && (path[1] === "headers" || path[1] === "trailers")) path[2] = (path[2] as string).toLowerCase();
  return path;
});

/** A property path (segments parted by NUL) as segments. Check the range with `has` first. */
export function readPath(memory: GuestMemory, at: number, size: number): readonly string[] {
  return paths.find(memory.words, memory.bytes, at >>> 0, size >>> 0);
}

/** As Envoy serialises: integers in 8 bytes little-endian, a boolean in one, texts and bytes as they are, maps as pairs. */
export function encodeAttribute(value: AttributeValue): string | Bytes {
  if (typeof value === "string" || value instanceof Uint8Array) return value;
  if (typeof value === "boolean") return value ? "\x01" : "\x00";
  if (typeof value === "number") return encodeInteger(value);
  if (typeof value === "bigint") {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt.asIntN(64, value));
    return bytes;
  }
  return encodePairs(value);
}

function encodeInteger(value: number): Bytes {
  const bytes = Buffer.alloc(8);
  if (Number.isInteger(value)) bytes.writeBigInt64LE(BigInt(value));
  else bytes.writeDoubleLE(value);
  return bytes;
}

function encodePairs(pairs: readonly (readonly [string, string])[]): Bytes {
  const names = pairs.map((pair) => pair[0]);
  const values = pairs.map((pair) => pair[1]);
  const bytes = Buffer.alloc(pairsSize(names, values));
  bytes.writeUInt32LE(pairs.length, 0);
  let at = 4 + pairs.length * 8;
  pairs.forEach(([name, value], i) => {
    bytes.writeUInt32LE(name.length, 4 + i * 8);
    bytes.writeUInt32LE(value.length, 8 + i * 8);
    bytes.set(latin1Bytes(name), at);
    bytes.set(latin1Bytes(value), at + name.length + 1);
    at += name.length + value.length + 2;
  });
  return bytes;
}
