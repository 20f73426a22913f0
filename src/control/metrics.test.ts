import { expect, test } from "bun:test";
import { builtinModules } from "../config/modules.ts";
import type { ProxyStatusMessage } from "../config/nats/status.ts";
import { SystemClock } from "../core/clock.ts";
import { SILENT_LOG } from "../core/log.ts";
import { SeededRng } from "../core/rng.ts";
import { createControlPlane } from "./create.ts";
import { CONTROL_METRICS, createControlMetrics, PROXY_SERIES_MAX } from "./metrics.ts";

const service = (name: string, spec = "{ endpoints: ['127.0.0.1:1'] }") =>
  `apiVersion: selvedge.dev/v1\nkind: Service\nmetadata: { name: ${name} }\nspec: ${spec}\n`;

function statusOf(part: Partial<ProxyStatusMessage>): ProxyStatusMessage {
  const base = { id: "edge-1", group: "gateway", version: "1", revision: 0, digest: "", applyMs: 0 };
  return { ...base, rejectedRevision: 0, issues: [], leaving: false, ...part };
}

async function startPlane() {
  const metrics = await createControlMetrics();
  const plane = createControlPlane({
    backend: { kind: "memory" },
    ...{ modules: builtinModules(new Map()), version: "1", clock: new SystemClock(), rng: new SeededRng(1), log: SILENT_LOG },
    observer: metrics,
  });
  await plane.start();
  const lines = async (): Promise<string[]> => (await metrics.render(plane.status())).split("\n");
  return { plane, metrics, lines };
}

test("applies by origin and result, issues by code, how long it took", async () => {
  const { plane, lines } = await startPlane();
  const by = { author: "ann", origin: "api" };
  await plane.apply({ text: service("shop"), ...by });
  await plane.apply({ text: service("shop"), ...by });
  await plane.apply({ text: service("other"), ...by, dryRun: true });
  await plane.apply({ text: service("bad", "{ endpoints: ['127.0.0.1:1'], nonsense: 1 }"), ...by, origin: "nats" });
  await plane.delete({ text: "Service/gone", ...by });
  await plane.rollback(1, "ann");
  const seen = await lines();
  expect(seen).toContain('selvedge_control_applies_total{origin="api",result="applied"} 1');
  expect(seen).toContain('selvedge_control_applies_total{origin="api",result="unchanged"} 2');
  expect(seen).toContain('selvedge_control_applies_total{origin="nats",result="invalid"} 1');
  expect(seen).toContain('selvedge_control_applies_total{origin="api",result="not_found"} 1');
  expect(seen).toContain('selvedge_control_applies_total{origin="rollback",result="unchanged"} 1');
  expect(seen).toContain('selvedge_control_issues_total{code="unknown_key"} 1');
  expect(seen).toContain("selvedge_control_apply_seconds_count 6");
  expect(seen).toContain("selvedge_control_revision 1");
  expect(seen).toContain("selvedge_control_resources 1");
  expect(seen).toContain("selvedge_control_nats_connected 1");
  for (const { name, help } of Object.values(CONTROL_METRICS)) expect(seen).toContain(`# HELP ${name} ${help}`);
  await plane.stop();
});

test("what proxies took and refused, each once, however often they say it", async () => {
  const { plane, lines } = await startPlane();
  const source = plane.bus?.source("worker");
  await source?.start(({ snapshot: { revision, digest } }) => source.report({ kind: "applied", revision, digest, applyMs: 20 }));
  await plane.apply({ text: service("shop"), author: "", origin: "api" });
  source?.report({ kind: "rejected", revision: 2, digest: "", issues: [] });
  source?.report({ kind: "rejected", revision: 2, digest: "", issues: [] });
  const seen = await lines();
  const labels = '{proxy="worker",group="gateway"}';
  expect(seen).toContain(`selvedge_control_proxy_acks_total${labels} 1`);
  expect(seen).toContain(`selvedge_control_proxy_nacks_total${labels} 1`);
  expect(seen).toContain(`selvedge_control_proxy_revision${labels} 1`);
  expect(seen).toContain(`selvedge_control_proxy_apply_seconds${labels} 0.02`);
  await plane.stop();
});

test("series of proxies are bounded; those that leave, end without a word or change their group make room", async () => {
  const { plane, metrics } = await startPlane();
  const live = new Set<string>();
  const say = (id: string, part: Partial<ProxyStatusMessage> = {}): void => {
    metrics.onProxyStatus(statusOf({ id, revision: 1, ...part }));
    if (part.leaving) live.delete(id);
    else live.add(id);
  };
  const series = async (metric = "proxy_acks_total"): Promise<string[]> => {
    const proxies = [...live].map((id) => ({ ...statusOf({ id, revision: 1 }), events: [], seenAtMs: 0 }));
    const text = await metrics.render({ ...plane.status(), proxies });
    return text.split("\n").filter((line) => line.startsWith(`selvedge_control_${metric}{`));
  };
  for (let i = 0; i < PROXY_SERIES_MAX + 100; i++) say(`p${i}`);
  expect((await series()).length).toBe(PROXY_SERIES_MAX);
  expect((await series("proxy_revision")).length).toBe(PROXY_SERIES_MAX);
  say("p0", { leaving: true });
  expect((await series()).length).toBe(PROXY_SERIES_MAX - 1);
  live.delete("p1");
  expect((await series()).length).toBe(PROXY_SERIES_MAX - 2);
  for (let i = 0; i < 10; i++) say("p2", { group: `g${i}`, revision: i + 2 });
  const own = (await series()).filter((line) => line.includes('"p2"'));
  expect(own).toEqual(['selvedge_control_proxy_acks_total{proxy="p2",group="g9"} 1']);
  for (const id of ["new", "newer", "newest"]) say(id);
  expect((await series()).length).toBe(PROXY_SERIES_MAX);
  await plane.stop();
});
