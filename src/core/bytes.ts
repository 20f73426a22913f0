/** A view of bytes that is valid only during the call that hands it over: copy what must last. */
export type Bytes = Uint8Array;

/** `bytes[start, end)` as a view of its own. Costs an object: where pieces pass by in numbers, pass the positions on instead. */
export function viewOf(bytes: Bytes, start: number, end: number): Bytes {
  return start === 0 && end === bytes.byteLength ? bytes : bytes.subarray(start, end);
}

export const EMPTY_BYTES: Bytes = new Uint8Array(0);

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8");
const strictDecoder = new TextDecoder("utf-8", { fatal: true });

export const utf8Bytes = (text: string): Bytes => encoder.encode(text);
/** Malformed sequences become U+FFFD. */
export const utf8Text = (bytes: Bytes): string => decoder.decode(bytes);
/** Throws a `TypeError` on malformed sequences. */
export const utf8TextStrict = (bytes: Bytes): string => strictDecoder.decode(bytes);

/** One byte per character; a character above 0xff throws away its high bits, so pass wire text only. */
export function latin1Bytes(text: string): Bytes {
  return Buffer.from(text, "latin1");
}

/**
 * Texts up to this length are written by a loop. On Bun the engine's own way costs as much as 16 bytes of it; Deno's is JavaScript that
 * makes an array first, and always slower (8 bytes: 375 against 49 ns, 256: 2,097 against 1,062).
 */
const LOOP_CHARS = "Bun" in globalThis ? 14 : Number.POSITIVE_INFINITY;

/** Writes one byte per character, as `latin1Bytes` does; the room must be there. */
export function writeLatin1(bytes: Buffer, text: string, at: number): void {
  if (text.length > LOOP_CHARS) bytes.latin1Write(text, at);
  else for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}

export function latin1Text(bytes: Bytes): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).latin1Slice(0, bytes.byteLength);
}

/** Bytes that last. Not `slice`: on a Buffer, as both runtimes hand over, that is a view. */
export const copyBytes = (bytes: Bytes): Bytes => new Uint8Array(bytes);

export function concatBytes(parts: readonly Bytes[]): Bytes {
  if (parts.length === 1) return parts[0] as Bytes;
  let total = 0;
  for (const part of parts) total += part.byteLength;
  const joined = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.byteLength;
  }
  return joined;
}
