import { quoteSection } from "../../config/nats/manifest.ts";

/** What an announcement takes along, by digest. */
export interface Inline {
  readonly bytes: ReadonlyMap<string, Uint8Array>;
  /** The same as JSON strings. */
  readonly quoted: ReadonlyMap<string, string>;
}

/** Quotes, colon and comma around a digest and its section. */
const PUNCTUATION_BYTES = 4;

/** Bytes that a section takes inside an announcement, from its JSON string. */
export const inlineBytesOf = (digest: string, quoted: string): number =>
  Buffer.byteLength(quoted) + digest.length + PUNCTUATION_BYTES;

/** The smallest first, as many as there is room for; the same for every publisher. */
export function chooseInline(sections: ReadonlyMap<string, Uint8Array>, roomBytes: number): Inline {
  const bySize = [...sections].sort(([a, left], [b, right]) => left.byteLength - right.byteLength || (a < b ? -1 : 1));
  const bytes = new Map<string, Uint8Array>();
  const quoted = new Map<string, string>();
  let room = roomBytes;
  for (const [digest, content] of bySize) {
    if (content.byteLength > room) break;
    const text = quoteSection(content);
    room -= inlineBytesOf(digest, text);
    if (room < 0) break;
    bytes.set(digest, content);
    quoted.set(digest, text);
  }
  return { bytes, quoted };
}
