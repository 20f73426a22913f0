// A newcomer's first minutes: `npm start`, the README's commands, Ctrl-C, and `npm start` again.
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { findNats } from "../../scripts/nats.mjs";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, type RunningProgram, sharedFoldersIn, startProgram, until } from "../kit/selvedge.ts";

const ROOT = join(import.meta.dir, "..", "..");
/** Each test starts everything several times. */
const START_MS = 2 * TEST_MS;

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Ports {
  readonly http: number;
  readonly https: number;
  readonly admin: number;
  readonly listen: number;
  readonly nats: number;
}

const choosePorts = async (): Promise<Ports> => ({
  http: await freePort(),
  https: await freePort(),
  admin: await freePort(),
  listen: await freePort(),
  nats: await freePort(),
});

const flagsOf = (state: string, ports: Ports): string[] => [
  ...["--state-dir", state, "--workers", "2", "--http", `${ports.http}`, "--https", `${ports.https}`],
  ...["--admin", `127.0.0.1:${ports.admin}`, "--listen", `127.0.0.1:${ports.listen}`, "--nats-listen", `127.0.0.1:${ports.nats}`],
];

function stateFolder(): string {
  const made = newFolder();
  cleanups.push(made.remove);
  return made.path;
}

/** In a group of its own, as a terminal would: what is left at the end of the test is killed with it. */
function start(command: string, args: readonly string[], env: Record<string, string | undefined> = {}): RunningProgram {
  const program = startProgram(command, args, { detached: true, cwd: ROOT, env: { ...process.env, NO_COLOR: "1", ...env } });
  cleanups.push(async () => {
    const state = args[args.indexOf("--state-dir") + 1] ?? "";
    for (const { pid } of leftOf(program, state)) process.kill(pid, "SIGKILL");
    await program.finished;
  });
  return program;
}

/** Living processes (no zombies) that a program started, itself included: those of its session. */
function groupOf({ child }: RunningProgram): number[] {
  const session = String(child.pid ?? -1);
  return processes()
    .filter((each) => each.session === session)
    .map((each) => each.pid);
}

function processes(): { readonly pid: number; readonly session: string; readonly command: string }[] {
  const found = startPs();
  return found.flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line);
    if (match === null || match[3]?.startsWith("Z") === true) return [];
    return [{ pid: Number(match[1]), session: match[2] ?? "", command: match[4] ?? "" }];
  });
}

const startPs = (): string[] => Bun.spawnSync(["ps", "-eo", "pid=,sess=,stat=,args="]).stdout.toString().split("\n");

/** Everything that names this state folder: the NATS server of it, too, which has a session of its own. */
const leftOf = (program: RunningProgram, state: string): { readonly pid: number; readonly command: string }[] => {
  const group = new Set(groupOf(program));
  return processes().filter(({ pid, command }) => group.has(pid) || command.includes(state));
};

/** The folders with shared memory of its workers, where /proc says so (Linux). */
function sharedFoldersOf(program: RunningProgram): string[] {
  if (!existsSync("/proc/self/environ")) return [];
  const settings = groupOf(program).map((pid) => readFileSync(`/proc/${pid}/environ`, "utf8"));
  return [...new Set(settings.flatMap(sharedFoldersIn))];
}

async function expectNothingLeft(program: RunningProgram, state: string, ports: Ports): Promise<void> {
  await until(() => leftOf(program, state).length === 0).catch(() => expect(leftOf(program, state)).toEqual([]));
  for (const port of Object.values(ports)) {
    const probe = createServer();
    await new Promise<void>((resolve, reject) => {
      probe.once("error", reject);
      probe.listen(port, "0.0.0.0", resolve);
    });
    await new Promise((resolve) => probe.close(resolve));
  }
}

/** The fenced block of the README that holds a text. */
function readmeBlock(holds: string): string {
  const blocks = [...readFileSync(join(ROOT, "README.md"), "utf8").matchAll(/```\w*\n([\s\S]*?)```/g)].map(
    (match) => match[1] ?? "",
  );
  const found = blocks.find((block) => block.includes(holds));
  if (found === undefined) throw new Error(`the README has no block with ${holds}`);
  return found;
}

const PLACES = { http: "localhost:8080", listen: "127.0.0.1:8088" };

async function natsTools(): Promise<{ server: string; cli: string }> {
  const { server, cli } = await findNats();
  if (server === undefined || cli === undefined) throw new Error("nats-server and nats are needed: run `node scripts/nats.mjs`");
  return { server, cli };
}

/** Runs a block of the README in a shell, its addresses replaced by those of the test. */
async function runBlock(block: string, folder: string, ports: Ports, cli: string): Promise<string> {
  const script = block
    .replaceAll(PLACES.http, `localhost:${ports.http}`)
    .replaceAll("node bin/selvedge.mjs", `node ${join(ROOT, "bin/selvedge.mjs")}`);
  const path = `${dirname(cli)}${delimiter}${process.env.PATH ?? ""}`;
  const env = {
    ...process.env,
    PATH: path,
    NATS_URL: `nats://127.0.0.1:${ports.nats}`,
    SELVEDGE_SERVER: `http://127.0.0.1:${ports.listen}`,
  };
  const { code, out, error } = await startProgram("sh", ["-ec", script], { cwd: folder, env }).finished;
  if (code !== 0) throw new Error(`exit ${code} of\n${script}\n${out}${error}`);
  return out;
}

