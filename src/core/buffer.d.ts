// Fast paths that Bun, Deno and Node all have on Buffer but that the published types leave out.
declare global {
  interface Buffer {
    /** Decodes `[start, end)`, one character per byte. */
    latin1Slice(start: number, end: number): string;
    /** Encodes one byte per character at `offset`; returns the bytes written. */
    latin1Write(text: string, offset: number): number;
    /** Decodes `[start, end)`; malformed bytes become U+FFFD. */
    utf8Slice(start: number, end: number): string;
    /** Encodes at `offset`, `length` bytes at most; returns the bytes written. */
    utf8Write(text: string, offset: number, length: number): number;
  }
}

export {};
