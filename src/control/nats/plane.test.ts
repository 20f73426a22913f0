import { expect, test } from "bun:test";
import { startNats } from "../../../test/kit/nats.ts";
import { until } from "../../../test/kit/until.ts";
import { builtinModules } from "../../config/modules.ts";
import { SystemClock, VirtualClock } from "../../core/clock.ts";
import { JsonLog } from "../../core/log.ts";
import { SeededRng } from "../../core/rng.ts";
import { createControlPlane } from "../create.ts";

test("a server that is away is complained of once, then ever more rarely", async () => {
  const clock = new VirtualClock();
  const lines: string[] = [];
  let tries = 0;
  const plane = createControlPlane({
    backend: {
      kind: "nats",
      address: { servers: ["nats://127.0.0.1:1"] },
      connect: () => {
        tries++;
        return Promise.reject(new Error("connection refused"));
      },
    },
    clock,
    rng: new SeededRng(1),
    log: new JsonLog("info", clock, (line) => void lines.push(line)),
    version: "test",
    modules: builtinModules(),
  });
  const started = plane.start().catch((error: Error) => error.message);
  for (let second = 0; second < 60; second++) {
    await until(() => tries === second + 1);
    // The retry is armed a moment after the failure.
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1_000);
  }
  // At 0, 10 and 30 s.
  expect(lines.filter((line) => line.includes("NATS cannot be used yet") && line.includes("connection refused"))).toHaveLength(3);
  await plane.stop();
  expect(await started).toContain("stopped before it reached NATS");
});

test("a server that comes after the control plane was not lost, and is not back", async () => {
  const server = await startNats();
  const clock = new SystemClock();
  const lines: string[] = [];
  await server.halt(true);
  const plane = createControlPlane({
    backend: { kind: "nats", address: { servers: [server.url] } },
    ...{ clock, rng: new SeededRng(1), log: new JsonLog("info", clock, (line) => void lines.push(line)) },
    ...{ version: "test", modules: builtinModules() },
  });
  try {
    const started = plane.start();
    await until(() => lines.some((line) => line.includes("NATS cannot be used yet")));
    await server.resume();
    await started;
    expect(lines.filter((line) => line.includes("NATS can be used")).length).toBe(1);
    expect(lines.filter((line) => /lostMs|is back/.test(line))).toEqual([]);
  } finally {
    await plane.stop();
    await server.stop();
  }
});

test("a server that comes back: it is said, with how long it was away", async () => {
  const server = await startNats();
  const clock = new SystemClock();
  const lines: string[] = [];
  const plane = createControlPlane({
    backend: { kind: "nats", address: { servers: [server.url] } },
    ...{ clock, rng: new SeededRng(1), log: new JsonLog("info", clock, (line) => void lines.push(line)) },
    ...{ version: "test", modules: builtinModules() },
  });
  try {
    await plane.start();
    expect(lines.filter((line) => line.includes("NATS"))).toEqual([]);
    await server.halt(true);
    await until(() => lines.some((line) => line.includes("NATS is lost")));
    await server.resume();
    await until(() => lines.some((line) => /"NATS is back".*"lostMs":[1-9]\d*/.test(line)));
  } finally {
    await plane.stop();
    await server.stop();
  }
});
