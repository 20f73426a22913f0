import { type Bytes, EMPTY_BYTES } from "../../core/bytes.ts";
import { type FilterBudget, PROXY_WASM_LIMITS } from "../../core/limits.ts";
import { CAS_MISMATCH, INTERNAL_FAILURE, NOT_FOUND, OK } from "../proxy-wasm/abi.ts";
import type { Restorable } from "./isolation.ts";

export interface SharedEntry {
  readonly value: Bytes;
  /** Changes with every write; never 0. */
  readonly cas: number;
}

/** Who is told that a queue has a new item; the filter that registered it last. */
export interface QueueListener {
  /** It is running, maybe: it is to hear of what is due (`SharedQueue.takeDue`) later, in a turn of the loop of its own. */
  onItem(queue: SharedQueue): void;
}

/** Items in the order in which they came, and how many its listener has yet to hear of. */
export class SharedQueue {
  bytes = 0;
  #due = 0;

  constructor(
    readonly id: number,
    public listener: QueueListener,
    readonly items: Bytes[] = [],
  ) {}

  get isDue(): boolean {
    return this.#due > 0;
  }

  add(item: Bytes): void {
    this.items.push(item);
    this.bytes += item.byteLength;
    // Who takes items out meanwhile and puts others in may not have words pile up.
    if (this.#due < PROXY_WASM_LIMITS.queueItems) this.#due++;
    this.announce();
  }

  announce(): void {
    if (this.isDue) this.listener.onItem(this);
  }

  /** One item less to tell of. */
  takeDue(): void {
    this.#due--;
  }

  copy(): SharedQueue {
    const made = new SharedQueue(this.id, this.listener, this.items.slice());
    made.bytes = this.bytes;
    made.#due = this.#due;
    return made;
  }

  /** Nobody is to hear of it any more. */
  end(): void {
    this.#due = 0;
  }
}

/** What a namespace held when it was kept. */
interface KeptNamespace {
  /** By key that was written since: the entry that was there. An exchange writes a few, and all of them may be many. */
  readonly data: Map<string, SharedEntry | undefined>;
  readonly queues: ReadonlyMap<string, SharedQueue>;
  readonly bytes: number;
  readonly cas: number;
}

/**
 * Shared data and queues under one name: filters that are granted the same name share them. That of an isolated instance, which shares
 * nothing, is put back with it.
 */
export class SharedNamespace implements Restorable {
  readonly #data = new Map<string, SharedEntry>();
  #queues = new Map<string, SharedQueue>();
  #bytes = 0;
  #cas = 0;
  holders = 0;
  #kept: KeptNamespace | undefined;
  #isChanged = false;

  keep(): void {
    this.#kept = { data: new Map(), queues: copyQueues(this.#queues), bytes: this.#bytes, cas: this.#cas };
    this.#isChanged = false;
  }

