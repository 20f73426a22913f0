import { expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { CONFIG_LIMITS } from "../core/limits.ts";
import {
  badSignaturesOf,
  formatTrustedKey,
  readSigningKey,
  readTrustedKey,
  refuseUnsigned,
  signersOf,
  signModule,
} from "./module-signature.ts";
import { appendCustomSection, findCustomSection, readSections, removeCustomSections } from "./wasm-sections.ts";

const newKey = (): { pem: string; name: string } => {
  const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return { pem, name: formatTrustedKey(readSigningKey(pem).publicKey) };
};
const [ours, theirs] = [newKey(), newKey()];
/** A module with one custom section of 200 bytes. */
const MODULE = appendCustomSection(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0), "x", new Uint8Array(200).fill(7));

test("a signature stays a valid module, and says whose it is", () => {
  const signed = signModule(MODULE, ours.pem);
  expect(WebAssembly.validate(signed as Uint8Array<ArrayBuffer>)).toBe(true);
  expect(signersOf(signed)).toEqual([ours.name]);
  expect(refuseUnsigned(signed, [ours.name])).toBeUndefined();
  expect(refuseUnsigned(signed, [theirs.name])).toContain("not trusted");
  expect(refuseUnsigned(signed, [])).toContain("not trusted");
  expect(refuseUnsigned(MODULE, [ours.name])).toBe("it is not signed");
  expect(signModule(signed, ours.pem)).toEqual(signed);
});

test("several signers: one that is trusted is enough; each covers the same bytes", () => {
  const both = signModule(signModule(MODULE, ours.pem), theirs.pem);
  expect(signersOf(both)).toEqual([ours.name, theirs.name]);
  expect(refuseUnsigned(both, [ours.name])).toBeUndefined();
  expect(refuseUnsigned(both, [theirs.name])).toBeUndefined();
  expect(removeCustomSections(both, "selvedge.signature")).toEqual(MODULE);
});

test("no changed, added or missing byte goes unseen", () => {
  const signed = signModule(MODULE, ours.pem);
  for (let at = 0; at < signed.byteLength; at++) {
    const altered = signed.slice();
    altered[at] = (altered[at] ?? 0) ^ 1;
    expect([at, refuseUnsigned(altered, [ours.name])]).not.toEqual([at, undefined]);
  }
  for (let length = 0; length < signed.byteLength; length++)
    expect(refuseUnsigned(signed.slice(0, length), [ours.name])).toBeDefined();
  expect(refuseUnsigned(appendCustomSection(signed, "more", new Uint8Array(3)), [ours.name])).toBe(
    "there are bytes behind its signature",
  );
  expect(refuseUnsigned(Uint8Array.from([...signed, 0]), [ours.name])).toBe("there are bytes behind its signature");
  // Signatures do not move to other modules.
  const section = readSections(signed).at(-1);
  const other = appendCustomSection(MODULE.slice(0, 8), "selvedge.signature", section?.content ?? new Uint8Array());
  expect(refuseUnsigned(other, [ours.name])).toBe("it was altered after it was signed");
});

test("signatures are bounded in number, before any is verified", () => {
  const genuine = readSections(signModule(MODULE, ours.pem)).at(-1)?.content ?? new Uint8Array();
  const wrong = genuine.slice();
  wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
  let signed: Uint8Array = MODULE;
  for (let i = 1; i < CONFIG_LIMITS.signatures; i++) signed = appendCustomSection(signed, "selvedge.signature", wrong);
  signed = appendCustomSection(signed, "selvedge.signature", genuine);
  expect(refuseUnsigned(signed, [ours.name])).toBeUndefined();
  const more = appendCustomSection(signed, "selvedge.signature", genuine);
  expect(refuseUnsigned(more, [ours.name])).toBe("it has more than 16 signatures");
  expect(signersOf(more)).toEqual([]);
  expect(() => signModule(more, ours.pem)).toThrow("more than 16");
});

test("a signature that proves nothing is not called none: which key it names, and why", () => {
  const codes = (wasm: Uint8Array) => badSignaturesOf(wasm).map(({ code, key }) => [code, key]);
  const signed = signModule(MODULE, ours.pem);
  expect([codes(MODULE), codes(signed)]).toEqual([[], []]);
  const altered = signed.slice();
  altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
  expect(signersOf(altered)).toEqual([]);
  expect(codes(altered)).toEqual([["signature_mismatch", ours.name]]);
  const behind = appendCustomSection(signed, "other", new Uint8Array(3));
  expect(codes(behind)).toEqual([["signature_misplaced", ""]]);
  expect(refuseUnsigned(behind, [ours.name])).toBe("there are bytes behind its signature");
  const short = appendCustomSection(MODULE, "selvedge.signature", new Uint8Array(3));
  expect(codes(short)).toEqual([["signature_malformed", ""]]);
  expect(refuseUnsigned(short, [ours.name])).toBe("its signature is not of a form that is read here");
  expect(() => signModule(short, ours.pem)).toThrow("not of a form that is read here");
  const genuine = readSections(signed).at(-1)?.content ?? new Uint8Array();
  let many: Uint8Array = MODULE;
  for (let i = 0; i <= CONFIG_LIMITS.signatures; i++) many = appendCustomSection(many, "selvedge.signature", genuine);
  expect(codes(many)).toEqual([["too_many_signatures", ""]]);
});

test("keys are read strictly", () => {
  expect(readTrustedKey(ours.name)?.byteLength).toBe(32);
  for (const wrong of ["", "ed25519:", ours.name.slice(8), `${ours.name}=`, `${ours.name} `, ours.name.replace("ed25519", "rsa")])
    expect(readTrustedKey(wrong)).toBeUndefined();
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  expect(() => readSigningKey(rsa)).toThrow("not ed25519");
  expect(() => readSigningKey("nonsense")).toThrow();
});

test("sections are found and removed; what cannot be read ends the list", () => {
  expect(findCustomSection(MODULE, "x")?.byteLength).toBe(200);
  expect(findCustomSection(MODULE, "y")).toBeUndefined();
  expect(readSections(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 0xff, 0xff))).toEqual([]);
  expect(removeCustomSections(MODULE, "x")).toEqual(MODULE.slice(0, 8));
});
