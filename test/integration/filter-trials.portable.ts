/** A control plane tries filters that are costly to start in a process of their own, which is stopped and killed here. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { FilterTrials } from "../../src/app/filter-trials.ts";
import { sha256Digest } from "../../src/config/canonical.ts";
import type { TryFilter } from "../../src/config/filter-check.ts";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { createControlApi } from "../../src/control/api/app.ts";
import { createControlPlane } from "../../src/control/create.ts";
import type { InboxAnswer } from "../../src/control/inbox/answer.ts";
import type { ControlBackend, CreatedControlPlane } from "../../src/control/options.ts";
import { type Clock, SystemClock, VirtualClock } from "../../src/core/clock.ts";
import { TRIAL_LIMITS } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import type { SelfCommand } from "../../src/runtime/process.ts";
import { filterConfig } from "../kit/filters.ts";
import { startNats } from "../kit/nats.ts";
import { newFolder } from "../kit/selvedge.ts";
import { ROUND_FUEL, slowStart } from "../kit/slow-start.ts";
import { afterAll, afterEach, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const MAIN = fileURLToPath(new URL("../../src/app/main.ts", import.meta.url));
/** While there is this file, a process stops before it becomes the program: nothing depends on who is faster. */
const HOLD = newFolder();
const HOLD_FILE = join(HOLD.path, "hold");
const SELF: SelfCommand = {
  command: "/bin/sh",
  args: [
    ...["-c", `[ -e "${HOLD_FILE}" ] && kill -STOP $$; exec "$@"`, "sh", process.execPath],
    ...("Deno" in globalThis ? ["run", "-A", "--no-lock", MAIN] : [MAIN]),
  ],
};
/** Starts within the fuel that a filter has unless it says otherwise, but not on the loop. */
const SLOW = slowStart(Math.ceil((2 * TRIAL_LIMITS.hereFuel) / ROUND_FUEL));
const QUICK = slowStart(1);

const cleanups: (() => void | Promise<void>)[] = [];

function newTrials(clock: Clock = new SystemClock()): FilterTrials {
  const trials = new FilterTrials({ clock, log: SILENT_LOG, self: SELF });
  cleanups.push(() => trials.close());
  return trials;
}

/** Those that found a filter good. */
const content = new Set<FilterTrials>();

const trying =
  (trials: FilterTrials): TryFilter =>
  async (config, bytes) => {
    const verdict = await trials.tryFilter(config, bytes);
    if (verdict === undefined) content.add(trials);
    return verdict;
  };

