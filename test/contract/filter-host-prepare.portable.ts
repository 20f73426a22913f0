/** How modules are prepared: each once, large ones beside the thread, rewritten bytes on disk that are believed only when they are whole. */
import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { SystemClock, VirtualClock } from "../../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET, PREPARE_LIMITS } from "../../src/core/limits.ts";
import { ModuleCompiler } from "../../src/filters/guest/compiler.ts";
import { boundsOf, preparedKey, prepareModule } from "../../src/filters/guest/prepare.ts";
import { PrepareThread } from "../../src/filters/guest/prepare-thread-owner.ts";
import { PreparedCache } from "../../src/filters/guest/prepared-cache.ts";
import { FUEL_EXPORT } from "../../src/filters/meter/index.ts";
import { FilterBench, filterConfig, RecordingLog } from "../kit/filters.ts";
import { enlargeModule } from "../kit/large-module.ts";
import { buildPuppet } from "../kit/puppet.ts";
import { newFolder } from "../kit/selvedge.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";
import { uleb } from "../kit/wasm.ts";

const PUPPET = buildPuppet();
const clock = new SystemClock();
const bounds = boundsOf(DEFAULT_FILTER_BUDGET);
const PREPARED = prepareModule(PUPPET, bounds);
const KEY = preparedKey("00", bounds);

const exportsOf = (module: WebAssembly.Module): string[] => WebAssembly.Module.exports(module).map(({ name }) => name);
const compilerOf = (folder?: string, inlineBytes?: number, log = new RecordingLog()): ModuleCompiler =>
  new ModuleCompiler({
    clock,
    log,
    ...(folder === undefined ? {} : { folder }),
    ...(inlineBytes === undefined ? {} : { inlineBytes }),
  });

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = newFolder();
  try {
    await run(join(folder.path, "modules"));
  } finally {
    folder.remove();
  }
}

describe("preparing modules", () => {
  test("one that takes for ever is given up after its time, and those behind it go on in a new thread", async () => {
    let timers = 0;
    const time = new (class extends VirtualClock {
      override setTimer(...given: Parameters<VirtualClock["setTimer"]>) {
        timers++;
        return super.setTimer(...given);
      }
    })();
    const problems: string[] = [];
    const program = new URL("../kit/stuck-thread.ts", import.meta.url);
    const thread = new PrepareThread(time, undefined, (problem) => problems.push(problem), program);
    const run = (key: string) => thread.run({ wasm: PUPPET, key, bounds });
    const outcome = (key: string): Promise<string> => run(key).then(({ module }) => exportsOf(module)[0] ?? "", String);
    const known = exportsOf(new WebAssembly.Module(PREPARED.bytes))[0];
    // None of these has to wait for anybody's time.
    assert.equal(await outcome("first"), known);
    // Its own time, and that of the thread with nothing to do.
    await until(() => timers === 2);
    const waiting = ["stuck one", "second", "stuck two", "third"].map(outcome);
    time.advance(PREPARE_LIMITS.jobMs - 1);
    assert.equal(await Promise.race([waiting[0], Promise.resolve("waits")]), "waits");
    time.advance(1);
    const late = `Error: the module could not be prepared: it was not done after ${PREPARE_LIMITS.jobMs} ms, and was given up`;
    assert.deepEqual([await waiting[0], await waiting[1]], [late, known]);
    // The next one's time begins when the thread comes to it.
    await until(() => timers === 5);
    time.advance(PREPARE_LIMITS.jobMs);
    assert.deepEqual([await waiting[2], await waiting[3]], [late, known]);
    await until(() => timers === 7);
    assert.deepEqual(problems, []);
    time.advance(PREPARE_LIMITS.threadIdleMs);
    assert.equal(time.pending, 0);
    assert.equal(await outcome("after its thread has ended"), known);
    await until(() => timers === 9);
    time.advance(PREPARE_LIMITS.threadIdleMs);
  });

  test("a module is compiled once, whoever asks for it and whatever does not go into its bytes", async () => {
    for (const inlineBytes of [PREPARE_LIMITS.inlineBytes, 0]) {
      const compiler = compilerOf(undefined, inlineBytes);
      const first = compiler.compile(PUPPET, DEFAULT_FILTER_BUDGET);
      const same = compiler.compile(PUPPET.slice(), { ...DEFAULT_FILTER_BUDGET, callbackFuel: 5 });
      assert.equal(await first, await same);
      assert.equal(await compiler.compile(PUPPET, DEFAULT_FILTER_BUDGET), await first);
      const other = await compiler.compile(PUPPET, { ...DEFAULT_FILTER_BUDGET, startFuel: 5 });
      assert.notEqual(other, await first);
      assert.ok(exportsOf(other.module).includes(FUEL_EXPORT));
      assert.deepEqual([other.hasCode, other.ownsMemory], [true, true]);
    }
  });

  test("a thread leaves the bytes where they are, also those of a Buffer: what lies beside them is somebody's", async () => {
    const file = Buffer.concat([PUPPET, PUPPET]);
    const [one, other] = [file.subarray(0, PUPPET.byteLength), file.subarray(PUPPET.byteLength)];
    const compiler = compilerOf(undefined, 0);
    await compiler.compile(one, DEFAULT_FILTER_BUDGET);
    assert.deepEqual([file.byteLength, Buffer.compare(one, PUPPET)], [2 * PUPPET.byteLength, 0]);
    await compiler.compile(other, { ...DEFAULT_FILTER_BUDGET, startFuel: 5 });
  });

  test("a thread refuses what is not valid with the engine's words, and goes on", async () => {
    const compiler = compilerOf(undefined, 0);
    // A memory of more pages than there are: cutting it would hide that.
    const invalid = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 6, 1, 1, 1, 0x81, 0x80, 0x04);
    const refused = compiler.compile(invalid, DEFAULT_FILTER_BUDGET);
    const good = compiler.compile(PUPPET, DEFAULT_FILTER_BUDGET);
    await assert.rejects(refused, /the module is not valid WebAssembly: ./);
    assert.ok((await good).hasCode);
    await assert.rejects(compiler.compile(Uint8Array.of(1, 2, 3), DEFAULT_FILTER_BUDGET), /not a WebAssembly core module/);
    await assert.rejects(compiler.compile(new Uint8Array(PUPPET), { ...DEFAULT_FILTER_BUDGET, memoryBytes: 0 }), /page/);
  });

  test("an engine, whose time grows with them as well, meets no module that is beyond the meter's bounds", () => {
    const made = (loops: number, ...rest: number[]): Uint8Array<ArrayBuffer> => {
      const code = [1, ...uleb(20_000), 0x7f, ...new Array<number[]>(loops).fill([0x03, 0x40, 0x0b]).flat(), ...rest, 0x0b];
      const section = [1, ...uleb(code.length), ...code];
      const head = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0];
      return Uint8Array.from([...head, 10, ...uleb(section.length), ...section]);
    };
    const DROP_NOTHING = 0x1a;
    assert.throws(() => prepareModule(made(201, DROP_NOTHING), bounds), /more than \d+ locals and operands/);
    // Within them, the engine's word counts.
    assert.throws(() => prepareModule(made(200, DROP_NOTHING), bounds), /not valid WebAssembly/);
    assert.throws(() => prepareModule(made(1, 0x27), bounds), /not valid WebAssembly/);
    assert.ok(prepareModule(made(200), bounds).facts.hasCode);
  });

  test("a filter of a module that a thread prepared answers", async () => {
    const bench = new FilterBench();
    const large = enlargeModule(PUPPET, PREPARE_LIMITS.inlineBytes + 10_000);
    const module = await bench.host.load(large, filterConfig());
    assert.equal(module.status().instances, 1);
    module.dispose();
  });
});

