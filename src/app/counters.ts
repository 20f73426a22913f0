import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSharedMemory } from "../runtime/shared-memory.ts";
import { COUNTER_BYTES } from "./filters.ts";

const COUNTERS_FILE = "counters";

/** What a supervisor and its workers share on this machine: modules and counters. Only the owner may look in. */
export interface SharedFolder {
  readonly path: string;
  storeModule(digest: string, bytes: Uint8Array): void;
  remove(): void;
}

/** A folder of its own, in memory where the system has that (counters are written with every request). */
export function createSharedFolder(inMemory = "/dev/shm"): SharedFolder {
  const path = makeFolder(inMemory) ?? mkdtempSync(join(tmpdir(), "selvedge-"));
  const stored = new Set<string>();
  return {
    path,
    storeModule(digest, bytes) {
      if (stored.has(digest)) return;
      writeFileSync(modulePath(path, digest), bytes, { mode: 0o600 });
      stored.add(digest);
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

function makeFolder(parent: string): string | undefined {
  try {
    return mkdtempSync(join(parent, "selvedge-"));
  } catch {
    return undefined;
  }
}

/** The rate-limit counters that all workers of this folder share. */
export function openSharedCounters(folder: string): BigInt64Array {
  return openSharedMemory(join(folder, COUNTERS_FILE), COUNTER_BYTES).int64;
}

/** Where the supervisor puts a module for its workers. */
export function modulePath(folder: string, digest: string): string {
  return join(folder, `${digest.slice(digest.indexOf(":") + 1)}.wasm`);
}
