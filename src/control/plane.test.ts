import { describe, expect, test } from "bun:test";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { settingsOf } from "../../test/kit/pulls.ts";
import { until } from "../../test/kit/until.ts";
import { sha256Digest } from "../config/canonical.ts";
import { METADATA_BYTES, METADATA_SECTION } from "../config/module-summary.ts";
import { builtinModules } from "../config/modules.ts";
import { createPuller } from "../config/oci/pin.ts";
import type { SnapshotUpdate } from "../config/source.ts";
import { appendCustomSection } from "../config/wasm-sections.ts";
import { SystemClock, VirtualClock } from "../core/clock.ts";
import { FilterLogs } from "../core/filter-logs.ts";
import { CONTROL_LIMITS, OCI_LIMITS } from "../core/limits.ts";
import { SILENT_LOG } from "../core/log.ts";
import { SeededRng } from "../core/rng.ts";
import { outcomeResponse } from "./api/problem.ts";
import { createControlPlane } from "./create.ts";
import { MemoryDistributor } from "./distribute/memory.ts";
import { type ControlPlaneOptions, createCompiler } from "./options.ts";
import { Plane } from "./plane.ts";
import { MemoryStore } from "./store/memory.ts";
import { folderPersistence } from "./store/persistence.ts";
import type { ConfigStore } from "./store/store.ts";

const service = (name: string, port = 9000) =>
  JSON.stringify({
    apiVersion: "selvedge.dev/v1",
    kind: "Service",
    metadata: { name },
    spec: { endpoints: [`127.0.0.1:${port}`] },
  });
const filter = (name: string, module: object) =>
  JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Filter", metadata: { name }, spec: { module } });
const by = { author: "ann", origin: "api" };

function makePlane(part: Partial<ControlPlaneOptions> = {}) {
  return createControlPlane({
    backend: { kind: "memory" },
    ...{ modules: builtinModules(new Map()), version: "1", clock: new SystemClock(), rng: new SeededRng(1), log: SILENT_LOG },
    ...part,
  });
}

async function startPlane(part: Partial<ControlPlaneOptions> = {}) {
  const plane = makePlane(part);
  await plane.start();
  return plane;
}

