import type { FilterLogLevel, FilterLogLine } from "../../core/filter-logs.ts";
import type { LogSource } from "./log-source.ts";

/** Proxies that are asked at the same time. */
const PARALLEL = 16;
/** Answers of one proxy in one round. What it keeps of a filter fits half of them, however it is escaped: more is a proxy that lies, or one that says more while it is read. */
const PAGES_MAX = 16;

export interface ReadOptions {
  readonly filter: string;
  readonly level: FilterLogLevel | undefined;
  readonly sinceMs: number | undefined;
  /** Of each proxy's lines only the last so many, the first time. */
  readonly tail: number | undefined;
}

/** A line and where it was said. */
export interface SaidLine extends FilterLogLine {
  readonly proxy: string;
}

/** What one look at all proxies brought. */
export interface Round {
  /** By time. */
  readonly lines: readonly SaidLine[];
  /** Lines that were gone before they were read, by proxy. */
  readonly lost: ReadonlyMap<string, number>;
  /** Who does not answer. */
  readonly silent: readonly string[];
}

/** Reads what a filter says in several proxies, each line once. Holds a cursor for each of them and nothing else. */
export class LogReader {
  readonly #cursors = new Map<string, string>();

  constructor(
    readonly source: LogSource,
    readonly options: ReadOptions,
  ) {}

  /** What is new since the last round. Those that are not among `proxies` any more are forgotten. */
  async read(proxies: readonly string[]): Promise<Round> {
    for (const id of this.#cursors.keys()) if (!proxies.includes(id)) this.#cursors.delete(id);
    const lines: SaidLine[] = [];
    const lost = new Map<string, number>();
    const silent: string[] = [];
    const waiting = [...proxies];
    const readNext = async (): Promise<void> => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        const read = await this.#readOne(id);
        if (read === undefined) silent.push(id);
        else {
          lines.push(...read.lines);
          if (read.lost > 0) lost.set(id, read.lost);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, waiting.length) }, readNext));
    lines.sort((one, other) => one.timeMs - other.timeMs);
    return { lines, lost, silent };
  }

  /** All that one proxy has now: at most what it keeps. */
  async #readOne(proxy: string): Promise<{ readonly lines: SaidLine[]; readonly lost: number } | undefined> {
    const { filter, level, sinceMs, tail } = this.options;
    const lines: SaidLine[] = [];
    let lost = 0;
    for (let pages = 1; ; pages++) {
      const after = this.#cursors.get(proxy);
      const answer = await this.source.read(proxy, {
        filter,
        ...(after === undefined ? {} : { after }),
        ...(level === undefined ? {} : { level }),
        ...(sinceMs === undefined ? {} : { sinceMs }),
        ...(after === undefined && tail !== undefined ? { tail } : {}),
      });
      if (!answer.ok) return undefined;
      const { page } = answer;
      this.#cursors.set(proxy, page.cursor);
      lines.push(...page.lines.map((line) => ({ proxy, ...line })));
      lost += page.lost;
      if (!page.more || pages === PAGES_MAX) return { lines, lost };
    }
  }
}
