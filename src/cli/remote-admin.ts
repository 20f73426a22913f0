import { type CommandContext, CommandError, EXIT } from "./command.ts";
import { fetchCause } from "./fetch-cause.ts";
import { printable } from "./terminal.ts";

/** How long a proxy may take for an answer. */
const ANSWER_MS = 30_000;

/** What a proxy serves, secrets redacted, from its admin address (`--admin-url`, `--admin-token`). `hint`: what to do when nobody answers. */
export function fetchConfigDump(context: CommandContext, hint: string): Promise<unknown> {
  return getAdmin(context, "/config_dump", hint);
}

/** What a proxy says at that path of its admin address. */
export async function getAdmin(context: CommandContext, path: string, hint: string): Promise<unknown> {
  const response = await askAdmin(context, "GET", path, hint);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** The same; undefined: there is no such thing. */
export async function findAdmin(context: CommandContext, path: string, hint: string): Promise<unknown> {
  const response = await askAdmin(context, "GET", path, hint);
  if (response.status === 404) return undefined;
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Tells a proxy something at its admin address; answers what it says. */
export async function postAdmin(context: CommandContext, path: string, hint: string): Promise<unknown> {
  const response = await askAdmin(context, "POST", path, hint);
  if (response.ok) return response.json();
  if (response.status === 404) {
    const { error } = (await response.json().catch(() => ({}))) as { readonly error?: unknown };
    throw new CommandError(`the proxy says: ${printable(String(error ?? "there is no such filter"))}`, "", EXIT.notFound);
  }
  throw await refusal(response);
}

async function askAdmin({ flags }: CommandContext, method: string, path: string, hint: string): Promise<Response> {
  const url = flags.text("admin-url") ?? "";
  const token = flags.text("admin-token");
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const signal = AbortSignal.timeout(ANSWER_MS);
  try {
    return await fetch(new URL(path, url), { method, headers, redirect: "error", signal });
  } catch (error) {
    throw new CommandError(`no proxy answers at ${url} (${fetchCause(error)})`, hint, EXIT.unreachable);
  }
}

async function refusal(response: Response): Promise<CommandError> {
  const text = printable((await response.text()).slice(0, 200));
  const hint = response.status === 401 ? "give the token with --admin-token" : "";
  return new CommandError(`the proxy answered ${response.status}: ${text}`, hint);
}
