import { expect, test } from "bun:test";
import { sha256Digest } from "../../config/canonical.ts";
import { formatAnnouncement, parseAnnouncement, quoteSection } from "../../config/nats/manifest.ts";
import type { Manifest } from "../../config/sections.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { chooseInline, inlineBytesOf } from "./inline.ts";

const section = (length: number): [string, Uint8Array] => {
  const bytes = new TextEncoder().encode(`["${"x".repeat(length - 4)}"]`);
  return [sha256Digest(bytes), bytes];
};
const manifestOf = (digests: readonly string[]): Manifest => ({
  ...{ revision: 1, digest: sha256Digest(""), group: "gateway", modules: [], publishedAtMs: 0 },
  sections: Object.fromEntries(digests.map((digest, i) => [`routes-${i}`, digest])),
});

test("as much travels inside as the limit says, to the byte", () => {
  const [digest, bytes] = section(1_000);
  const needed = inlineBytesOf(digest, quoteSection(bytes));
  const sections = new Map([[digest, bytes]]);
  expect(chooseInline(sections, needed).bytes.size).toBe(1);
  expect(chooseInline(sections, needed - 1).bytes.size).toBe(0);
  expect(chooseInline(sections, -1).bytes.size).toBe(0);
  // Two quotes are escaped, two are around it all.
  const largest = section(CONFIG_LIMITS.inlineBytes - (needed - 1_000));
  expect(chooseInline(new Map([largest]), CONFIG_LIMITS.inlineBytes).bytes.size).toBe(1);
  const larger = section(CONFIG_LIMITS.inlineBytes - (needed - 1_000) + 1);
  expect(chooseInline(new Map([larger]), CONFIG_LIMITS.inlineBytes).bytes.size).toBe(0);
});

test("what is told to need so many bytes makes the text that much longer", () => {
  const sections = new Map([section(40), section(50), section(60)]);
  const manifest = manifestOf([...sections.keys()]);
  const { quoted } = chooseInline(sections, 10_000);
  const told = [...quoted].reduce((sum, [digest, text]) => sum + inlineBytesOf(digest, text), 0);
  const longer = formatAnnouncement(manifest, quoted).length - formatAnnouncement(manifest, new Map()).length;
  expect(longer).toBe(told + ',"inline":{}'.length - 1);
});

test("the smallest come first, in any order of what there is", () => {
  const [small, middle, large] = [section(100), section(1_000), section(5_000)];
  for (const all of [
    [large, small, middle],
    [middle, large, small],
  ])
    expect([...chooseInline(new Map(all), 2_000).bytes.keys()]).toEqual([small[0], middle[0]]);
});

test("an announcement is read as it was written; what was altered inside is left out, an unknown field is ignored", () => {
  const text = new TextEncoder().encode('[{"name":"\\u2028 \\" \u2028 ä 🐌"}]');
  const odd: [string, Uint8Array] = [sha256Digest(text), text];
  const sections = new Map([section(100), odd]);
  const manifest = manifestOf([...sections.keys()]);
  const written = formatAnnouncement(manifest, chooseInline(sections, 10_000).quoted);
  const read = (announcement: string) => parseAnnouncement(new TextEncoder().encode(announcement));
  expect(read(written).manifest).toEqual(manifest);
  expect([...read(written).inline].map(([digest, bytes]) => [digest, Buffer.from(bytes).toString()])).toEqual(
    [...chooseInline(sections, 10_000).bytes].map(([digest, bytes]) => [digest, Buffer.from(bytes).toString()]),
  );
  expect([...read(written.replace("xxx", "xyx")).inline.keys()]).toEqual([odd[0]]);
  expect(read(written.replace('"inline":{', '"inline":7,"other":{')).inline.size).toBe(0);
  expect(read(formatAnnouncement(manifest, new Map())).inline.size).toBe(0);
});
