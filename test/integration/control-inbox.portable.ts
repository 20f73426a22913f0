/** The inbox over a real nats-server, in front of a plane that takes its time. */
import assert from "node:assert/strict";
import { sha256Digest } from "../../src/config/canonical.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { NATS_NAMES } from "../../src/config/nats/names.ts";
import type { ApplyOutcome, ControlStatus } from "../../src/control/control.ts";
import type { InboxAnswer } from "../../src/control/inbox/answer.ts";
import { ConfigInbox } from "../../src/control/inbox/inbox.ts";
import { NatsLink } from "../../src/control/nats/link.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { CONTROL_LIMITS } from "../../src/core/limits.ts";
import { type Log, SILENT_LOG } from "../../src/core/log.ts";
import { startNats } from "../kit/nats.ts";
import { WAIT_MS } from "../kit/patience.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

describe("inbox", () => {
  test("what comes again while it is being processed is processed once", async () => {
    const server = await startNats();
    const link = new NatsLink(() => connectNats({ servers: [server.url] }, "control"));
    await link.open();
    const gate = Promise.withResolvers<void>();
    let applies = 0;
    const apply = async (): Promise<ApplyOutcome> => {
      applies++;
      await gate.promise;
      return { ok: true, revision: 1, digest: "", changes: [] };
    };
    const refuse = (): never => assert.fail("only an apply was published");
    const plane = {
      apply,
      delete: refuse,
      rollback: refuse,
      get: () => [],
      history: refuse,
      status: refuse,
      waitApplied: refuse,
      filterLogs: refuse,
      redact: refuse,
    };
    // Its clock stands still, as for a process that is busy: it never says that it lives.
    const inbox = new ConfigInbox({ link, plane, clock: new VirtualClock(), log: SILENT_LOG, ackWaitMs: 300 });
    const { manager, connection } = link.parts;
    try {
      await inbox.open();
      connection.publish(NATS_NAMES.apply, "x");
      const redelivered = async (): Promise<number> =>
        (await manager.consumers.info(NATS_NAMES.inboxStream, NATS_NAMES.inboxConsumer)).num_redelivered;
      await until(async () => (await redelivered()) > 0);
      gate.resolve();
      await until(async () => (await manager.streams.info(NATS_NAMES.inboxStream)).state.messages === 0);
      assert.equal(applies, 1);
      // The next one with the same content is another message.
      connection.publish(NATS_NAMES.apply, "x");
      await until(async () => (await manager.streams.info(NATS_NAMES.inboxStream)).state.last_seq === 2);
      await until(async () => (await manager.streams.info(NATS_NAMES.inboxStream)).state.messages === 0);
      assert.equal(applies, 2);
    } finally {
      await inbox.close();
      await link.close();
      await server.stop();
    }
  });

  test("a text that is refused is a line of the log that says where and what: who only publishes has nothing else", async () => {
    const server = await startNats();
    const link = new NatsLink(() => connectNats({ servers: [server.url] }, "control"));
    await link.open();
    const refuse = (): never => assert.fail("only an apply was published");
    const place = { resource: "Route default/a", path: "spec.rules", file: "<nats>", line: 4, column: 2 };
    const issue = { code: "missing_field", message: "The field is missing.", hint: "write it", ...place };
    const plane = {
      apply: async (): Promise<ApplyOutcome> => ({ ok: false, reason: "invalid", issues: [issue] }),
      ...{ delete: refuse, rollback: refuse, get: () => [], history: refuse, status: refuse, waitApplied: refuse },
      ...{ filterLogs: refuse, redact: refuse },
    };
    const heard: unknown[] = [];
    const log: Log = { ...SILENT_LOG, warn: (message, fields) => void heard.push([message, fields?.issues, fields?.first]) };
    const inbox = new ConfigInbox({ link, plane, clock: new VirtualClock(), log, ackWaitMs: 60_000 });
    try {
      await inbox.open();
      link.parts.connection.publish(NATS_NAMES.apply, "x");
      await until(() => heard.length > 0);
      const first = "<nats>:4:2 missing_field Route default/a spec.rules: The field is missing. (write it)";
      assert.deepEqual(heard, [["configuration was refused", 1, first]]);
    } finally {
      await inbox.close();
      await link.close();
      await server.stop();
    }
  });

  test("parts of large texts: as many bytes as one publisher may store, and one part more; others, and later, may", async () => {
    const server = await startNats();
    const link = new NatsLink(() => connectNats({ servers: [server.url] }, "control"));
    await link.open();
    const refuse = (): never => assert.fail("only parts were published");
    const plane = {
      ...{
        apply: refuse,
        delete: refuse,
        rollback: refuse,
        history: refuse,
        waitApplied: refuse,
        filterLogs: refuse,
        redact: refuse,
      },
      ...{ get: () => [], status: () => ({ revision: 1 }) as ControlStatus },
    };
    const clock = new VirtualClock();
    const { partMinBytes, partsWindowMs } = CONTROL_LIMITS;
    const partsBytes = 2 * partMinBytes + 10;
    const inbox = new ConfigInbox({ link, plane, clock, log: SILENT_LOG, ackWaitMs: 60_000, partsBytes });
    const { connection, objects } = link.parts;
    const store = async (who: string, bytes: number, fill: number): Promise<string> => {
      const part = Buffer.alloc(bytes, fill);
      const request = JSON.stringify({ part: part.toString("base64") });
      const answer = (await connection.request(`${NATS_NAMES.apply}.${who}`, request, { timeout: WAIT_MS })).json<InboxAnswer>();
      assert.equal((await objects.findSealed(sha256Digest(part))) !== undefined, answer.ok);
      return answer.ok ? "stored" : `${answer.reason} ${answer.issues[0]?.code}`;
    };
    try {
      await inbox.open();
      assert.equal(await store("eve", partMinBytes, 1), "stored");
      assert.equal(await store("eve", partMinBytes + 11, 2), "busy parts_quota");
      assert.equal(await store("eve", partMinBytes + 10, 3), "stored");
      assert.equal(await store("eve", 1, 4), "busy parts_quota");
      // A small one counts as an object does.
      for (const fill of [5, 6]) assert.equal(await store("bob", 1, fill), "stored");
      assert.equal(await store("bob", 11, 7), "busy parts_quota");
      clock.advance(partsWindowMs * 1.1);
      assert.equal(await store("eve", 1, 8), "stored");
    } finally {
      await inbox.close();
      await link.close();
      await server.stop();
    }
  });

  test("one publisher's messages wait up to a bound, and what others published stays; a message that is too large is told", async () => {
    const server = await startNats({ config: "max_payload: 4MB\n" });
    const link = new NatsLink(() => connectNats({ servers: [server.url] }, "control"));
    await link.open();
    const refuse = (): never => assert.fail("only applies were published");
    const applied: string[] = [];
    const plane = {
      apply: async ({ text, author }: { readonly text: string; readonly author: string }): Promise<ApplyOutcome> => {
        applied.push(`${author} ${text}`);
        return { ok: true, revision: 1, digest: "", changes: [] };
      },
      ...{ delete: refuse, rollback: refuse, get: () => [], history: refuse, status: refuse, waitApplied: refuse },
      ...{ filterLogs: refuse, redact: refuse },
    };
    const options = { link, plane, clock: new VirtualClock(), log: SILENT_LOG, ackWaitMs: 60_000 };
    const { manager, connection } = link.parts;
    const stream = NATS_NAMES.inboxStream;
    // As a former version made it.
    await manager.streams.add({
      ...{ name: stream, subjects: [NATS_NAMES.apply, `${NATS_NAMES.apply}.*`, NATS_NAMES.delete, `${NATS_NAMES.delete}.*`] },
      ...{ retention: "workqueue", no_ack: true, max_bytes: 1024 * 1024 * 1024 },
    });
    const first = new ConfigInbox(options);
    let second: ConfigInbox | undefined;
    try {
      await first.open();
      const large = "x".repeat(CONTROL_LIMITS.inboxMessageBytes + 1);
      const answer = (await connection.request(`${NATS_NAMES.apply}.eve`, large, { timeout: WAIT_MS })).json<InboxAnswer>();
      assert.deepEqual(!answer.ok && answer.issues.map(({ code }) => code), ["bad_request"]);
      await first.close();
      // Nobody is there to process them.
      const { inboxMessages: most } = CONTROL_LIMITS;
      for (let i = 0; i < most + 10; i++) connection.publish(`${NATS_NAMES.apply}.eve`, `text ${i}`);
      connection.publish(`${NATS_NAMES.apply}.ann`, "hers");
      await connection.flush();
      await until(async () => (await manager.streams.info(stream)).state.messages === most + 1);
      second = new ConfigInbox(options);
      await second.open();
      await until(() => applied.length === most + 1);
      const expected = [...Array.from({ length: most }, (_, i) => `eve text ${i}`), "ann hers"];
      assert.deepEqual(applied, expected);
      // There is room again.
      connection.publish(`${NATS_NAMES.apply}.eve`, "later");
      await until(() => applied.at(-1) === "eve later");
    } finally {
      await second?.close();
      await first.close();
      await link.close();
      await server.stop();
    }
  });
});
