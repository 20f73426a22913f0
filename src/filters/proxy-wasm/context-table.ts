import { ROOT_CONTEXT_ID } from "./abi.ts";
import type { StreamContext } from "./context.ts";

const FIRST_ID = ROOT_CONTEXT_ID + 1;
const LAST_ID = 0x7fff_ffff;
const FIRST_SLOTS = 64;

/**
 * The living contexts of an instance by id. Ids count on and come again only after two thousand million others, so that a
 * guest that kept an old one does not meet a stranger. An array and no map, because every exchange adds and removes one: an
 * id stands at its remainder, and ids whose place is taken are left out.
 */
export class ContextTable {
  #slots: (StreamContext | undefined)[] = new Array<StreamContext | undefined>(FIRST_SLOTS).fill(undefined);
  #mask = FIRST_SLOTS - 1;
  #size = 0;
  #nextId = FIRST_ID;

  /** How many live. */
  get size(): number {
    return this.#size;
  }

  /** Gives the context an id of its own and keeps it. */
  add(context: StreamContext): number {
    // At most half full, so that a free place is near.
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    let id = this.#nextId;
    while (this.#slots[id & this.#mask] !== undefined) id = id === LAST_ID ? FIRST_ID : id + 1;
    this.#nextId = id === LAST_ID ? FIRST_ID : id + 1;
    context.id = id;
    this.#slots[id & this.#mask] = context;
    this.#size++;
    return id;
  }

  get(id: number): StreamContext | undefined {
    const found = this.#slots[id & this.#mask];
    return found?.id === id ? found : undefined;
  }

  remove(context: StreamContext): void {
    const slot = context.id & this.#mask;
    if (this.#slots[slot] !== context) return;
    this.#slots[slot] = undefined;
    this.#size--;
  }

  values(): StreamContext[] {
    return this.#slots.filter((context) => context !== undefined);
  }

  #grow(): void {
    const kept = this.values();
    this.#slots = new Array<StreamContext | undefined>(this.#slots.length * 2).fill(undefined);
    this.#mask = this.#slots.length - 1;
    // Different before, so different among twice as many.
    for (const context of kept) this.#slots[context.id & this.#mask] = context;
  }
}
