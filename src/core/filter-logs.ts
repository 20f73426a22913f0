import type { Clock } from "./clock.ts";
import { FILTER_LOG_LIMITS } from "./limits.ts";

/** As proxy-wasm counts them, 0 to 5; guests of the other ABIs have some of these. */
export const FILTER_LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "critical"] as const;
export type FilterLogLevel = (typeof FILTER_LOG_LEVELS)[number];

/** What a filter said: text of a guest, which may be anything. Plain data: it passes pipes and NATS. */
export interface FilterLogLine {
  /** Wall clock. */
  readonly timeMs: number;
  readonly filter: string;
  readonly level: FilterLogLevel;
  /** Cut at `FILTER_LOG_LIMITS.lineBytes`, then it ends with `…`. */
  readonly message: string;
  /** Of the exchange that it was said in; absent: in none (the start, a tick). */
  readonly requestId?: string;
  /** The process that it was said in; absent: the proxy is one process. */
  readonly worker?: number;
  /** Lines of this filter before this one that were more than its budget allows; absent: none. */
  readonly dropped?: number;
}

export interface FilterLogQuery {
  /** `namespace/name` */
  readonly filter: string;
  /** The cursor of the last page. Default: from the oldest line that is kept. One of another life of the proxy counts as none. */
  readonly after?: string;
  /** This level and those above. Default: all. */
  readonly level?: FilterLogLevel;
  /** Lines since then, wall clock. Default: all. */
  readonly sinceMs?: number;
  /** The last so many of them. Default: all. */
  readonly tail?: number;
}

/** As much as one answer holds, the oldest first. */
export interface FilterLogPage {
  /** Where the next page begins. */
  readonly cursor: string;
  readonly lines: readonly FilterLogLine[];
  /** There are more lines now. */
  readonly more: boolean;
  /** Lines behind the cursor of the query that are not kept any more. */
  readonly lost: number;
}

interface Kept {
  readonly line: FilterLogLine;
  readonly bytes: number;
}

/** The lines of one filter. They are numbered from 1; `first` is the number of the oldest one that is kept. */
interface Ring {
  readonly id: number;
  readonly lines: Kept[];
  first: number;
  bytes: number;
}

/** What a line takes besides its texts, roughly. */
const LINE_OVERHEAD_BYTES = 128;

/**
 * The last log lines of every filter, in bounded memory: who reads does so by a cursor, and costs nothing between. When all together are
 * too much, the filter that holds most loses its older half, so that one that chatters does not push out what others said.
 */
export class FilterLogs {
  /** The one that spoke last stands last. */
  readonly #rings = new Map<string, Ring>();
  #made = 0;
  #bytes = 0;
  /** Tells the cursors of this life from those of another. */
  readonly #life: number;

  /** Fetches what other processes of this proxy hold; by whom there are any. */
  refresh: () => Promise<unknown> = async () => {};

  constructor(readonly clock: Clock) {
    this.#life = Math.trunc(clock.wallMs());
  }

