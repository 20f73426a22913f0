import { describe, expect, test } from "bun:test";
import { utf8Text } from "../../core/bytes.ts";
import { jsonText } from "../../core/json-text.ts";
import { ByteWriter } from "../../core/writer.ts";
import { putNumber, putString } from "./json-bytes.ts";

/** What the calls write behind a first byte, from a buffer that is too small for any of it. */
function written(put: (out: ByteWriter) => void): string {
  const out = new ByteWriter(1);
  out.byte(0x5b);
  put(out);
  return utf8Text(out.view()).slice(1);
}

describe("JSON as bytes", () => {
  test("a string is what jsonText makes of it, whatever character stands where", () => {
    for (let code = 0; code < 0x300; code++) {
      const char = String.fromCharCode(code);
      for (const text of [char, `abc${char}`, `${char}abc`, `a${char}b`])
        expect(written((out) => putString(out, text))).toBe(jsonText(text));
    }
    for (const text of ["", "\u2028", "\ud800", "😀", "x".repeat(5000), `${"x".repeat(5000)}"`])
      expect(written((out) => putString(out, text))).toBe(jsonText(text));
  });

  test("a number has its decimal digits", () => {
    const edges = Array.from({ length: 16 }, (_, i) => 10 ** i).flatMap((power) => [power - 1, power, power + 1]);
    for (const value of [...edges, 2 ** 31 - 1, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER])
      expect(written((out) => putNumber(out, value))).toBe(String(value));
  });
});
