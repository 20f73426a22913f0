/**
 * Hosts in requests and in configuration. The codec hands over lower-case authorities without a trailing dot; the router does not
 * rely on it: a host that policy and routing see differently is a hole (CVE-2021-39155, CVE-2026-27588).
 */

/** The host of an authority as routes are keyed: lower case, without port and trailing dot; IPv6 literals keep their brackets. */
export function hostKey(authority: string): string {
  let end = authority.length;
  const colon = authority.lastIndexOf(":");
  if (colon >= 0 && authority.charCodeAt(end - 1) !== 0x5d /* ] */) end = colon;
  if (end > 1 && authority.charCodeAt(end - 1) === 0x2e /* . */) end--;
  const host = end === authority.length ? authority : authority.slice(0, end);
  for (let i = 0; i < host.length; i++) {
    const code = host.charCodeAt(i);
    if (code >= 0x41 && code <= 0x5a) return host.toLowerCase();
  }
  return host;
}

/** As `hostKey`, for a host in configuration. */
export const routeHostKey = (host: string): string =>
  host === "*" ? host : host.startsWith("*.") ? `*.${hostKey(host.slice(2))}` : hostKey(host);

/** Both are keys. */
export const hostCovers = (pattern: string, host: string): boolean =>
  pattern === "*" ||
  pattern === host ||
  (pattern.startsWith("*.") && host.length >= pattern.length && host.endsWith(pattern.slice(1)));

/** Which of a route's hosts an authority was served by: the exact one, else the longest that covers it; "": none. Slow: nobody asks for it on the way of a request. */
export function coveringHost(hosts: readonly string[], authority: string): string {
  const host = hostKey(authority);
  let best = "";
  for (const each of hosts.map(routeHostKey)) {
    if (each === host) return each;
    if (each.length > best.length && hostCovers(each, host)) best = each;
  }
  return best;
}

/**
 * Things by host: exact names, `*.suffix` (one label or more in front, as in Gateway API) and `*`. Lookups cost one hash per
 * suffix length in use, whatever the number of hosts and of dots in the question.
 */
export class HostMap<T> {
  readonly exact: Map<string, T>;
  /** By what stands behind `*.`. */
  readonly #wild: Map<string, T>;
  /** Suffix lengths in use, so that a host full of dots costs no more lookups than there are lengths. */
  readonly #wildLengths: Set<number>;
  #any: T | undefined;

  constructor(copyOf?: HostMap<T>) {
    this.exact = new Map(copyOf?.exact);
    this.#wild = new Map(copyOf === undefined ? [] : copyOf.#wild);
    this.#wildLengths = new Set(copyOf === undefined ? [] : copyOf.#wildLengths);
    this.#any = copyOf?.any;
  }

  /** What is kept under `*`. */
  get any(): T | undefined {
    return this.#any;
  }

  get hasWildcards(): boolean {
    return this.#wild.size > 0;
  }

  /** By the host as configured. */
  get(host: string): T | undefined {
    if (host === "*") return this.#any;
    if (host.startsWith("*.")) return this.#wild.get(hostKey(host.slice(2)));
    return this.exact.get(hostKey(host));
  }

  /** `undefined` takes it away. Only while a router is being built. */
  set(host: string, value: T | undefined): void {
    if (host === "*") {
      this.#any = value;
      return;
    }
    const wild = host.startsWith("*.");
    const map = wild ? this.#wild : this.exact;
    const key = hostKey(wild ? host.slice(2) : host);
    if (value === undefined) map.delete(key);
    else map.set(key, value);
    // A length that is no longer in use costs one lookup and is harmless.
    if (wild && value !== undefined) this.#wildLengths.add(key.length);
  }

  /**
   * The next wildcard of `host` (a `hostKey`), longest suffix first, from the dot at `from` on; -1: none. The answer is the index
   * of the suffix's first character, for `wildAt` and (as `from`) for the next question.
   */
  nextWild(host: string, from: number): number {
    // The label in front must not be empty.
    for (let dot = host.indexOf(".", Math.max(1, from)); dot >= 0; dot = host.indexOf(".", dot + 1)) {
      const length = host.length - dot - 1;
      if (this.#wildLengths.has(length) && this.#wild.has(host.slice(dot + 1))) return dot + 1;
    }
    return -1;
  }

  /** The value of the wildcard whose suffix starts at `at` in `host`. */
  wildAt(host: string, at: number): T | undefined {
    return this.#wild.get(host.slice(at));
  }

  /** Is there anything for this `hostKey`? */
  covers(host: string): boolean {
    return this.#any !== undefined || this.exact.has(host) || (this.hasWildcards && this.nextWild(host, 0) >= 0);
  }
}
