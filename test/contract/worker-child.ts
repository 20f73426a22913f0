/** The child of process.portable.ts: answers messages; writes a file when its parent is gone. */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { spawnWorker, workerPort } from "../../src/runtime/process.ts";

const port = workerPort();
if (port === undefined) throw new Error("not a worker");
port.onDisconnect(() => {
  const marker = process.argv.find((each) => each.startsWith("--marker="));
  if (marker !== undefined) writeFileSync(marker.slice("--marker=".length), "gone");
});
port.onMessage((message) => {
  const request = message as { readonly kind: string; readonly bytes?: Uint8Array; readonly marker?: string };
  if (request.kind === "echo") port.send({ kind: "echo", bytes: request.bytes, isBytes: request.bytes instanceof Uint8Array });
  if (request.kind === "exit") process.exit(7);
  if (request.kind === "throw") throw new Error("worker fails on purpose");
  if (request.kind === "nest") {
    const child = spawnWorker([`--marker=${request.marker}`], {
      onMessage: () => port.send({ kind: "nested", pid: child.pid }),
      onExit: () => {},
    });
  }
});
port.send({ kind: "ready", args: process.argv.slice(2), colour: process.env.TEST_COLOUR });
