import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { bunNet, ORPHANS_MAX } from "./bun.ts";
import type { Socket } from "./net.ts";

const descriptors = (): number => readdirSync("/dev/fd").length;

test("connections given up while connecting hold a bounded number of descriptors", async () => {
  // A listener that was stopped: once its queue is full, the kernel answers no more and connects hang.
  const program = `const l = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } }); console.log(l.port);`;
  const child = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe" });
  const open: Socket[] = [];
  try {
    const reader = child.stdout.getReader();
    const port = Number(new TextDecoder().decode((await reader.read()).value));
    child.kill("SIGSTOP");
    const address = { kind: "tcp", host: "127.0.0.1", port } as const;
    // Fill the queue: until one of a batch does not get through.
    let opened = 0;
    let closed = 0;
    const handler = { onOpen: () => opened++, onData() {}, onEnd() {}, onDrain() {}, onClose: () => closed++ };
    while (opened === open.length) {
      for (let i = 0; i < 100; i++) open.push(bunNet.connect({ address, tls: undefined }, handler));
      for (let i = 0; i < 100 && opened < open.length; i++) await new Promise((resolve) => setImmediate(resolve));
    }
    const before = descriptors();
    const hanging: Socket[] = [];
    for (let i = 0; i < 4 * ORPHANS_MAX; i++) {
      const socket = bunNet.connect({ address, tls: undefined }, handler);
      socket.destroy();
      hanging.push(socket);
      if (i % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    while (closed < hanging.length) await new Promise((resolve) => setImmediate(resolve));
    expect(descriptors() - before).toBeLessThanOrEqual(ORPHANS_MAX + 1);
  } finally {
    for (const socket of open) socket.destroy();
    child.kill("SIGKILL");
    await child.exited;
  }
});