test("what another control plane did a moment ago counts, also where nothing would change or something would be wrong", async () => {
  const shared = new MemoryStore();
  const start = async (): Promise<Plane> => {
    // Nobody tells this one of what the other appends.
    const store = new Proxy<ConfigStore>(shared, {
      get(target, name) {
        if (name === "watch" || name === "close") return async () => {};
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const options = { modules: builtinModules(new Map()), version: "1", clock: new SystemClock(), rng: new SeededRng(1) };
    const all = { ...options, backend: { kind: "memory" } as const, log: SILENT_LOG };
    const compiler = createCompiler(all, (digest) => shared.getModule(digest));
    const plane = new Plane({
      ...all,
      store,
      compiler,
      distributor: new MemoryDistributor("gateway", "1"),
      connection: () => "none",
    });
    await plane.start();
    return plane;
  };
  const [one, other] = [await start(), await start()];
  try {
    const revisions: unknown[] = [];
    for (const [plane, port] of [
      [one, 1],
      [other, 1],
      [one, 2],
      [other, 1],
      [one, 1],
    ] as const) {
      const outcome = await plane.apply({ text: service("flip", port), ...by });
      revisions.push(outcome.ok ? [outcome.revision, outcome.changes.length] : outcome.issues);
    }
    expect(revisions).toEqual([
      [1, 1],
      [1, 0],
      [2, 1],
      [3, 1],
      [3, 0],
    ]);
    await one.apply({ text: service("new"), ...by });
    expect(await other.delete({ text: "Service/new", ...by })).toMatchObject({ ok: true, revision: 5 });
  } finally {
    await one.stop();
    await other.stop();
  }
});

describe("control plane without NATS", () => {
  test("a proxy on the bus gets what is applied, and wait knows", async () => {
    const plane = await startPlane();
    const updates: SnapshotUpdate[] = [];
    const source = plane.bus?.source("worker");
    await source?.start((update) => {
      updates.push(update);
      source.report({ kind: "applied", revision: update.snapshot.revision, digest: update.snapshot.digest, applyMs: 1 });
    });
    await plane.apply({ text: service("shop"), ...by });
    expect(updates.map((update) => update.snapshot.revision)).toEqual([1]);
    expect(await plane.waitApplied(1, 1_000, 1)).toEqual({ ok: true, pending: [], rejected: [] });
    source?.report({ kind: "rejected", revision: 2, digest: "", issues: [] });
    expect((await plane.waitApplied(2, 1_000)).rejected.map((each) => each.id)).toEqual(["worker"]);
    await plane.stop();
  });

  test("what filters of a proxy on the bus say is there to be asked for, as long as it is", async () => {
    const plane = await startPlane();
    const clock = new SystemClock();
    const logs = new FilterLogs(clock);
    const source = plane.bus?.source("worker", undefined, logs);
    await source?.start(() => {});
    source?.report({ kind: "applied", revision: 1, digest: "", applyMs: 1 });
    logs.add("default/x", 2, "said", undefined, 0);
    expect(await plane.filterLogs("worker", { filter: "default/x" })).toMatchObject({
      ok: true,
      page: { lines: [{ message: "said" }] },
    });
    expect(await plane.filterLogs("other", { filter: "default/x" })).toEqual({ ok: false, reason: "no_proxy" });
    await source?.stop();
    expect(await plane.filterLogs("worker", { filter: "default/x" })).toEqual({ ok: false, reason: "no_answer" });
    await plane.stop();
  });

  test("an apply tells what its own resources have to be warned of, and not what others have", async () => {
    const plane = await startPlane();
    const metadata = Buffer.from(JSON.stringify({ capabilities: { random: true } }));
    const empty = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
    const digest = await plane.putModule(appendCustomSection(empty, METADATA_SECTION, metadata));
    const filter = (capabilities: object) =>
      JSON.stringify({
        ...{
          apiVersion: "selvedge.dev/v1",
          kind: "Filter",
          metadata: { name: "needy" },
          spec: { module: { digest }, capabilities },
        },
      });
    const warningsOf = async (text: string, dryRun = false): Promise<unknown> => {
      const outcome = await plane.apply({ text, dryRun, ...by });
      return outcome.ok ? outcome.warnings?.map(({ code, resource, path }) => [code, resource, path]) : outcome;
    };
    const warned = [["capability_not_granted", "Filter default/needy", "spec.capabilities.random"]];
    expect(await warningsOf(filter({}), true)).toEqual(warned);
    expect(await warningsOf(filter({}))).toEqual(warned);
    expect(await warningsOf(service("other"))).toBeUndefined();
    expect(await warningsOf(filter({ random: true }))).toBeUndefined();
    await plane.stop();
  });

  test("the next start has the configuration back, readable by the owner only", async () => {
    const folder = await mkdtemp(join(tmpdir(), "selvedge-plane-"));
    const backend = { kind: "memory", persistence: folderPersistence(folder) } as const;
    const first = await startPlane({ backend });
    await first.apply({ text: service("shop"), ...by });
    await first.apply({ text: service("cart"), ...by });
    await first.stop();
    expect((await stat(join(folder, "config.json"))).mode & 0o777).toBe(0o600);
    const second = await startPlane({ backend });
    expect(second.status()).toMatchObject({ revision: 2, digest: first.status().digest, resources: 2 });
    expect(second.bus?.last?.snapshot.services.map((each) => each.name)).toEqual(["default/cart", "default/shop"]);
    expect(await second.rollback(1, "ann")).toMatchObject({ ok: true, revision: 3 });
    await second.stop();
    await writeFile(join(folder, "config.json"), "{ damaged");
    expect(makePlane({ backend }).start()).rejects.toThrow();
    await rm(folder, { recursive: true });
  });

  test("a message that comes again after its commit changes nothing, even when somebody changed it back meanwhile", async () => {
    const plane = await startPlane();
    const once = await plane.apply({
      text: service("shop", 1),
      author: "",
      origin: "nats",
      inbox: { sequence: 5, redelivered: false },
    });
    expect(once).toMatchObject({ ok: true, revision: 1 });
    await plane.apply({ text: service("shop", 2), ...by });
    const again = await plane.apply({
      text: service("shop", 1),
      author: "",
      origin: "nats",
      inbox: { sequence: 5, redelivered: true },
    });
    expect(again).toMatchObject({ ok: true, revision: 1, changes: [{ key: "Service/default/shop", kind: "created" }] });
    expect(JSON.stringify(plane.get())).toContain("127.0.0.1:2");
    // A new inbox starts at 1: its messages are new ones.
    const fresh = await plane.apply({
      text: service("shop", 3),
      author: "",
      origin: "nats",
      inbox: { sequence: 1, redelivered: false },
    });
    expect(fresh).toMatchObject({ ok: true, revision: 3 });
    await plane.stop();
  });

  test("a filter is tried before anybody gets it, once", async () => {
    const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const tried: string[] = [];
    const plane = await startPlane({
      tryFilter: async (config) => {
        tried.push(config.name);
        return config.name === "default/bad" ? "it does not like it" : undefined;
      },
    });
    const digest = await plane.putModule(empty);
    expect(await plane.apply({ text: filter("good", { digest }), ...by })).toMatchObject({ ok: true });
    await plane.apply({ text: service("shop"), ...by });
    expect(tried).toEqual(["default/good"]);
    const other = JSON.stringify({
      apiVersion: "selvedge.dev/v1",
      kind: "Filter",
      metadata: { name: "bad" },
      spec: { module: { digest }, settings: { a: 1 } },
    });
    const refused = await plane.apply({ text: other, ...by });
    expect(refused).toMatchObject({ ok: false, issues: [{ code: "bad_settings", file: "<api>", line: 1 }] });
    expect(plane.bus?.last?.modules.get(digest)).toEqual(empty);
    const unknown = await plane.apply({
      text: filter("unknown", { digest: digest.replace(/.$/, (last) => (last === "0" ? "1" : "0")) }),
      ...by,
    });
    expect(unknown).toMatchObject({ ok: false, issues: [{ code: "unknown_module" }] });
    await plane.stop();
  });

  test("what a module says of itself is read once, and not when it is long", async () => {
    const plane = await startPlane();
    const header = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const metadata = (version: string): Uint8Array =>
      appendCustomSection(header, METADATA_SECTION, new TextEncoder().encode(JSON.stringify({ name: "f", version })));
    await plane.putModule(metadata("1"));
    await plane.putModule(metadata("2".repeat(METADATA_BYTES)));
    const listed = await plane.listModules();
    expect(listed.map(({ name }) => name).sort()).toEqual(["", "f"]);
    const again = await plane.listModules();
    for (const summary of again) expect(listed.includes(summary)).toBe(true);
    await plane.stop();
  });

  test("a backup carries the modules that filters name; restore brings both back elsewhere", async () => {
    const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const plane = await startPlane();
    const digest = await plane.putModule(empty);
    await plane.apply({ text: filter("f", { digest }), ...by });
    const backup = JSON.parse(JSON.stringify(await plane.backup()));
    expect(Object.keys(backup.modules)).toEqual([digest]);
    const other = await startPlane();
    expect(await other.restore(backup, "ann")).toMatchObject({ ok: true, digest: backup.digest });
    const altered = { ...backup, modules: { [digest]: "AAAA" } };
    expect(await other.restore(altered, "ann")).toMatchObject({ ok: false, issues: [{ code: "altered_module" }] });
    for (const bad of [null, 1, "x", [], {}, { ...backup, resources: undefined }])
      expect((await other.restore(bad, "ann")).ok).toBe(false);
    await plane.stop();
    await other.stop();
  });

  test("configuration from the network reads neither files nor environment variables of this machine", async () => {
    const plane = await startPlane();
    const file = await plane.apply({ text: filter("f", { file: "/etc/hostname" }), ...by });
    expect(file).toMatchObject({ ok: false, issues: [{ code: "file_unreadable" }] });
    const variable = await plane.apply({ text: service(`\${HOME}`), ...by });
    expect(variable).toMatchObject({ ok: false, issues: [{ code: "missing_variable" }] });
    await plane.stop();
  });

  test("references: lists, comments, dashes, JSON; nothing and nonsense are refused", async () => {
    const plane = await startPlane();
    const names = ["a", "b", "c", "d"];
    await plane.apply({ text: names.map((name) => service(name)).join("\n---\n"), ...by });
    const remove = (text: string) => plane.delete({ text, ...by, dryRun: true });
    for (const text of [
      "Service/a",
      "Service/default/a",
      "Service a",
      "- Service/a # why",
      '["Service/a"]',
      "# only a\nService/a\n\n",
    ])
      expect(await remove(text)).toMatchObject({ ok: true, changes: [{ key: "Service/default/a", kind: "deleted" }] });
    for (const text of ["", "# nothing", "Service/", "Service/a\n../x", "[]", "Service/a/b/c"])
      expect((await remove(text)).ok).toBe(false);
    expect(plane.status().resources).toBe(4);
    await plane.stop();
  });
});

test("no registry is asked for somebody who may not write that; a dry run and a refused apply keep no module", async () => {
  const { Owners } = await import("./owners/owners.ts");
  const { parseOwners } = await import("./owners/file.ts");
  const owners = new Owners(await parseOwners("publishers:\n  ann: { namespaces: [default], kinds: [Filter] }\n"));
  const bytes = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const digest = sha256Digest(bytes);
  const asked: string[] = [];
  const plane = await startPlane({
    owners,
    pull: async ({ text }) => {
      asked.push(text);
      return { bytes, digest, manifestDigest: digest };
    },
  });
  const text = filter("a", { oci: "r.test/a:1" });
  const kept = async (): Promise<readonly string[]> => (await plane.listModules()).map((each) => each.digest);
  const foreign = await plane.apply({ text, author: "eve", origin: "nats" });
  expect([foreign.ok ? [] : foreign.issues.map(({ code }) => code), asked]).toEqual([["not_owned"], []]);
  expect((await plane.apply({ text, author: "ann", origin: "nats", dryRun: true })).ok).toBe(true);
  const broken = await plane.apply({ text: `${text}\n---\n${filter("b", { digest: digest.replace(/.$/, "g") })}`, ...by });
  expect(broken.ok).toBe(false);
  expect(await kept()).toEqual([]);
  expect((await plane.apply({ text, author: "ann", origin: "nats" })).ok).toBe(true);
  expect(await kept()).toEqual([digest]);
  expect(asked).toEqual(["r.test/a:1", "r.test/a:1", "r.test/a:1"]);
  await plane.stop();
});

test("a module that the folder has lost is an issue until its Filter is applied again, though that changes nothing", async () => {
  const folder = await mkdtemp(join(tmpdir(), "selvedge-lost-module-"));
  const bytes = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const digest = sha256Digest(bytes);
  const start = () =>
    startPlane({
      backend: { kind: "memory", persistence: folderPersistence(folder) },
      pull: async () => ({ bytes, digest, manifestDigest: digest }),
    });
  const before = await start();
  const text = filter("a", { oci: "r.test/a:1", digest });
  expect((await before.apply({ text, ...by })).ok).toBe(true);
  await before.stop();
  await rm(join(folder, "modules"), { recursive: true });
  const after = await start();
  expect(after.status().issues.map(({ code }) => code)).toEqual(["unknown_module"]);
  expect(await after.apply({ text, ...by })).toMatchObject({ ok: true, revision: 1, changes: [] });
  await until(() => after.status().issues.length === 0);
  expect((await after.listModules()).map((each) => each.digest)).toEqual([digest]);
  await after.stop();
  await rm(folder, { recursive: true });
});

test("a registry that does not answer holds up the inbox once in a while, and those who wait for nobody never mind", async () => {
  const clock = new VirtualClock();
  let asked = 0;
  const plane = makePlane({
    clock,
    pull: () => {
      asked++;
      return new Promise(() => {});
    },
  });
  const run = async <T>(work: Promise<T>): Promise<T> => {
    let isDone = false;
    void work.finally(() => {
      isDone = true;
    });
    while (!isDone) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(OCI_LIMITS.pullMs / 4);
    }
    return work;
  };
  await run(plane.start());
  let sequence = 0;
  const apply = async (isPublished: boolean): Promise<string | undefined> => {
    const inbox = { sequence: ++sequence, redelivered: false };
    const request = { text: filter("a", { oci: "r.test/a:1" }), author: "ann", origin: isPublished ? "nats" : "api" };
    const outcome = await run(plane.apply({ ...request, ...(isPublished ? { inbox } : {}) }));
    return outcome.ok ? undefined : outcome.issues[0]?.message;
  };
  expect(await apply(true)).toMatch(/was not there within 20s/);
  expect(await apply(true)).toMatch(/was not there in time a moment ago/);
  expect(asked).toBe(1);
  expect(await apply(false)).toMatch(/was not there within 20s/);
  expect(asked).toBe(2);
  await run(plane.stop());
});

test("as many modules as applies through the API hold; one byte more is refused for a moment, and nothing of the others is lost", async () => {
  const bytes = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  let pulled = (): void => {};
  const isHeld = new Promise<void>((resolve) => {
    pulled = resolve;
  });
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const plane = await startPlane({
    pull: async ({ text }, _signal, _known, hold) => {
      const isLarge = text.includes("large");
      hold(isLarge ? OCI_LIMITS.heldBytes : 1);
      if (isLarge) {
        pulled();
        await gate;
      }
      return { bytes, digest: sha256Digest(bytes), manifestDigest: "" };
    },
  });
  const apply = (name: string, inbox?: { sequence: number; redelivered: boolean }) =>
    plane.apply({ text: filter(name, { oci: `r.test/${name}:1` }), ...by, ...(inbox === undefined ? {} : { inbox }) });
  const large = apply("large");
  await isHeld;
  const refused = await apply("small");
  expect(refused.ok ? [] : [refused.reason, refused.issues.map(({ code }) => code)]).toEqual(["busy", ["registry_busy"]]);
  const answer = outcomeResponse(refused);
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, String(CONTROL_LIMITS.retrySeconds)]);
  // They come one at a time.
  expect((await apply("published", { sequence: 1, redelivered: false })).ok).toBe(true);
  open();
  expect((await large).ok).toBe(true);
  expect((await apply("small")).ok).toBe(true);
  expect(plane.get({ kind: "Filter" }).map(({ key }) => key)).toHaveLength(3);
  await plane.stop();
});

