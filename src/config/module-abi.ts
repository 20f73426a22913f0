import { Buffer } from "node:buffer";
import type { FilterAbi } from "./snapshot.ts";

/** The ABI that a module is made for: by its first bytes, and for core modules by what they import; undefined: these are no WebAssembly that is known. */
export function detectAbi(bytes: Uint8Array): FilterAbi | undefined {
  if (startsWith(bytes, CORE_MODULE)) return importsExtism(bytes) ? "extism" : "proxy-wasm";
  return startsWith(bytes, COMPONENT) ? "component" : undefined;
}

/** Magic, version 1, layer 0. */
const CORE_MODULE = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
/** Magic, version 13, layer 1. */
const COMPONENT = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];

function startsWith(bytes: Uint8Array, header: readonly number[]): boolean {
  return bytes.byteLength >= header.length && header.every((byte, i) => bytes[i] === byte);
}

/** As it stands in a section of imports: its length, then the name. */
const EXTISM = Buffer.from("\u000fextism:host/env", "latin1");
const IMPORT_SECTION = 2;

/** Plug-ins of Extism import their host's functions by a name of its own. Sections before the imports are passed over. */
function importsExtism(bytes: Uint8Array): boolean {
  for (let at = CORE_MODULE.length; at < bytes.byteLength; ) {
    const id = bytes[at++];
    let size = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[at++] ?? 0;
      size += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    if (id === IMPORT_SECTION) {
      const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      return whole.subarray(at, at + size).includes(EXTISM);
    }
    at += size;
  }
  return false;
}
