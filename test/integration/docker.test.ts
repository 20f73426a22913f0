// The image: built from a plain Debian base with buildah, and run. Nothing of it stays on the machine but the base, as one file.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { cacheFolder } from "../../scripts/nats.mjs";
import { startNats } from "../kit/nats.ts";
import { TEST_MS } from "../kit/patience.ts";
import { type Finished, freePort, isAlive, newFolder, type RunningProgram, startProgram, until } from "../kit/selvedge.ts";

const ROOT = join(import.meta.dir, "..", "..");
const BUILD_MS = 4 * TEST_MS;
const IMAGE = "localhost/selvedge:test";
const BASE = "localhost/base:1";
const RELEASE = "bookworm";
const HAS_BUILDER =
  process.getuid?.() === 0 && ["buildah", "debootstrap", "crun"].every((name) => Bun.which(name, { PATH: toolPath() }) !== null);

function toolPath(): string {
  return `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
}

const work = newFolder();
const env = {
  ...process.env,
  PATH: toolPath(),
  STORAGE_DRIVER: "vfs",
  BUILDAH_ISOLATION: "chroot",
  CONTAINERS_STORAGE_CONF: join(work.path, "storage.conf"),
};

async function run(command: string, ...args: string[]): Promise<Finished> {
  return startProgram(command, args, { env, cwd: ROOT }).finished;
}

async function mustRun(command: string, ...args: string[]): Promise<string> {
  const { code, out, error } = await run(command, ...args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed (${code}):\n${out}${error}`);
  return out.trim();
}

/** A base image's files as a tar archive, made once per machine. */
async function obtainBase(): Promise<string> {
  const archive = join(cacheFolder(), `${RELEASE}-minbase.tar`);
  if (existsSync(archive)) return archive;
  const folder = join(work.path, "base");
  await mustRun("debootstrap", "--variant=minbase", RELEASE, folder);
  for (const path of ["usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists"])
    rmSync(join(folder, path), { recursive: true, force: true });
  mkdirSync(cacheFolder(), { recursive: true });
  await mustRun("tar", "-C", folder, "--numeric-owner", "-cf", `${archive}.${process.pid}`, ".");
  renameSync(`${archive}.${process.pid}`, archive);
  rmSync(folder, { recursive: true, force: true });
  return archive;
}

async function buildImages(): Promise<void> {
  const storage = { graph: join(work.path, "graph"), run: join(work.path, "run") };
  writeFileSync(env.CONTAINERS_STORAGE_CONF, `[storage]\ndriver="vfs"\ngraphroot="${storage.graph}"\nrunroot="${storage.run}"\n`);
  await mustRun("node", "scripts/build-binary.mjs");
  const archive = await obtainBase();
  const scratch = await mustRun("buildah", "from", "scratch");
  await mustRun("buildah", "add", "-q", scratch, archive, "/");
  await mustRun("buildah", "commit", "-q", "--rm", scratch, BASE);
  await mustRun("buildah", "build", "-q", "--format", "docker", "--build-arg", `BASE_IMAGE=${BASE}`, "-t", IMAGE, ".");
}

/** Runs a command in the container as an engine would: the image's user and folder, the machine's network. */
function inContainer(container: string, mount: string, ...args: string[]): RunningProgram {
  return startProgram("buildah", ["run", "-v", `${mount}:/etc/selvedge:ro`, container, "--", "selvedge", ...args], { env });
}

interface ImageConfig {
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly StopSignal: string;
  readonly Healthcheck: { readonly Test: readonly string[] };
}

const gateway = (port: number): string => `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec: { listeners: [{ port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: greet }
spec: { module: { builtin: transform }, settings: { response: { headers: [{ op: set, name: x-from, value: image }] } } }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ filters: [greet], respond: { body: hi } }] }
`;

/** One process that a container's engine would signal: the parent of the workers. */
function parentOf(pid: number): number {
  return Number(Bun.spawnSync(["ps", "-o", "ppid=", "-p", String(pid)]).stdout.toString());
}

