// Whoever is killed without a word (SIGKILL) leaves nothing behind: neither `up` nor its launchers, nor npm above them.
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import process from "node:process";
import { spawnTied } from "../../src/runtime/process.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, type RunningProgram, startProgram, until } from "../kit/selvedge.ts";

const ROOT = join(import.meta.dir, "..", "..");

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Row {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Living processes, no zombies. */
function processes(): readonly Row[] {
  const lines = Bun.spawnSync(["ps", "-A", "-o", "pid=,ppid=,stat=,args="]).stdout.toString().split("\n");
  return lines.flatMap((line) => {
    const [, pid, parent, state = "", command = ""] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    return pid === undefined || state.startsWith("Z") ? [] : [{ pid: Number(pid), parent: Number(parent), command }];
  });
}

/** A process and all below it, from the top. */
function familyOf(pid: number): readonly Row[] {
  const all = processes();
  const found = all.filter((each) => each.pid === pid);
  for (const member of found) found.push(...all.filter((each) => each.parent === member.pid));
  return found;
}

/** The whole of `npm start`, from which end it is begun. */
async function startAll(command: string, args: readonly string[]): Promise<{ program: RunningProgram; family: readonly Row[] }> {
  const state = newFolder();
  cleanups.push(state.remove);
  const local = async () => `127.0.0.1:${await freePort()}`;
  const flags = [
    ...["--state-dir", state.path, "--workers", "1", "--http", `${await freePort()}`, "--https", `${await freePort()}`],
    ...["--admin", await local(), "--listen", await local(), "--nats-listen", await local()],
  ];
  // Detached: in no group of the test's, as another terminal's.
  const program = startProgram(command, [...args, ...flags], {
    cwd: ROOT,
    detached: true,
    env: { ...process.env, NO_COLOR: "1" },
  });
  cleanups.push(async () => {
    for (const { pid, command: line } of processes())
      if (pid === program.child.pid || line.includes(state.path)) process.kill(pid, "SIGKILL");
  });
  await program.saw("NATS");
  const family = (): readonly Row[] => familyOf(program.child.pid ?? -1);
  // A worker, beside the program itself.
  await until(() => family().filter(({ command: line }) => /bun\S* .*main\.ts/.test(line)).length >= 2);
  return { program, family: family() };
}

async function expectAllGone(family: readonly Row[]): Promise<void> {
  const left = (): readonly Row[] => {
    const now = new Map(processes().map((each) => [each.pid, each.command]));
    return family.filter(({ pid, command }) => now.get(pid) === command);
  };
  await until(() => left().length === 0).catch(() => expect(left()).toEqual([]));
}

/** The one of the family whose command line has the text. */
function memberOf(family: readonly Row[], text: RegExp): number {
  const found = family.find(({ command }) => text.test(command));
  if (found === undefined) throw new Error(`no ${text} among\n${family.map(({ command }) => command).join("\n")}`);
  return found.pid;
}

test(
  "what is tied to us goes on where PATH leads to no programs",
  async () => {
    const path = process.env.PATH;
    process.env.PATH = "/nonexistent";
    try {
      const child = spawnTied("/bin/sh", ["-c", "/bin/sleep 1; exit 7"]);
      const ended = await new Promise((resolve) => child.once("exit", (code, signal) => resolve([code, signal])));
      expect(ended).toEqual([7, null]);
    } finally {
      process.env.PATH = path;
    }
  },
  TEST_MS,
);

describe("killed without a word", () => {
  // Of its packages and filters, which are there: on to bin/selvedge.mjs, and that to Bun.
  const launcher = ["scripts/start.mjs"];

  /** It is said once, and the launchers end as a shell would. */
  async function expectTold(program: RunningProgram): Promise<void> {
    const { code, error } = await program.finished;
    expect([code, error.match(/selvedge was killed.*/g)]).toEqual([128 + 9, ["selvedge was killed (SIGKILL)"]]);
  }

  test(
    "the program itself: its workers, its NATS server and what watches that end",
    async () => {
      const { program, family } = await startAll("node", launcher);
      expect(memberOf(family, /^\S*nats-server /)).toBeGreaterThan(0);
      process.kill(memberOf(family, /^\S*bun\S* .*main\.ts up/), "SIGKILL");
      await expectAllGone(family);
      await expectTold(program);
    },
    TEST_MS,
  );

  test(
    "its launcher: all below it end",
    async () => {
      const { program, family } = await startAll("node", launcher);
      process.kill(memberOf(family, /^\S*node \S*bin\/selvedge\.mjs/), "SIGKILL");
      await expectAllGone(family);
      await expectTold(program);
    },
    TEST_MS,
  );

  test(
    "npm, whose child is a script of ours without a channel",
    async () => {
      const { family } = await startAll("npm", ["start", "--"]);
      process.kill(family[0]?.pid ?? -1, "SIGKILL");
      await expectAllGone(family);
    },
    TEST_MS,
  );
});