describe("rewritten modules on disk", () => {
  test("the next process takes them, in line and in a thread", () =>
    inFolder(async (folder) => {
      for (const inlineBytes of [PREPARE_LIMITS.inlineBytes, 0]) {
        await compilerOf(folder, inlineBytes).compile(PUPPET, DEFAULT_FILTER_BUDGET);
        await until(() => filesOf(folder).length === 1);
        // Another module under that name shows where the next one comes from.
        const [name] = filesOf(folder) as [string];
        const path = join(folder, name);
        const [head] = readFileSync(path, "latin1").split("\n") as [string];
        const { key } = JSON.parse(head) as { key: string };
        const cache = new PreparedCache(folder, clock);
        assert.deepEqual(await cache.read(key), PREPARED);
        await cache.write(key, { bytes: Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0), facts: PREPARED.facts });
        assert.deepEqual(filesOf(folder), [name]);
        assert.deepEqual(exportsOf((await compilerOf(folder, inlineBytes).compile(PUPPET, DEFAULT_FILTER_BUDGET)).module), []);
        // Bytes that this engine does not take are made anew.
        await cache.write(key, { bytes: Uint8Array.of(9), facts: PREPARED.facts });
        const { module } = await compilerOf(folder, inlineBytes).compile(PUPPET, DEFAULT_FILTER_BUDGET);
        assert.ok(exportsOf(module).includes(FUEL_EXPORT));
        await until(async () => ((await cache.read(key))?.bytes.byteLength ?? 0) > 1);
        await cache.remove(key);
      }
    }));

  test("what is torn, altered or somebody else's is not believed", () =>
    inFolder(async (folder) => {
      const cache = new PreparedCache(folder, clock);
      await cache.write(KEY, PREPARED);
      assert.deepEqual(await cache.read(KEY), PREPARED);
      const [name] = filesOf(folder) as [string];
      const path = join(folder, name);
      const whole = readFileSync(path);
      const flip = (at: number): Uint8Array => whole.map((byte, i) => (i === at ? byte ^ 1 : byte));
      const headEnd = whole.indexOf(0x0a);
      const facts = whole.indexOf('"hasCode":true');
      const damaged: Uint8Array[] = [
        ...[0, 1, headEnd, headEnd + 1, whole.length - 1].map((length) => whole.subarray(0, length)),
        ...[0, 12, headEnd - 3, headEnd, headEnd + 9, whole.length - 1].map(flip),
        Buffer.concat([whole, Uint8Array.of(0)]),
        Buffer.concat([whole.subarray(0, facts), Buffer.from('"hasCode":null'), whole.subarray(facts + 14)]),
        new Uint8Array(5_000),
      ];
      for (const [i, content] of damaged.entries()) {
        writeFileSync(path, content);
        assert.equal(await cache.read(KEY), undefined, `damage ${i}`);
        assert.deepEqual(filesOf(folder), [], `damage ${i} went`);
      }
      // Whole, but for another key.
      writeFileSync(path, whole, { mode: 0o600 });
      assert.deepEqual(await cache.read(KEY), PREPARED);
      assert.equal(await cache.read(`${KEY} `), undefined);
      // Others could have written it.
      chmodSync(path, 0o622);
      assert.equal(await cache.read(KEY), undefined);
      chmodSync(path, 0o600);
      renameSync(path, join(folder, "elsewhere"));
      symlinkSync(join(folder, "elsewhere"), path);
      assert.equal(await cache.read(KEY), undefined);
    }));

  test("a folder that others can write is not used, and filters load all the same", () =>
    inFolder(async (folder) => {
      mkdirSync(folder);
      chmodSync(folder, 0o777);
      await assert.rejects(new PreparedCache(folder, clock).read(KEY), /can be written by others/);
      for (const inlineBytes of [PREPARE_LIMITS.inlineBytes, 0]) {
        const log = new RecordingLog();
        const compiler = compilerOf(folder, inlineBytes, log);
        await compiler.compile(PUPPET, DEFAULT_FILTER_BUDGET);
        await compiler.compile(PUPPET, { ...DEFAULT_FILTER_BUDGET, startFuel: 9 });
        await until(() => log.lines.length > 0);
        assert.deepEqual(log.lines, ["warn rewritten modules cannot be kept on disk: each start makes them again"]);
      }
      assert.deepEqual(readdirSync(folder), []);
    }));

  test("it is bounded: what was not used for longest goes, and what a dead writer left", () =>
    inFolder(async (folder) => {
      const size = PREPARED.bytes.byteLength;
      const cache = new PreparedCache(folder, clock, 3 * size, 100);
      const old = new Date(clock.wallMs() - PREPARE_LIMITS.cacheLeftoverMs - 60_000);
      for (const [i, key] of ["a", "b"].entries()) {
        await cache.write(key, PREPARED);
        for (const name of filesOf(folder)) utimesSync(join(folder, name), i, i);
      }
      writeFileSync(join(folder, "x.new"), "old");
      utimesSync(join(folder, "x.new"), old, old);
      writeFileSync(join(folder, "y.new"), "somebody writes it right now");
      // Used now, so "b" is the one that goes.
      assert.ok((await cache.read("a")) !== undefined);
      await cache.write("c", PREPARED);
      assert.deepEqual([await present(cache, "a"), await present(cache, "b"), await present(cache, "c")], [true, false, true]);
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.endsWith(".new")),
        ["y.new"],
      );
      // By count, and what is larger than all of it together.
      await new PreparedCache(folder, clock, 100 * size, 1).write("d", PREPARED);
      assert.equal(filesOf(folder).length, 1);
      await new PreparedCache(folder, clock, size, 1).write("e", PREPARED);
      assert.equal(await present(cache, "e"), false);
    }));

  test("nothing stays of what could not be written", () =>
    inFolder(async (folder) => {
      const cache = new PreparedCache(folder, clock);
      await cache.write(KEY, PREPARED);
      const [name] = filesOf(folder) as [string];
      await cache.remove(KEY);
      // A folder in its place: the last step fails, as on a full disk.
      mkdirSync(join(folder, name));
      await assert.rejects(cache.write(KEY, PREPARED));
      assert.deepEqual(readdirSync(folder), [name]);
    }));

  test("several at once: everybody finds nothing or all of it", () =>
    inFolder(async (folder) => {
      const users = Array.from({ length: 8 }, () => new PreparedCache(folder, clock));
      const seen = await Promise.all(
        users.flatMap((cache) => [
          cache.write(KEY, PREPARED).then(() => cache.read(KEY)),
          cache.read(KEY),
          cache.write("other", PREPARED),
        ]),
      );
      for (const each of seen) if (each !== undefined) assert.deepEqual(each, PREPARED);
      assert.deepEqual(await users[0]?.read(KEY), PREPARED);
      assert.equal(readdirSync(folder).length, 2);
      assert.equal(statSync(folder).mode & 0o777, 0o700);
    }));
});

const filesOf = (folder: string): string[] => {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(".prepared"));
  } catch {
    return [];
  }
};

const present = async (cache: PreparedCache, key: string): Promise<boolean> => (await cache.read(key)) !== undefined;
