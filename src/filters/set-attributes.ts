import { type Bytes, latin1Text } from "../core/bytes.ts";
import { SET_ATTRIBUTE_LIMITS } from "../core/limits.ts";

const NOTE_PREFIX = "selvedge.log.";

/** What attributes that one filter set in one exchange or stream take: those that were replaced are not in it. */
export class AttributeShare {
  names = 0;
  bytes = 0;

  reset(): void {
    this.names = 0;
    this.bytes = 0;
  }

  /** Is there room when `names` and `bytes` are freed and one of `added` bytes comes? */
  fits(added: number, names: number, bytes: number): boolean {
    return this.names - names < SET_ATTRIBUTE_LIMITS.names && this.bytes - bytes + added <= SET_ATTRIBUTE_LIMITS.bytes;
  }
}

interface Entry {
  readonly value: Bytes;
  /** Of its name and its value. */
  readonly bytes: number;
  /** Who set it last. */
  readonly share: AttributeShare;
  /** NAME of `selvedge.log.NAME`; undefined: it is no note. */
  readonly note: string | undefined;
}

/** Attributes that filters set in one exchange or stream, bounded by what they hold: a stream may go on for days. */
export class SetAttributes {
  readonly #entries = new Map<string, Entry>();
  #notes = 0;

  get(path: readonly string[]): Bytes | undefined {
    return this.#entries.get(keyOf(path))?.value;
  }

  /** False: more than a filter may have; then what was there stays. `value` is kept. */
  set(share: AttributeShare, path: readonly string[], value: Bytes): boolean {
    const key = keyOf(path);
    const old = this.#entries.get(key);
    const bytes = key.length + value.byteLength;
    const isOwn = old?.share === share;
    if (!share.fits(bytes, isOwn ? 1 : 0, isOwn ? old.bytes : 0)) return false;
    if (old !== undefined) this.#free(key, old);
    const note = noteName(path);
    if (note !== undefined) this.#notes++;
    share.names++;
    share.bytes += bytes;
    this.#entries.set(key, { value, bytes, share, note });
    return true;
  }

  /** Texts under `selvedge.log.NAME`, of two with one name the later; undefined: none. */
  get notes(): ReadonlyMap<string, string> | undefined {
    if (this.#notes === 0) return undefined;
    const notes = new Map<string, string>();
    for (const { note, value } of this.#entries.values()) if (note !== undefined) notes.set(note, latin1Text(value));
    return notes;
  }

  #free(key: string, old: Entry): void {
    old.share.names--;
    old.share.bytes -= old.bytes;
    if (old.note !== undefined) this.#notes--;
    this.#entries.delete(key);
  }
}

function keyOf(path: readonly string[]): string {
  // Envoy keeps what a filter sets in the filter state under `wasm.` and finds it by either name.
  if (path.length === 2 && path[0] === "filter_state" && path[1]?.startsWith("wasm.")) return path[1].slice(5);
  return path.length === 1 ? (path[0] as string) : path.join("\0");
}

/** NAME of `selvedge.log.NAME`, as one element or three. */
function noteName(path: readonly string[]): string | undefined {
  const joined = path.length === 1 ? (path[0] as string) : path.join(".");
  return joined.startsWith(NOTE_PREFIX) ? joined.slice(NOTE_PREFIX.length) : undefined;
}