test("silent registries under ever different names hold up the inbox for as long as their publisher may, and all publishers together", async () => {
  const clock = new VirtualClock();
  let asked = 0;
  const sockets: Socket[] = [];
  const servers = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const server = createServer((socket) => {
        sockets.push(socket.on("error", () => {}));
        asked++;
        // It says nothing, until nobody waits any more.
        clock.advance(OCI_LIMITS.pullMs);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const names = servers.map((server) => `127.0.0.1:${(server.address() as AddressInfo).port}/a:1`);
  const pull = createPuller(() => settingsOf(""));
  const plane = makePlane({ clock, pull });
  const started = plane.start();
  while (clock.pending === 0) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(10_000);
  await started;
  let sequence = 0;
  const apply = async (author: string, text: string): Promise<string | undefined> => {
    const inbox = { sequence: ++sequence, redelivered: false };
    const outcome = await plane.apply({ text, author, origin: "nats", inbox });
    return outcome.ok ? undefined : outcome.issues[0]?.code;
  };
  const codes: string[] = [];
  const next = async (author: string): Promise<void> => {
    const code = await apply(author, filter("a", { oci: names.shift() ?? "" }));
    codes.push(`${author} ${asked} ${code}`);
  };
  for (const author of ["eve", "eve", "eve", "eve", "ann", "mal", "mal", "ann"]) await next(author);
  expect(codes).toEqual([
    ...["eve 1 registry_unreachable", "eve 2 registry_unreachable", "eve 3 registry_unreachable", "eve 3 registry_quota"],
    ...["ann 4 registry_unreachable", "mal 5 registry_unreachable", "mal 6 registry_unreachable", "ann 6 registry_quota"],
  ]);
  // What asks no registry goes on.
  expect(await apply("ann", service("a"))).toBeUndefined();
  clock.advance(OCI_LIMITS.lineWindowMs * 1.1);
  await next("eve");
  expect(codes.at(-1)).toBe("eve 7 registry_unreachable");
  await plane.stop();
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
});
