import type { RequestHead } from "../../core/head.ts";
import { type Candidate, type CompiledRoute, compareConditions } from "./candidate.ts";
import { QueryView } from "./condition.ts";
import type { RouteMatch } from "./router.ts";
import { extractVariables, type Template, TemplateNode } from "./template.ts";

/** What one walk over the tables carries; reused from request to request. */
export class MatchContext {
  readonly query = new QueryView();
  /** While it is set, nothing matches and the methods that would have are gathered here. */
  allow: Set<string> | undefined;
}

/** Candidates in order, as a chain: one hop through memory where an array takes three. */
interface Link {
  readonly candidate: Candidate;
  readonly next: Link | undefined;
}

/** What hangs at one literal path of a host. */
interface PathEntry {
  exact: Link | undefined;
  prefix: Link | undefined;
  /** Templates whose literal segments in front are this path. */
  templates: TemplateNode<Link> | undefined;
}

/**
 * The matches of one host. Order: exact, then templates (segment by segment from the left: literal, variable, rest), then regexes,
 * then prefixes, longest first. Regexes go before prefixes because nearly every host has `/`, which would hide all of them.
 *
 * One hash holds exact paths, prefixes and the literal beginnings of templates, so that a match touches little memory: with ten
 * thousand routes that, not the work, is what it costs. The walk goes from the longest beginning of the path to the shortest; a
 * template with more literal segments in front ranks before one with fewer, so templates come in order.
 */
export class HostTable {
  readonly #paths = new Map<string, PathEntry>();
  /** Bit `n & 31` is set for every length `n` in `#paths`: a path full of slashes is not looked up at each of them. */
  #lengthBits = 0;
  #maxLength = 0;
  /** Lengths in use, exactly; only when some alias in the bits. */
  #lengths: Uint8Array | undefined;
  #hasTemplates = false;
  #regexes: Link | undefined;
  /** Prefixes that are `/`. */
  #roots: Link | undefined;

  /** `routes`: all that name this host, sorted by name. */
  constructor(readonly routes: readonly CompiledRoute[]) {
    const sorted = routes.flatMap((route) => route.candidates).sort(compareConditions);
    // From the last to the first, so that each goes in front of its chain.
    for (const candidate of sorted.reverse()) this.#insert(candidate);
    for (const path of this.#paths.keys()) {
      this.#lengthBits |= 1 << (path.length & 31);
      this.#maxLength = Math.max(this.#maxLength, path.length);
    }
    if (this.#maxLength > 31) {
      this.#lengths = new Uint8Array(this.#maxLength + 1);
      for (const path of this.#paths.keys()) this.#lengths[path.length] = 1;
    }
  }

  #insert(candidate: Candidate): void {
    const { template, kind, path } = candidate;
    if (template !== undefined) {
      this.#hasTemplates = true;
      const entry = this.#entry(literalFront(template));
      entry.templates ??= new TemplateNode<Link>();
      entry.templates.insert(template.segments.slice(literalCount(template)), (next) => ({ candidate, next }));
    } else if (kind === "regex") this.#regexes = { candidate, next: this.#regexes };
    else if (kind === "exact") {
      const entry = this.#entry(path);
      entry.exact = { candidate, next: entry.exact };
    } else if (path === "") this.#roots = { candidate, next: this.#roots };
    else {
      const entry = this.#entry(path);
      entry.prefix = { candidate, next: entry.prefix };
    }
  }

