import { expect, test } from "bun:test";
import type { TryFilter } from "../config/filter-check.ts";
import { builtinModules } from "../config/modules.ts";
import { VirtualClock } from "../core/clock.ts";
import { CONTROL_LIMITS } from "../core/limits.ts";
import { SILENT_LOG } from "../core/log.ts";
import { SeededRng } from "../core/rng.ts";
import { outcomeResponse } from "./api/problem.ts";
import { MemoryDistributor } from "./distribute/memory.ts";
import { createCompiler } from "./options.ts";
import { Plane } from "./plane.ts";
import { MemoryStore } from "./store/memory.ts";

const resource = (kind: string, name: string, spec: object): string =>
  JSON.stringify({ apiVersion: "selvedge.dev/v1", kind, metadata: { name }, spec });
const by = { author: "ann", origin: "api" };
const EMPTY = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

async function start(tryFilter: TryFilter, store = new MemoryStore()) {
  const clock = new VirtualClock();
  const options = { modules: builtinModules(new Map()), version: "1", clock, rng: new SeededRng(1), tryFilter };
  const all = { ...options, backend: { kind: "memory" } as const, log: SILENT_LOG };
  const compiler = createCompiler(all, (digest) => store.getModule(digest));
  const distributor = new MemoryDistributor("gateway", "1");
  const plane = new Plane({ ...all, store, compiler, distributor, connection: () => "none" });
  await plane.start();
  return { plane, clock, distributor };
}

test("a filter that could not be tried is no filter; one that is there already is tried again until somebody knows", async () => {
  const fault = { message: "The process ended.", hint: "again" };
  const verdicts = [fault, undefined, fault, fault];
  const tryFilter: TryFilter = async () => verdicts.shift();
  const store = new MemoryStore();
  const first = await start(tryFilter, store);
  const digest = await first.plane.putModule(EMPTY);
  const text = resource("Filter", "slow", { module: { digest } });
  const refused = await first.plane.apply({ text, ...by });
  expect(refused).toMatchObject({ ok: false, reason: "invalid", issues: [{ code: "trial_failed", hint: "again", line: 1 }] });
  expect(await first.plane.apply({ text, ...by })).toMatchObject({ ok: true, revision: 1 });
  await first.plane.stop();
  const { plane, clock, distributor } = await start(tryFilter, store);
  const codes = () => plane.status().issues.map(({ code }) => code);
  expect(codes()).toEqual(["trial_failed"]);
  expect(distributor.bus.last).toBeUndefined();
  // Far more than two more tries take.
  for (let i = 0; i < 200 && codes().length > 0; i++) {
    clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  expect(codes()).toEqual([]);
  expect(distributor.bus.last?.snapshot.filters.map(({ name }) => name)).toEqual(["default/slow"]);
  await plane.stop();
});

test("so many changes wait for their turn, and no more", async () => {
  const [begun, trial] = [Promise.withResolvers<void>(), Promise.withResolvers<undefined>()];
  const { plane } = await start(() => {
    begun.resolve();
    return trial.promise;
  });
  const digest = await plane.putModule(EMPTY);
  const tried = plane.apply({ text: resource("Filter", "slow", { module: { digest } }), ...by });
  await begun.promise;
  const waiting = Array.from({ length: CONTROL_LIMITS.waitingChanges }, () => plane.delete({ text: "Service/none", ...by }));
  const refused = await plane.delete({ text: "Service/none", ...by });
  expect(refused).toMatchObject({ ok: false, reason: "busy", issues: [{ code: "too_many_changes" }] });
  expect(outcomeResponse(refused).headers.get("retry-after")).toBe("5");
  const inbox = { sequence: 1, redelivered: false };
  const text = resource("Service", "shop", { endpoints: ["127.0.0.1:1"] });
  const published = plane.apply({ text, author: "", origin: "nats", inbox });
  trial.resolve(undefined);
  expect(await tried).toMatchObject({ ok: true, revision: 1 });
  expect(new Set((await Promise.all(waiting)).map((each) => (each.ok ? "" : each.reason)))).toEqual(new Set(["not_found"]));
  expect(await published).toMatchObject({ ok: true, revision: 2 });
  await plane.stop();
});
