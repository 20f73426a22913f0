// Shared by the scripts: runs on plain Node, because Bun itself comes with the installed packages.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout's root. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Path of a program that came with the packages. */
export const binary = (name) => join(ROOT, "node_modules", ".bin", name);

export const hasPackages = () => existsSync(binary("bun")) && existsSync(binary("biome"));

/**
 * Runs a command, showing its output unless `capture` (with `progress` what it says on standard error is shown all the same);
 * resolves with its exit code and what it printed.
 * @param {string} command @param {string[]} args
 */
export function run(command, args, { capture = false, progress = false, tee = false, env = {}, cwd = ROOT } = {}) {
  return new Promise((resolve, reject) => {
    const piped = capture || tee;
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", piped ? "pipe" : "inherit", piped && !progress ? "pipe" : "inherit"],
    });
    let output = "";
    const take = (stream, to) =>
      stream?.on("data", (chunk) => {
        output += chunk;
        if (tee) to.write(chunk);
      });
    take(child.stdout, process.stdout);
    take(child.stderr, process.stderr);
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

const TICK_S = 10;

/** Runs a step and ends the process with its exit code when it fails. `ticks`: says every ten seconds that it goes on. */
export async function step(title, command, args, { ticks = false, ...options } = {}) {
  process.stdout.write(`· ${title}\n`);
  let seconds = 0;
  const tick = () => {
    seconds += TICK_S;
    process.stdout.write(`· ${title}, ${seconds} s\n`);
  };
  const timer = ticks ? setInterval(tick, TICK_S * 1000) : undefined;
  const { code } = await run(command, args, options).finally(() => clearInterval(timer));
  if (code !== 0) {
    process.stderr.write(`✗ ${title} failed (exit ${code})\n`);
    process.exit(code);
  }
}

/** Installs the pinned packages when they are missing or the lock file is newer. */
export async function ensurePackages() {
  const { statSync } = await import("node:fs");
  const marker = join(ROOT, "node_modules", ".package-lock.json");
  const fresh =
    hasPackages() && existsSync(marker) && statSync(marker).mtimeMs >= statSync(join(ROOT, "package-lock.json")).mtimeMs - 1000;
  if (!fresh)
    await step("installing packages (npm ci)", "npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { ticks: true });
}
