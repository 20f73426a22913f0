import { COMPONENT_LIMITS } from "../../core/limits.ts";
import type { Restorable } from "../guest/isolation.ts";
import { Trap } from "./memory.ts";
import type { ResourceType } from "./types.ts";

/** Something of the host's behind a handle that remembers what was done with it. */
export abstract class HeldState {
  abstract forget(): void;
}

interface Handle {
  readonly resource: ResourceType;
  readonly rep: unknown;
  /** False: lent for one call. */
  readonly owned: boolean;
}

/** The handles of one component instance: small numbers, never 0, used again after they are dropped. */
export class HandleTable implements Restorable {
  #handles: (Handle | undefined)[] = [undefined];
  #free: number[] = [];
  #keptHandles: readonly (Handle | undefined)[] = [undefined];
  #keptFree: readonly number[] = [];

  keep(): void {
    this.#keptHandles = [...this.#handles];
    this.#keptFree = [...this.#free];
  }

  restore(): void {
    this.#handles = [...this.#keptHandles];
    this.#free = [...this.#keptFree];
    for (const handle of this.#handles) if (handle?.rep instanceof HeldState) handle.rep.forget();
  }

  get size(): number {
    return this.#handles.length - 1 - this.#free.length;
  }

  add(resource: ResourceType, rep: unknown, owned: boolean): number {
    const free = this.#free.pop();
    if (free !== undefined) {
      this.#handles[free] = { resource, rep, owned };
      return free;
    }
    if (this.#handles.length > COMPONENT_LIMITS.handles) throw new Trap(`more than ${COMPONENT_LIMITS.handles} handles`);
    return this.#handles.push({ resource, rep, owned }) - 1;
  }

  /** What a handle stands for. Throws a `Trap` when it is none of that type. */
  get(index: number, resource: ResourceType): unknown {
    return this.#find(index, resource).rep;
  }

  /** Takes an owned handle out of the table. Throws a `Trap` when it is only lent. */
  takeOwned(index: number, resource: ResourceType): unknown {
    const handle = this.#find(index, resource);
    if (!handle.owned) throw new Trap("a handle that is only lent is given away");
    this.#release(index);
    return handle.rep;
  }

  /** Takes a handle out; answers it. */
  drop(index: number, resource: ResourceType): Handle {
    const handle = this.#find(index, resource);
    this.#release(index);
    return handle;
  }

  #find(index: number, resource: ResourceType): Handle {
    const handle = this.#handles[index];
    if (handle === undefined) throw new Trap("a handle that does not exist");
    if (handle.resource !== resource) throw new Trap("a handle of another type");
    return handle;
  }

  #release(index: number): void {
    this.#handles[index] = undefined;
    this.#free.push(index);
  }
}
