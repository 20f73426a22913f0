/** Words in front of a host's text: length of the text, three values. */
const HEADER = 4;

const START = 0x811c9dc5 | 0;
const PRIME = 0x9e3779b1 | 0;

/** The host in question, four characters a word; shared by all tables, which never wait in a lookup. */
let packed = new Int32Array(64);

/** Packs a host and answers its hash; -1 when it holds characters above 0xff, which no host does. */
function pack(host: string): number {
  const { length } = host;
  const whole = length & ~3;
  let hash = START;
  let seen = 0;
  let at = 0;
  for (let i = 0; i < whole; i += 4) {
    const low = host.charCodeAt(i) | (host.charCodeAt(i + 2) << 16);
    const high = host.charCodeAt(i + 1) | (host.charCodeAt(i + 3) << 16);
    seen |= low | high;
    const word = low | (high << 8);
    packed[at++] = word;
    hash = Math.imul(hash ^ word, PRIME);
    hash ^= hash >>> 15;
  }
  let word = 0;
  for (let i = whole; i < length; i++) {
    const code = host.charCodeAt(i);
    seen |= code;
    word |= code << ((i - whole) * 8);
  }
  packed[at] = word;
  hash = Math.imul(hash ^ word, PRIME);
  return (seen & 0xff00ff00) !== 0 ? -1 : (hash ^ (hash >>> 15)) >>> 0;
}

/** A map from host names to records of three integers, laid out like EdgeTable; compares and hashes four characters at a time. */
export class HostTable {
  /** Open addressing, a power of two, at most half full. 0: free. */
  #slots = new Int32Array(16);
  /** Records, one behind the other. The first word is not used. */
  words: Int32Array = new Int32Array(64);
  #used = 1;
  #count = 0;
  #maxLength = 0;

  /** The same content, to be changed without harm to this one. */
  copy(): HostTable {
    const twin = new HostTable();
    twin.#slots = this.#slots.slice();
    twin.words = this.words.slice();
    twin.#used = this.#used;
    twin.#count = this.#count;
    twin.#maxLength = this.#maxLength;
    return twin;
  }

  /** The record's offset in `words`, or 0 when there is none. */
  find(host: string): number {
    const { length } = host;
    if (length > this.#maxLength) return 0;
    const hash = pack(host);
    return hash < 0 ? 0 : this.#findPacked(hash, length);
  }

  #findPacked(hash: number, length: number): number {
    const words = this.words;
    const slots = this.#slots;
    const mask = slots.length - 1;
    const count = (length + 3) >> 2;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const record = slots[at] as number;
      if (record === 0) return 0;
      if (words[record] !== length) continue;
      let i = 0;
      while (i < count && words[record + HEADER + i] === packed[i]) i++;
      if (i === count) return record;
    }
  }

  /** The record of a host, made when it is not there yet. The host is bytes, one a character. */
  add(host: string): number {
    const count = (host.length + 3) >> 2;
    if (packed.length <= count) packed = new Int32Array(count * 2);
    const known = this.find(host);
    if (known !== 0) return known;
    const hash = pack(host);
    const record = this.addBare(host.length, count);
    for (let i = 0; i < count; i++) this.words[record + HEADER + i] = packed[i] as number;
    this.#maxLength = Math.max(this.#maxLength, host.length);
    if (++this.#count * 2 > this.#slots.length) this.#grow();
    this.#occupy(record, hash);
    return record;
  }

  /** A record that nobody finds by its text. */
  addBare(length = 0, count = 0): number {
    const record = this.#used;
    this.#used = record + HEADER + count;
    if (this.#used > this.words.length) {
      const grown = new Int32Array(Math.max(this.words.length * 2, this.#used));
      grown.set(this.words);
      this.words = grown;
    }
    this.words[record] = length;
    return record;
  }

  #grow(): void {
    const records = this.#slots.filter((record) => record !== 0);
    this.#slots = new Int32Array(this.#slots.length * 2);
    for (const record of records) this.#occupy(record, this.#hashOf(record));
  }

  /** As `pack` computes it. */
  #hashOf(record: number): number {
    const length = this.words[record] as number;
    let hash = START;
    for (let i = 0; i <= length >> 2; i++) {
      const word = i * 4 < length ? (this.words[record + HEADER + i] as number) : 0;
      hash = Math.imul(hash ^ word, PRIME);
      hash ^= hash >>> 15;
    }
    return hash >>> 0;
  }

  #occupy(record: number, hash: number): void {
    const mask = this.#slots.length - 1;
    let at = hash & mask;
    while (this.#slots[at] !== 0) at = (at + 1) & mask;
    this.#slots[at] = record;
  }
}
