/**
 * A control plane that kills itself: `victim.ts <nats url> <n>`. Prints `ready`; then the n-th message that it would send
 * because of an apply is not sent, all before it are on their way, and the process is gone (SIGKILL). So every place between
 * two steps can be tried. n = 0: never.
 */
import process from "node:process";
import type { NatsConnection } from "@nats-io/nats-core";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { createControlPlane } from "../../src/control/create.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";

/** Every message of a connection, acknowledgements included, goes through here. */
interface Inner {
  readonly protocol: { publish(subject: string, ...rest: unknown[]): unknown };
}

const [url = "", killAt = "0"] = process.argv.slice(2);
let armed = false;
let steps = 0;
let frozen = false;

function countSteps(connection: NatsConnection): NatsConnection {
  const { protocol } = connection as unknown as Inner;
  const send = protocol.publish.bind(protocol);
  protocol.publish = (subject, ...rest) => {
    if (frozen) return undefined;
    // Asking for the next message goes on all the time and is no step.
    if (!armed || subject.startsWith("$JS.API.CONSUMER.")) return send(subject, ...rest);
    steps++;
    if (steps !== Number(killAt)) return send(subject, ...rest);
    frozen = true;
    void connection.flush().then(() => process.kill(process.pid, "SIGKILL"));
    return undefined;
  };
  return connection;
}

const plane = createControlPlane({
  backend: {
    kind: "nats",
    address: { servers: [url] },
    id: "victim",
    ackWaitMs: 300,
    connect: async (address, id) => {
      const connection = countSteps(await connectNats(address, id));
      connection.subscribe("selvedge.config.apply", {
        callback: () => {
          armed = true;
        },
      });
      return connection;
    },
  },
  ...{ modules: builtinModules(new Map()), version: "t", clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
});
await plane.start();
process.stdout.write("ready\n");
process.stdin.on("end", () => void plane.stop().then(() => process.exit(0)));
process.stdin.resume();
