/**
 * How long the control plane takes with 10,000 routes on 1,000 hosts: all of them at once, then one that changes. Without
 * NATS, with a real nats-server, and the parts of a change. Run: `bun bench/control.ts` (`--json` for a program).
 */
import process from "node:process";
import { compileSnapshot } from "../src/config/compile.ts";
import { builtinModules } from "../src/config/modules.ts";
import { parseResources } from "../src/config/parse.ts";
import { splitSections } from "../src/config/sections.ts";
import { createControlPlane } from "../src/control/create.ts";
import type { ControlBackend } from "../src/control/options.ts";
import { SystemClock } from "../src/core/clock.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { systemRng } from "../src/core/rng.ts";
import { startNats } from "../test/kit/nats.ts";

const ROUTES = 10_000;
const HOSTS = 1_000;
const CHANGES = 25;
const clock = new SystemClock();

interface Row {
  readonly name: string;
  readonly ms: number;
}

const service =
  '{"apiVersion":"selvedge.dev/v1","kind":"Service","metadata":{"name":"shop"},"spec":{"endpoints":["127.0.0.1:9000"]}}';

function routeText(index: number, path: string): string {
  const spec = {
    hosts: [`h${index % HOSTS}.example.org`],
    rules: [{ matches: [{ path: { prefix: path } }], backends: [{ service: "shop" }] }],
  };
  return JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Route", metadata: { name: `r${index}` }, spec });
}

const allRoutes = (): string => [service, ...Array.from({ length: ROUTES }, (_, i) => routeText(i, `/p${i}`))].join("\n---\n");

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

async function timed<T>(work: () => T | Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const startMs = clock.nowMs();
  const value = await work();
  return { ms: clock.nowMs() - startMs, value };
}

async function measurePlane(kind: string, backend: ControlBackend): Promise<Row[]> {
  const plane = createControlPlane({
    ...{ backend, modules: builtinModules(new Map()), version: "bench", clock, rng: systemRng(), log: SILENT_LOG },
  });
  await plane.start();
  const apply = async (text: string): Promise<number> => {
    const { ms, value } = await timed(() => plane.apply({ text, author: "bench", origin: "file" }));
    if (!value.ok || value.changes.length === 0) throw new Error("the apply did nothing");
    return ms;
  };
  try {
    const all = await apply(allRoutes());
    const changes: number[] = [];
    for (let i = 0; i < CHANGES; i++) changes.push(await apply(routeText((i * 397) % ROUTES, `/changed${i}`)));
    return [
      { name: `${kind}: all ${ROUTES} routes at once`, ms: all },
      { name: `${kind}: one route changes (median of ${CHANGES})`, ms: median(changes) },
    ];
  } finally {
    await plane.stop();
  }
}

async function measureParts(): Promise<Row[]> {
  const options = { revision: 1, modules: builtinModules(new Map()), readFile: () => new Uint8Array() };
  const parsed = await timed(() => parseResources(allRoutes(), { file: "<bench>" }));
  const resources = parsed.value.resources.map((each) => each.resource);
  const first = await timed(() => compileSnapshot(resources, options));
  const again = await timed(() => compileSnapshot(resources, options));
  const { snapshot } = again.value;
  if (snapshot === undefined) throw new Error("the routes do not compile");
  const split = await timed(() => splitSections(snapshot, 0));
  return [
    { name: "parse all", ms: parsed.ms },
    { name: "compile all", ms: first.ms },
    { name: "compile again", ms: again.ms },
    { name: "split into sections", ms: split.ms },
  ];
}

const rows = await measureParts();
rows.push(...(await measurePlane("in process", { kind: "memory" })));
const server = await startNats();
try {
  rows.push(...(await measurePlane("over NATS", { kind: "nats", address: { servers: [server.url] } })));
} finally {
  await server.stop();
}
if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify(rows)}\n`);
else for (const { name, ms } of rows) process.stdout.write(`${ms.toFixed(1).padStart(9)} ms  ${name}\n`);
