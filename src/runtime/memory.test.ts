import { describe, expect, test } from "bun:test";
import { VirtualClock } from "../core/clock.ts";
import { MemoryNet } from "./memory.ts";
import type { Listener, Socket, SocketHandler } from "./net.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function recorder(log: string[], name: string): SocketHandler {
  return {
    onOpen: () => void log.push(`${name} open`),
    onData: (_socket, bytes) => void log.push(`${name} data ${new TextDecoder().decode(bytes)}`),
    onEnd: () => void log.push(`${name} end`),
    onDrain: () => void log.push(`${name} drain`),
    onClose: (_socket, error) => void log.push(`${name} close${error === undefined ? "" : " in error"}`),
  };
}

async function listen(net: MemoryNet, log: string[]): Promise<{ listener: Listener; accepted: Socket[] }> {
  const accepted: Socket[] = [];
  const listener = await net.listen(
    { address: { kind: "tcp", host: "10.0.0.1", port: 80 }, tls: undefined, reusePort: false, deferTls: false },
    (socket) => {
      accepted.push(socket);
      return recorder(log, "far");
    },
  );
  return { listener, accepted };
}

const text = (value: string) => new TextEncoder().encode(value);

describe("MemoryNet", () => {
  test("with latency everything waits for the clock, in order", async () => {
    const clock = new VirtualClock();
    const net = new MemoryNet({ clock, latencyMs: 10 });
    const log: string[] = [];
    const { listener, accepted } = await listen(net, log);
    const near = net.connect({ address: listener.address, tls: undefined }, recorder(log, "near"));
    await turn();
    expect(log).toEqual([]);
    clock.advance(10);
    expect(log).toEqual(["near open"]);
    near.write(text("a"));
    near.write(text("b"));
    clock.advance(9);
    expect(log).toEqual(["near open"]);
    clock.advance(1);
    expect(log).toEqual(["near open", "far data a", "far data b"]);
    near.end();
    accepted[0]?.end();
    clock.advance(100);
    expect(log.slice(3).sort()).toEqual(["far close", "far end", "near close", "near end"]);
    expect(clock.pending).toBe(0);
    expect(net.sockets.size).toBe(0);
  });

  test("the window: write answers false beyond it, a stall fills it, drain follows when it empties", async () => {
    const net = new MemoryNet({ windowBytes: 4 });
    const log: string[] = [];
    const { listener } = await listen(net, log);
    const near = net.connect({ address: listener.address, tls: undefined }, recorder(log, "near"));
    await turn();
    const [, far] = [...net.sockets];
    far?.stall();
    expect(near.write(text("1234"))).toBe(true);
    expect(near.write(text("5"))).toBe(false);
    expect(near.pendingBytes).toBe(1);
    await turn();
    expect(log).toEqual(["near open"]);
    far?.unstall();
    await turn();
    expect(log).toEqual(["near open", "far data 1234", "far data 5", "near drain"]);
  });

  test("reset breaks both sides; an unreachable address hangs; a run repeats exactly", async () => {
    const run = async (): Promise<string[]> => {
      const net = new MemoryNet();
      const log: string[] = [];
      const { listener } = await listen(net, log);
      net.setUnreachable(listener.address);
      const lost = net.connect({ address: listener.address, tls: undefined }, recorder(log, "lost"));
      await turn();
      expect(log).toEqual([]);
      lost.destroy();
      net.setUnreachable(listener.address, false);
      const near = net.connect({ address: listener.address, tls: undefined }, recorder(log, "near"));
      await turn();
      near.write(text("x"));
      for (const socket of net.sockets) socket.reset();
      await turn();
      await listener.close();
      return log;
    };
    const first = await run();
    expect(first.filter((each) => each.endsWith("in error")).sort()).toEqual(["far close in error", "near close in error"]);
    expect(await run()).toEqual(first);
  });
});
