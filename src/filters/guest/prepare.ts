import type { Bytes } from "../../core/bytes.ts";
import { CONFIG_LIMITS, type FilterBudget, PROXY_WASM_LIMITS } from "../../core/limits.ts";
import { METER_VERSION, MeterError, type MeteredModule, type MeterOptions, meterModule } from "../meter/index.ts";

const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/** All of a budget that goes into the rewritten bytes. */
export interface PrepareBounds {
  readonly fuel: number;
  readonly memoryBytes: number;
  /** With what it takes to put an instance back into an earlier state. */
  readonly keeps: boolean;
}

/** A module that is safe to run once it is compiled. */
export interface PreparedModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly facts: ModuleFacts;
}

/** What its host wants to know of it. */
export interface ModuleFacts {
  /** It defines functions. */
  readonly hasCode: boolean;
  /** It has a memory, its own or an imported one. */
  readonly hasMemory: boolean;
}

export const boundsOf = ({ startFuel, memoryBytes }: FilterBudget, keeps = false): PrepareBounds => ({
  fuel: startFuel,
  memoryBytes,
  keeps,
});

/** Names what comes out: everything that it depends on. `digest`: of the original. */
export function preparedKey(digest: string, { fuel, memoryBytes, keeps }: PrepareBounds): string {
  const bounds = `fuel ${fuel} memory ${memoryBytes} table ${PROXY_WASM_LIMITS.tableElements}`;
  return `${digest} meter ${METER_VERSION} ${bounds}${keeps ? " keeps" : ""}`;
}

/**
 * Makes a core module safe to run: what it does costs fuel, its calls nest so deep and no deeper, and the maxima of its memory
 * and tables are cut to the budget, so that the engine itself answers -1 to growth beyond it. Throws an `Error` that says what
 * is wrong. Blocks while it works (60 to 80 ms a megabyte on Bun, two thirds of it the engine's): `ModuleCompiler` finds the thread for it.
 */
export function prepareModule(wasm: Bytes, { fuel, memoryBytes, keeps }: PrepareBounds): PreparedModule {
  if (wasm.byteLength > CONFIG_LIMITS.moduleBytes)
    throw new Error(`the module is larger than ${CONFIG_LIMITS.moduleBytes} bytes`);
  if (HEADER.some((byte, i) => wasm[i] !== byte)) throw new Error("not a WebAssembly core module of version 1");
  const metered = tryMeter(wasm, { fuel, memoryBytes, tableElements: PROXY_WASM_LIMITS.tableElements, keeps });
  // Only an engine knows what is valid, and rewriting must not make an invalid module valid.
  if (!WebAssembly.validate(wasm as Uint8Array<ArrayBuffer>)) throw new Error(describeInvalid(wasm));
  if (metered instanceof Error) throw metered;
  const { bytes, report } = metered;
  return { bytes, facts: { hasCode: report.functions > 0, hasMemory: report.memory !== undefined } };
}

/** Throws for what is beyond a bound before an engine meets it, which would take long over it too. Of everything else the engine is asked first. */
function tryMeter(wasm: Bytes, options: MeterOptions): MeteredModule | Error {
  try {
    return meterModule(wasm, options);
  } catch (error) {
    if (!(error instanceof Error) || (error instanceof MeterError && error.problem === "limit")) throw error;
    return error;
  }
}

/** The engine says why only when it is to compile. */
function describeInvalid(wasm: Bytes): string {
  try {
    new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>);
    return "the module is not valid WebAssembly";
  } catch (error) {
    return `the module is not valid WebAssembly: ${(error as Error).message}`;
  }
}
