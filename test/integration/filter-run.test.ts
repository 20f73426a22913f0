import { expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { inFolder, runInFolder } from "../kit/command-line.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort } from "../kit/ports.ts";
import { startProgram, startSelvedge, until } from "../kit/selvedge.ts";

setDefaultTimeout(TEST_MS);

const ROOT = join(import.meta.dir, "../..");

test("filter run serves the filter, takes a saved change, and keeps serving when a build fails", async () => {
  await inFolder({}, async (folder) => {
    await runInFolder(folder, ["filter", "new", "geo", "--language", "assemblyscript"]);
    const port = await freePort();
    const running = startSelvedge(["filter", "run", join(folder, "geo"), "--port", String(port)], { PORT: "1" });
    try {
      await running.saw("built dist/geo.wasm");
      await running.saw("selvedge proxy");
      // The announcement comes once it listens.
      const greeting = async (): Promise<string | null> => (await fetch(`http://127.0.0.1:${port}/`)).headers.get("x-greeting");
      expect(await greeting()).toBe("good morning");
      const source = join(folder, "geo/assembly/index.ts");
      const text = readFileSync(source, "utf8");
      writeFileSync(source, text.replace("this.filter.greeting);", 'this.filter.greeting + "!");'));
      await until(async () => (await greeting()) === "good morning!");
      writeFileSync(source, `${text}\nconst broken: i32 = nowhere;\n`);
      await running.saw("what served before goes on");
      expect(await greeting()).toBe("good morning!");
    } finally {
      running.child.kill("SIGINT");
      await running.finished;
    }
  });
});

test("filter run: a port that is taken is named before anything is built", async () => {
  await inFolder({}, async (folder) => {
    await runInFolder(folder, ["filter", "new", "geo", "--language", "assemblyscript"]);
    const other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const running = startSelvedge(["filter", "run", join(folder, "geo"), "--port", String(other.port)]);
    const { code, error } = await running.finished;
    other.stop(true);
    expect(code).toBe(1);
    expect(error).toContain(`port ${other.port}`);
    expect(error).toContain("choose another with --port");
    expect(error).not.toContain("built");
    expect(existsSync(join(folder, "geo/dist"))).toBe(false);
  });
});

/** A compiler that has read its source, and takes its time. */
const SLOW_COMPILER = `#!/bin/sh
cat src/main.zig >> ../read
while [ ! -e ../go ]; do sleep 0.1; done
for last; do :; done
cp "$SELVEDGE_TEST_MODULE" "\${last#-femit-bin=}"
`;

/** A filter whose compiler ends once there is a file `go`, and writes what it read to `read`. */
async function withSlowCompiler(run: (folder: string, env: Record<string, string>, read: () => string) => Promise<void>) {
  const gateway = `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec: { listeners: [{ address: 127.0.0.1, port: "\${PORT}" }] }
`;
  const files = { "geo/src/main.zig": "one\n", "geo/gateway.yaml": gateway, compiler: SLOW_COMPILER };
  const manifest = "name: geo\nversion: 1.0.0\nlanguage: zig\nmodule: dist/geo.wasm\n";
  await inFolder({ ...files, "geo/selvedge-filter.yaml": manifest }, async (folder) => {
    chmodSync(join(folder, "compiler"), 0o755);
    const module = join(import.meta.dir, "../../dist/filters/authz.wasm");
    const read = (): string => (existsSync(join(folder, "read")) ? readFileSync(join(folder, "read"), "utf8") : "");
    await run(folder, { ZIG: join(folder, "compiler"), SELVEDGE_TEST_MODULE: module }, read);
  });
}

test("filter run: what is saved while the first build goes on is built as well", async () => {
  await withSlowCompiler(async (folder, env, read) => {
    const running = startSelvedge(["filter", "run", join(folder, "geo"), "--port", String(await freePort())], env);
    try {
      await until(() => read() === "one\n");
      writeFileSync(join(folder, "geo/src/main.zig"), "two, longer\n");
      writeFileSync(join(folder, "go"), "");
      await until(() => read() === "one\ntwo, longer\n");
    } finally {
      running.child.kill("SIGINT");
      await running.finished;
    }
  });
});

test("filter run: Ctrl-C in the middle of a build ends all, and is told as no failure of the build", async () => {
  await withSlowCompiler(async (folder, env, read) => {
    writeFileSync(join(folder, "go"), "");
    const args = [join(ROOT, "bin/selvedge.mjs"), "filter", "run", join(folder, "geo"), "--port", String(await freePort())];
    const running = startProgram("node", args, { detached: true, env: { ...process.env, NO_COLOR: "1", ...env } });
    const interrupt = () => process.kill(-(running.child.pid ?? 0), "SIGINT");
    try {
      await running.saw("selvedge proxy");
      rmSync(join(folder, "go"));
      writeFileSync(join(folder, "geo/src/main.zig"), "two, longer\n");
      await until(() => read() === "one\ntwo, longer\n");
    } finally {
      interrupt();
      await running.finished;
    }
    expect([running.error().includes("✗"), running.error().includes("draining")]).toEqual([false, true]);
  });
});

test("filter build: a compiler that is killed is said to be, also when it printed nothing", async () => {
  await withSlowCompiler(async (folder) => {
    writeFileSync(join(folder, "compiler"), "#!/bin/sh\nkill -9 $$\n");
    const { exit, error } = await runInFolder(folder, ["filter", "build", "geo"], { ZIG: join(folder, "compiler") });
    expect([exit, error.slice(error.indexOf("error:"))]).toEqual([
      1,
      `error: ${join(folder, "compiler")} was killed (SIGKILL)\n`,
    ]);
  });
});
