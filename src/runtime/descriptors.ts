import { readdirSync, readFileSync } from "node:fs";

/**
 * How many file descriptors this process may have open: the soft RLIMIT_NOFILE, as it is now (runtimes raise it at their start).
 * Undefined: no limit, or a system that does not tell (only Linux has /proc).
 */
export function readDescriptorLimit(): number | undefined {
  let text: string;
  try {
    text = readFileSync("/proc/self/limits", "latin1");
  } catch {
    return undefined;
  }
  const soft = /^Max open files\s+(\d+)\s/m.exec(text)?.[1];
  return soft === undefined ? undefined : Number(soft);
}

/** How many it has open; undefined: not known. */
function countDescriptors(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch (error) {
    // Not even one for the question.
    return (error as { readonly code?: string }).code === "EMFILE" ? Number.POSITIVE_INFINITY : undefined;
  }
}

/** Accepting stops with so many left… */
const SPARE = 12;
/** …and begins again with twice as many. Below the limit by this (or a quarter of it) nobody counts. */
const WATCHED = 64;
/** Counting takes a look at each descriptor: not at every accept. */
const COUNT_EVERY = 4;

/**
 * Says when accepting must pause because descriptors run out. Needed where a failed accept is not told and ends accepting for
 * good (Deno). Descriptors are really counted once there may be few left: what an estimate misses would otherwise add up.
 */
export class DescriptorGuard {
  readonly #limit = readDescriptorLimit() ?? Number.POSITIVE_INFINITY;
  readonly #watchedFrom = this.#limit - Math.min(WATCHED, this.#limit / 4);
  #estimate = countDescriptors() ?? 0;
  #sinceCount = 0;
  readonly #paused = new Set<() => void>();

  /** One more socket is open. False: the process is about to run out. */
  enter(): boolean {
    this.#estimate++;
    if (this.#estimate < this.#watchedFrom || ++this.#sinceCount < COUNT_EVERY) return true;
    this.#sinceCount = 0;
    this.#estimate = countDescriptors() ?? 0;
    return this.#estimate < this.#limit - SPARE;
  }

  /** One is closed. */
  leave(): void {
    if (this.#estimate > 0) this.#estimate--;
    if (this.#paused.size === 0) return;
    this.#estimate = countDescriptors() ?? 0;
    if (this.#estimate > this.#limit - 2 * SPARE) return;
    for (const resume of [...this.#paused]) {
      this.#paused.delete(resume);
      resume();
    }
  }

  /** `resume` is called once there is room again. */
  wait(resume: () => void): void {
    this.#paused.add(resume);
  }
  /** It does not wait any more. */
  forget(resume: () => void): void {
    this.#paused.delete(resume);
  }
}
