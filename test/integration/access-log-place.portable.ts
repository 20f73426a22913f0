/** Who publishes configuration must not choose which files of a proxy's machine grow. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createProxy } from "../../src/app/create-proxy.ts";
import { ownCounters } from "../../src/app/filters.ts";
import { Standalone } from "../../src/app/standalone.ts";
import type { Snapshot } from "../../src/config/snapshot.ts";
import type { SnapshotOutcome } from "../../src/config/source.ts";
import { SnapshotBus } from "../../src/config/source-memory.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { type LogPlaces, placeLog } from "../../src/proxy/observe/log-place.ts";
import { sayRaw } from "../kit/raw.ts";
import { routeOf, ruleOf, snapshotOf } from "../kit/snapshot.ts";
import { afterAll, beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

describe("where an access log may be", () => {
  let root = "";
  let folder = "";
  let outside = "";
  beforeAll(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "selvedge-log-")));
    folder = join(root, "logs");
    outside = join(root, "outside");
    mkdirSync(folder);
    mkdirSync(outside);
    mkdirSync(join(root, "logs-of-others"));
    mkdirSync(join(folder, "sub"));
    symlinkSync(outside, join(folder, "way-out"));
    symlinkSync(join(outside, "new.log"), join(folder, "dangling.log"));
    writeFileSync(join(outside, "there"), "");
    symlinkSync(join(outside, "there"), join(folder, "there.log"));
    symlinkSync(join(folder, "sub"), join(folder, "inner"));
    symlinkSync(folder, join(root, "alias"));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const placed = (path: string, places: LogPlaces): string => {
    const result = placeLog(path, places);
    return "path" in result ? result.path : "refused";
  };

  test("streams always, files below the folder, nothing that leads out of it", () => {
    const below: LogPlaces = { kind: "folder", folder };
    const cases: readonly (readonly [string, string])[] = [
      ["stdout", "stdout"],
      ["stderr", "stderr"],
      ["access.log", join(folder, "access.log")],
      ["a/b/access.log", join(folder, "a/b/access.log")],
      [join(folder, "access.log"), join(folder, "access.log")],
      ["inner/access.log", join(folder, "sub/access.log")],
      [join(root, "alias", "access.log"), join(folder, "access.log")],
      ["..hidden", join(folder, "..hidden")],
      ["/etc/cron.d/x", "refused"],
      ["../outside/x", "refused"],
      ["sub/../../outside/x", "refused"],
      ["sub/../x", "refused"],
      [`${folder}/../outside/x`, "refused"],
      [join(root, "logs-of-others", "x"), "refused"],
      [folder, "refused"],
      [".", "refused"],
      ["", "refused"],
      ["sub", "refused"],
      ["way-out/x", "refused"],
      ["there.log", "refused"],
      ["dangling.log", "refused"],
      ["/dev/null", "refused"],
    ];
    for (const [path, expected] of cases) assert.equal(placed(path, below), expected, path);
  });

  test("without a folder only the streams; for the operator's own file anything; a folder that is not made yet", () => {
    for (const path of ["stdout", "stderr"]) assert.equal(placed(path, { kind: "streams" }), path);
    assert.equal(placed("x.log", { kind: "streams" }), "refused");
    assert.equal(placed("/somewhere/x.log", { kind: "any" }), "/somewhere/x.log");
    const later: LogPlaces = { kind: "folder", folder: join(root, "alias", "later", "logs") };
    assert.equal(placed("x.log", later), join(folder, "later", "logs", "x.log"));
    assert.equal(placed(join(outside, "x.log"), later), "refused");
  });

  test("a snapshot with another path is nacked and what served goes on, log and all", async () => {
    const clock = new SystemClock();
    const outcomes: SnapshotOutcome[] = [];
    const bus = new SnapshotBus((_proxy, outcome) => outcomes.push(outcome));
    const tools = { clock, log: SILENT_LOG, counters: ownCounters(), reusePort: false };
    const { proxy, observer } = await createProxy({ ...tools, logPlaces: { kind: "folder", folder } });
    const source = bus.source("p");
    const host = new Standalone({
      ...{ id: "p", version: "t", mode: "sidecar" as const, dataPlane: proxy, observer, source },
      ...{ sourceState: () => undefined, clock, log: SILENT_LOG },
    });
    const publish = (body: string, path: string): Snapshot => {
      const base = snapshotOf({
        routes: [routeOf("r", [ruleOf({ action: { kind: "respond", status: 200, headers: [], body } })])],
      });
      const snapshot = { ...base, mesh: { ...base.mesh, accessLog: { ...base.mesh.accessLog, enabled: true, path } } };
      bus.publish({ snapshot, modules: new Map(), publishedAtMs: undefined });
      return snapshot;
    };
    const ask = async (): Promise<string> => {
      const address = [...proxy.addresses.values()][0];
      return sayRaw(address?.kind === "tcp" ? address.port : 0, GET);
    };
    try {
      await host.start();
      publish("one", "good/access.log");
      await until(() => outcomes.length === 1);
      assert.equal(outcomes[0]?.kind, "applied");
      for (const path of [join(outside, "evil.log"), "way-out/evil.log", "dangling.log"]) {
        const before = outcomes.length;
        const { revision } = publish("two", path);
        await until(() => outcomes.length === before + 1);
        const last = outcomes[before];
        assert.ok(last?.kind === "rejected" && last.revision === revision);
        assert.equal(last.issues[0]?.code, "log_path_refused");
        assert.match(await ask(), /one$/);
      }
      await host.drain();
      assert.deepEqual(readdirSync(outside), ["there"]);
      const lines = (await readFile(join(folder, "good/access.log"), "utf8")).trim().split("\n");
      assert.equal(lines.length, 3);
    } finally {
      await host.stop();
    }
  });

  test("a file that became a link out of the folder is not opened again", async () => {
    const clock = new SystemClock();
    const options = { clock, log: SILENT_LOG, counters: ownCounters(), reusePort: false };
    const { proxy, observer } = await createProxy({ ...options, logPlaces: { kind: "folder", folder } });
    const { mesh } = snapshotOf();
    observer.configure({ ...mesh, accessLog: { ...mesh.accessLog, enabled: true, path: "rotated.log" } });
    assert.ok(existsSync(join(folder, "rotated.log")));
    rmSync(join(folder, "rotated.log"));
    symlinkSync(join(outside, "stolen.log"), join(folder, "rotated.log"));
    observer.accessLog.reopen();
    assert.equal(existsSync(join(outside, "stolen.log")), false);
    await observer.accessLog.close();
    await proxy.stop();
  });
});
