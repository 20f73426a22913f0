/** Answers that are remembered, and the longest name of them: guests may ask for anything. */
const KNOWN_MAX = 256;
const KNOWN_CHARS = 64;

/**
 * Which names a filter was granted: exact ones, prefixes (`x-shop-*`), and `*` for all but those that must be named. Compiled
 * when it is loaded; a name that came before costs one look into a map.
 */
export class NameSet {
  readonly #names = new Set<string>();
  readonly #prefixes: string[] = [];
  readonly #hasAll: boolean;
  readonly #known = new Map<string, boolean>();

  private constructor(
    patterns: readonly string[],
    readonly mustBeNamed: (name: string) => boolean,
  ) {
    this.#hasAll = patterns.includes("*");
    for (const pattern of patterns) {
      if (pattern === "*") continue;
      if (pattern.endsWith("*")) this.#prefixes.push(pattern.slice(0, -1));
      else this.#names.add(pattern);
    }
  }

  /** Undefined: every name (`**`). `mustBeNamed`: names that no wildcard stands for. */
  static of(patterns: readonly string[], mustBeNamed: (name: string) => boolean): NameSet | undefined {
    return patterns.includes("**") ? undefined : new NameSet(patterns, mustBeNamed);
  }

  has(name: string): boolean {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const granted = this.#decide(name);
    if (this.#known.size < KNOWN_MAX && name.length <= KNOWN_CHARS) this.#known.set(name, granted);
    return granted;
  }

  #decide(name: string): boolean {
    if (this.#names.has(name)) return true;
    if (this.mustBeNamed(name)) return false;
    return this.#hasAll || this.#prefixes.some((prefix) => name.startsWith(prefix));
  }
}
