import type { RequestHead } from "../../core/head.ts";
import { type Candidate, compareConditions } from "./candidate.ts";
import type { RouteMatch } from "./router.ts";
import { holdTerms, type MatchContext, type Terms, TermsPool } from "./terms.ts";

/**
 * Candidates of the same place in order of precedence, as linked lists of integers. A list is named by twice the number of its first
 * link, plus 1 when that asks for nothing but the place: then it answers without a look at anything else. 0: an empty list.
 */
export class Chains {
  /** What a link answers. */
  readonly results: (RouteMatch | undefined)[];
  /** Only for changes. */
  readonly #candidates: (Candidate | undefined)[];
  /** Per link: number of its terms, next link. */
  #links: Int32Array;
  readonly #pool: TermsPool;
  /** The pool's, one step nearer. */
  readonly #terms: readonly Terms[];

  /** `kept`: nothing will be inserted or removed, only exchanged. */
  constructor(copyOf?: Chains, kept = false) {
    this.results = copyOf === undefined ? [undefined] : copyOf.results.slice();
    this.#candidates = copyOf === undefined ? [undefined] : copyOf.#candidates.slice();
    this.#links = copyOf === undefined ? new Int32Array(64) : kept ? copyOf.#links : copyOf.#links.slice();
    this.#pool = copyOf === undefined ? new TermsPool() : copyOf.#pool;
    this.#terms = this.#pool.list;
  }

  /** The list with a candidate at its place. Cheapest when it goes in front. */
  insert(chain: number, candidate: Candidate): number {
    const link = this.results.push(candidate.result) - 1;
    this.#candidates.push(candidate);
    if (link * 2 >= this.#links.length) {
      const grown = new Int32Array(this.#links.length * 2);
      grown.set(this.#links);
      this.#links = grown;
    }
    let last = 0;
    let next = chain >> 1;
    for (; next !== 0; next = this.#next(next)) {
      if (compareConditions(this.#candidates[next] as Candidate, candidate) > 0) break;
      last = next;
    }
    this.#links[link * 2] = this.#pool.add(candidate);
    this.#links[link * 2 + 1] = next;
    if (last === 0) return this.#nameOf(link);
    this.#links[last * 2 + 1] = link;
    return chain;
  }

  /** The list without a candidate. */
  remove(chain: number, candidate: Candidate): number {
    let last = 0;
    let link = chain >> 1;
    for (; link !== 0 && this.#candidates[link] !== candidate; link = this.#next(link)) last = link;
    if (link === 0) return chain;
    const next = this.#next(link);
    this.#candidates[link] = undefined;
    this.results[link] = undefined;
    if (last === 0) return this.#nameOf(next);
    this.#links[last * 2 + 1] = next;
    return chain;
  }

  /** Puts a candidate that asks the same into the place of another. */
  exchange(chain: number, before: Candidate, after: Candidate): void {
    let link = chain >> 1;
    while (link !== 0 && this.#candidates[link] !== before) link = this.#next(link);
    if (link === 0) return;
    this.#candidates[link] = after;
    this.results[link] = after.result;
  }

  #next(link: number): number {
    return this.#links[link * 2 + 1] as number;
  }

  #nameOf(first: number): number {
    return first === 0 || this.#links[first * 2] !== 0 ? first * 2 : first * 2 + 1;
  }

  /** What the link asks. */
  termsOf(link: number): Terms {
    return this.#terms[this.#links[link * 2] as number] as Terms;
  }

  /** The first link that holds for a request; 0: none. */
  find(chain: number, head: RequestHead, context: MatchContext): number {
    if ((chain & 1) !== 0 && context.allow === undefined) return chain >> 1;
    let link = chain >> 1;
    while (link !== 0 && !holdTerms(this.termsOf(link), head, context)) link = this.#next(link);
    return link;
  }
}