async function startPlane(trials: FilterTrials, backend: ControlBackend = { kind: "memory" }): Promise<CreatedControlPlane> {
  const plane = createControlPlane({
    ...{ backend, modules: builtinModules(new Map()), version: "test", tryFilter: trying(trials) },
    ...{ clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
  });
  cleanups.push(() => {
    const stopped = plane.stop();
    trials.close();
    return stopped;
  });
  await plane.start();
  return plane;
}

const filterText = (digest: string, settings: unknown = {}): string =>
  JSON.stringify({
    apiVersion: "selvedge.dev/v1",
    kind: "Filter",
    metadata: { name: "slow" },
    spec: { module: { digest }, settings },
  });

/** The process of a trial, once it stands still. Those that come later do not. */
async function held(...all: readonly FilterTrials[]): Promise<{ readonly trials: FilterTrials; readonly pid: number }> {
  let found: { readonly trials: FilterTrials; readonly pid: number } | undefined;
  await until(() => {
    for (const trials of all) {
      const { pid } = trials.aside;
      if (pid !== undefined && /^\d+ \(.*\) T /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) found = { trials, pid };
    }
    return found !== undefined;
  });
  assert.ok(found);
  rmSync(HOLD_FILE);
  return found;
}

const configOf = (bytes: Uint8Array, change: Partial<Parameters<typeof filterConfig>[0]> = {}): FilterConfig => ({
  ...filterConfig(change),
  digest: sha256Digest(bytes),
});

describe("trials of filters", () => {
  const hold = (): void => writeFileSync(HOLD_FILE, "");
  afterAll(() => HOLD.remove());
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    rmSync(HOLD_FILE, { force: true });
  });

  test("while a costly one is tried, the API answers; what comes behind it waits for its turn", async () => {
    const trials = newTrials();
    const plane = await startPlane(trials);
    const api = createControlApi({ plane, guard: () => undefined, version: "1", log: SILENT_LOG, metrics: async () => "" });
    const ask = (path: string, init?: RequestInit) => Promise.resolve(api.request(`http://127.0.0.1:8088${path}`, init));
    const digest = await plane.putModule(SLOW);
    const answers: string[] = [];
    const apply = async (name: string, body: string): Promise<number> => {
      const { status } = await ask("/api/v1/apply", { method: "POST", body, headers: { host: "127.0.0.1:8088" } });
      answers.push(name);
      return status;
    };
    hold();
    const first = apply("the filter", filterText(digest));
    const { pid } = await held(trials);
    const service = `{"apiVersion":"selvedge.dev/v1","kind":"Service","metadata":{"name":"a"},"spec":{"endpoints":["127.0.0.1:1"]}}`;
    const second = apply("the service", service);
    for (const path of ["/healthz", "/readyz", "/api/v1/status", "/api/v1/resources", "/api/v1/history"]) {
      assert.equal((await ask(path, { headers: { host: "127.0.0.1:8088" } })).status, 200, path);
      answers.push(path);
    }
    assert.equal(plane.status().revision, 0);
    process.kill(pid, "SIGCONT");
    assert.deepEqual([await first, await second], [200, 200]);
    assert.deepEqual(answers.slice(-2), ["the filter", "the service"]);
    assert.equal(plane.status().revision, 2);
  });

  test("a process that is killed is an issue, and no filter; the next trial gets another one", async () => {
    const trials = newTrials();
    const plane = await startPlane(trials);
    const digest = await plane.putModule(SLOW);
    const apply = (settings: unknown) => plane.apply({ text: filterText(digest, settings), author: "ann", origin: "api" });
    hold();
    const refused = apply({});
    const { pid } = await held(trials);
    process.kill(pid, "SIGKILL");
    const outcome = await refused;
    assert.ok(!outcome.ok);
    const [issue] = outcome.issues;
    assert.deepEqual([outcome.reason, issue?.code, issue?.path], ["invalid", "trial_failed", "spec.module"]);
    assert.match(issue?.message ?? "", /it was killed \(SIGKILL\)/);
    assert.match(issue?.hint ?? "", /apply it again later/);
    assert.deepEqual(plane.get(), []);
    // The same is answered without a start, for a while.
    assert.ok(!(await apply({})).ok);
    assert.equal(trials.aside.pid, undefined);
    assert.ok((await apply({ other: 1 })).ok);
    assert.notEqual(trials.aside.pid, pid);
  });

  test("two control planes: one tries, both answer, and what one took the other tries for itself", async () => {
    const server = await startNats();
    cleanups.push(() => server.stop());
    const [one, other] = [newTrials(), newTrials()];
    const backend = (id: string): ControlBackend => ({ kind: "nats", address: { servers: [server.url] }, id, ackWaitMs: 1_000 });
    const planes = [await startPlane(one, backend("one")), await startPlane(other, backend("other"))];
    const nats = await connectNats({ servers: [server.url] }, "test");
    cleanups.push(() => nats.close());
    const digest = (await planes[0]?.putModule(SLOW)) ?? "";
    const request = async (subject: string, text: string): Promise<InboxAnswer> =>
      (await nats.request(`selvedge.config.${subject}`, text, { timeout: 60_000 })).json();
    hold();
    let isAnswered = false;
    const killed = request("apply", filterText(digest)).finally(() => {
      isAnswered = true;
    });
    const { pid } = await held(one, other);
    // Whichever of them is asked.
    for (let i = 0; i < 8; i++) assert.ok("resources" in (await request("get", "{}")));
    assert.equal(isAnswered, false);
    process.kill(pid, "SIGKILL");
    const answer = await killed;
    assert.deepEqual(answer.ok ? [] : answer.issues.map(({ code }) => code), ["trial_failed"]);
    content.clear();
    assert.ok((await request("apply", filterText(digest, { other: 1 }))).ok);
    await until(() => planes.every((plane) => plane.status().revision === 1 && plane.status().issues.length === 0));
    // What it follows it has before it tried it.
    await until(() => content.size === 2);
  });

  test("cheap starts stay on the loop, and a refusal is the same in both places", async () => {
    const trials = newTrials();
    assert.equal(await trials.tryFilter(configOf(QUICK), QUICK), undefined);
    const budget = { startFuel: TRIAL_LIMITS.hereFuel };
    const reason = (fuel: number) => `it used up its fuel of ${fuel} while it started`;
    assert.equal(await trials.tryFilter(configOf(SLOW, { budget }), SLOW), reason(TRIAL_LIMITS.hereFuel));
    const bytes = new TextEncoder().encode("no module");
    assert.match(String(await trials.tryFilter(configOf(bytes), bytes)), /not a WebAssembly/);
    assert.equal(trials.aside.pid, undefined);
    const more = { startFuel: TRIAL_LIMITS.hereFuel + 1 };
    assert.equal(await trials.tryFilter(configOf(SLOW, { budget: more }), SLOW), reason(more.startFuel));
    assert.notEqual(trials.aside.pid, undefined);
    assert.equal(await trials.tryFilter(configOf(SLOW), SLOW), undefined);
    // What is known to be costly is not begun here; what is large neither.
    const large = new Uint8Array(TRIAL_LIMITS.hereBytes + 1);
    assert.match(String(await trials.tryFilter(configOf(large), large)), /not a WebAssembly/);
  });

  test("the process ends when there is nothing to do, and one that has no answer in time is killed", async () => {
    const clock = new VirtualClock();
    const trials = newTrials(clock);
    assert.equal(await trials.tryFilter(configOf(SLOW), SLOW), undefined);
    const { pid } = trials.aside;
    clock.advance(TRIAL_LIMITS.idleMs - 1);
    assert.equal(trials.aside.pid, pid);
    clock.advance(1);
    assert.equal(trials.aside.pid, undefined);
    hold();
    const late = trials.tryFilter(configOf(SLOW, { settings: "other" }), SLOW);
    await held(trials);
    clock.advance(TRIAL_LIMITS.prepareMs + configOf(SLOW).budget.startFuel / TRIAL_LIMITS.startFuelPerMs);
    assert.match(JSON.stringify(await late), /it had no answer after 120200 ms, and was killed/);
    assert.equal(trials.aside.pid, undefined);
    // That is remembered for a while and no longer.
    assert.equal(typeof (await trials.tryFilter(configOf(SLOW, { settings: "other" }), SLOW)), "object");
    clock.advance(TRIAL_LIMITS.failedMs);
    assert.equal(await trials.tryFilter(configOf(SLOW, { settings: "other" }), SLOW), undefined);
  });

  test("who stops does not wait for a trial, and nobody is told that the filter is bad", async () => {
    const trials = newTrials();
    hold();
    const trial = trials.tryFilter(configOf(SLOW), SLOW);
    const rejected = assert.rejects(trial, /the control plane stops/);
    await held(trials);
    trials.close();
    await rejected;
    await assert.rejects(trials.tryFilter(configOf(SLOW), SLOW), /the control plane stops/);
  });
});
