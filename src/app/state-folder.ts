import { CommandError } from "../cli/command.ts";
import type { Clock } from "../core/clock.ts";
import { isAlive } from "../runtime/process.ts";
import { tryHoldFolder } from "./held-folder.ts";

/** The folder with all that `up` keeps, and nobody else's while we run. */
export interface StateFolder {
  readonly path: string;
  /** Kept for whoever comes after us, should we be killed: the NATS server that works in this folder. */
  noteNats(pid: number): void;
  /** Idempotent. */
  release(): void;
}

/** More than what ends a NATS server whose `up` was killed takes at most (`spawnTied`). */
const LEFT_OVER_MS = 8_000;
const LEFT_OVER_LOOK_MS = 20;

/**
 * Makes the folder where there is none and takes it. Rejects with a `CommandError` when another process has it. The NATS server of an `up`
 * that was killed ends a moment after it: it is waited for, because two of them in one folder lose what is written.
 */
export async function openStateFolder(path: string, clock: Clock): Promise<StateFolder> {
  const hint = `${path} is of one \`up\` at a time: stop that one, or take another folder with --state-dir <folder> (and other ports)`;
  const held = tryHoldFolder(path, hint, (cause) => {
    throw new CommandError(`${path} cannot be used: ${cause}`, "--state-dir names another folder");
  });
  const { nats } = held?.former ?? {};
  const endMs = clock.nowMs() + LEFT_OVER_MS;
  while (nats !== undefined && isAlive(nats) && clock.nowMs() < endMs)
    await new Promise<void>((resolve) => void clock.setTimer(LEFT_OVER_LOOK_MS, resolve));
  held?.note({});
  return {
    path,
    noteNats: (pid) => held?.note({ nats: pid }),
    release: () => held?.release(),
  };
}
