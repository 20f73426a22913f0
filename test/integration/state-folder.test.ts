// What `up` keeps in its state folder: it has it to itself, and whatever ended the one before, the next one gets it.
import { afterEach, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { findNats } from "../../scripts/nats.mjs";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, type RunningProgram, runSelvedge, startSelvedge } from "../kit/selvedge.ts";

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Ports {
  readonly http: number;
  readonly flags: readonly string[];
}

/** Each has its own, so that nothing but the folder is in the way. */
async function choosePorts(): Promise<Ports> {
  const http = await freePort();
  const local = async () => `127.0.0.1:${await freePort()}`;
  const flags = [
    ...["--http", `${http}`, "--https", `${await freePort()}`, "--admin", await local()],
    ...["--listen", await local(), "--nats-listen", await local()],
  ];
  return { http, flags };
}

const flagValue = (flags: readonly string[], flag: string): string => flags[flags.indexOf(flag) + 1] ?? "";
const without = (flags: readonly string[], flag: string): string[] =>
  flags.filter((_, i) => i !== flags.indexOf(flag) && i !== flags.indexOf(flag) + 1);

async function startUp(state: string, { flags }: Ports): Promise<RunningProgram> {
  const nats = (await findNats()).server;
  if (nats === undefined) throw new Error("there is no nats-server: run `node scripts/nats.mjs`");
  const program = startSelvedge(["up", "--demo", "--state-dir", state, "--workers", "1", ...flags], {
    SELVEDGE_NATS_SERVER: nats,
  });
  cleanups.push(async () => {
    program.child.kill("SIGKILL");
    await program.finished;
  });
  return program;
}

const UP = "Ctrl-C stops everything";

async function end(program: RunningProgram): Promise<void> {
  program.child.kill("SIGTERM");
  expect((await program.finished).code).toBe(0);
}

describe("the state folder of up", () => {
  test(
    "of two that start at once one wins and the other is told by whom; after a SIGKILL it is free at once, and what was applied is there",
    async () => {
      const made = newFolder();
      cleanups.push(made.remove);
      const state = join(made.path, ".selvedge");
      const ports = [await choosePorts(), await choosePorts()] as const;
      const both = await Promise.all(ports.map((each) => startUp(state, each)));
      // The one that is refused ends; the other does not.
      const loser = await Promise.race(both.map(async (each, index) => each.finished.then((finished) => ({ index, finished }))));
      const winner = both[1 - loser.index] as RunningProgram;
      const { http, flags } = ports[1 - loser.index] as Ports;
      expect([loser.finished.code, loser.finished.out]).toEqual([1, ""]);
      expect(loser.finished.error).toMatch(/\.selvedge is in use by (process \d+|another process)\n/);
      expect(loser.finished.error).toContain("--state-dir");
      await winner.saw(UP);

      const late = await (await startUp(state, ports[loser.index] as Ports)).finished;
      expect([late.code, late.error.includes(`.selvedge is in use by process ${winner.child.pid}\n`)]).toEqual([1, true]);

      const server = flagValue(flags, "--listen");
      const applied = await runSelvedge(["delete", "Route/echo", "--server", `http://${server}`]);
      expect([applied.code, applied.error]).toEqual([0, ""]);
      winner.child.kill("SIGKILL");
      await winner.finished;
      const again = await startUp(state, { http, flags });
      await again.saw(UP);
      expect((await runSelvedge(["get", "Route/echo", "--server", `http://${server}`])).code).not.toBe(0);
      expect(await (await fetch(`http://127.0.0.1:${http}/hello`)).text()).toBe("Hello from /hello\n");
      again.child.kill("SIGTERM");
      expect((await again.finished).code).toBe(0);
    },
    TEST_MS,
  );

  test(
    "a port that another program took meanwhile is left by --http: what was served last is not tried first",
    async () => {
      const made = newFolder();
      cleanups.push(made.remove);
      const before = await choosePorts();
      const first = await startUp(made.path, before);
      await first.saw(UP);
      await end(first);

      const taken = createServer().listen(before.http, "127.0.0.1");
      cleanups.push(() => void taken.close());
      await new Promise((resolve) => taken.once("listening", resolve));
      const after = await choosePorts();
      // HTTPS was not asked for this time: it stays where it was.
      const again = await startUp(made.path, { ...after, flags: without(after.flags, "--https") });
      await again.saw(UP);
      expect(again.error()).not.toContain("listen_failed");
      expect(again.out()).toContain(`http://127.0.0.1:${after.http}  https://127.0.0.1:${flagValue(before.flags, "--https")}\n`);
      expect(await (await fetch(`http://127.0.0.1:${after.http}/hello`)).text()).toBe("Hello from /hello\n");
    },
    TEST_MS,
  );

  test(
    "the demo's services stay where they were, so that a rollback to an earlier start finds them; a port that is taken is told",
    async () => {
      const made = newFolder();
      cleanups.push(made.remove);
      const kept = join(made.path, "demo-ports.json");
      // As an earlier start left it. Those that the kernel gives could be somebody else's before the next start.
      const [hello, echo] = [await freePort(), await freePort()];
      writeFileSync(kept, JSON.stringify({ hello, echo }));
      const chosen = await choosePorts();
      const ports = { ...chosen, flags: [...chosen.flags, "--nats", "off"] };
      const server = ["--server", `http://${flagValue(ports.flags, "--listen")}`];
      const answers = async (path: string) => (await fetch(`http://127.0.0.1:${ports.http}${path}`)).status;

      const first = await startUp(made.path, ports);
      await first.saw(UP);
      expect(first.out()).toContain(`hello on port ${hello}, echo on port ${echo}\n`);
      expect((await runSelvedge(["delete", "Service/echo", "Route/echo", ...server])).code).toBe(0);
      await end(first);

      const second = await startUp(made.path, ports);
      await second.saw(UP);
      const back = await runSelvedge(["rollback", "1", "--wait", ...server]);
      expect([back.code, back.error]).toEqual([0, ""]);
      expect([await answers("/hello"), await answers("/echo")]).toEqual([200, 200]);
      await end(second);

      const taken = createServer().listen(hello, "127.0.0.1");
      cleanups.push(() => void taken.close());
      await new Promise((resolve) => taken.once("listening", resolve));
      const third = await startUp(made.path, ports);
      await third.saw(UP);
      expect(third.error()).toContain(
        `port ${hello} on 127.0.0.1 is in use: the demo service hello takes another; revisions of before name ${hello}\n`,
      );
      const now = JSON.parse(readFileSync(kept, "utf8")) as { readonly hello: number; readonly echo: number };
      expect(now).toEqual({ hello: expect.any(Number), echo });
      expect(now.hello).not.toBe(hello);
      expect(third.out()).toContain(`hello on port ${now.hello}, echo on port ${echo}\n`);
      expect([await answers("/hello"), await answers("/echo")]).toEqual([200, 200]);
    },
    TEST_MS,
  );
});
