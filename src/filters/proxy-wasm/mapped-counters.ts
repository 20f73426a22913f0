import type { FilterMetrics } from "../contract.ts";
import type { GuestMemory } from "../guest/memory.ts";

interface Mapped {
  readonly id: number;
  readonly cell: number;
  /** What was added to the metric so far. */
  seen: number;
}

/** The high half of the largest whole number that a `number` holds exactly. */
const HIGH_MAX = 0x1f_ffff;

/** Counters that an instance keeps in its own memory: counting costs it an addition instead of a host call. */
export class MappedCounters {
  readonly #mapped: Mapped[] = [];

  /** The cell was checked to be inside; a memory never shrinks. False: too many. A counter mapped again moves. */
  add(memory: GuestMemory, id: number, cell: number, most: number): boolean {
    const at = this.#mapped.findIndex((mapped) => mapped.id === id);
    if (at < 0 && this.#mapped.length >= most) return false;
    const mapped = { id, cell, seen: readCell(memory, cell) };
    if (at < 0) this.#mapped.push(mapped);
    else this.#mapped[at] = mapped;
    return true;
  }

  /** Adds what the cells grew by. A cell that shrank or holds no sensible number counts from there on. */
  pull(memory: GuestMemory | undefined, metrics: FilterMetrics): void {
    if (memory === undefined || this.#mapped.length === 0) return;
    memory.refresh();
    for (const mapped of this.#mapped) pullCell(mapped, memory, metrics);
  }

  /** The same for one metric: who reads it pays for no more. */
  pullOne(id: number, memory: GuestMemory, metrics: FilterMetrics): void {
    const mapped = this.#mapped.find((each) => each.id === id);
    if (mapped !== undefined) pullCell(mapped, memory, metrics);
  }
}

function pullCell(mapped: Mapped, memory: GuestMemory, metrics: FilterMetrics): void {
  const value = readCell(memory, mapped.cell);
  if (value > mapped.seen) metrics.increment(mapped.id, value - mapped.seen);
  mapped.seen = value;
}

function readCell(memory: GuestMemory, cell: number): number {
  const high = memory.u32(cell + 4);
  return high > HIGH_MAX ? 0 : high * 0x1_0000_0000 + memory.u32(cell);
}
