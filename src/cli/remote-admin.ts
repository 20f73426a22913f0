import { type CommandContext, CommandError, EXIT } from "./command.ts";

/** What a proxy serves, secrets redacted, from its admin address (`--admin-url`, `--admin-token`). `hint`: what to do when nobody answers. */
export async function fetchConfigDump({ flags }: CommandContext, hint: string): Promise<unknown> {
  const url = flags.text("admin-url") ?? "";
  const token = flags.text("admin-token");
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  let response: Response;
  try {
    response = await fetch(new URL("/config_dump", url), { headers, redirect: "error" });
  } catch (error) {
    throw new CommandError(`no proxy answers at ${url} (${(error as Error).message})`, hint, EXIT.unreachable);
  }
  if (!response.ok) throw new CommandError(`the proxy answered ${response.status}: ${(await response.text()).slice(0, 200)}`);
  return response.json();
}
