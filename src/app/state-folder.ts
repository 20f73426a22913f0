import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { CommandError } from "../cli/command.ts";
import type { Clock } from "../core/clock.ts";
import { describeCause } from "../core/failure.ts";
import { type FolderLock, lockFolder } from "../runtime/folder-lock.ts";
import { isAlive } from "../runtime/process.ts";

/** The folder with all that `up` keeps, and nobody else's while we run. */
export interface StateFolder {
  readonly path: string;
  /** Kept for whoever comes after us, should we be killed: the NATS server that works in this folder. */
  noteNats(pid: number): void;
  /** Idempotent. */
  release(): void;
}

/** Who has the folder, for those who are refused; it counts for nothing, the lock does. */
interface Holder {
  readonly pid?: number;
  readonly nats?: number;
}

const HOLDER_FILE = "running.json";
/** More than what ends a NATS server whose `up` was killed takes at most (`spawnTied`). */
const LEFT_OVER_MS = 8_000;
const LEFT_OVER_LOOK_MS = 20;

/**
 * Makes the folder where there is none and takes it. Rejects with a `CommandError` when another process has it. The NATS server of an `up`
 * that was killed ends a moment after it: it is waited for, because two of them in one folder lose what is written.
 */
export async function openStateFolder(path: string, clock: Clock): Promise<StateFolder> {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const place = join(path, HOLDER_FILE);
  const lock = takeLock(path, place);
  const { nats } = readHolder(place);
  writeHolder(place, { pid: process.pid, ...(nats === undefined ? {} : { nats }) });
  const endMs = clock.nowMs() + LEFT_OVER_MS;
  while (nats !== undefined && isAlive(nats) && clock.nowMs() < endMs)
    await new Promise<void>((resolve) => void clock.setTimer(LEFT_OVER_LOOK_MS, resolve));
  writeHolder(place, { pid: process.pid });
  let held = true;
  return {
    path,
    noteNats: (pid) => writeHolder(place, { pid: process.pid, nats: pid }),
    release() {
      if (!held) return;
      held = false;
      rmSync(place, { force: true });
      lock.release();
    },
  };
}

function takeLock(path: string, place: string): FolderLock {
  let lock: FolderLock | undefined;
  try {
    lock = lockFolder(path);
  } catch (error) {
    throw new CommandError(`${path} cannot be locked: ${describeCause(error)}`, "--state-dir names another folder");
  }
  if (lock !== undefined) return lock;
  const { pid } = readHolder(place);
  throw new CommandError(
    `${basename(path)} is in use by ${pid === undefined ? "another process" : `process ${pid}`}`,
    `${path} is of one \`up\` at a time: stop that one, or take another folder with --state-dir <folder> (and other ports)`,
  );
}

function readHolder(place: string): Holder {
  try {
    const { pid, nats } = JSON.parse(readFileSync(place, "utf8")) as { pid?: unknown; nats?: unknown };
    return { ...(isPid(pid) ? { pid } : {}), ...(isPid(nats) ? { nats } : {}) };
  } catch {
    // Not there, or half written: then nothing is known.
    return {};
  }
}

const isPid = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 1;

function writeHolder(place: string, holder: Holder): void {
  try {
    writeFileSync(place, JSON.stringify(holder), { mode: 0o600 });
  } catch {
    // A full disk: what matters fails with its own words.
  }
}
