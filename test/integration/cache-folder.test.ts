// A proxy's cache folder: one at a time has it, and whatever ended the one before, the next one gets it.
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, type RunningProgram, startSelvedge } from "../kit/selvedge.ts";

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

test(
  "a second proxy is refused by name and with what to do; one that was killed, or ended, is in nobody's way",
  async () => {
    const made = newFolder();
    cleanups.push(made.remove);
    // Nobody is there: what is looked at needs no server.
    const nats = `nats://127.0.0.1:${await freePort()}`;
    const start = (id: string): RunningProgram => {
      const flags = ["--nats", nats, "--id", id, "--mode", "sidecar", "--admin", "off", "--cache-dir", join(made.path, "cache")];
      const program = startSelvedge(["proxy", ...flags]);
      cleanups.push(async () => {
        program.child.kill("SIGKILL");
        await program.finished;
      });
      return program;
    };
    const first = start("edge-1");
    await first.saw("not ready");
    // Not by the id: whoever it is, they take each other's files away.
    for (const id of ["edge-2", "edge-1"]) {
      const { code, out, error } = await start(id).finished;
      expect([code, out]).toEqual([1, ""]);
      expect(error).toContain(`cache is in use by process ${first.child.pid}\n`);
      expect(error).toContain("--cache-dir <folder>");
    }
    first.child.kill("SIGKILL");
    await first.finished;
    const second = start("edge-2");
    await second.saw("not ready");
    second.child.kill("SIGTERM");
    expect((await second.finished).code).toBe(0);
    await start("edge-3").saw("not ready");
  },
  TEST_MS,
);
