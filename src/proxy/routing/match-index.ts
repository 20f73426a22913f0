import type { RequestHead } from "../../core/head.ts";
import { type Candidate, type CompiledRoute, compareConditions } from "./candidate.ts";
import { QueryView } from "./condition.ts";
import { EdgeTable, FIRST, roll, SECOND, seedOf, THIRD } from "./edge-table.ts";
import { HostMap, hostKey } from "./host.ts";
import type { RouteMatch } from "./router.ts";
import { extractVariables, type TemplateSegment } from "./template.ts";

/** What one walk over the tables carries; reused from request to request. */
export class MatchContext {
  readonly query = new QueryView();
  /** While it is set, nothing matches and the methods that would have are gathered here. */
  allow: Set<string> | undefined;
}

const SLASH = 0x2f;

/** Where segments of the path in question end, and the hash up to there; shared by all indexes, which never wait in a match. */
let ends = new Int32Array(64);
let hashes = new Int32Array(64);

/** Makes room for paths of this length in configuration; longer ones in requests are not looked at beyond it. */
function reserveScratch(length: number): void {
  if (ends.length > length) return;
  ends = new Int32Array(length + 1);
  hashes = new Int32Array(length + 1);
}

/** Candidates in order. Links are shared by an index and its copies and never change. */
interface Link {
  readonly candidate: Candidate;
  readonly next: Link | undefined;
}

/**
 * Four kinds of record are in the edge table; values that are chains are explained at `#chainAt`.
 * - host (parent: none; text: the host): FIRST regexes, SECOND prefixes `/`, THIRD length bits.
 * - path (parent: its host): FIRST exact, SECOND prefix, THIRD the template node of templates that begin like this, or 0.
 * - template node (parent: the path or node in front; text: a literal segment; none when reached by THIRD): FIRST templates that end
 *   here, SECOND templates whose rest begins here, THIRD the node of a variable segment.
 */
type Field = typeof FIRST | typeof SECOND;

/** Of a host: bits `length & 15` of all its paths, and 16 above of those that templates hang at. */
const LENGTH_MASK = 15;
const TEMPLATE_SHIFT = 16;

/**
 * The matches of all hosts that one class of gateways serves. Within a host the order is: exact, then templates (segment by segment
 * from the left: literal, variable, rest), then regexes, then prefixes, longest first. Regexes go before prefixes because nearly
 * every host has `/`, which would hide all of them.
 *
 * The hash is rolled over the path once and looked at where a segment ends; no string is cut out. The walk goes from the longest
 * beginning of the path to the shortest; a template with more literal segments in front ranks before one with fewer, so templates
 * come in order.
 */
export class MatchIndex {
  #edges = new EdgeTable();
  /** What answers at once: the first of a chain that asks for nothing but the path. */
  #results: (RouteMatch | undefined)[] = [undefined];
  #chains: (Link | undefined)[] = [undefined];
  /** Records of hosts with a wildcard. */
  #wild = new HostMap<number>();
  /** Of all paths. */
  #maxLength = 0;
  /** Candidates that are in it, by host, and those that were taken out since it was made. */
  #live = 0;
  #removed = 0;

  /** The same content, to be changed without harm to this one. */
  copy(): MatchIndex {
    const twin = new MatchIndex();
    twin.#edges = this.#edges.copy();
    twin.#results = this.#results.slice();
    twin.#chains = this.#chains.slice();
    twin.#wild = this.#wild;
    twin.#maxLength = this.#maxLength;
    twin.#live = this.#live;
    twin.#removed = this.#removed;
    return twin;
  }

  /** So much was taken out that a new index is worth its price: what is empty stays in the way of requests. */
  get isWorn(): boolean {
    return this.#removed > 1_000 + this.#live;
  }

  // ---------------------------------------------------------------- changes

  /** Puts candidates in that belong to hosts as configured. Cheapest in the order of precedence backwards. */
  insert(host: string, candidate: Candidate): void {
    if (!canBeAsked(host, candidate)) return;
    const record = this.#addHost(host);
    this.#change(record, candidate, true);
    this.#live++;
  }

  /** Takes out what was put in. */
  remove(host: string, candidate: Candidate): void {
    if (!canBeAsked(host, candidate)) return;
    const record = this.#addHost(host);
    this.#change(record, candidate, false);
    this.#live--;
    this.#removed++;
  }

