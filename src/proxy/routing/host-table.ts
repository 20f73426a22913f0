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

const SLASH = 0x2f;

/** FNV-1a over the characters. Collisions only cost a comparison; keys come from configuration alone. */
const HASH_START = 0x811c9dc5 | 0;
const HASH_PRIME = 0x01000193;

function hashOf(path: string): number {
  let hash = HASH_START;
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path.charCodeAt(i), HASH_PRIME);
  return hash;
}

/** Where segments of the path in question end, and the hash up to there; shared by all tables, which never wait in a match. */
let ends = new Int32Array(64);
let hashes = new Int32Array(64);

/** Makes room for paths of this length in configuration; longer ones in requests are not looked at beyond it. */
function reserveScratch(length: number): void {
  if (ends.length > length) return;
  ends = new Int32Array(length + 1);
  hashes = new Int32Array(length + 1);
}

/** Candidates in order, as a chain: one hop through memory where an array takes three. */
interface Link {
  readonly candidate: Candidate;
  readonly next: Link | undefined;
}

/** What hangs at one literal path of a host. */
interface PathEntry {
  readonly path: string;
  readonly hash: number;
  exact: Link | undefined;
  prefix: Link | undefined;
  /** Templates whose literal segments in front are this path. */
  templates: TemplateNode<Link> | undefined;
}

/**
 * The matches of one host. Order: exact, then templates (segment by segment from the left: literal, variable, rest), then regexes,
 * then prefixes, longest first. Regexes go before prefixes because nearly every host has `/`, which would hide all of them.
 *
 * One hash table holds exact paths, prefixes and the literal beginnings of templates, so that a match touches little memory: with
 * ten thousand routes that, not the work, is what it costs. The hash is rolled over the path once and looked at where a segment
 * ends; no string is cut out. The walk goes from the longest beginning of the path to the shortest; a template with more literal
 * segments in front ranks before one with fewer, so templates come in order.
 */
export class HostTable {
  /** Open addressing; a power of two, at most half full. */
  #slots: (PathEntry | undefined)[] = [];
  /** Bit `n & 31` is set for every length `n` in `#paths`: a path full of slashes is not looked up at each of them. */
  #lengthBits = 0;
  #maxLength = 0;
  #hasTemplates = false;
  #regexes: Link | undefined;
  /** Prefixes that are `/`. */
  #roots: Link | undefined;

  /** By path, only while the table is being built. */
  readonly #entries = new Map<string, PathEntry>();

  /** `routes`: all that name this host, sorted by name. */
  constructor(readonly routes: readonly CompiledRoute[]) {
    const sorted = routes.flatMap((route) => route.candidates).sort(compareConditions);
    // From the last to the first, so that each goes in front of its chain.
    for (const candidate of sorted.reverse()) this.#insert(candidate);
    this.#index();
  }

  /** Lays the entries out by hash. */
  #index(): void {
    const entries = [...this.#entries.values()];
    let size = 1;
    while (size < entries.length * 2) size *= 2;
    this.#slots = new Array<PathEntry | undefined>(size).fill(undefined);
    for (const entry of entries) {
      let slot = entry.hash & (size - 1);
      while (this.#slots[slot] !== undefined) slot = (slot + 1) & (size - 1);
      this.#slots[slot] = entry;
      this.#lengthBits |= 1 << (entry.path.length & 31);
      this.#maxLength = Math.max(this.#maxLength, entry.path.length);
    }
    this.#entries.clear();
    reserveScratch(this.#maxLength);
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
    let entry = this.#entries.get(path);
    if (entry === undefined) {
      entry = { path, hash: hashOf(path), exact: undefined, prefix: undefined, templates: undefined };
      this.#entries.set(path, entry);
    }
    return entry;
  }

  /** The entry for `path[0, end)`. */
  #find(path: string, end: number, hash: number): PathEntry | undefined {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot];
      if (entry === undefined) return undefined;
      if (entry.hash === hash && entry.path.length === end && path.startsWith(entry.path)) return entry;
    }
  }

  /** The most specific candidate that holds. */
  find(head: RequestHead, context: MatchContext): RouteMatch | undefined {
    const { path } = head;
    const length = path.length;
    const last = Math.min(length, this.#maxLength);
    const bits = this.#lengthBits;
    let count = 0;
    let rolled = HASH_START;
    for (let end = 0; end <= last; end++) {
      const code = end === length ? SLASH : path.charCodeAt(end);
      if (code === SLASH && (bits & (1 << (end & 31))) !== 0) {
        ends[count] = end;
        hashes[count++] = rolled;
      }
      rolled = Math.imul(rolled ^ code, HASH_PRIME);
    }
    let byPrefix: Candidate | undefined;
    while (--count >= 0) {
      const end = ends[count] as number;
      const entry = this.#find(path, end, hashes[count] as number);
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
