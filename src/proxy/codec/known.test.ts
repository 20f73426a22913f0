import { describe, expect, test } from "bun:test";
import { SeededRng } from "../../core/rng.ts";
import { KnownTexts } from "./known.ts";

describe("texts that came before", () => {
  test("are always those of the bytes asked for, however many values meet in one place", () => {
    const rng = new SeededRng(7);
    const cache = new KnownTexts();
    const buffer = Buffer.alloc(600);
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    // Few letters and lengths, so that values often differ in one byte only.
    for (let i = 0; i < 50_000; i++) {
      const length = 1 + (rng.below(10) === 0 ? rng.below(300) : rng.below(9));
      const start = rng.below(200);
      for (let at = 0; at < length; at++) buffer[start + at] = rng.below(8) === 0 ? rng.below(256) : 0x61 + rng.below(2);
      expect(cache.read(buffer, view, start, start + length)).toBe(buffer.toString("latin1", start, start + length));
    }
  });

  test("are the same text for the same bytes until another value takes the place", () => {
    const cache = new KnownTexts();
    const read = (text: string): string => {
      const buffer = Buffer.from(`--${text}--`, "latin1");
      return cache.read(buffer, new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength), 2, 2 + text.length);
    };
    for (const length of [1, 3, 4, 5, 191, 192, 193, 256, 1000]) {
      const text = "v".repeat(length);
      expect(read(text)).toBe(text);
      for (let at = 0; at < length; at++) {
        const other = `${text.slice(0, at)}w${text.slice(at + 1)}`;
        expect(read(other)).toBe(other);
        expect(read(text)).toBe(text);
      }
    }
  });
});
