// `npm start`: installs the packages, builds the filters, finds or obtains a nats-server, then `selvedge up --demo`. Plain Node.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { ensurePackages, ROOT, step } from "./run.mjs";

const PARENT_LOOK_MS = 500;
const say = (line) => process.stdout.write(`· ${line}\n`);

await ensurePackages();
if (existsSync(join(ROOT, "scripts/build.mjs")))
  await step("built-in filters", process.execPath, ["scripts/build.mjs"], { ticks: true });
const { findNats, obtainNats } = await import("./nats.mjs");
const found = await findNats();
let server = found.server;
if (server === undefined && process.env.SELVEDGE_OFFLINE) say("no nats-server on this machine, and SELVEDGE_OFFLINE is set");
else if (server === undefined) {
  say("no nats-server on this machine: getting one (once)");
  const obtained = await obtainNats({ print: say, cli: false });
  server = obtained.server;
  if (server === undefined) for (const reason of obtained.reasons) say(reason);
}

const child = spawn(process.execPath, [join(ROOT, "bin/selvedge.mjs"), "up", "--demo", ...process.argv.slice(2)], {
  cwd: ROOT,
  // Its end tells that we are gone, whatever ended us (see bin/selvedge.mjs).
  stdio: ["inherit", "inherit", "inherit", "ipc"],
  env: {
    ...process.env,
    SELVEDGE_TIED: "1",
    SELVEDGE_PROGRAM: process.env.SELVEDGE_PROGRAM ?? "node bin/selvedge.mjs",
    ...(server === undefined ? {} : { SELVEDGE_NATS_SERVER: server }),
  },
});
// Ctrl-C reaches everybody in the terminal's group, a signal by hand only us: it is passed on, and counted once there.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.channel?.unref();
// npm gives us no channel: whether it is gone shows in whose child we are.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && child.kill("SIGTERM"), PARENT_LOOK_MS).unref();
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  // What was killed below it, it has told itself.
  if (!["SIGINT", "SIGTERM", "SIGHUP"].includes(signal)) process.stderr.write(`selvedge was killed (${signal})\n`);
  process.exit(128 + constants.signals[signal]);
});
