import { readFileSync, rmSync } from "node:fs";
import process from "node:process";
import { SystemClock } from "../core/clock.ts";
import { JsonLog } from "../core/log.ts";
import type { PublishMessage } from "../filters/guest/grants.ts";
import { onSignal, workerPort } from "../runtime/process.ts";
import { modulePath, openSharedCounters } from "./counters.ts";
import { createProxy } from "./create-proxy.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./messages.ts";
import { processUsage } from "./usage.ts";
import { WorkerSession } from "./worker-session.ts";

/** How long the last message may take to leave the channel, before the process exits. */
const LAST_MESSAGE_MS = 50;

/** A worker process: everything it does comes through the channel from the supervisor. Resolves when it is set up. */
export async function runWorker(settingsText: string): Promise<void> {
  const port = workerPort();
  if (port === undefined) throw new Error("a worker is started by its supervisor, not by hand");
  const settings = JSON.parse(settingsText) as WorkerSettings;
  const clock = new SystemClock();
  const log = new JsonLog(settings.logLevel, clock, (line) => void process.stderr.write(line)).for(`worker-${settings.index}`);
  // The terminal sends Ctrl-C to the whole group: the supervisor decides when a worker stops.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) onSignal(signal, () => {});
  const publish: PublishMessage = (filter, subject, payload) => {
    const message: FromWorker = { type: "publish", filter, subject, payload: Buffer.from(payload).toString("base64") };
    port.send(message);
    return true;
  };
  const { proxy, observer } = await createProxy({
    clock,
    log,
    counters: openSharedCounters(settings.folder),
    reusePort: settings.reusePort,
    unixSockets: settings.index === 0,
    logPlaces: settings.logPlaces,
    node: settings.node,
    moduleFolder: settings.moduleFolder,
    ...(settings.canPublish ? { publish } : {}),
  });
  const session = new WorkerSession({
    dataPlane: proxy,
    observer,
    clock,
    log,
    send: (message) => void port.send(message),
    readModule: (digest) => readFileSync(modulePath(settings.folder, digest)),
    usage: processUsage,
    exit: (code) => void clock.setTimer(LAST_MESSAGE_MS, () => process.exit(code)),
  });
  port.onMessage((message) => session.onMessage(message as ToWorker));
  port.onDisconnect(async () => {
    // It was killed and could not clean up: nobody needs the folder any more.
    rmSync(settings.folder, { recursive: true, force: true });
    await session.drain("the supervisor is gone");
  });
  session.start();
}
