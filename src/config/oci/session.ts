import { Buffer } from "node:buffer";
import { utf8Text } from "../../core/bytes.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { OCI_LIMITS } from "../../core/limits.ts";
import { type Challenge, readChallenges } from "./challenge.ts";
import { IDENTITY_TOKEN, type RegistryCredentials, type RegistryUser } from "./credentials.ts";
import { exchange, type RegistryAnswer, type RegistryRequest } from "./exchange.ts";
import { RegistryError } from "./failure.ts";
import type { RegistryPolicy } from "./policy.ts";
import type { OciReference } from "./reference.ts";

/** What is the same for all registries. */
export interface RegistrySettings {
  readonly policy: RegistryPolicy;
  readonly credentials: RegistryCredentials;
  /** Authorities of registries, PEM; undefined: the system's. */
  readonly caPem: string | undefined;
}

export type RegistryAsk = Omit<RegistryRequest, "url" | "headers" | "maxBytes"> & {
  /** Below `/v2/<repository>/`, or where the registry itself said. */
  readonly to: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: nothing is expected. */
  readonly maxBytes?: number;
};

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Talks to one repository. Credentials and tokens go to the registry's own origin, credentials also to the token service that
 * the registry's own origin names, and nowhere else: not where a redirect leads, and no challenge from there is answered.
 */
export class RegistrySession {
  readonly base: URL;
  #authorization: string | undefined;
  #hasUser = false;

  /** Throws a `RegistryError` when the registry may not be asked. */
  constructor(
    readonly reference: OciReference,
    readonly settings: RegistrySettings,
    /** `pull`, or `pull,push`. */
    readonly actions: string,
    readonly signal: AbortSignal,
  ) {
    this.base = settings.policy.baseOf(reference.registry);
  }

  /** Answers of any status but redirects and 401. Rejects with a `RegistryError`. */
  async ask({ to, ...ask }: RegistryAsk): Promise<RegistryAnswer> {
    const isOwn = (url: URL): boolean => url.origin === this.base.origin;
    let url = typeof to === "string" ? new URL(`v2/${this.reference.repository}/${to}`, this.base) : to;
    let isAuthorized = false;
    for (let redirects = 0; redirects <= OCI_LIMITS.redirects; ) {
      const authorization = isOwn(url) ? this.#authorization : undefined;
      const headers = { ...ask.headers, ...(authorization === undefined ? {} : { authorization }) };
      const answer = await this.#exchange({ maxBytes: OCI_LIMITS.errorBytes, ...ask, url, headers });
      if (answer.status === 401 && isOwn(url) && !isAuthorized) {
        isAuthorized = true;
        await this.#authorize(answer);
        continue;
      }
      if (answer.status === 401 || answer.status === 403) throw this.#unauthorized(isOwn(url) ? "" : ` at ${url.host}`);
      const next = answer.headers.location;
      const mayFollow = REDIRECTS.has(answer.status) && next !== undefined && (ask.method === "GET" || ask.method === "HEAD");
      if (!mayFollow) return answer;
      url = this.resolve(next, url);
      redirects++;
    }
    throw new RegistryError(
      "registry_not_allowed",
      `${this.reference.registry} redirects more than ${OCI_LIMITS.redirects} times`,
    );
  }

  /** A place that the registry named. Throws a `RegistryError` when it is none. */
  resolve(location: string, from: URL): URL {
    const url = URL.parse(location, from.href);
    if (url === null) throw new RegistryError("registry_not_allowed", `${from.host} leads to something that is no URL`);
    return url;
  }

  #exchange(request: RegistryRequest): Promise<RegistryAnswer> {
    const { policy, caPem } = this.settings;
    policy.check(request.url, this.base);
    const checkAddresses = (url: URL, addresses: readonly string[]): void => policy.checkAddresses(url, this.base, addresses);
    return exchange(request, { caPem, signal: this.signal, checkAddresses });
  }

  async #authorize(answer: RegistryAnswer): Promise<void> {
    const challenges = readChallenges(String(answer.headers["www-authenticate"] ?? ""));
    const user = await this.settings.credentials.of(this.reference.registry, this.signal);
    this.#hasUser = user !== undefined;
    const bearer = challenges.find((each) => each.scheme === "bearer" && each.parameters.has("realm"));
    if (bearer !== undefined) {
      this.#authorization = `Bearer ${await this.#token(bearer, user)}`;
      return;
    }
    if (!challenges.some((each) => each.scheme === "basic") || user === undefined || user.user === IDENTITY_TOKEN)
      throw this.#unauthorized();
    this.#authorization = basic(user);
  }

  /** https://distribution.github.io/distribution/spec/auth/token/ */
  async #token({ parameters }: Challenge, user: RegistryUser | undefined): Promise<string> {
    const url = this.resolve(parameters.get("realm") ?? "", this.base);
    const service = parameters.get("service");
    // What is needed, not what a registry would like to have a token for.
    const scope = `repository:${this.reference.repository}:${this.actions}`;
    const wanted = new URLSearchParams({ ...(service === undefined ? {} : { service }), scope });
    const answer = await this.#exchange(user?.user === IDENTITY_TOKEN ? refresh(url, wanted, user) : ask(url, wanted, user));
    if (answer.status >= 500) throw statusError(url.host, answer.status);
    if (answer.status !== 200) throw this.#unauthorized(` at ${url.host}`);
    const token = readToken(answer.body);
    if (token === undefined) throw new RegistryError("registry_unauthorized", `${url.host} gives no token`);
    return token;
  }

  #unauthorized(where = ""): RegistryError {
    const { registry, repository } = this.reference;
    const hint = this.#hasUser
      ? "those given are refused, or may not do that"
      : "`docker login` keeps them in config.json or with a helper; or SELVEDGE_REGISTRY_CREDENTIALS=registry=user:password";
    const message = `${registry} wants ${this.#hasUser ? "other " : ""}credentials for ${repository}${where}`;
    return new RegistryError("registry_unauthorized", message, hint);
  }
}

function ask(url: URL, wanted: URLSearchParams, user: RegistryUser | undefined): RegistryRequest {
  for (const [name, value] of wanted) url.searchParams.set(name, value);
  const headers = user === undefined ? {} : { authorization: basic(user) };
  return { method: "GET", url, headers, maxBytes: OCI_LIMITS.tokenBytes };
}

/** https://distribution.github.io/distribution/spec/auth/oauth/: an identity token never stands in a URL. */
function refresh(url: URL, wanted: URLSearchParams, { password }: RegistryUser): RegistryRequest {
  const form = new URLSearchParams({ grant_type: "refresh_token", client_id: "selvedge", refresh_token: password });
  for (const [name, value] of wanted) form.set(name, value);
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  return { method: "POST", url, headers, body: new Uint8Array(Buffer.from(form.toString())), maxBytes: OCI_LIMITS.tokenBytes };
}

const basic = ({ user, password }: RegistryUser): string => `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

function readToken(body: Uint8Array): string | undefined {
  try {
    const { token, access_token } = parseShallowJson(utf8Text(body)) as {
      readonly token?: unknown;
      readonly access_token?: unknown;
    };
    const text = token ?? access_token;
    return typeof text === "string" && /^[\x21-\x7e]+$/.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

/** What a status says that nobody expected. */
export function statusError(host: string, status: number): RegistryError {
  const later = status === 429 ? ": it is asked too often" : "";
  return new RegistryError("registry_unreachable", `${host} answers ${status}${later}`);
}
