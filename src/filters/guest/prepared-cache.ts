import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import type { Clock } from "../../core/clock.ts";
import { PREPARE_LIMITS } from "../../core/limits.ts";
import { placeFile, TEMPORARY_SUFFIX } from "../../runtime/files.ts";
import type { ModuleFacts, PreparedModule } from "./prepare.ts";

const SUFFIX = ".prepared";
/** The first line: a digest over the rest of it and the bytes that follow. */
const HEADER_BYTES = 1024;

interface Header {
  readonly sha256: string;
  readonly key: string;
  readonly facts: ModuleFacts;
}

/** A file of ours, as far as its system's permissions say. */
interface Owned {
  readonly uid: number;
  readonly mode: number;
}

/**
 * Rewritten modules on disk, for all processes that are given this folder. A file is read only when nobody but our own user (or root)
 * can have written it, when it says that it is what is wanted, and when it is whole; one that is not goes. Whoever can write as our user
 * could as well write the program itself.
 */
export class PreparedCache {
  #isReady = false;

  constructor(
    readonly folder: string,
    readonly clock: Clock,
    /** Files together, and how many. */
    readonly maxBytes: number = PREPARE_LIMITS.cacheBytes,
    readonly maxFiles: number = PREPARE_LIMITS.cacheFiles,
  ) {}

  /** Undefined: it is not there, or cannot be trusted. Rejects when the folder cannot be used at all. */
  async read(key: string): Promise<PreparedModule | undefined> {
    await this.#prepareFolder();
    const path = this.#pathOf(key);
    const content = await this.#readFile(path);
    if (content === undefined) return undefined;
    const prepared = parse(content, key);
    if (prepared === undefined) {
      await rm(path, { force: true });
      return undefined;
    }
    // What was used last goes last. Somebody else may have taken it away meanwhile.
    const nowSeconds = this.clock.wallMs() / 1000;
    await utimes(path, nowSeconds, nowSeconds).catch(() => {});
    return prepared;
  }

  async #readFile(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        const stat = await file.stat();
        if (!stat.isFile() || !isOurs(stat) || stat.size > this.maxBytes) return undefined;
        return new Uint8Array(await file.readFile());
      } finally {
        await file.close();
      }
    } catch {
      return undefined;
    }
  }

  /** Rejects when the disk is full or not writable; then nothing of it stays. */
  async write(key: string, { bytes, facts }: PreparedModule): Promise<void> {
    await this.#prepareFolder();
    const header: Header = { sha256: digestOf(key, facts, bytes), key, facts };
    const first = Buffer.from(`${JSON.stringify(header)}\n`);
    if (first.byteLength + bytes.byteLength > this.maxBytes) return;
    await placeFile(this.#pathOf(key), Buffer.concat([first, bytes]), false);
    await this.#prune();
  }

  /** It was of no use after all. */
  async remove(key: string): Promise<void> {
    await rm(this.#pathOf(key), { force: true });
  }

  #pathOf(key: string): string {
    return join(this.folder, `${createHash("sha256").update(key).digest("hex")}${SUFFIX}`);
  }

  async #prepareFolder(): Promise<void> {
    if (this.#isReady) return;
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const stat = await lstat(this.folder);
    if (!stat.isDirectory() || !isOurs(stat)) throw new Error(`${this.folder} can be written by others: nothing is kept there`);
    this.#isReady = true;
  }

  /** Those that were used last stay, as far as there is room. Several processes may do this at once. */
  async #prune(): Promise<void> {
    const files: { path: string; bytes: number; usedMs: number }[] = [];
    for (const name of await readdir(this.folder)) {
      const path = join(this.folder, name);
      const stat = await lstat(path).catch(() => undefined);
      if (stat === undefined || !stat.isFile()) continue;
      if (name.endsWith(SUFFIX)) files.push({ path, bytes: stat.size, usedMs: stat.mtimeMs });
      else if (name.endsWith(TEMPORARY_SUFFIX) && this.clock.wallMs() - stat.mtimeMs > PREPARE_LIMITS.cacheLeftoverMs)
        await rm(path, { force: true });
    }
    files.sort((a, b) => b.usedMs - a.usedMs);
    let bytes = 0;
    for (const [i, file] of files.entries()) {
      bytes += file.bytes;
      if (bytes > this.maxBytes || i >= this.maxFiles) await rm(file.path, { force: true });
    }
  }
}

/** Nobody but our user and root may write it. */
function isOurs({ uid, mode }: Owned): boolean {
  const own = process.geteuid?.();
  return (mode & 0o022) === 0 && (own === undefined || uid === own || uid === 0);
}

/** Undefined: it is torn, altered, or something else. */
function parse(content: Uint8Array<ArrayBuffer>, key: string): PreparedModule | undefined {
  const end = content.subarray(0, HEADER_BYTES).indexOf(0x0a);
  if (end < 0) return undefined;
  try {
    const header = JSON.parse(Buffer.from(content.subarray(0, end)).toString("utf8")) as Header;
    const bytes = content.slice(end + 1);
    const { hasCode, hasMemory } = header.facts;
    const facts = { hasCode: hasCode === true, hasMemory: hasMemory === true };
    return header.key === key && header.sha256 === digestOf(key, facts, bytes) ? { bytes, facts } : undefined;
  } catch {
    return undefined;
  }
}

function digestOf(key: string, { hasCode, hasMemory }: ModuleFacts, bytes: Uint8Array): string {
  return createHash("sha256")
    .update(JSON.stringify([key, hasCode, hasMemory]))
    .update(bytes)
    .digest("hex");
}
