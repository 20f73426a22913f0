import { expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { buildKernel } from "../../../scripts/extism-kernel.ts";
import { KERNEL_BASE64 } from "./kernel-bytes.ts";

test("the kernel was made of its source: bun scripts/extism-kernel.ts", () => {
  expect(KERNEL_BASE64).toBe(Buffer.from(buildKernel()).toString("base64"));
});
