import { readdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import type { Clock, Timer } from "../../core/clock.ts";

/** What compilers and package managers make. */
const SKIPPED = new Set([
  ...["dist", "node_modules", "target", ".zig-cache", ".git", "zig-out", "__pycache__"],
  ...["Cargo.lock", "go.sum", "package-lock.json"],
]);
/** Files looked at; a project of more is watched in part. */
const FILES_MAX = 2_000;
const POLL_MS = 250;

/**
 * Calls back when a source changed and has been quiet for one look: editors write twice. Looks at times and sizes, because
 * not every file system tells of changes. Returns what stops it.
 */
export function watchSources(folder: string, clock: Clock, onChange: () => void): () => void {
  let known = stampOf(folder);
  let pending = false;
  let timer: Timer;
  const look = (): void => {
    const now = stampOf(folder);
    if (now !== known) {
      known = now;
      pending = true;
    } else if (pending) {
      pending = false;
      onChange();
    }
    timer = clock.setTimer(POLL_MS, look);
  };
  timer = clock.setTimer(POLL_MS, look);
  return () => timer.cancel();
}

/** Changes whenever a source may have. */
function stampOf(folder: string): string {
  const stamps: string[] = [];
  eachSource(folder, (path, mtimeMs, size) => stamps.push(`${path} ${mtimeMs} ${size}`));
  return stamps.sort().join("\n");
}

/** The first file found that changed after the module was made, relative to the folder; undefined: none, or there is no module. */
export function newerSource(folder: string, module: string): string | undefined {
  const madeMs = statSync(module, { throwIfNoEntry: false })?.mtimeMs;
  let found: string | undefined;
  eachSource(folder, (path, mtimeMs) => {
    const isSource = path !== module && !/\.test\.ya?ml$|\.md$|(^|[\\/])gateway\.yaml$/.test(path);
    if (madeMs !== undefined && isSource && mtimeMs > madeMs) found ??= relative(folder, path);
  });
  return found;
}

function eachSource(folder: string, visit: (path: string, mtimeMs: number, size: number) => void): void {
  let seen = 0;
  const walk = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (SKIPPED.has(entry.name) || seen >= FILES_MAX) continue;
      const each = join(path, entry.name);
      if (entry.isDirectory()) walk(each);
      else {
        const stat = statSync(each, { throwIfNoEntry: false });
        if (stat === undefined) continue;
        seen++;
        visit(each, stat.mtimeMs, stat.size);
      }
    }
  };
  try {
    walk(folder);
  } catch {
    // A folder that went away while we looked: the next look sees it.
  }
}