  #entry(path: string): PathEntry {
    let entry = this.#paths.get(path);
    if (entry === undefined) {
      entry = { exact: undefined, prefix: undefined, templates: undefined };
      this.#paths.set(path, entry);
    }
    return entry;
  }

  /** The most specific candidate that holds. */
  find(head: RequestHead, context: MatchContext): RouteMatch | undefined {
    const { path } = head;
    let byPrefix: Candidate | undefined;
    for (let end = Math.min(path.length, this.#maxLength); end >= 0; end--) {
      if ((this.#lengthBits & (1 << (end & 31))) === 0) continue;
      if (end < path.length && path.charCodeAt(end) !== 0x2f) continue;
      if (this.#lengths !== undefined && this.#lengths[end] === 0) continue;
      const entry = this.#paths.get(end === path.length ? path : path.slice(0, end));
      if (entry === undefined) continue;
      if (end === path.length && entry.exact !== undefined) {
        const found = firstHolding(entry.exact, head, context);
        if (found !== undefined) return found.result;
      }
      if (entry.templates !== undefined) {
        const found = findTemplate(entry.templates, end, head, context);
        if (found !== undefined) return withVariables(found, path);
      }
      if (byPrefix === undefined && entry.prefix !== undefined) {
        byPrefix = firstHolding(entry.prefix, head, context);
        // Shorter beginnings could only hold templates.
        if (byPrefix !== undefined && !this.#hasTemplates) break;
      }
    }
    const byRegex = this.#regexes === undefined ? undefined : findRegex(this.#regexes, head, context);
    return (byRegex ?? byPrefix ?? firstHolding(this.#roots, head, context))?.result;
  }
}

function findRegex(chain: Link, head: RequestHead, context: MatchContext): Candidate | undefined {
  for (let link: Link | undefined = chain; link !== undefined; link = link.next) {
    const { candidate } = link;
    if (holds(candidate, head, context) && candidate.pattern?.test(head.path) === true && accept(candidate, context))
      return candidate;
  }
  return undefined;
}

function literalCount(template: Template): number {
  const first = template.segments.findIndex((segment) => segment.kind !== "literal");
  return first < 0 ? template.segments.length : first;
}

/** `/users` of `/users/{id}`; "" of `/{id}`. */
function literalFront(template: Template): string {
  let front = "";
  for (const segment of template.segments) {
    if (segment.kind !== "literal") break;
    front += `/${segment.text}`;
  }
  return front;
}

function firstHolding(chain: Link | undefined, head: RequestHead, context: MatchContext): Candidate | undefined {
  for (let link = chain; link !== undefined; link = link.next) {
    const { candidate } = link;
    if (holds(candidate, head, context) && accept(candidate, context)) return candidate;
  }
  return undefined;
}

/** Everything but the path. While methods are gathered, the method is not asked. */
function holds(candidate: Candidate, head: RequestHead, context: MatchContext): boolean {
  if (candidate.plain) return true;
  const { methods, headers, query } = candidate;
  if (methods.length > 0 && context.allow === undefined && !methods.includes(head.method)) return false;
  for (let i = 0; i < headers.length; i++) if (!headers[i]?.holdsForHeaders(head.headers)) return false;
  for (let i = 0; i < query.length; i++) if (!query[i]?.holdsForQuery(context.query)) return false;
  return true;
}

/** The last word on a candidate that matched: false while methods are gathered, so that the walk goes on. */
function accept(candidate: Candidate, context: MatchContext): boolean {
  if (context.allow === undefined) return true;
  for (const method of candidate.methods) context.allow.add(method);
  return false;
}

/** `at`: index of the slash before the next segment, or the path's length when all were taken. */
function findTemplate(node: TemplateNode<Link>, at: number, head: RequestHead, context: MatchContext): Candidate | undefined {
  const { path } = head;
  if (at === path.length) return firstHolding(node.ends, head, context) ?? firstHolding(node.rests, head, context);
  let end = path.indexOf("/", at + 1);
  if (end < 0) end = path.length;
  const child = node.literals?.get(path.slice(at + 1, end));
  let found = child === undefined ? undefined : findTemplate(child, end, head, context);
  if (found === undefined && node.variable !== undefined && end > at + 1) found = findTemplate(node.variable, end, head, context);
  return found ?? firstHolding(node.rests, head, context);
}

function withVariables(candidate: Candidate, path: string): RouteMatch {
  const { route, rule, address } = candidate.result;
  if (candidate.template === undefined) return candidate.result;
  return { route, rule, address, matchedPrefix: "", variables: extractVariables(candidate.template, path) };
}
