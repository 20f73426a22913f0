import { expect, test } from "bun:test";
import { answering, PDK_ACTOR } from "../../test/kit/extism.ts";
import { detectAbi } from "./module-abi.ts";

const CORE = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const name = (text: string): number[] => [text.length, ...new TextEncoder().encode(text)];
const section = (id: number, body: readonly number[]): number[] => [id, body.length, ...body];
const detect = (...parts: readonly (readonly number[])[]) => detectAbi(Uint8Array.from([...CORE, ...parts.flat()]));
const EXTISM = [1, ...name("extism:host/env"), ...name("alloc"), 0, 0];

test("a module's imports say that it is a plug-in of Extism", () => {
  expect(detectAbi(PDK_ACTOR)).toBe("extism");
  expect(detectAbi(answering("{}"))).toBe("extism");
  expect(detect(section(0, name("custom")), section(2, EXTISM))).toBe("extism");
});

test("elsewhere the name says nothing", () => {
  expect(detect()).toBe("proxy-wasm");
  expect(detect(section(0, EXTISM), section(2, [1, ...name("env"), ...name("f"), 0, 0]))).toBe("proxy-wasm");
  expect(detect(section(2, [1, ...name("extism:host/envy"), ...name("f"), 0, 0]))).toBe("proxy-wasm");
});

test("sections that are cut off or lie about their size", () => {
  expect(detect([2])).toBe("proxy-wasm");
  expect(detect([2, 0xff, 0xff])).toBe("proxy-wasm");
  expect(detect([2, 0xff, 0xff, 0xff, 0xff, 0x0f, ...EXTISM])).toBe("extism");
  expect(detect([1, 0xff, 0xff, 0xff, 0xff, 0x0f], section(2, EXTISM))).toBe("proxy-wasm");
});

test("components, and what is no WebAssembly", () => {
  expect(detectAbi(Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00]))).toBe("component");
  expect(detectAbi(Uint8Array.from([0x00, 0x61, 0x73]))).toBeUndefined();
});
