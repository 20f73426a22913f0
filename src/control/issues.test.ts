import { expect, test } from "bun:test";
import { builtinModules } from "../config/modules.ts";
import { SystemClock } from "../core/clock.ts";
import { SILENT_LOG } from "../core/log.ts";
import { SeededRng } from "../core/rng.ts";
import { createControlPlane } from "./create.ts";

const by = { author: "ann", origin: "api" };

async function startPlane() {
  const plane = createControlPlane({
    ...{ backend: { kind: "memory" }, modules: builtinModules(new Map()), version: "1" },
    ...{ clock: new SystemClock(), rng: new SeededRng(1), log: SILENT_LOG },
  });
  await plane.start();
  return plane;
}

const resourceOf = (kind: string, name: string, spec: object): string =>
  `${JSON.stringify({ apiVersion: "selvedge.dev/v1", kind, metadata: { name }, spec })}\n---\n`;

test("a conflict with what is stored is told in the text that is applied, and says which revision has the other", async () => {
  const plane = await startPlane();
  const route = (name: string): string => resourceOf("Route", name, { rules: [{ respond: { status: 204 } }] });
  const gateway = (name: string): string => resourceOf("Gateway", name, { listeners: [{ port: 8080 }] });
  const mesh = (name: string): string => resourceOf("Mesh", name, {});
  expect((await plane.apply({ ...by, text: route("m") + gateway("m") + mesh("m") })).ok).toBe(true);
  // Before and behind it by name.
  for (const name of ["a", "z"]) {
    const outcome = await plane.apply({ ...by, text: route(name) + gateway(name) + mesh(name) });
    expect(outcome.ok ? [] : outcome.issues.map(({ line, resource, message }) => [line, resource, message])).toEqual([
      [1, `Route default/${name}`, "Rule 0 of Route default/m, which is stored (revision 1), has the same match on host *."],
      [
        3,
        `Gateway default/${name}`,
        "0.0.0.0:8080 is taken by listener default/m/http-8080 (0.0.0.0:8080), which is stored (revision 1).",
      ],
      [5, `Mesh default/${name}`, "There is also Mesh default/m, which is stored (revision 1)."],
    ]);
    expect(outcome.ok ? "" : outcome.issues.at(-1)?.hint).toContain("`selvedge get Mesh/m` shows it");
  }
  await plane.stop();
});

test("every mistake is told in one round, in the order of the text, and none that only follows from another", async () => {
  const plane = await startPlane();
  expect((await plane.apply({ ...by, text: resourceOf("Service", "old", { endpoints: ["127.0.0.1:1"] }) })).ok).toBe(true);
  const text = `
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: r }
spec:
  rules:
    - backends: [old, broken, gone]
      timeout: soon
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: broken }
spec: { endpoints: ["127.0.0.1"] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: s }
spec: { hosts: [s.example], rules: [{ backends: [missing] }] }
`;
  const outcome = await plane.apply({ ...by, text });
  expect(outcome.ok ? [] : outcome.issues.map(({ line, column, code }) => `${line}:${column} ${code}`)).toEqual([
    "7:31 dangling_reference",
    "8:16 bad_duration",
    "13:21 bad_address",
    "18:50 dangling_reference",
  ]);
  await plane.stop();
});
