/** Longer values are not kept: looking at them would cost more than making them anew. */
const KEPT_BYTES_MAX = 128;
/** A power of two. */
const SLOTS = 256;

/**
 * Texts of header values. Peers send the same ones over and over (a browser its languages, an upstream its content type), so the
 * last ones are kept: a value whose bytes are here costs neither a text nor the collection of one. What is handed out is always the
 * text of exactly these bytes; where a value is kept depends on a few of them only, and a newcomer takes the place.
 */
export class TextCache {
  readonly #texts = new Array<string>(SLOTS).fill("");
  readonly #bytes = new DataView(new ArrayBuffer(SLOTS * KEPT_BYTES_MAX));
  readonly #lengths = new Uint8Array(SLOTS);

  /** `bytes[start, end)` as text, one character per byte. `view`: of the same bytes. */
  read(bytes: Buffer, view: DataView, start: number, end: number): string {
    const length = end - start;
    if (length === 0) return "";
    if (length > KEPT_BYTES_MAX) return bytes.latin1Slice(start, end);
    const slot = slotOf(bytes, start, end);
    if (this.#lengths[slot] === length && this.#holds(slot, view, start, length)) return this.#texts[slot] as string;
    return this.#keep(slot, bytes, start, end);
  }

  /** Four bytes at a time: a view may read them from anywhere. */
  #holds(slot: number, view: DataView, start: number, length: number): boolean {
    const kept = this.#bytes;
    const at = slot * KEPT_BYTES_MAX;
    let i = 0;
    for (; i + 4 <= length; i += 4) if (kept.getInt32(at + i, true) !== view.getInt32(start + i, true)) return false;
    for (; i < length; i++) if (kept.getUint8(at + i) !== view.getUint8(start + i)) return false;
    return true;
  }

  #keep(slot: number, bytes: Buffer, start: number, end: number): string {
    const text = bytes.latin1Slice(start, end);
    const kept = this.#bytes;
    const at = slot * KEPT_BYTES_MAX;
    for (let i = 0; i < end - start; i++) kept.setUint8(at + i, bytes[start + i] as number);
    this.#lengths[slot] = end - start;
    this.#texts[slot] = text;
    return text;
  }
}

/** Length and four bytes: enough to tell most values apart, and the seconds of two dates. */
function slotOf(bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  const first = bytes[start] as number;
  const middle = bytes[start + (length >> 1)] as number;
  const late = bytes[start + ((length * 3) >> 2)] as number;
  const last = bytes[end - 1] as number;
  return (length * 7 + first * 31 + middle * 13 + late * 5 + last * 3) & (SLOTS - 1);
}
