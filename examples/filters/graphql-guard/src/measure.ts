/** How much a GraphQL document asks for: selections are read, everything else is passed over. */

export interface Limits {
  readonly maxDepth: number;
  readonly maxFields: number;
  readonly maxAliases: number;
  readonly introspection: boolean;
}

/** What of a document one selection set has: its own depth, and fragments with the depth at which they stand. */
interface Selection {
  depth: number;
  readonly spreads: { readonly name: string; readonly at: number }[];
}

const TOKEN = /"""(?:\\"""|[^])*?"""|"(?:[^"\\\n\r]|\\.)*"|#[^\n\r]*|\.\.\.|[A-Za-z_][A-Za-z0-9_]*|-?[0-9][0-9.eE+-]*|[!$&()=@[\]{|}:]|[\s,\uFEFF]+|[^]/g;
const SKIPPED = /^[\s,\uFEFF#]/;
const NAME = /^[A-Za-z_]/;

/** Why a document is refused; undefined: it is within the limits. Throws a `SyntaxError` for what is no GraphQL. */
export function measure(document: string, limits: Limits): string | undefined {
  const reader = new Reader(document, limits);
  const fragments = new Map<string, Selection>();
  const operations: Selection[] = [];
  while (!reader.isAtEnd) {
    const keyword = reader.next;
    if (keyword !== "{" && !/^(query|mutation|subscription|fragment)$/.test(keyword)) throw new SyntaxError("no operation");
    const name = keyword === "{" ? "" : reader.skipToSelection();
    const selection = reader.readSelection();
    if (keyword !== "fragment") operations.push(selection);
    else if (fragments.has(name)) throw new SyntaxError("a fragment stands twice");
    else fragments.set(name, selection);
  }
  if (reader.fields > limits.maxFields) return `it asks for more than ${limits.maxFields} fields`;
  if (reader.aliases > limits.maxAliases) return `it has more than ${limits.maxAliases} aliases`;
  if (reader.asksForSchema && !limits.introspection) return "the schema is not for you";
  const known = new Map<string, number>();
  for (const operation of operations)
    if (depthOf(operation, fragments, known) > limits.maxDepth) return `it is nested deeper than ${limits.maxDepth}`;
  return undefined;
}

/** Each fragment is looked at once, so that fragments in fragments cost what they are long. */
function depthOf(selection: Selection, fragments: ReadonlyMap<string, Selection>, known: Map<string, number>): number {
  let depth = selection.depth;
  for (const { name, at } of selection.spreads) {
    let inner = known.get(name);
    if (inner === undefined) {
      const fragment = fragments.get(name);
      if (fragment === undefined) throw new SyntaxError("a fragment is missing");
      // While it is looked at: one that comes back to itself has no depth.
      known.set(name, Number.POSITIVE_INFINITY);
      inner = depthOf(fragment, fragments, known);
      known.set(name, inner);
    }
    depth = Math.max(depth, at + inner);
  }
  return depth;
}

class Reader {
  readonly #tokens: readonly string[];
  #at = 0;
  fields = 0;
  aliases = 0;
  asksForSchema = false;

  constructor(
    document: string,
    readonly limits: Limits,
  ) {
    this.#tokens = (document.match(TOKEN) ?? []).filter((token) => !SKIPPED.test(token));
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#tokens.length;
  }

  get next(): string {
    const token = this.#tokens[this.#at];
    if (token === undefined) throw new SyntaxError("it ends too early");
    return token;
  }

  /** Passes over the head of an operation or fragment; answers its name. */
  skipToSelection(): string {
    this.#at++;
    const name = NAME.test(this.next) ? this.next : "";
    while (this.next !== "{") {
      if (this.next === "(") this.#skipBrackets();
      else this.#at++;
    }
    return name;
  }

  /** From `{` to its `}`. Not recursive: nobody brings the stack to its end. */
  readSelection(): Selection {
    const selection: Selection = { depth: 1, spreads: [] };
    let depth = 0;
    do {
      const token = this.next;
      if (token === "(") {
        this.#skipBrackets();
        continue;
      }
      this.#at++;
      if (token === "{") selection.depth = Math.max(selection.depth, ++depth);
      else if (token === "}") depth--;
      else if (token === "...") this.#readSpread(selection, depth);
      else if (token === "@") this.#at++;
      else if (token === ":") this.aliases++;
      else if (!NAME.test(token)) throw new SyntaxError("no field");
      else this.#countField(token);
    } while (depth > 0);
    return selection;
  }

  #countField(name: string): void {
    // An alias is no field: what it names comes after the colon.
    if (this.#tokens[this.#at] === ":") return;
    this.fields++;
    if (name === "__schema" || name === "__type") this.asksForSchema = true;
  }

  #readSpread(selection: Selection, depth: number): void {
    const name = this.next;
    if (name === "on") this.#at += 2;
    else if (NAME.test(name)) {
      this.#at++;
      selection.spreads.push({ name, at: depth - 1 });
    }
  }

  #skipBrackets(): void {
    let open = 0;
    do {
      if (/^[([{]$/.test(this.next)) open++;
      else if (/^[)\]}]$/.test(this.next)) open--;
      this.#at++;
    } while (open > 0);
  }
}
