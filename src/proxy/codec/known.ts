/** Longer pieces are not kept: looking at them would cost more than reading them anew. */
const KEPT_BYTES_MAX = 192;
const SLOT_BITS = 9;
const SLOTS = 1 << SLOT_BITS;
const SLOT_SHIFT = 32 - SLOT_BITS;

/**
 * Pieces of heads that came before. Peers send the same ones over and over (a browser its languages, an upstream its content
 * type), so what was made of the last ones is kept in tables by slot, and a piece whose bytes are here costs neither the reading nor
 * a text nor the collection of one. A slot is found by a few of the bytes only and a newcomer takes it, but what `find` names holds
 * exactly the bytes asked for.
 */
export class KnownPieces {
  readonly #bytes = new DataView(new ArrayBuffer(SLOTS * KEPT_BYTES_MAX));
  readonly #lengths = new Uint8Array(SLOTS);

  /** The slot that holds `[start, end)` of `view`; -1: none does. Not for an empty piece. */
  find(view: DataView, start: number, end: number): number {
    const length = end - start;
    const slot = slotOf(view, start, end);
    if (this.#lengths[slot] !== length) return -1;
    const kept = this.#bytes;
    const at = slot * KEPT_BYTES_MAX;
    // Four bytes at a time: a view reads them from anywhere.
    let i = 0;
    for (; i + 4 <= length; i += 4) if (kept.getInt32(at + i, true) !== view.getInt32(start + i, true)) return -1;
    for (; i < length; i++) if (kept.getUint8(at + i) !== view.getUint8(start + i)) return -1;
    return slot;
  }

  /** Keeps a piece that `find` did not find; the slot it has from now on, or -1: it is too long. */
  keep(view: DataView, start: number, end: number): number {
    const length = end - start;
    const slot = length > KEPT_BYTES_MAX ? -1 : slotOf(view, start, end);
    if (slot >= 0) {
      const at = slot * KEPT_BYTES_MAX;
      for (let i = 0; i < length; i++) this.#bytes.setUint8(at + i, view.getUint8(start + i));
      this.#lengths[slot] = length;
    }
    return slot;
  }
}

/** By its front, middle and end. So all dates share one slot: of them only the last is wanted. */
function slotOf(view: DataView, start: number, end: number): number {
  const length = end - start;
  if (length < 8) return (view.getUint8(start) * 31 + view.getUint8(end - 1) * 7 + length) & (SLOTS - 1);
  const front = Math.imul(view.getInt32(start, true), 0x9e3779b1);
  const middle = Math.imul(view.getInt32(start + ((length - 4) >> 1), true), 0x85ebca6b);
  const back = Math.imul(view.getInt32(end - 4, true), 0xc2b2ae35);
  return ((front ^ middle ^ back) + length * 0x3d4d51cb) >>> SLOT_SHIFT;
}

/** Texts that came before. */
export class KnownTexts {
  readonly #pieces = new KnownPieces();
  readonly #texts = new Array<string>(SLOTS).fill("");

  /** `bytes[start, end)` as text, one character per byte. `view`: of the same bytes. */
  read(bytes: Buffer, view: DataView, start: number, end: number): string {
    const known = this.#pieces.find(view, start, end);
    if (known >= 0) return this.#texts[known] as string;
    const text = bytes.latin1Slice(start, end);
    const slot = this.#pieces.keep(view, start, end);
    if (slot >= 0) this.#texts[slot] = text;
    return text;
  }
}

/** Field lines that came before, as they were read. */
export class KnownLines {
  readonly #pieces = new KnownPieces();
  readonly #names = new Array<string>(SLOTS).fill("");
  readonly #values = new Array<string>(SLOTS).fill("");
  readonly #kinds = new Uint8Array(SLOTS);
  /** What `find` found. */
  name = "";
  value = "";
  kind = 0;

  find(view: DataView, start: number, end: number): boolean {
    const slot = this.#pieces.find(view, start, end);
    if (slot < 0) return false;
    this.name = this.#names[slot] as string;
    this.value = this.#values[slot] as string;
    this.kind = this.#kinds[slot] as number;
    return true;
  }

  keep(view: DataView, start: number, end: number, name: string, value: string, kind: number): void {
    const slot = this.#pieces.keep(view, start, end);
    if (slot < 0) return;
    this.#names[slot] = name;
    this.#values[slot] = value;
    this.#kinds[slot] = kind;
  }
}
