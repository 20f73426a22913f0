/**
 * Fuel for WebAssembly: a module is rewritten when it is loaded, so that every function, loop and bulk operation pays for what
 * it does, and recursion pays for its depth. Pure: bytes in, bytes out, the same on every machine.
 *
 * What the host has to do:
 * 1. `WebAssembly.validate(wasm)` of the ORIGINAL must be true (or it was compiled), or what comes out is not to be used. The meter decodes
 *    what it needs and copies the rest; only an engine decides what is valid. Ask it behind the meter, whose bounds keep an engine's time short.
 * 2. Compile the result, instantiate it, and call `instance.exports[START_EXPORT]` when there is one: it is the module's start
 *    function, which the engine no longer calls by itself, so that there are exports to ask why it stopped. It and everything
 *    until the host sets the fuel is paid from `fuel`.
 * 3. `instance.exports[FUEL_EXPORT](n)` once per callback or exchange sets the fuel and answers what was left of it, in some 5 ns.
 * 4. After a trap: `classifyTrap` tells fuel, depth and the guest's own faults apart. Exhausted fuel stays negative, so every
 *    further check traps again. After a fault of the guest's own what is left may be too much: a loop that calls nothing keeps
 *    the counter in a local until it is left. Count all of it as used, and throw the instance away: its state is half-done.
 * 5. `DEPTH_EXPORT` needs no setting: every guarded function gives back what it took, and every recursion passes one. Only a
 *    JavaScript error that was thrown through the guest leaves it too low; then set it to `depth` again, or throw the instance
 *    away.
 * 6. Never throw into a guest: a guest with exceptions catches what a host function throws. It cannot catch exhaustion.
 */

import type { Bytes } from "../../core/bytes.ts";
import { DEFAULT_FILTER_BUDGET, METER_LIMITS } from "../../core/limits.ts";
import { DEPTH_EXPORT, FUEL_EXPORT } from "./meters.ts";
import { rewriteModule } from "./module.ts";

export { MeterError, type MeterProblem } from "./error.ts";
export {
  DEPTH_EXPORT,
  FUEL_EXPORT,
  isMeterExport,
  KEEP_EXPORT,
  KEPT_EXPORT,
  MEMORY_EXPORT,
  METER_EXPORTS,
  RESTORE_EXPORT,
  START_EXPORT,
  TOUCHED_EXPORT,
} from "./meters.ts";

/** Changes whenever the same module would be rewritten to other bytes: part of every key that rewritten modules are kept under. */
export const METER_VERSION = 5;

export interface MeterOptions {
  /** Fuel until the host sets it: start function and first calls. 0 to 2^31 - 1. */
  readonly fuel: number;
  /** Depth of calls, in slots of 8 bytes: a call takes 16, its parameters and locals, and its most operands; those without a guard are paid for by the guarded one above. Default 60,000. */
  readonly depth?: number;
  /** Largest memory, bytes, rounded down to pages of 64 KiB. A larger minimum is refused; `memory.grow` beyond answers -1. */
  readonly memoryBytes: number;
  /** Most elements of each table. A larger minimum is refused; `table.grow` beyond answers -1. */
  readonly tableElements: number;
  /** Segments that cost as much are charged for where they begin (default 32; 0: all of them, exact and slow). */
  readonly splitFuel?: number;
  /** Most that the dearest way through cheaper segments may add to the charge of another one (default 128; more, if that one costs more). */
  readonly foreignFuel?: number;
  /**
   * The module gets what a host needs to put an instance back into an earlier state: exports that keep its mutable globals, give them
   * back and show its memory, and a flag that is set wherever a table is written or a segment dropped. Default false: none of it.
   */
  readonly keeps?: boolean;
}

/** What was found and done. */
export interface MeterReport {
  /** Functions that the module defines, and how many of them have a depth guard. */
  readonly functions: number;
  readonly guardedFunctions: number;
  readonly instructions: number;
  /** The memory after the cut, imported or own, in pages of 64 KiB. Undefined: none. */
  readonly memory: { readonly minPages: number; readonly maxPages: number } | undefined;
  /** Custom sections left out because rewriting moved what they point to (debug information, branch hints). */
  readonly droppedSections: readonly string[];
  /** An imported function may be called through a table: every such call is charged as a call of the host. */
  readonly hostInTable: boolean;
}

export interface MeteredModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly report: MeterReport;
}

/** Nests some 2,000 calls of ordinary functions that call themselves, and leaves the host room on V8's stack of 984 KiB. */
export const DEFAULT_DEPTH = DEFAULT_FILTER_BUDGET.depthSlots;

/**
 * Rewrites a module that an engine has found valid, or will be asked about. Throws `MeterError` when it is malformed after all, uses a feature that is
 * not supported (shared memory, memory64, multi-memory, GC, components, unknown instructions) or exceeds a bound.
 */
export function meterModule(wasm: Bytes, options: MeterOptions): MeteredModule {
  const { splitFuel = 32, foreignFuel = 128, depth = DEFAULT_DEPTH, keeps = false } = options;
  return rewriteModule(wasm, {
    fuel: Math.min(options.fuel, METER_LIMITS.counter),
    depth: Math.min(depth, METER_LIMITS.counter),
    bounds: {
      memoryPages: Math.min(65_536, Math.floor(options.memoryBytes / 65_536)),
      tableElements: Math.min(options.tableElements, METER_LIMITS.tableElements),
    },
    splitFuel,
    foreignFuel,
    keeps,
  });
}

export type TrapKind = "fuel" | "depth" | "guest";

/** Sets a counter of an instance, answers what was in it. */
export type MeterSwap = (value: number) => number;

/**
 * After a trap: what ran out, or `guest` for a fault of the guest's own (`unreachable`, division by zero, a bad address). Fuel
 * comes first when both did.
 */
export function classifyTrap(exports: WebAssembly.Exports): TrapKind {
  if (peek(exports[FUEL_EXPORT] as MeterSwap) < 0) return "fuel";
  return peek(exports[DEPTH_EXPORT] as MeterSwap) < 0 ? "depth" : "guest";
}

function peek(swap: MeterSwap): number {
  const value = swap(0);
  swap(value);
  return value;
}
