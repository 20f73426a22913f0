/** The inbox over a real nats-server, in front of a plane that takes its time. */
import assert from "node:assert/strict";
import { connectNats } from "../../src/config/nats/connect.ts";
import { NATS_NAMES } from "../../src/config/nats/names.ts";
import type { ApplyOutcome } from "../../src/control/control.ts";
import { ConfigInbox } from "../../src/control/inbox/inbox.ts";
import { NatsLink } from "../../src/control/nats/link.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { startNats } from "../kit/nats.ts";
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
});
