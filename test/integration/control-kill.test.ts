/** A control plane is killed between every two steps of an apply; whoever comes next ends in the right state, exactly once. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { parseManifest } from "../../src/config/nats/manifest.ts";
import { manifestGetSubject } from "../../src/config/nats/names.ts";
import { createControlPlane } from "../../src/control/create.ts";
import type { InboxAnswer } from "../../src/control/inbox/answer.ts";
import { NatsLink } from "../../src/control/nats/link.ts";
import type { CreatedControlPlane } from "../../src/control/options.ts";
import { NatsStore } from "../../src/control/store/nats.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { until } from "../kit/until.ts";

const VICTIM = join(import.meta.dir, "../kit/control-victim.ts");
const STEPS_MAX = 80;

const service = (name: string, port: number) =>
  JSON.stringify({
    apiVersion: "selvedge.dev/v1",
    kind: "Service",
    metadata: { name },
    spec: { endpoints: [`127.0.0.1:${port}`] },
  });
/** Creates one, changes another: `mark` makes each apply different. */
const textOf = (mark: number) => `${service(`new-${mark}`, 9000)}\n---\n${service("changing", 10_000 + mark)}`;

async function startVictim(
  url: string,
  killAt: number,
): Promise<{ readonly child: ChildProcess; readonly gone: Promise<string> }> {
  const child = spawn(process.execPath, [VICTIM, url, String(killAt)], { stdio: ["pipe", "pipe", "inherit"] });
  const gone = new Promise<string>((resolve) => child.once("close", (code, signal) => resolve(signal ?? String(code))));
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    void gone.then((how) => reject(new Error(`the victim ended early: ${how}`)));
  });
  return { child, gone };
}

async function startPlane(url: string, id: string): Promise<CreatedControlPlane> {
  const plane = createControlPlane({
    backend: { kind: "nats", address: { servers: [url] }, id, ackWaitMs: 300 },
    ...{ modules: builtinModules(new Map()), version: "t", clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
  });
  await plane.start();
  return plane;
}

async function inboxState(connection: NatsConnection): Promise<{ readonly messages: number; readonly last_seq: number }> {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  return (await manager.streams.info("SELVEDGE_INBOX")).state;
}

/** Messages in the inbox that nobody has acknowledged. */
const pending = async (connection: NatsConnection): Promise<number> => (await inboxState(connection)).messages;

/** Log, view, manifest and memory agree, the apply is there once, and the inbox is empty. */
async function expectOnce(connection: NatsConnection, plane: CreatedControlPlane, mark: number): Promise<void> {
  const key = `Service/default/new-${mark}`;
  const store = new NatsStore(new NatsLink(async () => connection));
  await store.open();
  await until(() => plane.get({ name: `new-${mark}` }).length === 1);
  await until(async () => (await pending(connection)) === 0);
  const { revision, digest } = plane.status();
  await until(async () => (await store.viewRevision()) === revision);
  const history = await plane.history();
  expect(history.filter((entry) => entry.changes.some((change) => change.key === key))).toHaveLength(1);
  expect(history[0]?.revision).toBe(revision);
  const state = await store.load();
  expect(state.digest).toBe(digest);
  expect([...state.resources.values()].sort((a, b) => (a.key < b.key ? -1 : 1))).toEqual([...plane.get()]);
  expect(JSON.stringify(plane.get({ name: "changing" }))).toContain(String(10_000 + mark));
  const manifest = async () => parseManifest((await connection.request(manifestGetSubject("gateway"))).data);
  await until(async () => (await manifest()).revision === revision);
}

describe("killed between every two steps", () => {
  let server: NatsServer;
  let connection: NatsConnection;
  beforeAll(async () => {
    server = await startNats();
    connection = await connectNats({ servers: [server.url] }, "tester");
  });
  afterAll(async () => {
    await connection.close();
    await server.stop();
  });

  test("a new one finishes it", async () => {
    let killed = 0;
    for (let step = 1; step <= STEPS_MAX; step++) {
      const { child, gone } = await startVictim(server.url, step);
      const before = (await inboxState(connection)).last_seq;
      connection.publish("selvedge.config.apply", textOf(step));
      await until(async () => (await inboxState(connection)).last_seq > before);
      // Killed, or done with it: then it has no step of that number.
      const done = until(async () => (await pending(connection)) === 0).then(() => "done");
      if ((await Promise.race([gone, done])) === "done") child.stdin?.end();
      const how = await gone;
      const plane = await startPlane(server.url, "rescuer");
      await expectOnce(connection, plane, step);
      await plane.stop();
      if (how !== "SIGKILL") break;
      killed++;
    }
    // Reading the object, writing sections, log, view, manifest, acknowledgement: it cannot be fewer.
    expect(killed).toBeGreaterThan(10);
    expect(killed).toBeLessThan(STEPS_MAX);
  }, 600_000);

  test("one that runs beside it finishes it, and the request is answered with the revision that holds it", async () => {
    let killed = 0;
    for (let step = 1; step <= STEPS_MAX; step++) {
      const mark = 1_000 + step;
      const { child, gone } = await startVictim(server.url, step);
      const plane = await startPlane(server.url, "standby");
      const message = await connection.request("selvedge.config.apply", textOf(mark), { timeout: 60_000 });
      const answer = message.json<InboxAnswer>();
      await expectOnce(connection, plane, mark);
      const entry = (await plane.history()).find((each) =>
        each.changes.some((change) => change.key === `Service/default/new-${mark}`),
      );
      expect(answer).toMatchObject({ ok: true, revision: entry?.revision, digest: entry?.digest });
      await plane.stop();
      child.stdin?.end();
      if ((await gone) !== "SIGKILL") break;
      killed++;
    }
    expect(killed).toBeGreaterThan(10);
    expect(killed).toBeLessThan(STEPS_MAX);
  }, 600_000);
});