  restore(): void {
    const kept = this.#kept;
    if (kept === undefined || !this.#isChanged) return;
    for (const [key, entry] of kept.data) {
      if (entry === undefined) this.#data.delete(key);
      else this.#data.set(key, entry);
    }
    kept.data.clear();
    for (const queue of this.#queues.values()) queue.end();
    this.#queues = copyQueues(kept.queues);
    this.#bytes = kept.bytes;
    this.#cas = kept.cas;
    this.#isChanged = false;
  }

  /** Tells again of all that somebody has yet to hear of. */
  announce(): void {
    for (const queue of this.#queues.values()) queue.announce();
  }

  get keys(): number {
    return this.#data.size;
  }
  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): SharedEntry | undefined {
    return this.#data.get(key);
  }

  /** `value` is kept: pass a copy. `cas` 0 writes whatever is there. Answers a status. */
  set(key: string, value: Bytes, cas: number, budget: FilterBudget): number {
    const old = this.#data.get(key);
    if (cas !== 0 && cas !== (old?.cas ?? 0)) return CAS_MISMATCH;
    const added = value.byteLength - (old === undefined ? -key.length : old.value.byteLength);
    if (old === undefined && this.#data.size >= budget.sharedDataKeys) return INTERNAL_FAILURE;
    if (added > 0 && this.#bytes + added > budget.sharedDataBytes) return INTERNAL_FAILURE;
    this.#note(key, old);
    this.#bytes += added;
    this.#cas = this.#cas >= 0xffff_ffff ? 1 : this.#cas + 1;
    this.#data.set(key, { value, cas: this.#cas });
    return OK;
  }

  /** Says whether there was such a key. */
  delete(key: string): boolean {
    const old = this.#data.get(key);
    if (old === undefined) return false;
    this.#note(key, old);
    this.#bytes -= key.length + old.value.byteLength;
    return this.#data.delete(key);
  }

  /** A key is about to be written. */
  #note(key: string, old: SharedEntry | undefined): void {
    this.#isChanged = true;
    const data = this.#kept?.data;
    if (data?.has(key) === false) data.set(key, old);
  }

  /** An existing queue is opened. -1: too many. */
  registerQueue(name: string, listener: QueueListener): number {
    this.#isChanged = true;
    const old = this.#queues.get(name);
    if (old !== undefined) {
      old.listener = listener;
      old.announce();
      return old.id;
    }
    if (this.#queues.size >= PROXY_WASM_LIMITS.queues) return -1;
    const queue = new SharedQueue(this.#queues.size + 1, listener);
    this.#queues.set(name, queue);
    return queue.id;
  }

  /** -1: no such queue. */
  resolveQueue(name: string): number {
    return this.#queues.get(name)?.id ?? -1;
  }

  /** `item` is kept: pass a copy. The listener hears of it in another turn of the loop. Answers a status. */
  enqueue(queueId: number, item: Bytes, budget: FilterBudget): number {
    const queue = this.#find(queueId);
    if (queue === undefined) return NOT_FOUND;
    if (queue.items.length >= PROXY_WASM_LIMITS.queueItems) return INTERNAL_FAILURE;
    if (this.#queuedBytes() + item.byteLength > budget.sharedDataBytes) return INTERNAL_FAILURE;
    this.#isChanged = true;
    queue.add(item);
    return OK;
  }

  /** In all queues: with many of them nobody may have many times as much. */
  #queuedBytes(): number {
    let bytes = 0;
    for (const queue of this.#queues.values()) bytes += queue.bytes;
    return bytes;
  }

  /** The first item; undefined: empty; null: no such queue. */
  dequeue(queueId: number): Bytes | undefined | null {
    const queue = this.#find(queueId);
    if (queue === undefined) return null;
    this.#isChanged = true;
    const item = queue.items.shift();
    queue.bytes -= (item ?? EMPTY_BYTES).byteLength;
    return item;
  }

  #find(queueId: number): SharedQueue | undefined {
    for (const queue of this.#queues.values()) if (queue.id === queueId) return queue;
    return undefined;
  }
}

function copyQueues(queues: ReadonlyMap<string, SharedQueue>): Map<string, SharedQueue> {
  return new Map([...queues].map(([name, queue]) => [name, queue.copy()]));
}

/**
 * Shared data and shared queues of one process. It outlives generations: a namespace lives as long as a loaded filter holds
 * it. Workers are processes, so each has its own: what must be exact across workers uses the counters in shared memory
 * (foreign function `selvedge.rate_limit`).
 */
export class SharedState {
  readonly #namespaces = new Map<string, SharedNamespace>();

  /** How many namespaces are held. */
  get size(): number {
    return this.#namespaces.size;
  }

  acquire(name: string): SharedNamespace {
    let namespace = this.#namespaces.get(name);
    if (namespace === undefined) {
      namespace = new SharedNamespace();
      this.#namespaces.set(name, namespace);
    }
    namespace.holders++;
    return namespace;
  }

  release(name: string): void {
    const namespace = this.#namespaces.get(name);
    if (namespace !== undefined && --namespace.holders === 0) this.#namespaces.delete(name);
  }
}
