import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, unlinkSync, watch, writeSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Bytes } from "../core/bytes.ts";
import { utf8Bytes } from "../core/bytes.ts";
import type { Clock, Timer } from "../core/clock.ts";

/** Its lock says that a folder is taken (`lockFolder`). */
export const LOCK_FILE = "lock";
/** Who has such a folder, for people. */
export const HOLDER_FILE = "running.json";

/** The whole file as text; a byte order mark is cut off. Throws the system's error (`ENOENT`, ...). */
export function readText(path: string): string {
  const text = readFileSync(path, "utf8");
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

/**
 * Replaces a file so that a reader sees the old or the new content and never a part, also after a power cut: a temporary
 * file beside it, fsync, rename, fsync of the folder. Default mode 600.
 */
export function writeAtomically(path: string, content: string | Bytes, mode = 0o600): void {
  const temporary = `${path}.${randomUUID()}.tmp`;
  const bytes = typeof content === "string" ? utf8Bytes(content) : content;
  try {
    const file = openSync(temporary, "wx", mode);
    try {
      for (let at = 0; at < bytes.byteLength; ) at += writeSync(file, bytes, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    try {
      unlinkSync(temporary);
    } catch {
      // It was not made, or it was renamed: nothing to clean up.
    }
    // Nobody knows the temporary file.
    if (error instanceof Error) error.message = error.message.replaceAll(temporary, path);
    throw error;
  }
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * The same without blocking the thread, and durable only when `flush` says so: for what is verified when it is read. Whatever fails
 * (a full disk), no temporary file stays. Mode 600.
 */
export async function placeFile(path: string, content: string | Bytes, flush: boolean): Promise<void> {
  const temporary = `${path}.${randomUUID()}${TEMPORARY_SUFFIX}`;
  try {
    await writeFile(temporary, content, { mode: 0o600, flag: "wx", flush });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/** How the names of files end that are being written: what a crash leaves behind may be removed. */
export const TEMPORARY_SUFFIX = ".new";

export interface FileWatch {
  close(): void;
}

/** How often the file is looked at where the system tells nothing (network file systems), and how long changes must rest. */
const POLL_MS = 2_000;
const SETTLE_MS = 50;

/**
 * Calls `onChange` after the content of `path` may have changed: written in place, replaced by rename (editors), by a
 * swapped symbolic link (Kubernetes' mounted ConfigMaps), removed or made again. Several changes in a row are one call. The
 * file need not exist yet, its folder must. The folder is watched, not the file: a watch on the file would stay with the
 * old one after a rename. Besides, the file is looked at every 2 s, since not every file system tells.
 */
export function watchFile(path: string, clock: Clock, onChange: () => void): FileWatch {
  return new Watch(path, clock, onChange);
}

class Watch implements FileWatch {
  #seen: string;
  #settle: Timer | undefined;
  #poll: Timer | undefined;
  #closed = false;
  readonly #watcher: { close(): void };

  constructor(
    readonly path: string,
    readonly clock: Clock,
    readonly onChange: () => void,
  ) {
    this.#seen = fingerprint(path);
    const name = basename(path);
    const watcher = watch(dirname(path), { persistent: false }, (_event, changed) => {
      // The link that Kubernetes swaps has another name than the file.
      if (changed === null || changed === name || changed.startsWith("..")) this.#soon();
    });
    // The folder went away: from then on only the poll looks.
    watcher.on("error", () => watcher.close());
    this.#watcher = watcher;
    this.#schedulePoll();
  }

  close(): void {
    this.#closed = true;
    this.#settle?.cancel();
    this.#poll?.cancel();
    this.#watcher.close();
  }

  #soon(): void {
    this.#settle?.cancel();
    if (!this.#closed) this.#settle = this.clock.setTimer(SETTLE_MS, () => this.#look());
  }

  #schedulePoll(): void {
    this.#poll = this.clock.setTimer(POLL_MS, () => {
      if (this.#closed) return;
      if (fingerprint(this.path) !== this.#seen) this.#soon();
      this.#schedulePoll();
    });
  }

  #look(): void {
    if (this.#closed) return;
    const now = fingerprint(this.path);
    if (now === this.#seen) return;
    this.#seen = now;
    this.onChange();
  }
}

/** Changes whenever the file was written or replaced; "" while there is none. */
function fingerprint(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}
