import type { Json } from "../../config/parse.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { err, ok, type Result } from "../../core/result.ts";
import type { StoredResource } from "../model/resource.ts";
import {
  type AppendConflict,
  applyEntry,
  type ConfigStore,
  EMPTY_STATE,
  type LogEntry,
  type NewLogEntry,
  type StoreState,
} from "./store.ts";

/** Where a memory store keeps itself between two runs: one text and the modules. */
export interface Persistence {
  /** Undefined: nothing was kept yet. */
  read(): Promise<string | undefined>;
  /** Resolves when it would survive a crash. */
  write(text: string): Promise<void>;
  readModule(digest: string): Promise<Uint8Array | undefined>;
  writeModule(digest: string, bytes: Uint8Array): Promise<void>;
  /** Digests of what was written. */
  listModules(): Promise<readonly string[]>;
}

interface Kept {
  readonly version: 1;
  readonly state: Omit<StoreState, "resources"> & {
    readonly resources: readonly { readonly key: string; readonly revision: number; readonly written: Json }[];
  };
  readonly log: readonly LogEntry[];
}

/** The store of a control plane without NATS: one process, one file. */
export class MemoryStore implements ConfigStore {
  readonly kind = "memory";
  #state: StoreState = EMPTY_STATE;
  #log: LogEntry[] = [];
  #onChange: () => void = () => {};
  #opened = false;
  readonly #modules = new Map<string, Uint8Array>();

  constructor(readonly persistence?: Persistence) {}

  /** Rejects with an `Error` when what was kept cannot be read: better no start than an empty configuration. */
  async open(): Promise<void> {
    if (this.#opened) return;
    this.#opened = true;
    const text = await this.persistence?.read();
    if (text === undefined) return;
    const kept = JSON.parse(text) as Kept;
    if (kept.version !== 1) throw new Error(`the kept configuration has version ${kept.version}, not 1`);
    const resources = new Map<string, StoredResource>(kept.state.resources.map((each) => [each.key, each]));
    this.#state = { ...kept.state, resources };
    this.#log = [...kept.log];
  }

  /** Its proxies live in this process: none has seen anything yet. */
  async startAbove(): Promise<void> {}

  async load(): Promise<StoreState> {
    return { ...this.#state, resources: new Map(this.#state.resources) };
  }

  async append(entry: NewLogEntry, expectedRevision: number): Promise<Result<number, AppendConflict>> {
    if (this.#state.revision !== expectedRevision) return err({ kind: "conflict" });
    const stored: LogEntry = { ...entry, revision: expectedRevision + 1, previous: expectedRevision };
    const resources = new Map(this.#state.resources);
    applyEntry(resources, stored);
    const { revision, digest, timeMs, inboxSequence } = stored;
    const state: StoreState = { revision, digest, timeMs, inboxSequence, resources };
    const log = [...this.#log, stored].slice(-CONFIG_LIMITS.history);
    const before = { state: this.#state, log: this.#log };
    // Taken before the write, so that a second append meanwhile conflicts.
    this.#state = state;
    this.#log = log;
    try {
      const kept: Kept = { version: 1, state: { ...state, resources: [...resources.values()] }, log };
      await this.persistence?.write(JSON.stringify(kept));
    } catch (error) {
      this.#state = before.state;
      this.#log = before.log;
      throw error;
    }
    this.#onChange();
    return ok(revision);
  }

  async readAfter(revision: number): Promise<readonly LogEntry[]> {
    return this.#log.filter((entry) => entry.revision > revision);
  }

  async history(): Promise<readonly LogEntry[]> {
    return this.#log.toReversed();
  }

  async watch(onChange: () => void): Promise<void> {
    this.#onChange = onChange;
  }

  async writeView(): Promise<void> {}

  async viewRevision(): Promise<number> {
    return this.#state.revision;
  }

  async putModule(digest: string, bytes: Uint8Array): Promise<void> {
    this.#modules.set(digest, bytes);
    await this.persistence?.writeModule(digest, bytes);
  }

  async getModule(digest: string): Promise<Uint8Array | undefined> {
    const known = this.#modules.get(digest) ?? (await this.persistence?.readModule(digest));
    if (known !== undefined) this.#modules.set(digest, known);
    return known;
  }

  async listModules(): Promise<readonly string[]> {
    return [...new Set([...this.#modules.keys(), ...((await this.persistence?.listModules()) ?? [])])].sort();
  }

  async close(): Promise<void> {
    this.#onChange = () => {};
  }
}
