import { existsSync, lstatSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { LOCK_FILE } from "../runtime/files.ts";
import { type FolderLock, lockFolder } from "../runtime/folder-lock.ts";
import { MEMORY_FOLDER, openSharedMemory } from "../runtime/shared-memory.ts";
import { COUNTER_BYTES } from "./filters.ts";

const COUNTERS_FILE = "counters";
const PREFIX = "selvedge-shared-";
/** All that is ever in such a folder: a folder with anything else is not ours, whatever its name. */
const OURS = /^(?:counters|lock|[0-9a-f]{64}\.wasm)$/;
/** A folder that another supervisor's sweep took before we had locked it is given up for a new one. */
const TRIES = 10;

/** What a supervisor and its workers share on this machine: modules and counters. Only the owner may look in. */
export interface SharedFolder {
  readonly path: string;
  storeModule(digest: string, bytes: Uint8Array): void;
  remove(): void;
}

/**
 * A folder of its own, in memory where the system has that (counters are written with every request). Removes what supervisors that were
 * killed left there: memory that nobody would ever get back.
 */
export function createSharedFolder(inMemory = MEMORY_FOLDER): SharedFolder {
  const { path, lock } = tryFolder(inMemory) ?? makeFolder(tmpdir());
  const stored = new Set<string>();
  return {
    path,
    storeModule(digest, bytes) {
      if (stored.has(digest)) return;
      writeFileSync(modulePath(path, digest), bytes, { mode: 0o600 });
      stored.add(digest);
    },
    remove() {
      lock.release();
      rmSync(path, { recursive: true, force: true });
    },
  };
}

interface Owned {
  readonly path: string;
  readonly lock: FolderLock;
}

function tryFolder(parent: string): Owned | undefined {
  try {
    return makeFolder(parent);
  } catch {
    return undefined;
  }
}

/** Throws the system's error. */
function makeFolder(parent: string): Owned {
  sweep(parent);
  for (let i = 0; i < TRIES; i++) {
    const path = mkdtempSync(join(parent, PREFIX));
    const lock = lockFolder(path);
    // Between making and locking a sweep may have had it: then it is locked, or gone.
    if (lock !== undefined && existsSync(join(path, LOCK_FILE))) return { path, lock };
    lock?.release();
  }
  throw new Error(`folders in ${parent} are gone as soon as they are made`);
}

/** Folders whose lock is free have no owner any more: the kernel holds it as long as there is one. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    try {
      sweepFolder(join(parent, name));
    } catch {
      // Somebody else's, or gone meanwhile.
    }
  }
}

function sweepFolder(path: string): void {
  const status = lstatSync(path);
  if (!status.isDirectory() || status.uid !== process.getuid?.()) return;
  const names = readdirSync(path);
  // One without a lock is just being made.
  if (!names.includes(LOCK_FILE) || !names.every((name) => OURS.test(name))) return;
  const lock = lockFolder(path);
  if (lock === undefined) return;
  for (const name of names) rmSync(join(path, name), { force: true });
  rmdirSync(path);
  lock.release();
}

/** The rate-limit counters that all workers of this folder share. */
export function openSharedCounters(folder: string): BigInt64Array {
  return openSharedMemory(join(folder, COUNTERS_FILE), COUNTER_BYTES).int64;
}

/** Where the supervisor puts a module for its workers. */
export function modulePath(folder: string, digest: string): string {
  return join(folder, `${digest.slice(digest.indexOf(":") + 1)}.wasm`);
}