  #addHost(host: string): number {
    const wild = host === "*" || host.startsWith("*.");
    if (!wild) return this.#edges.add(0, hostKey(host));
    const known = this.#wild.get(host);
    if (known !== undefined) return known;
    const record = this.#edges.addBare(0, "");
    this.#wild = new HostMap(this.#wild);
    this.#wild.set(host, record);
    return record;
  }

  #change(host: number, candidate: Candidate, isNew: boolean): void {
    const { kind, path, template } = candidate;
    if (kind === "regex") this.#changeChain(host, FIRST, candidate, isNew);
    else if (kind === "prefix" && path === "") this.#changeChain(host, SECOND, candidate, isNew);
    else if (template === undefined)
      this.#changeChain(this.#addPath(host, path, false), kind === "exact" ? FIRST : SECOND, candidate, isNew);
    else {
      const front = literalFront(template.segments);
      const first = this.#below(this.#addPath(host, front.path, true));
      const end = this.#addSegments(first, template.segments, front.count);
      this.#changeChain(end, template.segments.at(-1)?.kind === "rest" ? SECOND : FIRST, candidate, isNew);
    }
  }

  #addPath(host: number, path: string, hasTemplate: boolean): number {
    const record = this.#edges.add(host, path);
    const bit = 1 << (path.length & LENGTH_MASK);
    const { words } = this.#edges;
    words[host + THIRD] = (words[host + THIRD] as number) | bit | (hasTemplate ? bit << TEMPLATE_SHIFT : 0);
    if (path.length > this.#maxLength) this.#maxLength = path.length;
    reserveScratch(this.#maxLength);
    return record;
  }

  /** The node at THIRD: templates below a path, or what a variable leads to. */
  #below(record: number): number {
    const known = this.#edges.words[record + THIRD] as number;
    if (known !== 0) return known;
    const made = this.#edges.addBare(record, "");
    this.#edges.words[record + THIRD] = made;
    return made;
  }

  #addSegments(first: number, segments: readonly TemplateSegment[], from: number): number {
    let node = first;
    for (let i = from; i < segments.length; i++) {
      const segment = segments[i] as TemplateSegment;
      if (segment.kind === "rest") break;
      node = segment.kind === "variable" ? this.#below(node) : this.#edges.add(node, segment.text);
    }
    return node;
  }

  #changeChain(record: number, field: Field, candidate: Candidate, isNew: boolean): void {
    const { words } = this.#edges;
    const at = record + field;
    let value = words[at] as number;
    const before = this.#chains[value >> 1];
    const chain = isNew ? withLink(before, candidate) : withoutLink(before, candidate);
    if (value === 0) value = this.#chains.push(undefined) * 2 - 2;
    const plain = chain?.candidate.plain === true && chain.candidate.template === undefined && chain.candidate.kind !== "regex";
    this.#chains[value >> 1] = chain;
    this.#results[value >> 1] = plain ? chain.candidate.result : undefined;
    words[at] = plain ? value | 1 : value & ~1;
  }

  // ---------------------------------------------------------------- matching

  /** The most specific match of the most specific host that has one. `authority` as requests spell it; `host`: its `hostKey`. */
  match(head: RequestHead, context: MatchContext): RouteMatch | undefined {
    const { authority } = head;
    // Keys are bare hosts, so an authority that is a key needs no work: the usual case.
    let record = this.#findHost(authority);
    let host = authority;
    if (record === 0) {
      host = hostKey(authority);
      if (host !== authority) record = this.#findHost(host);
    }
    let found = record === 0 ? undefined : this.#findInHost(record, head, context);
    if (found !== undefined) return found;
    const wild = this.#wild;
    if (wild.hasWildcards) {
      // A record was found under `authority` itself only if that is a host already.
      for (let at = wild.nextWild(host, 0); at >= 0; at = wild.nextWild(host, at)) {
        found = this.#findInHost(wild.wildAt(host, at) ?? 0, head, context);
        if (found !== undefined) return found;
      }
    }
    return wild.any === undefined ? undefined : this.#findInHost(wild.any, head, context);
  }

  #findHost(host: string): number {
    let hash = seedOf(0);
    for (let i = 0; i < host.length; i++) hash = roll(hash, host.charCodeAt(i));
    return this.#edges.find(0, hash, host, 0, host.length);
  }

  #findInHost(host: number, head: RequestHead, context: MatchContext): RouteMatch | undefined {
    const edges = this.#edges;
    const { words } = edges;
    const { path } = head;
    const length = path.length;
    const last = Math.min(length, this.#maxLength);
    const bits = words[host + THIRD] as number;
    let count = 0;
    let rolled = seedOf(host);
    for (let end = 0; end <= last; end++) {
      const code = end === length ? SLASH : path.charCodeAt(end);
      if (code === SLASH && (bits & (1 << (end & LENGTH_MASK))) !== 0) {
        ends[count] = end;
        hashes[count++] = rolled;
      }
      rolled = roll(rolled, code);
    }
    let byPrefix: RouteMatch | undefined;
    while (--count >= 0) {
      const end = ends[count] as number;
      // Behind a prefix that holds only templates count.
      if (byPrefix !== undefined && (bits & (1 << (TEMPLATE_SHIFT + (end & LENGTH_MASK)))) === 0) continue;
      const record = edges.find(host, hashes[count] as number, path, 0, end);
      if (record === 0) continue;
      if (end === length) {
        const found = this.#firstHolding(words[record + FIRST] as number, head, context);
        if (found !== undefined) return found;
      }
      const node = words[record + THIRD] as number;
      if (node !== 0) {
        const found = this.#findTemplate(node, end, head, context);
        if (found !== undefined) return withVariables(found, path);
      }
      if (byPrefix === undefined) byPrefix = this.#firstHolding(words[record + SECOND] as number, head, context);
    }
    const regexes = words[host + FIRST] as number;
    const byRegex = regexes === 0 ? undefined : findRegex(this.#chains[regexes >> 1], head, context);
    return byRegex ?? byPrefix ?? this.#firstHolding(words[host + SECOND] as number, head, context);
  }

  /** `value`: twice the number of the chain; odd when its first candidate asks for nothing but the path. 0: no chain. */
  #firstHolding(value: number, head: RequestHead, context: MatchContext): RouteMatch | undefined {
    if (value === 0) return undefined;
    if ((value & 1) !== 0 && context.allow === undefined) return this.#results[value >> 1];
    return firstHolding(this.#chains[value >> 1], head, context)?.result;
  }

  /** `at`: index of the slash before the next segment, or the path's length when all were taken. */
  #findTemplate(node: number, at: number, head: RequestHead, context: MatchContext): Candidate | undefined {
    const edges = this.#edges;
    const { words } = edges;
    const { path } = head;
    const rests = words[node + SECOND] as number;
    if (at === path.length) {
      const found = firstHolding(this.#chains[(words[node + FIRST] as number) >> 1], head, context);
      return found ?? firstHolding(this.#chains[rests >> 1], head, context);
    }
    let end = at + 1;
    let hash = seedOf(node);
    for (let code = 0; end < path.length; end++) {
      code = path.charCodeAt(end);
      if (code === SLASH) break;
      hash = roll(hash, code);
    }
    const child = edges.find(node, hash, path, at + 1, end);
    let found = child === 0 ? undefined : this.#findTemplate(child, end, head, context);
    if (found !== undefined) return found;
    const variable = words[node + THIRD] as number;
    if (variable !== 0 && end > at + 1) found = this.#findTemplate(variable, end, head, context);
    return found ?? firstHolding(this.#chains[rests >> 1], head, context);
  }
}

/** An index of all candidates of `routes`, in any order of routes. */
export function indexRoutes(routes: readonly CompiledRoute[]): MatchIndex {
  const index = new MatchIndex();
  // From the last to the first, so that each goes in front of its chain.
  const sorted = routes.flatMap((route) => route.candidates).sort(compareConditions);
  for (const candidate of sorted.reverse()) for (const host of hostsOf(candidate)) index.insert(host, candidate);
  return index;
}

/** The hosts of a candidate's route, each once. */
export function hostsOf(candidate: Candidate): readonly string[] {
  const { hosts } = candidate.result.route;
  return hosts.length < 2 ? hosts : [...new Set(hosts)];
}

/** Requests are bytes: what is spelled with other characters (and was no path to begin with) never matches. */
function canBeAsked(host: string, { kind, path, template }: Candidate): boolean {
  if (!isBytes(host) || ((kind === "exact" || kind === "prefix") && !isBytes(path))) return false;
  return template === undefined || template.segments.every((segment) => segment.kind !== "literal" || isBytes(segment.text));
}

function isBytes(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}

// ---------------------------------------------------------------- chains

/** With a candidate at its place. */
function withLink(chain: Link | undefined, candidate: Candidate): Link {
  const before: Candidate[] = [];
  let next = chain;
  for (; next !== undefined && compareConditions(next.candidate, candidate) < 0; next = next.next) before.push(next.candidate);
  let link: Link = { candidate, next };
  for (let i = before.length - 1; i >= 0; i--) link = { candidate: before[i] as Candidate, next: link };
  return link;
}

function withoutLink(chain: Link | undefined, candidate: Candidate): Link | undefined {
  const before: Candidate[] = [];
  let link = chain;
  for (; link !== undefined && link.candidate !== candidate; link = link.next) before.push(link.candidate);
  let rest = link?.next;
  for (let i = before.length - 1; i >= 0; i--) rest = { candidate: before[i] as Candidate, next: rest };
  return rest;
}

function findRegex(chain: Link | undefined, head: RequestHead, context: MatchContext): RouteMatch | undefined {
  for (let link = chain; link !== undefined; link = link.next) {
    const { candidate } = link;
    if (holds(candidate, head, context) && candidate.pattern?.test(head.path) === true && accept(candidate, context))
      return candidate.result;
  }
  return undefined;
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

// ---------------------------------------------------------------- templates

/** The literal segments in front: `/users` and 1 of `/users/{id}`; "" and 0 of `/{id}`. */
function literalFront(segments: readonly TemplateSegment[]): { readonly path: string; readonly count: number } {
  let path = "";
  let count = 0;
  for (const segment of segments) {
    if (segment.kind !== "literal") break;
    path += `/${segment.text}`;
    count++;
  }
  return { path, count };
}

function withVariables(candidate: Candidate, path: string): RouteMatch {
  const { route, rule, address } = candidate.result;
  if (candidate.template === undefined) return candidate.result;
  return { route, rule, address, matchedPrefix: "", variables: extractVariables(candidate.template, path) };
}
