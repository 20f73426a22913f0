// Finds or obtains the real nats-server and `nats` CLI without root: on PATH, in the cache folder, by Go, or (the server) as
// Debian's package. Used by `npm start`, the tests and CI. Run: `node scripts/nats.mjs` prints what there is after obtaining it.
import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const GO_SERVER = "github.com/nats-io/nats-server/v2@latest";
// Other versions of the CLI cannot be had as Go modules everywhere.
const GO_CLI = "github.com/nats-io/natscli/nats";
const GO_CLI_VERSION = "v0.1.6";
const GO_MS = 10 * 60_000;
const TICK_S = 10;

/** Where obtained programs are kept: `$SELVEDGE_TOOLS_DIR`, else `$XDG_CACHE_HOME/selvedge`, else `~/.cache/selvedge`. */
export function cacheFolder() {
  const { SELVEDGE_TOOLS_DIR, XDG_CACHE_HOME } = process.env;
  return SELVEDGE_TOOLS_DIR || (XDG_CACHE_HOME ? join(XDG_CACHE_HOME, "selvedge") : join(homedir(), ".cache", "selvedge"));
}

const binFolder = () => join(cacheFolder(), "bin");

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function onPath(name) {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function find(name) {
  const cached = join(binFolder(), name);
  return onPath(name) ?? (isExecutable(cached) ? cached : undefined);
}

/**
 * Paths of what is there already; obtains nothing. `SELVEDGE_NATS_SERVER` names another server.
 * @returns {Promise<{ server: string | undefined, cli: string | undefined }>}
 */
export async function findNats() {
  return { server: process.env.SELVEDGE_NATS_SERVER || find("nats-server"), cli: find("nats") };
}

/**
 * Finds or obtains both; never throws. What could not be had is undefined, and `reasons` says why.
 * @param {{ print?: (line: string) => void, cli?: boolean }} options `cli`: false leaves the CLI out
 * @returns {Promise<{ server: string | undefined, cli: string | undefined, reasons: string[] }>}
 */
export async function obtainNats({ print = () => {}, cli = true } = {}) {
  const found = await findNats();
  const reasons = [];
  const server = found.server ?? (await obtain("nats-server", [serverByGo, byDebian("nats-server")], print, reasons));
  const tool = found.cli ?? (cli ? await obtain("nats", [cliByGo], print, reasons) : undefined);
  return { server, cli: tool, reasons };
}

/**
 * Finds a program, or unpacks the Debian package of that name; never throws.
 * @param {string} name
 * @param {(line: string) => void} print
 * @returns {Promise<{ path: string | undefined, reasons: string[] }>}
 */
export async function obtainUnpacked(name, print) {
  const reasons = [];
  return { path: find(name) ?? (await obtain(name, [byDebian(name)], print, reasons)), reasons };
}

async function obtain(name, ways, print, reasons) {
  for (const way of ways) {
    try {
      mkdirSync(binFolder(), { recursive: true });
      await way(print);
      const path = find(name);
      if (path !== undefined) {
        print(`${name}: ${path}`);
        return path;
      }
      reasons.push(`${name}: nothing was built`);
    } catch (error) {
      reasons.push(`${name}: ${error.message}`);
    }
  }
  return undefined;
}

function goProgram() {
  const go = onPath("go") ?? ["/usr/local/go/bin/go", "/opt/homebrew/bin/go"].find(isExecutable);
  if (go === undefined) throw new Error("Go is not installed");
  return go;
}

async function serverByGo(print) {
  const go = goProgram();
  print("building nats-server with Go (a minute or two)");
  await ticking(print, "building nats-server", () =>
    inBuildFolder(
      (folder) => run(go, ["install", GO_SERVER], { env: { GOBIN: folder, GOFLAGS: "-mod=mod" }, cwd: folder }),
      "nats-server",
    ),
  );
}

async function cliByGo(print) {
  const go = goProgram();
  print("building the nats CLI with Go (two or three minutes)");
  await ticking(print, "building the nats CLI", () =>
    inBuildFolder(async (folder) => {
      await run(go, ["mod", "init", "selvedge.invalid/nats"], { cwd: folder });
      await run(go, ["get", `${GO_CLI}@${GO_CLI_VERSION}`], { cwd: folder });
      await run(go, ["build", "-o", "nats", GO_CLI], { cwd: folder, env: { GOFLAGS: "-mod=mod" } });
    }, "nats"),
  );
}

/** Says every ten seconds that it goes on. */
async function ticking(print, title, work) {
  let seconds = 0;
  const timer = setInterval(() => {
    seconds += TICK_S;
    print(`${title}, ${seconds} s`);
  }, TICK_S * 1000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/** A program of the Debian package of that name, unpacked into our folder: without root, and nothing is installed or started. */
const byDebian = (name) => async (print) => {
  if (onPath("apt-get") === undefined || onPath("dpkg") === undefined) throw new Error("this is not Debian or Ubuntu");
  print(`downloading Debian's ${name}`);
  await inBuildFolder(async (folder) => {
    await run("apt-get", ["download", name], { cwd: folder });
    const archive = readdirSync(folder).find((file) => file.endsWith(".deb"));
    if (archive === undefined) throw new Error("apt-get downloaded nothing");
    await run("dpkg", ["-x", archive, "package"], { cwd: folder });
    const unpacked = ["usr/sbin", "usr/bin"].map((each) => join(folder, "package", each, name)).find((each) => existsSync(each));
    if (unpacked === undefined) throw new Error(`the package has no ${name}`);
    renameSync(unpacked, join(folder, name));
  }, name);
};

/** Works in a folder beside the target, then renames: an interrupted build leaves no half program. */
async function inBuildFolder(work, name) {
  const folder = mkdtempSync(join(cacheFolder(), "build-"));
  try {
    await work(folder);
    if (existsSync(join(folder, name))) renameSync(join(folder, name), join(binFolder(), name));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(command, args, { cwd, env = {} }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe"],
      timeout: GO_MS,
    });
    let errors = "";
    child.stderr.on("data", (chunk) => {
      errors = (errors + chunk).slice(-2_000);
    });
    child.once("error", (error) => reject(new Error(`${command}: ${error.message}`)));
    child.once("close", (code) => {
      if (code === 0) return resolve(undefined);
      const reason = errors.trim().split("\n").at(-1) ?? "";
      reject(new Error(`${command} ${args[0]} failed (exit ${code}): ${reason}`));
    });
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { server, cli, reasons } = await obtainNats({ print: (line) => process.stdout.write(`${line}\n`) });
  process.stdout.write(`nats-server: ${server ?? "none"}\nnats: ${cli ?? "none"}\n`);
  for (const reason of reasons) process.stdout.write(`  ${reason}\n`);
  // What was obtained lies where no shell looks.
  if ([server, cli].some((path) => path?.startsWith(binFolder())))
    process.stdout.write(`\nto type them by name:\n  export PATH="${binFolder()}:$PATH"\n`);
  process.exit(server === undefined ? 1 : 0);
}
