import assert from "node:assert/strict";
import { PLACES } from "./kit/http1-bytes.ts";
import { describe, test } from "./kit/suite.ts";

const show = (byte: number): string => `0x${byte.toString(16).padStart(2, "0")}`;

describe("HTTP/1.1 codec: each of 256 bytes at each kind of place", () => {
  for (const place of PLACES) {
    test(place.name, () => {
      for (let byte = 0; byte < 256; byte++) assert.equal(place.probe(byte), place.expected(byte), show(byte));
    });
  }
});
