import { expect, test } from "bun:test";
import { join } from "node:path";
import { SystemClock } from "../core/clock.ts";
import { SILENT_LOG } from "../core/log.ts";
import { SeededRng } from "../core/rng.ts";
import { createNatsSource } from "./source-nats.ts";

test("what a sidecar loads for NATS are two small packages: no zod, yaml, jose, JetStream", async () => {
  const built = await Bun.build({ entrypoints: [join(import.meta.dir, "source-nats.ts")], target: "bun", packages: "external" });
  const text = await (built.outputs[0] as Blob).text();
  const packages = [...text.matchAll(/^(?:import|export)[^;]*? from "([^"]+)"|^import "([^"]+)"/gm)].map(
    (match) => match[1] ?? match[2] ?? "",
  );
  const foreign = new Set(packages.filter((name) => !/^(node:)?(crypto|fs|fs\/promises|net|path|process|tls)$|^bun:/.test(name)));
  expect([...foreign].sort()).toEqual([
    "@nats-io/nats-core",
    "@nats-io/nats-core/internal",
    "@nats-io/transport-node/lib/node_transport.js",
  ]);
});

test("ids and groups that would reach into other subjects are refused", () => {
  const options = { address: { servers: [] }, version: "1", clock: new SystemClock(), rng: new SeededRng(1), log: SILENT_LOG };
  for (const name of ["", "a.b", "*", ">", "a b", "a".repeat(129)]) {
    expect(() => createNatsSource({ ...options, id: name })).toThrow("proxy id");
    expect(() => createNatsSource({ ...options, id: "a", group: name })).toThrow("proxy group");
  }
  expect(createNatsSource({ ...options, id: "a".repeat(128), group: "edge-1_x" }).state().kind).toBe("disconnected");
});
