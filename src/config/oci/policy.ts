import { isIP } from "node:net";
import { isLoopbackAddress, isPrivateAddress } from "../../core/private-addresses.ts";
import { RegistryError } from "./failure.ts";

/** Docker's registry has another name than its references say. */
const DOCKER = { registry: "docker.io", api: "registry-1.docker.io" } as const;

/** How a host was named in the settings. */
type Scheme = "http" | "https" | undefined;

const NAMED = /^(?:(https?):\/\/)?((?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d{1,5})?)\/?$/;

/** Is this the name of this very machine? */
export function isLoopbackHost(host: string): boolean {
  const bare = host.startsWith("[") ? host.slice(1, -1) : host;
  return bare === "localhost" || bare.endsWith(".localhost") || (isIP(bare) !== 0 && isLoopbackAddress(bare));
}

/**
 * Which hosts may be asked. Without names: every registry in the public Internet, over https, and those of this machine. With
 * names: these alone, wherever they are, and `http://` in front allows them plain HTTP. What a registry leads to (token service,
 * storage) must be public and https, of the registry's own machine when that is this one, or named as well.
 */
export class RegistryPolicy {
  readonly #named = new Map<string, Scheme>();

  /** Throws an `Error` for what is no `[http[s]://]host[:port]`. */
  constructor(named: readonly string[]) {
    for (const text of named) {
      const match = NAMED.exec(text.toLowerCase());
      if (match?.[2] === undefined)
        throw new Error(`${JSON.stringify(text)} is no registry like ghcr.io or http://10.0.0.5:5000`);
      this.#named.set(match[2], match[1] as Scheme);
    }
  }

  /** Where the API of a registry is. Throws a `RegistryError` when it may not be asked. */
  baseOf(registry: string): URL {
    const isNamed = this.#named.has(registry);
    if (!isNamed && this.#named.size > 0) throw notAllowed(`the registry ${registry} is not among those that may be asked`);
    const scheme = this.#named.get(registry) ?? (isLoopbackHost(hostOf(registry)) ? "http" : "https");
    return new URL(`${scheme}://${registry === DOCKER.registry ? DOCKER.api : registry}/`);
  }

  /** Throws a `RegistryError` when a request of the registry at `base` may not go to this URL. */
  check(url: URL, base: URL): void {
    if (url.username !== "" || url.password !== "") throw notAllowed(`${url.host} is named with credentials`);
    if (url.protocol === "https:") return;
    // A base is plain only where that was said, or on this machine.
    const isPlainAllowed =
      url.origin === base.origin ||
      this.#named.get(url.host) === "http" ||
      (isLoopbackHost(url.hostname) && isLoopbackHost(base.hostname));
    if (url.protocol !== "http:" || !isPlainAllowed) throw notAllowed(`${url.protocol}//${url.host} is not https`);
  }

  /** Throws a `RegistryError` when one of the addresses of a host that `check` let pass may not be reached. */
  checkAddresses(url: URL, base: URL, addresses: readonly string[]): void {
    const isNamed = this.#named.has(url.host) || (url.host === base.host && this.#named.size > 0);
    if (isNamed) return;
    const isLocal = isLoopbackHost(url.hostname) && isLoopbackHost(base.hostname);
    const isFine = isLocal ? isLoopbackAddress : (address: string) => !isPrivateAddress(address);
    if (!addresses.every(isFine)) throw notAllowed(`${url.host} is not in the public Internet`);
  }
}

const hostOf = (registry: string): string => registry.replace(/:\d+$/, "");

const notAllowed = (message: string): RegistryError =>
  new RegistryError("registry_not_allowed", message, "--registries (SELVEDGE_REGISTRIES) names what may be asked");
