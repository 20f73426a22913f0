#!/usr/bin/env node
// `selvedge …` from an installed package or a checkout: plain Node, because Bun comes with the packages. Hands everything to Bun.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Bun's executable: of this package, else of the one that installed it, else on PATH. */
function findBun() {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve("bun/package.json"));
    // Named so on every system.
    const program = join(folder, "bin", "bun.exe");
    if (existsSync(program)) return program;
  } catch {
    // Not installed beside us.
  }
  const linked = join(root, "node_modules", ".bin", "bun");
  return existsSync(linked) ? linked : "bun";
}

/** How the reader of a hint can run this: `selvedge` when npm installed it, else this file; never by npx, which asks a registry for the name. */
function typed() {
  const called = process.argv[1] ?? "";
  const installed = basename(called) === "selvedge" && process.env.npm_command !== "exec";
  return installed ? "selvedge" : `node ${relative(process.cwd(), fileURLToPath(import.meta.url))}`;
}

// JavaScriptCore keeps address space ready for the first eight memories of filters alone; the others run slower, and moving
// them when they grow takes a thousand times as long. See src/runtime/process.ts.
const env = { BUN_JSC_maxNumWasmFastMemories: "100", SELVEDGE_PROGRAM: typed(), ...process.env, SELVEDGE_TIED: "1" };
const args = [join(root, "src", "app", "main.ts"), ...process.argv.slice(2)];
// The channel carries nothing: its end tells Bun that we are gone, whatever ended us. The same for whoever started us so.
const child = spawn(findBun(), args, { stdio: ["inherit", "inherit", "inherit", "ipc"], env });
child.channel?.unref();
if (process.env.SELVEDGE_TIED !== undefined && process.send !== undefined) {
  process.once("disconnect", () => child.kill("SIGTERM"));
  process.channel?.unref();
}
/** Somebody wanted it so, or nobody reads any more: nothing to say, and a shell must see that it was a signal. */
const ASKED_TO_END = ["SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"];
// The terminal signals the whole group, others us alone: it is passed on, and counted once there.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  const missing = error.code === "ENOENT";
  process.stderr.write(missing ? "selvedge needs Bun, which comes with its packages: run `npm ci`\n" : `${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  if (!ASKED_TO_END.includes(signal)) {
    process.stderr.write(`selvedge was killed (${signal})\n`);
    process.exit(128 + constants.signals[signal]);
  }
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
