import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConfigIssue } from "../../src/config/issue.ts";
import { builtinModules, withStoredModules } from "../../src/config/modules.ts";
import type { SnapshotUpdate } from "../../src/config/source.ts";
import { FileSource } from "../../src/config/source-file.ts";
import { SnapshotBus } from "../../src/config/source-memory.ts";
import { SystemClock, VirtualClock } from "../../src/core/clock.ts";
import { watchFile } from "../../src/runtime/files.ts";
import { compileText, TEST_MODULES } from "../kit/config.ts";
import { afterEach, beforeEach, describe, test } from "../kit/suite.ts";

const service = (name: string, port: number | string): string =>
  `apiVersion: selvedge.dev/v1\nkind: Service\nmetadata: { name: ${name} }\nspec: { endpoints: ["127.0.0.1:${port}"] }\n`;
const filter = (spec: string): string => `apiVersion: selvedge.dev/v1\nkind: Filter\nmetadata: { name: f }\nspec: { ${spec} }\n`;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-config-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function startable(paths: readonly string[], refuse: readonly string[] = [], always?: string) {
  const updates: SnapshotUpdate[] = [];
  const issues: ConfigIssue[][] = [];
  const tried: string[] = [];
  const watched: string[][] = [];
  const refusals: number[] = [];
  const goodAgain: number[] = [];
  let stopped = 0;
  let failure: string | undefined;
  const source = new FileSource({
    paths,
    env: { PORT: "9000" },
    modules: TEST_MODULES,
    clock: new VirtualClock(),
    watch: (files) => {
      watched.push([...files]);
      return () => {
        stopped++;
      };
    },
    tryFilter: async (config) => {
      if (failure !== undefined) throw new Error(failure);
      tried.push(config.settings);
      return refuse.includes(config.settings) ? "no limit is given" : always;
    },
    onIssues: (found) => issues.push([...found]),
    onGoodAgain: (revision) => goodAgain.push(revision),
  });
  return {
    source,
    updates,
    issues,
    tried,
    watched,
    stops: () => stopped,
    fail: (message: string | undefined) => {
      failure = message;
    },
    refusals,
    goodAgain,
    start: () =>
      source.start(
        (each) => updates.push(each),
        (found) => refusals.push(found.length),
      ),
  };
}

