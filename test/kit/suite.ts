/**
 * `describe`, `test` and hooks for suites that run on every runtime: bun:test on Bun, a small sequential runner elsewhere
 * (Deno has no bun:test). Such suites assert with node:assert/strict.
 */
import { TEST_MS } from "./patience.ts";

type Body = () => void | Promise<void>;

export interface Registrar {
  describe(name: string, body: () => void): void;
  test(name: string, body: Body, timeoutMs?: number): void;
  beforeAll(body: Body): void;
  afterAll(body: Body): void;
  beforeEach(body: Body): void;
  afterEach(body: Body): void;
}

interface Group {
  readonly name: string;
  readonly parent: Group | undefined;
  readonly before: Body[];
  readonly after: Body[];
  readonly beforeEach: Body[];
  readonly afterEach: Body[];
  readonly items: (
    | { readonly kind: "test"; readonly name: string; readonly body: Body; readonly timeoutMs: number }
    | { readonly kind: "group"; readonly group: Group }
  )[];
}

const newGroup = (name: string, parent: Group | undefined): Group => ({
  name,
  parent,
  before: [],
  after: [],
  beforeEach: [],
  afterEach: [],
  items: [],
});

const root = newGroup("", undefined);
let current = root;

const ownRegistrar: Registrar = {
  describe(name, body) {
    const group = newGroup(name, current);
    current.items.push({ kind: "group", group });
    current = group;
    body();
    current = group.parent as Group;
  },
  test(name, body, timeoutMs = TEST_MS) {
    current.items.push({ kind: "test", name, body, timeoutMs });
  },
  beforeAll: (body) => void current.before.push(body),
  afterAll: (body) => void current.after.push(body),
  beforeEach: (body) => void current.beforeEach.push(body),
  afterEach: (body) => void current.afterEach.push(body),
};

export const IS_BUN = "Bun" in globalThis;

const registrar: Registrar = IS_BUN ? await patientBun() : ownRegistrar;

/** Bun's own, but for its time-out of five seconds. */
async function patientBun(): Promise<Registrar> {
  const bun = await import("bun:test");
  const patient = (hook: (body: Body, timeoutMs: number) => void) => (body: Body) => hook(body, TEST_MS);
  return {
    describe: bun.describe,
    test: (name, body, timeoutMs = TEST_MS) => bun.test(name, body, timeoutMs),
    beforeAll: patient(bun.beforeAll),
    afterAll: patient(bun.afterAll),
    beforeEach: patient(bun.beforeEach),
    afterEach: patient(bun.afterEach),
  };
}

export const describe = registrar.describe;
export const test = registrar.test;
export const beforeAll = registrar.beforeAll;
export const afterAll = registrar.afterAll;
export const beforeEach = registrar.beforeEach;
export const afterEach = registrar.afterEach;

/** Outside Bun: runs what was registered; prints failures and the closing line; resolves with the number of failures. */
export async function runRegistered(print: (line: string) => void): Promise<number> {
  const tally = { passed: 0, failed: 0 };
  await runGroup(root, "", tally, print);
  print(`${tally.passed} passed, ${tally.failed} failed`);
  return tally.failed;
}

async function runGroup(
  group: Group,
  prefix: string,
  tally: { passed: number; failed: number },
  print: (line: string) => void,
): Promise<void> {
  for (const body of group.before) await body();
  for (const item of group.items) {
    if (item.kind === "group") {
      await runGroup(item.group, `${prefix}${item.group.name} > `, tally, print);
      continue;
    }
    try {
      for (const body of ancestors(group).flatMap((each) => each.beforeEach)) await body();
      await withTimeout(item.body, item.timeoutMs);
      for (const body of ancestors(group).flatMap((each) => each.afterEach)) await body();
      tally.passed++;
    } catch (error) {
      tally.failed++;
      print(`✗ ${prefix}${item.name}\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
  }
  for (const body of group.after) await body();
}

function ancestors(group: Group): Group[] {
  return group.parent === undefined ? [group] : [...ancestors(group.parent), group];
}

async function withTimeout(body: Body, timeoutMs: number): Promise<void> {
  let handle: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    handle = setTimeout(() => reject(new Error(`no result after ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    await Promise.race([body(), late]);
  } finally {
    clearTimeout(handle);
  }
}
