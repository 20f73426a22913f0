import type { NatsAddress } from "../config/nats/connect.ts";
import { type CommandContext, CommandError, EXIT } from "./command.ts";
import { readText } from "./files.ts";

/**
 * Of `--nats` (several separated by commas) and the flags that go with it. `nats://user:password@host:4222` may name the user as
 * well, the first for all, and counts more than the flags. Throws a `CommandError` for what can never work, so that nobody
 * waits for it: an address that is none of NATS, a file that is not there.
 */
export function natsAddress({ flags }: CommandContext, urls: string): NatsAddress {
  const parsed = urls.split(",").map((each) => parseUrl(each.trim()));
  const servers = parsed.map((url) => `${url.protocol}//${url.host}`);
  const named = loginOf(parsed[0]);
  const user = named === undefined ? flags.text("nats-user") : named.user;
  const password = named === undefined ? flags.text("nats-password") : named.password;
  const token = flags.text("nats-token");
  const credentialsFile = flags.text("nats-credentials");
  const caFile = flags.text("nats-ca");
  if (credentialsFile !== undefined) readText(credentialsFile);
  if (caFile !== undefined && !/-----BEGIN (TRUSTED )?CERTIFICATE-----/.test(readText(caFile)))
    throw new CommandError(`--nats-ca: there is no certificate in ${caFile}`, "PEM: -----BEGIN CERTIFICATE-----", EXIT.usage);
  return {
    servers,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(token === undefined ? {} : { token }),
    ...(credentialsFile === undefined ? {} : { credentialsFile }),
    ...(caFile === undefined ? {} : { tls: { caFile } }),
  };
}

function parseUrl(text: string): URL {
  const url = URL.parse(text.includes("://") ? text : `nats://${text}`);
  if (url === null || url.host === "" || !["nats:", "tls:"].includes(url.protocol))
    // What it says may hold a password.
    throw new CommandError("--nats is not a URL like nats://127.0.0.1:4222", "tls://… to speak TLS only", EXIT.usage);
  return url;
}

function loginOf(url: URL | undefined): { readonly user: string; readonly password: string | undefined } | undefined {
  if (url === undefined || url.username === "") return undefined;
  try {
    const password = url.password === "" ? undefined : decodeURIComponent(url.password);
    return { user: decodeURIComponent(url.username), password };
  } catch {
    throw new CommandError("--nats: user or password has a % that encodes nothing", "write %25 for a %", EXIT.usage);
  }
}