  /** `level` as in `FILTER_LOG_LEVELS`; others are the nearest. */
  add(filter: string, level: number, message: string, requestId: string | undefined, dropped: number): void {
    this.#keep({
      timeMs: this.clock.wallMs(),
      filter,
      level: FILTER_LOG_LEVELS[Math.max(0, Math.min(FILTER_LOG_LEVELS.length - 1, level))] ?? "info",
      message,
      ...(requestId === undefined ? {} : { requestId }),
      ...(dropped === 0 ? {} : { dropped }),
    });
  }

  /** Takes in what another process heard. */
  merge(lines: readonly FilterLogLine[], worker: number): void {
    for (const line of lines) this.#keep({ ...line, worker });
  }

  /** Hands all lines over and forgets them, the oldest first. */
  takeAll(): FilterLogLine[] {
    const lines = [...this.#rings.values()].flatMap((ring) => ring.lines.map(({ line }) => line));
    this.#rings.clear();
    this.#bytes = 0;
    return lines.sort((one, other) => one.timeMs - other.timeMs);
  }

  has(filter: string): boolean {
    return this.#rings.has(filter);
  }

  /** The newest lines of all processes. */
  async read(query: FilterLogQuery): Promise<FilterLogPage> {
    await this.refresh();
    return this.page(query);
  }

  /** Of what is here. */
  page({ filter, after, level = "trace", sinceMs = 0, tail }: FilterLogQuery): FilterLogPage {
    const ring = this.#rings.get(filter);
    if (ring === undefined) return { cursor: "", lines: [], more: false, lost: 0 };
    const seen = this.#numberIn(after, ring);
    const lost = Math.max(0, ring.first - 1 - seen);
    const least = FILTER_LOG_LEVELS.indexOf(level);
    let wanted: { readonly number: number; readonly line: FilterLogLine }[] = [];
    for (let i = Math.max(0, seen + 1 - ring.first); i < ring.lines.length; i++) {
      const { line } = ring.lines[i] as Kept;
      if (line.timeMs >= sinceMs && FILTER_LOG_LEVELS.indexOf(line.level) >= least) wanted.push({ number: ring.first + i, line });
    }
    if (tail !== undefined) wanted = tail === 0 ? [] : wanted.slice(-tail);
    const count = countThatFit(wanted.map(({ line }) => line));
    const more = count < wanted.length;
    const last = more ? (wanted[count - 1]?.number ?? seen) : ring.first + ring.lines.length - 1;
    const lines = wanted.slice(0, count).map(({ line }) => line);
    // Who asks for the first time has lost nothing.
    return { cursor: `${this.#life}.${ring.id}.${last}`, lines, more, lost: seen === 0 ? 0 : lost };
  }

  #numberIn(cursor: string | undefined, { id, first, lines }: Ring): number {
    const match = /^(\d{1,16})\.(\d{1,16})\.(\d{1,16})$/.exec(cursor ?? "");
    if (match === null || Number(match[1]) !== this.#life || Number(match[2]) !== id) return 0;
    return Math.min(Number(match[3]), first + lines.length - 1);
  }

  #keep(said: FilterLogLine): void {
    const message = cutUtf8(said.message, FILTER_LOG_LIMITS.lineBytes);
    const line = message === said.message ? said : { ...said, message };
    const bytes = Buffer.byteLength(message) + (line.requestId?.length ?? 0) + line.filter.length + LINE_OVERHEAD_BYTES;
    const ring = this.#ringOf(line.filter);
    ring.lines.push({ line, bytes });
    ring.bytes += bytes;
    this.#bytes += bytes;
    while (ring.lines.length > FILTER_LOG_LIMITS.lines || ring.bytes > FILTER_LOG_LIMITS.filterBytes) this.#forget(ring, 1);
    while (this.#bytes > FILTER_LOG_LIMITS.bytes) this.#forgetHalf();
  }

  #ringOf(filter: string): Ring {
    const ring = this.#rings.get(filter) ?? { id: ++this.#made, lines: [], first: 1, bytes: 0 };
    this.#rings.delete(filter);
    this.#rings.set(filter, ring);
    if (this.#rings.size > FILTER_LOG_LIMITS.filters) {
      const [[name, oldest] = []] = this.#rings;
      if (name !== undefined && oldest !== undefined) {
        this.#bytes -= oldest.bytes;
        this.#rings.delete(name);
      }
    }
    return ring;
  }

  #forget(ring: Ring, count: number): void {
    for (const { bytes } of ring.lines.splice(0, count)) {
      ring.bytes -= bytes;
      this.#bytes -= bytes;
    }
    ring.first += count;
  }

  #forgetHalf(): void {
    let largest: Ring | undefined;
    for (const ring of this.#rings.values()) if (ring.bytes > (largest?.bytes ?? 0)) largest = ring;
    if (largest !== undefined) this.#forget(largest, Math.ceil(largest.lines.length / 2));
  }
}

/** At least one, so that whoever asks goes on. */
function countThatFit(lines: readonly FilterLogLine[]): number {
  let bytes = 0;
  for (let i = 0; i < lines.length; i++) {
    bytes += Buffer.byteLength(JSON.stringify(lines[i])) + 1;
    if (bytes > FILTER_LOG_LIMITS.pageBytes && i > 0) return i;
  }
  return lines.length;
}

/** At most so many bytes of UTF-8, whole characters; `…` says that there was more. */
function cutUtf8(text: string, most: number): string {
  // A character of UTF-16 has three bytes of UTF-8 at most.
  if (text.length * 3 <= most || Buffer.byteLength(text) <= most) return text;
  const bytes = Buffer.from(text, "utf8");
  let end = most - Buffer.byteLength("…");
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return `${bytes.toString("utf8", 0, end)}…`;
}

/** A question from a network; undefined: it is none. */
export function readFilterLogQuery(value: unknown): FilterLogQuery | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { filter, after, level, sinceMs, tail } = value as Readonly<Record<string, unknown>>;
  if (typeof filter !== "string" || (after !== undefined && typeof after !== "string")) return undefined;
  if (level !== undefined && !isLevel(level)) return undefined;
  if (sinceMs !== undefined && !isWhole(sinceMs)) return undefined;
  if (tail !== undefined && !isWhole(tail)) return undefined;
  return {
    filter,
    ...(after === undefined ? {} : { after }),
    ...(level === undefined ? {} : { level }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(tail === undefined ? {} : { tail }),
  };
}

/** An answer from a network; undefined: it is none. Only what we know of is taken over. */
export function readFilterLogPage(value: unknown): FilterLogPage | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { cursor, lines, more, lost } = value as Readonly<Record<string, unknown>>;
  if (typeof cursor !== "string" || !Array.isArray(lines) || typeof more !== "boolean" || !isWhole(lost)) return undefined;
  const read = lines.map(readLine);
  return read.every((line) => line !== undefined) ? { cursor, lines: read, more, lost } : undefined;
}

function readLine(value: unknown): FilterLogLine | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { timeMs, filter, level, message, requestId, worker, dropped } = value as Readonly<Record<string, unknown>>;
  if (!isTime(timeMs) || typeof filter !== "string" || !isLevel(level) || typeof message !== "string") return undefined;
  return {
    ...{ timeMs, filter, level, message },
    ...(typeof requestId === "string" ? { requestId } : {}),
    ...(isWhole(worker) ? { worker } : {}),
    ...(isWhole(dropped) ? { dropped } : {}),
  };
}

const isLevel = (value: unknown): value is FilterLogLevel => (FILTER_LOG_LEVELS as readonly unknown[]).includes(value);
const isWhole = (value: unknown): value is number => typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
/** What a date can be. */
const isTime = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 8.64e15;
