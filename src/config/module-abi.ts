import type { FilterAbi } from "./snapshot.ts";

/** The ABI that a module's first bytes stand for; undefined: these are no WebAssembly that is known. */
export function detectAbi(bytes: Uint8Array): FilterAbi | undefined {
  if (startsWith(bytes, CORE_MODULE)) return "proxy-wasm";
  return startsWith(bytes, COMPONENT) ? "component" : undefined;
}

/** Magic, version 1, layer 0. */
const CORE_MODULE = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
/** Magic, version 13, layer 1. */
const COMPONENT = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];

function startsWith(bytes: Uint8Array, header: readonly number[]): boolean {
  return bytes.byteLength >= header.length && header.every((byte, i) => bytes[i] === byte);
}
