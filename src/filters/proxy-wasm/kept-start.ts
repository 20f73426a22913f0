import { KEPT_START_LIMITS, METER_LIMITS } from "../../core/limits.ts";
import { GuestChance } from "../guest/chance.ts";
import { MemoryImage } from "../guest/memory-image.ts";
import { MetricHandles } from "../guest/metric-handles.ts";
import { KEEP_EXPORT, KEPT_EXPORT, type MeterSwap, RESTORE_EXPORT, TOUCHED_EXPORT } from "../meter/index.ts";
import type { GuestInstance } from "./instance.ts";

/** Numbers, and references that are null. */
type GlobalValue = number | bigint | null;

const PAGE_BYTES = 65_536;

/**
 * The state of an instance that was started and configured, for others of the same module and settings: a start that takes seconds
 * is run once. Nothing is kept of a start that did more than to change the instance, that wrote a table or dropped a segment, or whose
 * globals no host can carry over.
 */
export class KeptStart {
  readonly #chance: GuestChance;
  readonly #metrics: MetricHandles;
  readonly #tickMs: number;

  private constructor(
    readonly memory: MemoryImage,
    readonly globals: readonly GlobalValue[],
    guest: GuestInstance,
  ) {
    // Not the instance itself: its memory would stay.
    this.#chance = new GuestChance(guest.owner.grants);
    this.#chance.follow(guest.chance);
    this.#metrics = new MetricHandles(guest.metricHandles.isIsolated);
    this.#metrics.follow(guest.metricHandles);
    this.#tickMs = guest.tickMs;
  }

  /** Of an instance whose start is about to end; undefined: it cannot be kept. Not while it runs. */
  static of(guest: GuestInstance, exports: WebAssembly.Exports): KeptStart | undefined {
    if (guest.isBound || guest.chance.hasDrawn || guest.memory === undefined) return undefined;
    const touched = exports[TOUCHED_EXPORT] as WebAssembly.Global | undefined;
    if (touched === undefined || touched.value !== 0) return undefined;
    (exports[KEEP_EXPORT] as MeterSwap)(0);
    const globals = readGlobals(exports);
    if (globals === undefined) return undefined;
    const memory = MemoryImage.of(guest.memory.memory.buffer as ArrayBuffer);
    return memory.keptBytes > KEPT_START_LIMITS.bytes ? undefined : new KeptStart(memory, globals, guest);
  }

  /** Brings a new instance there, whose start was not run. Throws where its memory cannot be had. */
  give(guest: GuestInstance, exports: WebAssembly.Exports): void {
    const memory = guest.memory?.memory;
    if (memory === undefined) throw new Error("an instance without a memory");
    const firstBytes = memory.buffer.byteLength;
    if (this.memory.sizeBytes > firstBytes) memory.grow((this.memory.sizeBytes - firstBytes) / PAGE_BYTES);
    this.memory.writeTo(new Uint8Array(memory.buffer), firstBytes);
    this.globals.forEach((value, i) => {
      (exports[`${KEPT_EXPORT}${i}`] as WebAssembly.Global).value = value;
    });
    (exports[RESTORE_EXPORT] as MeterSwap)(0);
    guest.chance.follow(this.#chance);
    guest.metricHandles.follow(this.#metrics);
    guest.setTick(this.#tickMs);
  }
}

/** Undefined: one of them is a vector, a reference to something of that instance, or a NaN, whose bits may get lost. */
function readGlobals(exports: WebAssembly.Exports): GlobalValue[] | undefined {
  const values: GlobalValue[] = [];
  for (let i = 0; i < METER_LIMITS.keptGlobals; i++) {
    const global = exports[`${KEPT_EXPORT}${i}`] as WebAssembly.Global | undefined;
    if (global === undefined) break;
    let value: unknown;
    try {
      value = global.value;
    } catch {
      return undefined;
    }
    const isKept = typeof value === "bigint" || value === null || (typeof value === "number" && !Number.isNaN(value));
    if (!isKept) return undefined;
    values.push(value as GlobalValue);
  }
  return values;
}
