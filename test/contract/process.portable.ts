import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  availableCores,
  onSignal,
  type SelfCommand,
  selfCommand,
  spawnWorker,
  type WorkerProcess,
  workerPort,
} from "../../src/runtime/process.ts";
import { describe, test } from "../kit/suite.ts";

const CHILD = fileURLToPath(new URL("./worker-child.ts", import.meta.url));
const SELF: SelfCommand =
  "Deno" in globalThis
    ? { command: process.execPath, args: ["run", "-A", "--no-lock", CHILD] }
    : { command: process.execPath, args: [CHILD] };

interface Message {
  readonly kind: string;
  readonly [key: string]: unknown;
}

/** A worker whose messages and exit can be waited for. */
class Started {
  readonly worker: WorkerProcess;
  readonly messages: Message[] = [];
  exit: readonly [number | undefined, string | undefined] | undefined;
  #wake: () => void = () => {};

  constructor(args: readonly string[], self = SELF) {
    this.worker = spawnWorker(args, {
      self,
      env: { TEST_COLOUR: "green" },
      onMessage: (message) => {
        this.messages.push(message as Message);
        this.#wake();
      },
      onExit: (code, signal) => {
        assert.equal(this.exit, undefined, "onExit twice");
        this.exit = [code, signal];
        this.#wake();
      },
    });
  }

  async until<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
  message(kind: string): Promise<Message> {
    return this.until(() => this.messages.find((each) => each.kind === kind));
  }
  ended(): Promise<readonly [number | undefined, string | undefined]> {
    return this.until(() => this.exit);
  }
}

describe("worker processes", () => {
  test("a worker gets its arguments and environment, and bytes arrive as bytes both ways", async () => {
    const started = new Started(["worker", "--index=3"]);
    const ready = await started.message("ready");
    assert.deepEqual(ready.args, ["worker", "--index=3"]);
    assert.equal(ready.colour, "green");
    const bytes = new Uint8Array(200_000).map((_, i) => i * 7);
    assert.equal(started.worker.send({ kind: "echo", bytes }), true);
    const echo = await started.message("echo");
    assert.equal(echo.isBytes, true);
    assert.ok(Buffer.compare(echo.bytes as Uint8Array, bytes) === 0);
    started.worker.send({ kind: "exit" });
    assert.deepEqual(await started.ended(), [7, undefined]);
    assert.equal(started.worker.send({ kind: "echo" }), false);
  });

  test("kill: the exit says the signal", async () => {
    const started = new Started([]);
    await started.message("ready");
    assert.ok(started.worker.pid > 0);
    started.worker.kill("SIGKILL");
    assert.deepEqual(await started.ended(), [undefined, "SIGKILL"]);
  });

  test("a worker whose parent is killed exits by itself", async () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-worker-"));
    try {
      const marker = join(folder, "marker");
      const parent = new Started([]);
      await parent.message("ready");
      parent.worker.send({ kind: "nest", marker });
      const { pid } = await parent.message("nested");
      parent.worker.kill("SIGKILL");
      await parent.ended();
      while (isAlive(pid as number)) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.ok(existsSync(marker), "it was told before");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a program that cannot be started: onExit with the reason", async () => {
    const error = await new Promise<Error | undefined>((resolve) => {
      spawnWorker([], {
        self: { command: "/no/such/program", args: [] },
        onMessage: () => {},
        onExit: (_code, _signal, cause) => resolve(cause),
      });
    });
    assert.match(error?.message ?? "", /ENOENT/);
  });

  test("here nobody started us; we know how to start ourselves", () => {
    assert.equal(workerPort(), undefined);
    assert.equal(selfCommand().command, process.execPath);
    assert.ok(availableCores() >= 1);
  });

  test("a signal calls its handler until it is taken off", async () => {
    const heard = await new Promise<string>((resolve) => {
      const off = onSignal("SIGUSR2", () => {
        off();
        resolve("SIGUSR2");
      });
      process.kill(process.pid, "SIGUSR2");
    });
    assert.equal(heard, "SIGUSR2");
  });
});

/** A process that ended but that nobody asked about yet (a zombie) is not alive. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = `/proc/${pid}/stat`;
    return !(existsSync(stat) && readFileSync(stat, "utf8").includes(") Z "));
  } catch {
    return false;
  }
}