if (!HAS_BUILDER) {
  work.remove();
  process.stderr.write("\n!!! THE IMAGE IS NOT TESTED: buildah, debootstrap and crun are needed, and root !!!\n\n");
  test("a builder is there, or this is not CI", () => expect(process.env.CI ?? "").toBe(""));
} else {
  describe("the image", () => {
    let container = "";
    beforeAll(async () => {
      await buildImages();
      container = await mustRun("buildah", "from", IMAGE);
    }, BUILD_MS);
    afterAll(async () => {
      await run("buildah", "rm", "--all");
      work.remove();
    }, BUILD_MS);

    test(
      "runs the executable as nobody in particular, with a health check and nothing to write but its own folder",
      async () => {
        const { Docker } = JSON.parse(await mustRun("buildah", "inspect", "--type", "image", IMAGE)) as {
          Docker: { config: ImageConfig };
        };
        const { User, Entrypoint, StopSignal, Healthcheck } = Docker.config;
        expect({ User, Entrypoint, StopSignal, check: Healthcheck.Test }).toEqual({
          ...{ User: "10001:10001", Entrypoint: ["selvedge"], StopSignal: "SIGTERM" },
          check: ["CMD", "/usr/local/bin/selvedge", "health"],
        });
        expect(await mustRun("buildah", "run", container, "--", "selvedge", "version")).toStartWith("selvedge ");
        expect(await mustRun("buildah", "run", container, "--", "id", "-u")).toBe("10001");
        const writes = await run(
          "buildah",
          "run",
          container,
          "--",
          "sh",
          "-c",
          "touch mine && ! touch /usr/local/bin/x 2>/dev/null",
        );
        expect(writes.code).toBe(0);
      },
      TEST_MS,
    );

    test.each(["gateway", "sidecar"])(
      "serves as %s, is healthy, and SIGTERM ends it",
      async (mode) => {
        const [folder, port, admin] = [newFolder(), await freePort(), await freePort()];
        writeFileSync(join(folder.path, "gateway.yaml"), gateway(port));
        await mustRun("chmod", "-R", "a+rX", folder.path);
        const address = `127.0.0.1:${admin}`;
        const flags = ["-f", "/etc/selvedge/gateway.yaml", "--mode", mode, "--workers", "2", "--admin", address];
        const proxy = inContainer(container, folder.path, "proxy", ...flags);
        try {
          await proxy.saw("selvedge proxy");
          const answer = await fetch(`http://127.0.0.1:${port}/`);
          expect([answer.headers.get("x-from"), await answer.text()]).toEqual(["image", "hi"]);
          // What HEALTHCHECK runs; the address comes from the environment there.
          const health = await run(
            "buildah",
            "run",
            "--env",
            `SELVEDGE_ADMIN=${address}`,
            container,
            "--",
            "/usr/local/bin/selvedge",
            "health",
          );
          expect([health.code, health.out]).toEqual([0, `proxy: ok (http://${address}/healthz)\n`]);
          const { workers } = (await (await fetch(`http://${address}/status`)).json()) as { workers: { pid: number }[] };
          const first = workers[0]?.pid ?? 0;
          process.kill(mode === "gateway" ? parentOf(first) : first, "SIGTERM");
          expect((await proxy.finished).code).toBe(0);
          await until(() => workers.every(({ pid }) => !isAlive(pid)));
        } finally {
          proxy.child.kill("SIGTERM");
          await proxy.finished;
          folder.remove();
        }
      },
      TEST_MS,
    );

    test(
      "runs as control plane, with the same health check",
      async () => {
        const [folder, listen, nats] = [newFolder(), await freePort(), await startNats()];
        const address = `127.0.0.1:${listen}`;
        const control = inContainer(container, folder.path, "control", "--nats", nats.url, "--listen", address);
        try {
          await control.saw("selvedge control");
          const health = await run(
            "buildah",
            "run",
            "--env",
            `SELVEDGE_LISTEN=${address}`,
            container,
            "--",
            "selvedge",
            "health",
          );
          expect([health.code, health.out]).toEqual([0, `control: ok (http://${address}/healthz)\n`]);
        } finally {
          control.child.kill("SIGTERM");
          await control.finished;
          await nats.stop();
          folder.remove();
        }
      },
      TEST_MS,
    );
  });
}
