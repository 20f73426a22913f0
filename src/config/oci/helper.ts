import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { OCI_LIMITS } from "../../core/limits.ts";
import type { RegistryUser } from "./credentials.ts";
import { RegistryError } from "./failure.ts";

/** Where helpers are looked for (PATH), and what they see. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Of a helper: `docker-credential-<name>`, which is looked for on PATH and nowhere else. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** How helpers say that they have nothing, in all their languages. */
const NOTHING = /^credentials not found\b/i;

/**
 * Asks a credential helper of Docker (https://github.com/docker/docker-credential-helpers) for the user of a registry; undefined: it
 * has none. No shell, a bounded answer, no more time than the pull has, and our own settings are not in its environment. Nothing that it prints goes into a
 * message: it may be a password. Rejects with a `RegistryError`.
 */
export async function askHelper(
  name: string,
  server: string,
  env: Environment,
  signal: AbortSignal,
): Promise<RegistryUser | undefined> {
  if (!NAME.test(name)) throw failed("a credential helper", "has a name that is none");
  const program = `docker-credential-${name}`;
  const { exit, out } = await run(program, server, env, signal);
  if (exit !== 0) {
    if (NOTHING.test(out.trim())) return undefined;
    throw failed(program, `ended with ${exit === null ? "a signal" : exit}`);
  }
  const user = readAnswer(out);
  if (user === null) throw failed(program, "gave no user and password");
  return user;
}

/** Undefined: neither user nor password, as some say that they have nothing; null: not what it should be. */
function readAnswer(out: string): RegistryUser | undefined | null {
  let answer: { readonly Username?: unknown; readonly Secret?: unknown };
  try {
    answer = Object(JSON.parse(out));
  } catch {
    return null;
  }
  const { Username: user, Secret: password } = answer;
  if (typeof user !== "string" || typeof password !== "string" || user.includes(":")) return null;
  return user === "" && password === "" ? undefined : { user, password };
}

interface Finished {
  /** Null: by a signal. */
  readonly exit: number | null;
  readonly out: string;
}

function run(program: string, server: string, env: Environment, signal: AbortSignal): Promise<Finished> {
  // What its own children hold open is not waited for: with a group of its own all of them end.
  const child = spawn(program, ["get"], { stdio: ["pipe", "pipe", "ignore"], env: withoutOurs(env), detached: true });
  return new Promise<Finished>((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    const onAbort = (): void => give(() => reject(failed(program, "did not answer in time")));
    const give = (settle: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      settle();
      end(child);
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    child.on("error", () => give(() => reject(failed(program, "cannot be run"))));
    child.on("close", (exit) => give(() => resolve({ exit, out: Buffer.concat(parts).toString("utf8") })));
    child.stdout.on("data", (part: Buffer) => {
      size += part.byteLength;
      if (size <= OCI_LIMITS.helperBytes) parts.push(part);
      else give(() => reject(failed(program, "says too much")));
    });
    // One that does not read has its reasons: what it answers counts.
    child.stdin.on("error", () => {});
    child.stdin.end(server);
  });
}

function end(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.stdout?.destroy();
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

/** Ours without what is set for us: credentials of other registries may be there. */
const withoutOurs = (env: Environment): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("SELVEDGE_")));

const failed = (program: string, why: string): RegistryError =>
  new RegistryError(
    "registry_unauthorized",
    `${program} ${why}`,
    "Docker's config.json names it (credsStore, credHelpers): run it by hand, or set SELVEDGE_REGISTRY_CREDENTIALS=registry=user:password",
  );
