import type { Bytes } from "../../core/bytes.ts";
import { CONFIG_LIMITS, type FilterBudget, PROXY_WASM_LIMITS } from "../../core/limits.ts";
import { meterModule } from "../meter/index.ts";

const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/**
 * Makes a core module safe to run: what it does costs fuel, its calls nest so deep and no deeper, and the maxima of its memory
 * and tables are cut to the budget, so that the engine itself answers -1 to growth beyond it. Throws an `Error` that says what
 * is wrong. Blocks while it works (about 20 ms a megabyte); `compilePrepared` lets the engine check in its own threads.
 */
export function prepareModule(wasm: Bytes, budget: FilterBudget): Uint8Array<ArrayBuffer> {
  checkForm(wasm);
  // Only an engine knows what is valid; rewriting must not make an invalid module valid.
  if (!WebAssembly.validate(wasm as Uint8Array<ArrayBuffer>)) throw new Error("the module is not valid WebAssembly");
  return meter(wasm, budget);
}

/** The same, compiled. Rejects with what the engine says of a module that is not valid. */
export async function compilePrepared(wasm: Bytes, budget: FilterBudget): Promise<WebAssembly.Module> {
  checkForm(wasm);
  await WebAssembly.compile(wasm as Uint8Array<ArrayBuffer>);
  return WebAssembly.compile(meter(wasm, budget));
}

function checkForm(wasm: Bytes): void {
  if (wasm.byteLength > CONFIG_LIMITS.moduleBytes)
    throw new Error(`the module is larger than ${CONFIG_LIMITS.moduleBytes} bytes`);
  if (HEADER.some((byte, i) => wasm[i] !== byte)) throw new Error("not a WebAssembly core module of version 1");
}

function meter(wasm: Bytes, budget: FilterBudget): Uint8Array<ArrayBuffer> {
  const { startFuel: fuel, memoryBytes } = budget;
  return meterModule(wasm, { fuel, memoryBytes, tableElements: PROXY_WASM_LIMITS.tableElements }).bytes;
}
