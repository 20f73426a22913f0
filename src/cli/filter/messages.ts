import { type Bytes, latin1Text, utf8Bytes } from "../../core/bytes.ts";
import { HeaderBlock } from "../../core/head.ts";
import type { Fields, TableBody } from "./table-schema.ts";

/** Pieces that `repeat` comes in: what one read of a socket brings. */
const PIECE_BYTES = 16 * 1024;

/** UTF-8 as header values have it: one character per byte. */
export const wire = (text: string): string => latin1Text(utf8Bytes(text));

export function blockOf(fields: Fields): HeaderBlock {
  const block = new HeaderBlock();
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) block.add(name.toLowerCase(), wire(String(each)));
  }
  return block;
}

/** A body's pieces; none: there is no body. */
export function bytesOf(body: TableBody | undefined): Bytes[] {
  if (body === undefined) return [];
  if (typeof body === "string") return body === "" ? [] : [utf8Bytes(body)];
  if (body.text !== undefined) return [utf8Bytes(body.text)];
  if (body.json !== undefined) return [utf8Bytes(JSON.stringify(body.json))];
  if (body.base64 !== undefined) return [new Uint8Array(Buffer.from(body.base64, "base64"))];
  if (body.chunks !== undefined) return body.chunks.map((chunk) => utf8Bytes(chunk));
  if (body.repeat === undefined) return [];
  const whole = utf8Bytes(body.repeat.text.repeat(body.repeat.times));
  const pieces: Bytes[] = [];
  for (let at = 0; at < whole.byteLength; at += PIECE_BYTES) pieces.push(whole.subarray(at, at + PIECE_BYTES));
  return pieces;
}
