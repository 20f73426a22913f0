import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TEST_MS } from "../../test/kit/patience.ts";

const PROGRAM = `
import { selfCommand, spawnWorker, workerPort } from ${JSON.stringify(new URL("./process.ts", import.meta.url).pathname)};
const port = workerPort();
if (port === undefined) {
  const worker = spawnWorker(["worker", "--index=1"], {
    onMessage: (message) => {
      console.log("from the worker:", JSON.stringify(message));
      worker.send("enough");
    },
    onExit: (code) => console.log("exit", code),
  });
  console.log("arguments of its own:", selfCommand().args.length);
} else {
  port.send(process.argv.slice(2));
  port.onMessage(() => process.exit(3));
}`;

test(
  "a worker starts the same way from source and from a single executable",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-self-"));
    try {
      const source = join(folder, "main.ts");
      const executable = join(folder, "program");
      writeFileSync(source, PROGRAM);
      const build = Bun.spawn([process.execPath, "build", "--compile", source, "--outfile", executable], { stdout: "ignore" });
      expect(await build.exited).toBe(0);
      for (const [command, ownArguments] of [
        [[process.execPath, source], 1],
        [[executable], 0],
      ] as const) {
        const run = Bun.spawn([...command], { cwd: folder, stdout: "pipe" });
        const output = await new Response(run.stdout).text();
        expect(output).toContain(`arguments of its own: ${ownArguments}`);
        expect(output).toContain('from the worker: ["worker","--index=1"]');
        expect(output).toContain("exit 3");
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  TEST_MS,
);
