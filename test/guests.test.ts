import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

const FOLDER = fileURLToPath(new URL("guests/", import.meta.url));
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const guests = readdirSync(FOLDER, { withFileTypes: true }).flatMap((each) => (each.isDirectory() ? [each.name] : []));

test("there are prebuilt guests", () => {
  expect(guests.length).toBeGreaterThan(1);
});

for (const name of guests) {
  test(`${name} was built from the source beside it: node test/guests/build.mjs ${name}`, () => {
    const read = (path: string): Buffer => readFileSync(join(FOLDER, name, path));
    const recorded = JSON.parse(read("component.json").toString()) as { sources: string; source: string; wasm: string };
    expect(sha256(Buffer.concat(recorded.sources.split(" ").map(read)))).toBe(recorded.source);
    const packed = read("component.wasm.gz");
    expect(sha256(gunzipSync(packed))).toBe(recorded.wasm);
    expect(packed.byteLength).toBeLessThan(64 * 1024);
  });
}