describe("npm start", () => {
  test(
    "does what the README says; Ctrl-C leaves nothing; the next start has the configuration back",
    async () => {
      const { cli } = await natsTools();
      const [state, folder, ports] = [stateFolder(), stateFolder(), await choosePorts()];
      const first = start("node", ["scripts/start.mjs", ...flagsOf(state, ports)]);
      await first.saw("Ctrl-C stops everything");
      expect(first.out()).toContain(`http://127.0.0.1:${ports.http}`);

      expect(await runBlock(readmeBlock("/hello"), folder, ports, cli)).toContain("Hello from /hello");
      writeFileSync(join(folder, "greeting.yaml"), readmeBlock("name: greeting"));
      // A person is slower than the change; and `status` may be asked before the last worker has said that it serves it.
      const arrived = `until curl -s localhost:8080/greeting | grep -q NATS; do sleep 0.1; done; node bin/selvedge.mjs status --wait > /dev/null`;
      const change = readmeBlock("nats pub").replace("curl localhost", `${arrived}; curl localhost`);
      const said = await runBlock(change, folder, ports, cli);
      expect(said).toContain("hello from NATS\n");
      expect(said).toMatch(/gateway-1 +gateway +2 +ok/);

      const shared = sharedFoldersOf(first);
      expect(shared.length).toBe(process.platform === "linux" ? 1 : 0);
      // A terminal's Ctrl-C: the whole group gets it.
      process.kill(-(first.child.pid ?? 0), "SIGINT");
      expect((await first.finished).code).toBe(0);
      await expectNothingLeft(first, state, ports);
      expect(shared.filter((path) => existsSync(path))).toEqual([]);

      const again = start("node", ["scripts/start.mjs", ...flagsOf(state, ports)]);
      await again.saw("Ctrl-C stops everything");
      expect(await (await fetch(`http://127.0.0.1:${ports.http}/greeting`)).text()).toBe("hello from NATS\n");
      // By hand, to the script alone.
      process.kill(again.child.pid ?? 0, "SIGINT");
      expect((await again.finished).code).toBe(0);
      await expectNothingLeft(again, state, ports);
    },
    START_MS,
  );

  test.each(["the whole group", "npm alone"])(
    "an interrupt of %s drains once and stops everything",
    async (target) => {
      const [state, ports] = [stateFolder(), await choosePorts()];
      const program = start("npm", ["start", "--", ...flagsOf(state, ports)]);
      await program.saw("Ctrl-C stops everything");
      const pid = program.child.pid ?? 0;
      process.kill(target === "npm alone" ? pid : -pid, "SIGINT");
      await program.finished;
      // npm and the scripts pass it on, so that it comes several times: that is no second Ctrl-C.
      expect(program.error()).toContain("draining; once more stops at once");
      expect(program.error()).not.toContain('"stopping at once"');
      await expectNothingLeft(program, state, ports);
    },
    START_MS,
  );

  test(
    "Ctrl-C in the middle of the start leaves nothing either",
    async () => {
      const [state, ports] = [stateFolder(), await choosePorts()];
      for (const moment of ["· NATS", "· control plane", "· gateway"]) {
        const program = start("node", ["scripts/start.mjs", ...flagsOf(state, ports)]);
        await program.saw(moment);
        process.kill(-(program.child.pid ?? 0), "SIGINT");
        await program.finished;
        await expectNothingLeft(program, state, ports);
      }
    },
    START_MS,
  );

  test(
    "a port in use is named with the flag that changes it, and nothing stays",
    async () => {
      const [state, ports] = [stateFolder(), await choosePorts()];
      for (const [name, flag] of [
        ["http", "--http"],
        ["https", "--https"],
        ["admin", "--admin"],
        ["listen", "--listen"],
        ["nats", "--nats-listen"],
      ] as const) {
        const taken = createServer().listen(ports[name], "127.0.0.1");
        await new Promise((resolve) => taken.once("listening", resolve));
        const program = start("node", ["scripts/start.mjs", ...flagsOf(state, ports)]);
        const { code, error } = await program.finished;
        await new Promise((resolve) => taken.close(resolve));
        expect([name, code, error.includes(`port ${ports[name]} `), error.includes(flag)]).toEqual([name, 1, true, true]);
        await expectNothingLeft(program, state, ports);
      }
    },
    START_MS,
  );

  test(
    "without a nats-server, and with no way to get one, the in-process bus takes its place and says so",
    async () => {
      const [state, ports, bin] = [stateFolder(), await choosePorts(), stateFolder()];
      const node = Bun.which("node") ?? "";
      // Nothing but node on PATH: no go, no apt-get, no nats-server.
      symlinkSync(node, join(bin, "node"));
      const env = { PATH: bin, SELVEDGE_TOOLS_DIR: join(state, "tools"), SELVEDGE_NATS_SERVER: "", SELVEDGE_OFFLINE: "1" };
      const program = start(node, ["scripts/start.mjs", ...flagsOf(state, ports)], env);
      await program.saw("Ctrl-C stops everything");
      expect(program.out() + program.error()).toContain("in-process bus");
      const server = `http://127.0.0.1:${ports.listen}`;
      const file = join(state, "greeting.yaml");
      writeFileSync(file, readmeBlock("name: greeting"));
      const applied = await startProgram(node, [
        join(ROOT, "bin/selvedge.mjs"),
        "apply",
        "-f",
        file,
        "--wait",
        "--server",
        server,
      ]).finished;
      expect([applied.code, applied.error]).toEqual([0, ""]);
      expect(await (await fetch(`http://127.0.0.1:${ports.http}/greeting`)).text()).toBe("hello from NATS\n");
      process.kill(-(program.child.pid ?? 0), "SIGTERM");
      await program.finished;
      await expectNothingLeft(program, state, ports);
      const again = start(node, ["scripts/start.mjs", ...flagsOf(state, ports)], env);
      await again.saw("Ctrl-C stops everything");
      expect(await (await fetch(`http://127.0.0.1:${ports.http}/greeting`)).text()).toBe("hello from NATS\n");
    },
    START_MS,
  );
});
