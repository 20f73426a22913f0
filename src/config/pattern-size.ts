/**
 * How many atoms (characters, classes, assertions) an expression has once its counted repetitions are written out: what an engine makes
 * of it before it can be asked how much that is, since it has to write them out first. Of what is no expression it is any number.
 */
export function writtenOut(expression: string): number {
  return new Atoms(expression).count();
}

/** `{3}`, `{3,}`, `{3,5}`: everything else in braces is what stands there. */
const REPETITION = /\{(\d{1,4})(?:,(\d{0,4}))?\}/sy;
/** A class, in which names of classes in brackets and escapes may stand; a bracket at its beginning does not end it. */
const CLASS = /\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]/sy;
/** What follows a backslash, as far as it is one atom. */
const ESCAPE = /\\(?:x\{[^}]*\}|[pP](?:\{[^}]*\}|.)|.)/sy;
const LITERALS = /\\Q(.*?)(?:\\E|$)/sy;
/** Flags, or the name of a group: the rest of it is like any other. */
const GROUP = /\((?:\?[^:>)]*[:>]?)?/sy;

class Atoms {
  #at = 0;
  /** Of the group at hand so far, of the groups around it, and of what a repetition would repeat. */
  #sum = 0;
  #last = 0;
  readonly #outer: number[] = [];

  constructor(readonly expression: string) {}

  count(): number {
    while (this.#at < this.expression.length) this.#step();
    return this.#outer.reduce((sum, each) => sum + each, this.#sum);
  }

  #step(): void {
    switch (this.expression[this.#at]) {
      case "(":
        this.#outer.push(this.#sum);
        this.#sum = this.#last = 0;
        this.#skip(GROUP);
        break;
      case ")":
        this.#close();
        break;
      case "{":
        this.#repeat();
        break;
      case "[":
        this.#skip(CLASS);
        this.#add(1);
        break;
      case "\\":
        this.#escape();
        break;
      case "*":
      case "+":
      case "?":
      case "|":
        this.#at++;
        break;
      default:
        this.#at++;
        this.#add(1);
    }
  }

  #add(atoms: number): void {
    this.#sum += atoms;
    this.#last = 1;
  }

  #close(): void {
    this.#at++;
    this.#last = this.#sum;
    this.#sum += this.#outer.pop() ?? 0;
  }

  #repeat(): void {
    const found = this.#skip(REPETITION);
    if (found === undefined) {
      this.#add(1);
      return;
    }
    const [, least = "0", most = ""] = found;
    const more = this.#last * (Math.max(1, Number(least), Number(most)) - 1);
    this.#sum += more;
    this.#last += more;
  }

  #escape(): void {
    const isQuoted = this.expression.startsWith("\\Q", this.#at);
    const found = this.#skip(isQuoted ? LITERALS : ESCAPE);
    this.#add(isQuoted ? (found?.[1]?.length ?? 0) : 1);
  }

  /** Steps over what stands here, over one character when that is something else. */
  #skip(what: RegExp): RegExpExecArray | undefined {
    what.lastIndex = this.#at;
    const found = what.exec(this.expression);
    this.#at += found === null ? 1 : found[0].length;
    return found ?? undefined;
  }
}
