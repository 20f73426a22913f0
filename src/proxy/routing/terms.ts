import type { RequestHead } from "../../core/head.ts";
import type { Candidate } from "./candidate.ts";
import { QueryView, type ValueCondition } from "./condition.ts";
import type { Pattern } from "./pattern.ts";
import type { TemplateVariable } from "./template.ts";

/** What one walk over an index carries; reused from request to request. */
export class MatchContext {
  readonly query = new QueryView();
  /** While it is set, nothing matches and the methods that would have are gathered here. */
  allow: Set<string> | undefined;
}

/** What a match asks besides literal paths. One object for all matches that ask the same, so that requests find it in the cache. */
export interface Terms {
  readonly methods: readonly string[];
  readonly headers: readonly ValueCondition[];
  readonly query: readonly ValueCondition[];
  readonly pattern: Pattern | undefined;
  /** What a template takes out of the path. */
  readonly variables: readonly TemplateVariable[];
}

const NOTHING: Terms = { methods: [], headers: [], query: [], pattern: undefined, variables: [] };

/** Terms by number; 0 asks for nothing. It only grows, so that an index and its copies share it. */
export class TermsPool {
  readonly list: Terms[] = [NOTHING];
  readonly #numbers = new Map<string, number>();

  /** The number of a candidate's terms. */
  add(candidate: Candidate): number {
    const { config, kind, template } = candidate;
    const variables = template?.variables ?? [];
    if (candidate.plain && kind !== "regex" && variables.length === 0) return 0;
    const regex = kind === "regex" ? config.path.value : undefined;
    const key = JSON.stringify([config.methods, config.headers, config.query, regex, variables]);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const { methods, headers, query, pattern } = candidate;
    const number = this.list.push({ methods, headers, query, pattern, variables }) - 1;
    this.#numbers.set(key, number);
    return number;
  }
}

/** While methods are gathered, the method is not asked; then nothing is accepted, so that the walk goes on. */
export function holdTerms(terms: Terms, head: RequestHead, context: MatchContext): boolean {
  if (context.allow !== undefined) return gatherMethods(terms, head, context, context.allow);
  const { methods } = terms;
  if (methods.length > 0 && !methods.includes(head.method)) return false;
  return holdValues(terms, head, context);
}

function holdValues(terms: Terms, head: RequestHead, context: MatchContext): boolean {
  const { headers, query, pattern } = terms;
  for (let i = 0; i < headers.length; i++) if (!(headers[i] as ValueCondition).holdsForHeaders(head.headers)) return false;
  for (let i = 0; i < query.length; i++) if (!(query[i] as ValueCondition).holdsForQuery(context.query)) return false;
  return pattern === undefined || pattern.test(head.path);
}

function gatherMethods(terms: Terms, head: RequestHead, context: MatchContext, allow: Set<string>): false {
  if (holdValues(terms, head, context)) for (const method of terms.methods) allow.add(method);
  return false;
}
