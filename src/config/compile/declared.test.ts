import { expect, test } from "bun:test";
import { METADATA_BYTES, METADATA_SECTION } from "../module-summary.ts";
import { capabilities } from "../schema/capabilities.ts";
import type { FilterCapabilities } from "../snapshot.ts";
import { appendCustomSection } from "../wasm-sections.ts";
import { declaredCapabilities, missingGrants } from "./declared.ts";

const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const moduleThatSays = (text: string): Uint8Array => appendCustomSection(EMPTY, METADATA_SECTION, Buffer.from(text));

/** What a resource grants that says this, and nothing of `callouts` (names are resolved elsewhere). */
function grantsOf(written: object): FilterCapabilities {
  const {
    sharedData,
    rateLimit = false,
    clock = false,
    callouts,
    nats,
    headers,
    attributes,
    ...rest
  } = capabilities.parse(written);
  const all = { read: ["*"], write: ["*"] };
  const given = (names: { readonly read?: readonly string[] | undefined; readonly write?: readonly string[] | undefined }) => ({
    read: names.read ?? all.read,
    write: names.write ?? all.write,
  });
  return {
    ...rest,
    ...{ callouts: callouts.map(({ service }) => service), calloutLimits: {}, sharedData, rateLimit, clock },
    headers: { request: given(headers.request), response: given(headers.response) },
    attributes: given(attributes),
    nats: { publish: nats.publish, perSecond: 1, payloadBytes: 1 },
  };
}

function missing(declared: object, granted: object = {}): string[] {
  const read = declaredCapabilities(moduleThatSays(JSON.stringify({ capabilities: declared })));
  if (read === undefined) throw new Error("nothing was read");
  return missingGrants(read, grantsOf(granted)).map(({ path, write }) => `${path.join(".")}: ${write}`);
}

test("each capability that is declared and not granted is named with what to write; what is granted is not", () => {
  const cases: readonly (readonly [declared: object, write: string, granted: object])[] = [
    [{ random: true }, "random: true", { random: true }],
    [{ clock: true }, "clock: true", { clock: true }],
    [{ rateLimit: true }, "rateLimit: true", { rateLimit: true }],
    [{ sharedData: "carts" }, "sharedData: carts", { sharedData: "others" }],
    [{ callouts: ["prod/billing"] }, "callouts: [prod/billing]", { callouts: ["anything"] }],
    [{ nats: { publish: ["shop.a", "shop.b"] } }, "nats.publish: [shop.a, shop.b]", { nats: { publish: ["shop.b", "shop.a"] } }],
    [
      { headers: { request: { read: ["cookie"] } } },
      'headers.request.read: ["*", cookie]',
      { headers: { request: { read: ["cookie"] } } },
    ],
    [
      { headers: { request: { write: [":path"] } } },
      'headers.request.write: ["*", ":path"]',
      { headers: { request: { write: ["**"] } } },
    ],
    [
      { headers: { response: { write: ["**"] } } },
      'headers.response.write: ["*", "**"]',
      { headers: { response: { write: ["**"] } } },
    ],
    [
      { attributes: { write: ["selvedge.principal"] } },
      'attributes.write: ["*", selvedge.principal]',
      { attributes: { write: ["**"] } },
    ],
  ];
  for (const [declared, write, granted] of cases) {
    expect(missing(declared)).toEqual([write]);
    expect(missing(declared, granted)).toEqual([]);
  }
});

test("what every filter may is missing only where it was taken away, and the module says that it needs it", () => {
  const less = { log: false, metrics: false, respond: false, bodies: { request: "none", response: "read" } };
  expect(missing({ log: true, bodies: { request: "read", response: "write" } }, less)).toEqual([
    ...["log: true", "bodies.request: read", "bodies.response: write"],
  ]);
  expect(missing({}, less)).toEqual([]);
  expect(missing({ bodies: { request: "none" }, log: false }, less)).toEqual([]);
});

test("wildcards cover as the host decides: nothing that must be named, and no more than themselves", () => {
  const read = (...names: string[]) => ({ headers: { request: { read: names } } });
  const write = (...names: string[]) => ({ headers: { request: { write: names } } });
  expect(missing(read("accept", "x-shop-*"), read("*"))).toEqual([]);
  expect(missing(read("x-shop-id"), read("x-shop-*"))).toEqual([]);
  expect(missing(read("x-shop-*"), read("x-shop-id"))).toEqual(['headers.request.read: [x-shop-id, "x-shop-*"]']);
  expect(missing(read("*"), read("x-*"))).toEqual(['headers.request.read: ["x-*", "*"]']);
  expect(missing(write("x-forwarded-for"), write("*", "x-*"))).toEqual(['headers.request.write: ["*", "x-*", x-forwarded-for]']);
});

test("metadata of strangers: what cannot be read declares nothing, and nothing it says is written out at any length", () => {
  for (const text of [
    "",
    "{",
    "[]",
    "null",
    '{"capabilities":5}',
    '{"capabilities":{"rule":"world"}}',
    '{"capabilities":{"headers":{"request":{"read":["a b"]}}}}',
  ])
    expect(declaredCapabilities(moduleThatSays(text))).toBeUndefined();
  expect(declaredCapabilities(EMPTY)).toBeUndefined();
  const long = JSON.stringify({ capabilities: { random: true }, more: "x".repeat(METADATA_BYTES) });
  expect(declaredCapabilities(moduleThatSays(long))).toBeUndefined();
  const [hint = ""] = missing({ nats: { publish: Array.from({ length: 200 }, (_, i) => `shop.${"x".repeat(50)}.${i}`) } });
  expect(hint.length).toBeLessThan(450);
});
