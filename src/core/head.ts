/**
 * The ordered header block: what every protocol's codec produces and consumes, and what routing, policy, filters and
 * observability see. Duplicates, order and the bytes of values survive. Names are lower case. Values are latin1 strings:
 * one character is one byte on the wire, so nothing is lost or re-encoded.
 */
export class HeaderBlock {
  /** Lower-case names, parallel to `values`. Read freely; change only through the methods. */
  readonly names: string[];
  readonly values: string[];

  constructor(names: string[] = [], values: string[] = []) {
    this.names = names;
    this.values = values;
  }

  /** From pairs, for tests and configuration; names are lower-cased. */
  static from(pairs: Iterable<readonly [string, string]>): HeaderBlock {
    const block = new HeaderBlock();
    for (const [name, value] of pairs) block.add(name.toLowerCase(), value);
    return block;
  }

  get length(): number {
    return this.names.length;
  }

  /** The first value, or undefined. For decisions use `getAll`: policy must see every value. */
  get(name: string): string | undefined {
    const { names } = this;
    for (let i = 0; i < names.length; i++) if (names[i] === name) return this.values[i];
    return undefined;
  }

  /** Every value in order; empty when there is none. */
  getAll(name: string): string[] {
    const found: string[] = [];
    const { names } = this;
    for (let i = 0; i < names.length; i++) if (names[i] === name) found.push(this.values[i] as string);
    return found;
  }

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** How many fields have this name. */
  count(name: string): number {
    let count = 0;
    for (const each of this.names) if (each === name) count++;
    return count;
  }

  /** Appends a field behind all others. */
  add(name: string, value: string): void {
    this.names.push(name);
    this.values.push(value);
  }

  /** Replaces the first field of that name in place and removes the others; appends when there is none. */
  set(name: string, value: string): void {
    const at = this.names.indexOf(name);
    if (at < 0) {
      this.add(name, value);
      return;
    }
    this.values[at] = value;
    this.#removeFrom(name, at + 1);
  }

  /** Removes every field of that name; says whether there was one. */
  remove(name: string): boolean {
    const at = this.names.indexOf(name);
    if (at < 0) return false;
    this.#removeFrom(name, at);
    return true;
  }

  /** Removes the field at an index. */
  removeAt(index: number): void {
    this.names.splice(index, 1);
    this.values.splice(index, 1);
  }

  #removeFrom(name: string, start: number): void {
    const { names, values } = this;
    let kept = start;
    for (let i = start; i < names.length; i++) {
      if (names[i] === name) continue;
      names[kept] = names[i] as string;
      values[kept] = values[i] as string;
      kept++;
    }
    names.length = kept;
    values.length = kept;
  }

  copy(): HeaderBlock {
    return new HeaderBlock(this.names.slice(), this.values.slice());
  }

  /** `[name, value]` pairs, for logs, tests and everything off the hot path. */
  entries(): [string, string][] {
    return this.names.map((name, i) => [name, this.values[i] as string]);
  }
}

/** HTTP version of a message as `major * 10 + minor`. */
export type HttpVersion = 10 | 11 | 20;

/** What a downstream asks. `path` and `query` are what routing, policy, filters and upstream see: normalised once. */
export interface RequestHead {
  method: string;
  /** `http` or `https`: of the downstream connection (or of a trusted proxy in front of us). */
  scheme: string;
  /** Host and optional port, lower case, no trailing dot, as in `Host` or the absolute-form target. */
  authority: string;
  /** Normalised path, starting with `/`; or `*` for `OPTIONS *`; or "" for CONNECT. */
  path: string;
  /** Without the `?`; undefined when the target has no `?` (so that `/a?` survives as such). */
  query: string | undefined;
  version: HttpVersion;
  /** Protocol that the peer wants to switch to (`websocket`), lower case; undefined for an ordinary request. Codecs turn HTTP/1's `Connection: upgrade` into this. */
  upgrade: string | undefined;
  /** Without hop-by-hop fields (RFC 9110 §7.6.1) and without `host`: a codec removes them when it reads and adds its own when it writes. */
  headers: HeaderBlock;
}

/** What an upstream (or the proxy itself) answers. */
export interface ResponseHead {
  /** 100 to 999. */
  status: number;
  /** Reason phrase of HTTP/1; "" when there was none. */
  reason: string;
  version: HttpVersion;
  /** Protocol switched to, with status 101; asked for, with 426. */
  upgrade: string | undefined;
  /** Without hop-by-hop fields. */
  headers: HeaderBlock;
}

/** Path and query as one string, as it goes on the wire in origin form. */
export function targetOf(head: RequestHead): string {
  return head.query === undefined ? head.path : `${head.path}?${head.query}`;
}

/** Name of the host in an authority, without the port; the brackets of an IPv6 literal stay. */
export function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(":");
  if (colon < 0 || authority.charCodeAt(authority.length - 1) === 0x5d /* ] */) return authority;
  return authority.slice(0, colon);
}

/** Of a stream of bytes, which has no heads; nobody changes this one. */
export const NO_REQUEST: RequestHead = {
  ...{ method: "", scheme: "", authority: "", path: "", query: undefined, version: 11, upgrade: undefined },
  headers: new HeaderBlock(),
};
