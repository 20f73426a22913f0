/** A user of a registry. */
export interface RegistryUser {
  readonly user: string;
  readonly password: string;
}

/** Users by registry, as `credentials` and Docker's `auths` give them. */
export class RegistryCredentials {
  readonly #users = new Map<string, RegistryUser>();
  /** Docker's file names a program that has the credentials. It is not run. */
  readonly hasHelper: boolean;

  /**
   * `dockerConfig`: the content of a `config.json`; `named`: `registry=user:password`, separated by blanks, which count more. Throws
   * an `Error` that quotes neither.
   */
  constructor(dockerConfig: string | undefined, named: string | undefined) {
    const config = readObject(dockerConfig);
    this.hasHelper = config.credsStore !== undefined || config.credHelpers !== undefined;
    for (const [key, entry] of Object.entries(objectOf(config.auths))) {
      const user = readEntry(objectOf(entry));
      // Podman writes some for a part of a registry: what is meant for that part goes nowhere else.
      if (user !== undefined && WHOLE_REGISTRY.test(key)) this.#users.set(registryOf(key), user);
    }
    for (const text of (named ?? "").split(/\s+/).filter((each) => each !== "")) {
      const match = /^([^=]+)=([^:]+):(.*)$/.exec(text);
      if (match === null) throw new Error("credentials are not of the form registry=user:password");
      this.#users.set(registryOf(match[1] as string), { user: match[2] as string, password: match[3] as string });
    }
  }

  of(registry: string): RegistryUser | undefined {
    return this.#users.get(registryOf(registry));
  }
}

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

/** `auth` (base64 of `user:password`), or the two apart. */
function readEntry({ auth, username, password }: Readonly<Record<string, unknown>>): RegistryUser | undefined {
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
