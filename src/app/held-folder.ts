import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { CommandError } from "../cli/command.ts";
import { describeCause } from "../core/failure.ts";
import { HOLDER_FILE } from "../runtime/files.ts";
import { lockFolder } from "../runtime/folder-lock.ts";

/** Who has a folder, for those who are refused; it counts for nothing, the lock does. */
export interface Holder {
  readonly pid?: number;
  readonly nats?: number;
}

/** A folder that is nobody else's while we run. */
export interface HeldFolder {
  /** What stood there when it was taken: of whoever was killed. */
  readonly former: Holder;
  note(holder: Holder): void;
  /** Idempotent. */
  release(): void;
}

function holdFolder(path: string, hint: string): HeldFolder {
  const place = join(path, HOLDER_FILE);
  const lock = lockFolder(path);
  const former = readHolder(place);
  if (lock === undefined)
    throw new CommandError(
      `${basename(path)} is in use by ${former.pid === undefined ? "another process" : `process ${former.pid}`}`,
      hint,
    );
  const note = (holder: Holder): void => writeHolder(place, { pid: process.pid, ...holder });
  note(former.nats === undefined ? {} : { nats: former.nats });
  let held = true;
  return {
    former,
    note,
    release() {
      if (!held) return;
      held = false;
      rmSync(place, { force: true });
      lock.release();
    },
  };
}

/**
 * Makes the folder where there is none and takes it. Throws a `CommandError` when another process has it; where it cannot be made or
 * locked, `onFailure` hears the system's reason.
 */
export function tryHoldFolder(path: string, hint: string, onFailure: (cause: string) => void): HeldFolder | undefined {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return holdFolder(path, hint);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    onFailure(describeCause(error));
    return undefined;
  }
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
