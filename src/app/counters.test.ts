import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createSharedFolder, modulePath, openSharedCounters } from "./counters.ts";

const parent = mkdtempSync(join(tmpdir(), "selvedge-counters-"));
afterEach(() => {
  for (const name of readdirSync(parent)) rmSync(join(parent, name), { recursive: true, force: true });
});
process.once("exit", () => rmSync(parent, { recursive: true, force: true }));

const DIGEST = `sha256:${"ab".repeat(32)}`;
const SUPERVISOR = `
  const { createSharedFolder, openSharedCounters } = await import(${JSON.stringify(join(import.meta.dir, "counters.ts"))});
  const folder = createSharedFolder(${JSON.stringify(parent)});
  openSharedCounters(folder.path);
  folder.storeModule("${DIGEST}", new Uint8Array(8));
  console.log(folder.path);
  setInterval(() => {}, 1000);
`;

const owners: Bun.Subprocess[] = [];
afterEach(async () => {
  for (const owner of owners.splice(0)) owner.kill("SIGKILL");
});

/** A process that has such a folder, until it is killed. */
async function startOwner(): Promise<{ readonly path: string; readonly owner: Bun.Subprocess }> {
  const owner = Bun.spawn([process.execPath, "-e", SUPERVISOR], { stdout: "pipe", stderr: "ignore" });
  owners.push(owner);
  const { value } = await owner.stdout.getReader().read();
  return { path: new TextDecoder().decode(value).trim(), owner };
}

test("what a supervisor that was killed left in memory is removed by the next one; what is in use is not", async () => {
  const killed = await startOwner();
  const living = await startOwner();
  killed.owner.kill("SIGKILL");
  await killed.owner.exited;
  expect(existsSync(modulePath(killed.path, DIGEST))).toBe(true);
  const folder = createSharedFolder(parent);
  expect(
    readdirSync(parent)
      .map((name) => join(parent, name))
      .sort(),
  ).toEqual([living.path, folder.path].sort());
  expect(existsSync(modulePath(living.path, DIGEST))).toBe(true);
  expect(openSharedCounters(folder.path).length).toBeGreaterThan(0);
  // Also our own other ones stay.
  const second = createSharedFolder(parent);
  expect(existsSync(folder.path)).toBe(true);
  folder.remove();
  second.remove();
  expect(readdirSync(parent)).toHaveLength(1);
});

test("what only looks like such a folder is left alone", () => {
  const make = (name: string, ...files: string[]): void => {
    mkdirSync(join(parent, name));
    for (const file of files) writeFileSync(join(parent, name, file), "");
  };
  make("selvedge-shared-making", "counters");
  make("selvedge-shared-state", "lock", "demo.key");
  make("selvedge-other", "lock");
  make("elsewhere", "lock", "counters");
  symlinkSync(join(parent, "elsewhere"), join(parent, "selvedge-shared-link"));
  writeFileSync(join(parent, "selvedge-shared-file"), "");
  createSharedFolder(parent).remove();
  expect(readdirSync(parent).sort()).toEqual([
    ...[
      "elsewhere",
      "selvedge-other",
      "selvedge-shared-file",
      "selvedge-shared-link",
      "selvedge-shared-making",
      "selvedge-shared-state",
    ],
  ]);
  expect(readdirSync(join(parent, "elsewhere")).sort()).toEqual(["counters", "lock"]);
  expect(readdirSync(join(parent, "selvedge-shared-state")).sort()).toEqual(["demo.key", "lock"]);
});

test("where there is no such memory, or it is full, the folder is on disk", () => {
  const folder = createSharedFolder(join(parent, "none"));
  expect(folder.path.startsWith(join(tmpdir(), "selvedge-shared-"))).toBe(true);
  folder.remove();
  expect(existsSync(folder.path)).toBe(false);
});
