import type { RequestHead } from "../../core/head.ts";
import { type Candidate, type CompiledRoute, compareConditions } from "./candidate.ts";
import { Chains } from "./chains.ts";
import { EdgeTable, FIRST, roll, SECOND, seedOf, THIRD } from "./edge-table.ts";
import { HostMap, hostKey } from "./host.ts";
import { HostTable } from "./host-table.ts";
import type { RouteMatch } from "./router.ts";
import { extractVariables, type TemplateSegment } from "./template.ts";
import type { MatchContext } from "./terms.ts";

const SLASH = 0x2f;

/** Where segments of the path in question end, and the hash up to there; shared by all indexes, which never wait in a match. */
let scratchEnds = new Int32Array(64);
let scratchHashes = new Int32Array(64);

/** Makes room for paths of this length in configuration; longer ones in requests are not looked at beyond it. */
function reserveScratch(length: number): void {
  if (scratchEnds.length > length) return;
  scratchEnds = new Int32Array(length + 1);
  scratchHashes = new Int32Array(length + 1);
}

/** Values of a host's record: two chains (see Chains) and its length bits. */
const REGEXES = 1;
/** Prefixes that are `/`. */
const ROOTS = 2;
const LENGTHS = 3;

/*
 * Two kinds of record are in the edge table; a value is a chain where nothing else is said.
 * - path (parent: its host): FIRST exact, SECOND prefix, THIRD the template node of templates that begin like this, or 0.
 * - template node (parent: the path or node in front; text: a literal segment; none when reached by THIRD): FIRST templates that end
 *   here, SECOND templates whose rest begins here, THIRD the node of a variable segment.
 * Both hosts and records of the edge table are parents: a host's offset is negated, so that the two do not meet.
 */

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
  #hosts: HostTable;
  #edges: EdgeTable;
  #chains: Chains;
  /** Records of hosts with a wildcard. */
  #wild: HostMap<number>;
  /** Of all paths. */
  #maxLength = 0;
  /** Candidates that are in it, by host, and those that were taken out since it was made. */
  #live = 0;
  #removed = 0;
  #lastAuthority = "";
  #lastKey = "";

  constructor(former?: MatchIndex, kept = false) {
    if (former === undefined) {
      this.#hosts = new HostTable();
      this.#edges = new EdgeTable();
      this.#chains = new Chains();
      this.#wild = new HostMap();
      return;
    }
    this.#hosts = kept ? former.#hosts : former.#hosts.copy();
    this.#edges = kept ? former.#edges : former.#edges.copy();
    this.#chains = new Chains(former.#chains, kept);
    this.#wild = former.#wild;
    this.#maxLength = former.#maxLength;
    this.#live = former.#live;
    this.#removed = former.#removed;
  }

  /** The same content, to be changed without harm to this one. */
  copy(): MatchIndex {
    return new MatchIndex(this);
  }

  /** The same content, only for `exchange`: both have the tables of where things are in common. */
  fork(): MatchIndex {
    return new MatchIndex(this, true);
  }

  /** So much was taken out that a new index is worth its price: what is empty stays in the way of requests. */
  get isWorn(): boolean {
    return this.#removed > 1_000 + this.#live;
  }

  // ---------------------------------------------------------------- changes

  /** Puts candidates in that belong to hosts as configured. Cheapest in the order of precedence backwards. */
  insert(host: string, candidate: Candidate): void {
    if (!canBeAsked(host, candidate)) return;
    const { words, at } = this.#place(this.#addHost(host), candidate);
    words[at] = this.#chains.insert(words[at] as number, candidate);
    this.#live++;
  }

  /** Takes out what was put in. */
  remove(host: string, candidate: Candidate): void {
    if (!canBeAsked(host, candidate)) return;
    const { words, at } = this.#place(this.#addHost(host), candidate);
    words[at] = this.#chains.remove(words[at] as number, candidate);
    this.#live--;
    this.#removed++;
  }

  /** Puts what asks the same into the place of what was put in. */
  exchange(host: string, before: Candidate, after: Candidate): void {
    if (!canBeAsked(host, before)) return;
    const { words, at } = this.#place(this.#addHost(host), before);
    this.#chains.exchange(words[at] as number, before, after);
  }

  #addHost(host: string): number {
    const wild = host === "*" || host.startsWith("*.");
    if (!wild) return this.#hosts.add(hostKey(host));
    const known = this.#wild.get(host);
    if (known !== undefined) return known;
    const record = this.#hosts.addBare();
    this.#wild = new HostMap(this.#wild);
    this.#wild.set(host, record);
    return record;
  }

  /** Where the chain with a candidate is, or would be; what leads there is made when it is not there yet. */
  #place(host: number, { kind, path, template }: Candidate): { readonly words: Int32Array; readonly at: number } {
    if (kind === "regex") return { words: this.#hosts.words, at: host + REGEXES };
    if (kind === "prefix" && path === "") return { words: this.#hosts.words, at: host + ROOTS };
    let at: number;
    if (template === undefined) at = this.#addPath(host, path, false) + (kind === "exact" ? FIRST : SECOND);
    else {
      const front = literalFront(template.segments);
      const first = this.#below(this.#addPath(host, front.path, true));
      const end = this.#addSegments(first, template.segments, front.count);
      at = end + (template.segments.at(-1)?.kind === "rest" ? SECOND : FIRST);
    }
    // Not before: it grows with what is made.
    return { words: this.#edges.words, at };
  }

  #addPath(host: number, path: string, hasTemplate: boolean): number {
    const record = this.#edges.add(-host, path);
    const bit = 1 << (path.length & LENGTH_MASK);
    const { words } = this.#hosts;
    words[host + LENGTHS] = (words[host + LENGTHS] as number) | bit | (hasTemplate ? bit << TEMPLATE_SHIFT : 0);
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

  // ---------------------------------------------------------------- matching

  /** The key of an authority with a port; the last one is kept, because cutting makes a new text each time. */
  #keyOf(authority: string): string {
    if (authority !== this.#lastAuthority) {
      this.#lastKey = hostKey(authority);
      this.#lastAuthority = authority;
    }
    return this.#lastKey;
  }

  /** The most specific match of the most specific host that has one. */
  match(head: RequestHead, context: MatchContext): RouteMatch | undefined {
    const { authority } = head;
    // Keys are bare hosts, so an authority that is a key needs no work: the usual case.
    let record = this.#hosts.find(authority);
    let host = authority;
    if (record === 0) {
      host = this.#keyOf(authority);
      if (host !== authority) record = this.#hosts.find(host);
    }
    let found = record === 0 ? undefined : this.#findInHost(record, head, context);
    if (found !== undefined) return found;
    const wild = this.#wild;
    if (wild.hasWildcards) {
      // Here `host` is a key in any case: a record was found under `authority` itself only if that is one.
      for (let at = wild.nextWild(host, 0); at >= 0; at = wild.nextWild(host, at)) {
        found = this.#findInHost(wild.wildAt(host, at) ?? 0, head, context);
        if (found !== undefined) return found;
      }
    }
    return wild.any === undefined ? undefined : this.#findInHost(wild.any, head, context);
  }

  #findInHost(host: number, head: RequestHead, context: MatchContext): RouteMatch | undefined {
    const edges = this.#edges;
    const { words } = edges;
    const hosts = this.#hosts.words;
    const { path } = head;
    const length = path.length;
    const longest = this.#maxLength;
    const bits = hosts[host + LENGTHS] as number;
    const ends = scratchEnds;
    const hashes = scratchHashes;
    const last = length > longest ? longest + 1 : length;
    let count = 0;
    let rolled = seedOf(-host);
    for (let end = 0; end < last; end++) {
      const code = path.charCodeAt(end);
      if (code === SLASH && (bits & (1 << (end & LENGTH_MASK))) !== 0) {
        ends[count] = end;
        hashes[count++] = rolled;
      }
      rolled = roll(rolled, code);
    }
    if (length <= longest && (bits & (1 << (length & LENGTH_MASK))) !== 0) {
      ends[count] = length;
      hashes[count++] = rolled;
    }
    const chains = this.#chains;
    let byPrefix = 0;
    while (--count >= 0) {
      const end = ends[count] as number;
      // Behind a prefix that holds only templates count.
      if (byPrefix !== 0 && (bits & (1 << (TEMPLATE_SHIFT + (end & LENGTH_MASK)))) === 0) continue;
      const record = edges.find(-host, hashes[count] as number, path, 0, end);
      if (record === 0) continue;
      if (end === length) {
        const found = chains.find(words[record + FIRST] as number, head, context);
        if (found !== 0) return chains.results[found];
      }
      const node = words[record + THIRD] as number;
      if (node !== 0) {
        const found = this.#findTemplate(node, end, head, context);
        if (found !== 0) return this.#withVariables(found, path);
      }
      if (byPrefix === 0) byPrefix = chains.find(words[record + SECOND] as number, head, context);
    }
    const regexes = hosts[host + REGEXES] as number;
    const byRegex = regexes === 0 ? 0 : chains.find(regexes, head, context);
    if (byRegex !== 0) return chains.results[byRegex];
    return chains.results[byPrefix !== 0 ? byPrefix : chains.find(hosts[host + ROOTS] as number, head, context)];
  }

  /** `at`: index of the slash before the next segment, or the path's length when all were taken. */
  #findTemplate(node: number, at: number, head: RequestHead, context: MatchContext): number {
    const edges = this.#edges;
    const { words } = edges;
    const { path } = head;
    if (at === path.length) {
      const found = this.#chains.find(words[node + FIRST] as number, head, context);
      if (found !== 0) return found;
    } else {
      let end = at + 1;
      let hash = seedOf(node);
      for (let code = 0; end < path.length; end++) {
        code = path.charCodeAt(end);
        if (code === SLASH) break;
        hash = roll(hash, code);
      }
      const child = edges.find(node, hash, path, at + 1, end);
      let found = child === 0 ? 0 : this.#findTemplate(child, end, head, context);
      if (found !== 0) return found;
      const variable = words[node + THIRD] as number;
      if (variable !== 0 && end > at + 1) found = this.#findTemplate(variable, end, head, context);
      if (found !== 0) return found;
    }
    return this.#chains.find(words[node + SECOND] as number, head, context);
  }

  #withVariables(link: number, path: string): RouteMatch | undefined {
    const result = this.#chains.results[link];
    const { variables } = this.#chains.termsOf(link);
    if (result === undefined || variables.length === 0) return result;
    const { route, rule, address } = result;
    return { route, rule, address, matchedPrefix: "", variables: extractVariables(variables, path) };
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
