import { askHelper, type Environment } from "./helper.ts";

/** Instead of a user: the password is an identity token, for which a token service gives others (OAuth 2.0 refresh token). */
export const IDENTITY_TOKEN = "<token>";

/** A user of a registry. */
export interface RegistryUser {
  readonly user: string;
  readonly password: string;
}

/** Users by registry, as `credentials` and Docker's `auths` and credential helpers give them. */
export class RegistryCredentials {
  readonly #named = new Map<string, RegistryUser>();
  readonly #users = new Map<string, RegistryUser>();
  /** Names of programs by registry, and that for all others. */
  readonly #helpers = new Map<string, string>();
  readonly #store: string;

  /**
   * `dockerConfig`: the content of a `config.json`; `named`: `registry=user:password`, separated by blanks, which count more; `env`:
   * what helpers see. Throws an `Error` that quotes neither.
   */
  constructor(
    dockerConfig: string | undefined,
    named: string | undefined,
    readonly env: Environment = {},
  ) {
    const config = readObject(dockerConfig);
    this.#store = textOf(config.credsStore);
    for (const [key, helper] of Object.entries(objectOf(config.credHelpers)))
      if (WHOLE_REGISTRY.test(key)) this.#helpers.set(registryOf(key), textOf(helper));
    for (const [key, entry] of Object.entries(objectOf(config.auths))) {
      const user = readEntry(objectOf(entry));
      // Podman writes some for a part of a registry: what is meant for that part goes nowhere else.
      if (user !== undefined && WHOLE_REGISTRY.test(key)) this.#users.set(registryOf(key), user);
    }
    for (const text of (named ?? "").split(/\s+/).filter((each) => each !== "")) {
      const match = /^([^=]+)=([^:]+):(.*)$/.exec(text);
      if (match === null) throw new Error("credentials are not of the form registry=user:password");
      this.#named.set(registryOf(match[1] as string), { user: match[2] as string, password: match[3] as string });
    }
  }

  /** Those named for it, else those of its helper, else those of the file. Rejects with a `RegistryError` when a helper fails. */
  async of(registry: string, signal: AbortSignal): Promise<RegistryUser | undefined> {
    const host = registryOf(registry);
    const named = this.#named.get(host);
    if (named !== undefined) return named;
    const helper = this.#helpers.get(host) ?? this.#store;
    const kept = helper === "" ? undefined : await askHelper(helper, serverOf(host), this.env, signal);
    return kept ?? this.#users.get(host);
  }
}

/** What Docker calls a registry when it speaks to helpers. */
const serverOf = (host: string): string => (host === "docker.io" ? "https://index.docker.io/v1/" : host);

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** Of keys of `auths`: a host, with a scheme and the path of the API at most. */
const WHOLE_REGISTRY = /^(?:https?:\/\/)?[^/]*(?:\/(?:v[12]\/?)?)?$/i;

const objectOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : {};

function readObject(text: string | undefined): Readonly<Record<string, unknown>> {
  if (text === undefined) return {};
  try {
    return objectOf(JSON.parse(text));
  } catch {
    throw new Error("it is not JSON");
  }
}

/** An identity token; else `auth` (base64 of `user:password`), or the two apart. */
function readEntry(entry: Readonly<Record<string, unknown>>): RegistryUser | undefined {
  const { auth, username, password, identitytoken } = entry;
  if (typeof identitytoken === "string" && identitytoken !== "") return { user: IDENTITY_TOKEN, password: identitytoken };
  if (typeof username === "string" && typeof password === "string" && username !== "") return { user: username, password };
  if (typeof auth !== "string") return undefined;
  const match = /^([^:]+):([\s\S]*)$/.exec(Buffer.from(auth, "base64").toString("utf8"));
  // Docker ends some with NUL.
  return match === null ? undefined : { user: match[1] as string, password: (match[2] as string).replace(/\0+$/, "") };
}

/** `https://index.docker.io/v1/` and `docker.io` are the same; so are a host with and without scheme. */
function registryOf(key: string): string {
  const host = key
    .toLowerCase()
    .replace(/^https?:\/\//, "")
    .replace(/\/.*$/, "");
  return host === "index.docker.io" || host === "registry-1.docker.io" ? "docker.io" : host;
}