describe("FileSource", () => {
  test("reads files and folders, follows changes, keeps the old snapshot when an edit is bad", async () => {
    mkdirSync(join(folder, "dir"));
    // biome-ignore lint/suspicious/noTemplateCurlyInString: what users write
    writeFileSync(join(folder, "a.yaml"), service("a", "${PORT}"));
    writeFileSync(join(folder, "dir", "b.yml"), service("b", 1));
    writeFileSync(join(folder, "dir", "notes.txt"), "not: [read");
    const run = startable([join(folder, "a.yaml"), join(folder, "dir")]);
    await run.start();
    assert.deepEqual(
      run.updates[0]?.snapshot.services.map((each) => each.name),
      ["default/a", "default/b"],
    );
    assert.equal(run.updates[0]?.snapshot.revision, 1);
    assert.deepEqual(run.updates[0]?.snapshot.endpoints[0]?.endpoints[0]?.address, {
      kind: "tcp",
      host: "127.0.0.1",
      port: 9000,
    });

    writeFileSync(join(folder, "dir", "b.yml"), `${service("b", 1)}# a comment changes nothing\n`);
    assert.equal(await run.source.reload(), true);
    assert.equal(run.updates.length, 1);

    writeFileSync(join(folder, "dir", "b.yml"), service("b", 99_999));
    assert.equal(await run.source.reload(), false);
    assert.equal(run.updates.length, 1);
    assert.deepEqual(
      run.issues[0]?.map((each) => [each.code, each.file, each.line]),
      [["bad_address", join(folder, "dir", "b.yml"), 4]],
    );

    writeFileSync(join(folder, "dir", "b.yml"), service("b", 2));
    writeFileSync(
      join(folder, "dir", "c.json"),
      JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Mesh", metadata: { name: "m" } }),
    );
    const both = await Promise.all([run.source.reload(), run.source.reload()]);
    assert.deepEqual(both, [true, true]);
    assert.equal(run.updates.length, 2);
    assert.equal(run.updates[1]?.snapshot.revision, 2);
    assert.ok(run.watched.at(-1)?.includes(join(folder, "dir", "c.json")));
    await run.source.stop();
    assert.equal(run.stops(), run.watched.length);
    assert.equal(await run.source.reload(), true);
    assert.equal(run.updates.length, 2);
  });

  test("who takes a bad edit back is told that it is good again; an edit that changes nothing says nothing", async () => {
    const path = join(folder, "a.yaml");
    writeFileSync(path, service("a", 1));
    const run = startable([path]);
    await run.start();
    writeFileSync(path, service("a", 99_999));
    assert.equal(await run.source.reload(), false);
    assert.deepEqual(run.goodAgain, []);
    writeFileSync(path, service("a", 1));
    assert.equal(await run.source.reload(), true);
    assert.equal(await run.source.reload(), true);
    assert.deepEqual([run.goodAgain, run.updates.length, run.refusals], [[1], 1, [0, 1, 0, 0]]);
    // One that is corrected into something else is a snapshot, which says enough.
    writeFileSync(path, service("a", 99_999));
    await run.source.reload();
    writeFileSync(path, service("a", 2));
    assert.equal(await run.source.reload(), true);
    assert.deepEqual([run.goodAgain, run.updates.length], [[1], 2]);
    await run.source.stop();
  });

  test("what the proxy refused is offered again when it is saved again, what it took is not", async () => {
    const path = join(folder, "a.yaml");
    writeFileSync(path, service("a", 1));
    const run = startable([path]);
    await run.start();
    const outcome = (kind: "applied" | "rejected") => {
      const { revision, digest } = run.updates.at(-1)?.snapshot ?? { revision: 0, digest: "" };
      run.source.report(kind === "applied" ? { kind, revision, digest, applyMs: 1 } : { kind, revision, digest, issues: [] });
    };
    outcome("applied");
    writeFileSync(path, service("a", 2));
    await run.source.reload();
    outcome("rejected");
    await run.source.reload();
    outcome("applied");
    await run.source.reload();
    assert.deepEqual(
      run.updates.map(({ snapshot }) => snapshot.revision),
      [1, 2, 3],
    );
    await run.source.stop();
  });

  test("a digest names what a control plane has stored: the hint says what a proxy with files takes instead", async () => {
    writeFileSync(join(folder, "f.yaml"), filter(`module: { digest: "sha256:${"0".repeat(64)}" }`));
    const run = startable([join(folder, "f.yaml")]);
    await assert.rejects(run.start());
    assert.deepEqual(
      run.issues.flat().map(({ code, hint }) => [code, hint]),
      [["unknown_module", "a proxy that reads files takes module: { file: … } or { oci: … }"]],
    );
  });

  test("tries each new filter once, and refuses what it refuses, at the place of its settings", async () => {
    const path = join(folder, "f.yaml");
    writeFileSync(path, filter("module: { builtin: authz }, settings: { a: 1 }"));
    const run = startable([path], ['{"a":2}']);
    await run.start();
    await run.source.reload();
    assert.deepEqual(run.tried, ['{"a":1}']);
    writeFileSync(path, filter("module: { builtin: authz }, settings: { a: 2 }"));
    assert.equal(await run.source.reload(), false);
    const issue = run.issues[0]?.[0];
    assert.deepEqual([issue?.code, issue?.line, issue?.column], ["bad_settings", 4, 47]);
    assert.equal(run.updates.length, 1);
    await run.source.stop();
  });

  test("what a built-in filter says about its settings stands at the value it is about", async () => {
    const path = join(folder, "f.yaml");
    writeFileSync(path, filter('module: { builtin: authz }, settings: { limits: [{ per: minut }], "a/b": 1 }'));
    const said = "settings /limits/0/per: must be minute; known are: hour; /a~1b: unknown key\u0007; /limits/0/key: missing";
    const run = startable([path], [], said);
    await assert.rejects(run.start());
    assert.deepEqual(
      run.issues[0]?.map((each) => [each.column, each.path, each.message.slice(each.message.indexOf(": ") + 2)]),
      [
        [58, "spec.settings.limits[0].key", "missing."],
        [65, "spec.settings.limits[0].per", "must be minute; known are: hour."],
        [82, 'spec.settings["a/b"]', "unknown key ."],
      ],
    );
  });

  test("relative files start at the folder of the resource's file, and are watched", async () => {
    mkdirSync(join(folder, "sub"));
    writeFileSync(join(folder, "sub", "m.wasm"), new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
    writeFileSync(join(folder, "sub", "f.yaml"), filter("module: { file: m.wasm }"));
    const run = startable([join(folder, "sub", "f.yaml")]);
    await run.start();
    assert.equal(run.updates[0]?.modules.size, 1);
    assert.ok(run.watched.at(-1)?.includes(join(folder, "sub", "m.wasm")));
    // Also those of a resource that has issues: nothing but these is told.
    writeFileSync(join(folder, "sub", "f.yaml"), filter("module: { file: m.wasm }, onFailure: never"));
    assert.equal(await run.source.reload(), false);
    assert.deepEqual(
      run.issues[0]?.map(({ code, path }) => `${code} ${path}`),
      ["unknown_value spec.onFailure"],
    );
    await run.source.stop();
  });

  test("with the real watcher: an edit, a bad edit, a new certificate file", async () => {
    const path = join(folder, "a.yaml");
    writeFileSync(path, service("a", 1));
    const heard: string[] = [];
    const waiters: (() => void)[] = [];
    const hear = (what: string): void => {
      heard.push(what);
      for (const waiter of waiters.splice(0)) waiter();
    };
    const until = async (what: string): Promise<void> => {
      while (!heard.includes(what)) await new Promise<void>((resolve) => waiters.push(resolve));
    };
    const clock = new SystemClock();
    const source = new FileSource({
      paths: [path],
      env: {},
      modules: TEST_MODULES,
      clock,
      watch: (paths, onChange) => {
        const watches = paths.map((each) => watchFile(each, clock, onChange));
        return () => {
          for (const watch of watches) watch.close();
        };
      },
      onIssues: (issues) => hear(issues.map((each) => each.code).join(",")),
    });
    await source.start(({ snapshot }) => hear(`revision ${snapshot.revision}`));
    writeFileSync(path, service("a", 2));
    await until("revision 2");
    writeFileSync(path, filter("module: { file: m.wasm }"));
    await until("file_unreadable");
    writeFileSync(join(folder, "m.wasm"), new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
    await until("revision 3");
    // A folder that does not exist cannot be watched, and must not end the source.
    writeFileSync(path, filter("module: { file: nope/m.wasm }").replace("name: f", "name: g"));
    while (heard.filter((each) => each === "file_unreadable").length < 2)
      await new Promise<void>((resolve) => waiters.push(resolve));
    writeFileSync(path, service("a", 4));
    await until("revision 4");
    await source.stop();
  });

  test("files that are cut to nothing are refused while they serve, not at the start", async () => {
    const path = join(folder, "a.yaml");
    writeFileSync(path, "# to be written\n");
    const run = startable([path]);
    await run.start();
    writeFileSync(path, service("a", 1));
    assert.equal(await run.source.reload(), true);
    for (const text of ["", "---\n# nothing\n"]) {
      writeFileSync(path, text);
      assert.equal(await run.source.reload(), false);
    }
    assert.deepEqual(
      run.issues.map((issues) => issues.map(({ code, file }) => [code, file])),
      [[["no_resources", path]], [["no_resources", path]]],
    );
    writeFileSync(path, "[");
    await run.source.reload();
    assert.equal(
      run.issues[2]?.some(({ code }) => code === "no_resources"),
      false,
    );
    writeFileSync(path, service("a", 1));
    assert.equal(await run.source.reload(), true);
    assert.equal(run.updates.length, 2);
    await run.source.stop();
  });

  test("a failure inside is an issue, and the source lives", async () => {
    const path = join(folder, "a.yaml");
    writeFileSync(path, service("a", 1));
    const run = startable([path]);
    await run.start();
    assert.deepEqual(run.refusals, [0]);
    writeFileSync(path, filter("module: { builtin: authz }"));
    run.fail("boom");
    assert.equal(await run.source.reload(), false);
    // Whoever serves hears of it, and that it is over, also when what is there now is what served before.
    assert.deepEqual(run.refusals, [0, 1]);
    writeFileSync(path, service("a", 1));
    assert.equal(await run.source.reload(), true);
    assert.deepEqual([run.refusals, run.updates.length], [[0, 1, 0], 1]);
    writeFileSync(path, filter("module: { builtin: authz }"));
    assert.deepEqual(
      run.issues[0]?.map((each) => [each.code, each.message]),
      [["internal", "boom"]],
    );
    run.fail(undefined);
    assert.equal(await run.source.reload(), true);
    await run.source.stop();
  });

  test("does not start with a bad configuration, and says why", async () => {
    const run = startable([join(folder, "nope.yaml")]);
    await assert.rejects(run.start(), /has issues/);
    assert.deepEqual(
      run.issues[0]?.map((each) => [each.code, each.message]),
      [["file_unreadable", `${join(folder, "nope.yaml")} cannot be read: there is no such file or folder.`]],
    );
    assert.equal(run.updates.length, 0);
    assert.equal(run.stops(), run.watched.length);
  });
});

describe("SnapshotBus", () => {
  test("late sources get the last update, old revisions are dropped, outcomes come back with the proxy's id", async () => {
    const outcomes: string[] = [];
    const bus = new SnapshotBus((id, outcome) => outcomes.push(`${id} ${outcome.kind} ${outcome.revision}`));
    const update = (revision: number): SnapshotUpdate => {
      const { snapshot, modules } = compileText(service("a", revision), { revision });
      assert.ok(snapshot !== undefined);
      return { snapshot, modules, publishedAtMs: undefined };
    };
    const heard: string[] = [];
    const one = bus.source("one");
    await one.start((each) => heard.push(`one ${each.snapshot.revision}`));
    bus.publish(update(2));
    const two = bus.source("two");
    await two.start((each) => heard.push(`two ${each.snapshot.revision}`));
    bus.publish(update(1));
    await one.stop();
    bus.publish(update(3));
    two.report({ kind: "applied", revision: 3, digest: "", applyMs: 1 });
    assert.deepEqual(heard, ["one 2", "two 2", "two 3"]);
    assert.deepEqual(outcomes, ["two applied 3"]);
    assert.equal(bus.last?.snapshot.revision, 3);
  });
});

describe("module catalogues", () => {
  test("a folder without built-ins has none; stored modules are found by digest", () => {
    const none = builtinModules(folder);
    assert.deepEqual(none.builtins, []);
    assert.equal(none.builtin("authz"), undefined);
    assert.equal(none.builtin("../authz"), undefined);
    const bytes = new Uint8Array([1]);
    const stored = withStoredModules(TEST_MODULES, (digest) => (digest === "sha256:aa" ? bytes : undefined));
    assert.equal(stored.byDigest("sha256:aa")?.bytes, bytes);
    const authz = TEST_MODULES.builtin("authz");
    assert.equal(stored.byDigest(authz?.digest ?? "")?.bytes, authz?.bytes);
    assert.deepEqual(stored.builtins, ["rate-limit", "authz", "transform"]);
  });
});
