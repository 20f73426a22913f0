import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { LOCK_FILE } from "./files.ts";

/** A folder that is ours until it is released, or until this process ends in whatever way. */
export interface FolderLock {
  /** Idempotent. */
  release(): void;
}

/** Kept here: a file that nobody refers to is collected, and closed, and its lock free, whoever still counts on it. */
const held = new Set<DatabaseSync>();

/**
 * Locks a folder that exists, by a file `lock` in it. Undefined: another process (or another part of this one) has it. Throws the
 * system's reason when the file cannot be made or locked.
 *
 * The kernel keeps the lock and frees it when its process is gone: nothing stale stays, and no number of a process is mistaken for
 * another's. No runtime offers such locks themselves; SQLite, which all of them bring, takes them on every system. Children do not inherit it.
 */
export function lockFolder(folder: string): FolderLock | undefined {
  const file = new DatabaseSync(join(folder, LOCK_FILE));
  try {
    // Nothing is ever written, and no journal is made.
    file.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (error) {
    file.close();
    if (error instanceof Error && error.message.includes("database is locked")) return undefined;
    throw error;
  }
  held.add(file);
  return {
    release() {
      if (held.delete(file)) file.close();
    },
  };
}
