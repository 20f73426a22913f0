import { createHash } from "node:crypto";
import type { AuthenticationConfig, JwtProviderConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import type { RequestHead } from "../../core/head.ts";
import { JWT_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import type { Rng } from "../../core/rng.ts";
import { principalOf, refuseClaims } from "./claims.ts";
import { type FoundToken, findTokens, placesOf, removeToken, type TokenPlace } from "./extract.ts";
import { fetchKeys } from "./fetch-keys.ts";
import { InlineKeys, type KeySource, RemoteKeys } from "./key-source.ts";
import { parseObject, parseToken, verifySignature } from "./token.ts";

/** Claims of one verified token. */
export interface VerifiedToken {
  readonly provider: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /** `issuer/subject`; undefined when the token names no subject. */
  readonly principal: string | undefined;
}

export type JwtOutcome =
  | { readonly kind: "ok"; readonly payloads: readonly VerifiedToken[] }
  /** No token came, and none is needed. */
  | { readonly kind: "none" }
  /** `reason` is for the log. 401: no or a bad token; 503: the issuer's keys are not to be had. */
  | { readonly kind: "denied"; readonly reason: string; readonly status: number };

export interface JwtTools {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

interface Verified extends VerifiedToken {
  readonly index: number;
  /** Version of the keys that it was verified with. */
  readonly version: number;
}

type TokenOutcome = Verified | { readonly kind: "denied"; readonly reason: string; readonly status: number };

const NONE: JwtOutcome = { kind: "none" };
const MISSING: JwtOutcome = { kind: "denied", reason: "no token", status: 401 };

/**
 * Verifies JSON Web Tokens for one `Authentication`. Every token that a request carries in a place that a provider looks at
 * must be valid; the token's issuer says which provider checks it. What was verified is remembered by the token's hash, so
 * that the second request with it is answered at once, without a promise.
 */
export class JwtAuthenticator {
  readonly #config: AuthenticationConfig;
  readonly #clock: Clock;
  readonly #places: readonly TokenPlace[];
  readonly #sources: readonly KeySource[];
  readonly #verified = new Map<string, Verified>();

  /** Throws an `Error` when inline keys cannot be used. `sources` replaces the keys' sources in tests. */
  constructor(config: AuthenticationConfig, tools: JwtTools, sources?: readonly KeySource[]) {
    this.#config = config;
    this.#clock = tools.clock;
    this.#places = placesOf(config.jwt);
    this.#sources = sources ?? config.jwt.map((provider) => sourceOf(provider, tools));
  }

  /** Fetches remote keys ahead of the first request. Never rejects. */
  async warm(): Promise<void> {
    await Promise.all(this.#sources.map((source) => source.renew("missing")));
  }

  /** How many verified tokens are remembered. */
  get cached(): number {
    return this.#verified.size;
  }

  /**
   * Who sends this request? Tokens that are not to be forwarded are taken out of `head` when it is let through. A promise only
   * for a token that was not seen before (or whose keys have changed since).
   */
  verify(head: RequestHead): JwtOutcome | Promise<JwtOutcome> {
    const found = findTokens(head, this.#places);
    if (found.length === 0) return this.#config.required ? MISSING : NONE;
    if (found.length > JWT_LIMITS.tokensPerRequest) return { kind: "denied", reason: "too many tokens", status: 401 };
    const payloads: Verified[] = [];
    for (const each of found) {
      const known = this.#recall(each);
      if (known === undefined) return this.#verifyAll(head, found);
      if ("kind" in known) return known;
      payloads.push(known);
    }
    return this.#accept(head, found, payloads);
  }

  async #verifyAll(head: RequestHead, found: readonly FoundToken[]): Promise<JwtOutcome> {
    const payloads: Verified[] = [];
    for (const each of found) {
      const outcome = this.#recall(each) ?? (await this.#verifyOne(each));
      if ("kind" in outcome) return outcome;
      payloads.push(outcome);
    }
    return this.#accept(head, found, payloads);
  }

  #accept(head: RequestHead, found: readonly FoundToken[], payloads: readonly Verified[]): JwtOutcome {
    for (let i = 0; i < found.length; i++) {
      const provider = this.#config.jwt[(payloads[i] as Verified).index] as JwtProviderConfig;
      if (!provider.forward) removeToken(head, found[i] as FoundToken);
    }
    return { kind: "ok", payloads };
  }

  /** What is known of a token; times are checked again. Undefined: nothing, or the keys have changed. */
  #recall(found: FoundToken): TokenOutcome | undefined {
    const known = this.#verified.get(digestOf(found.token));
    if (known === undefined || !found.providers.includes(known.index)) return undefined;
    const source = this.#sources[known.index] as KeySource;
    // Asking for the keys keeps them fresh.
    if (source.current() === undefined || source.version !== known.version) return undefined;
    const provider = this.#config.jwt[known.index] as JwtProviderConfig;
    const refusal = refuseClaims(known.claims, provider, this.#clock.wallMs());
    return refusal === undefined ? known : denied(provider, refusal);
  }

  async #verifyOne(found: FoundToken): Promise<TokenOutcome> {
    const { token } = found;
    const longest = Math.max(...found.providers.map((i) => (this.#config.jwt[i] as JwtProviderConfig).maxTokenBytes));
    if (token.length > longest) return { kind: "denied", reason: "the token is too long", status: 401 };
    const parsed = parseToken(token);
    if (!parsed.ok) return { kind: "denied", reason: `bad token: ${parsed.error}`, status: 401 };
    const claims = parseObject(parsed.value.payload);
    const index = found.providers.find((i) => this.#config.jwt[i]?.issuer === claims?.iss);
    const provider = index === undefined ? undefined : this.#config.jwt[index];
    if (claims === undefined || index === undefined || provider === undefined)
      return { kind: "denied", reason: "the token is from no known issuer", status: 401 };
    if (token.length > provider.maxTokenBytes) return denied(provider, "it is too long");
    const refusal = refuseClaims(claims, provider, this.#clock.wallMs());
    if (refusal !== undefined) return denied(provider, refusal);
    const source = this.#sources[index] as KeySource;
    if (source.current() === undefined) await source.renew("missing");
    const { kid } = parsed.value;
    if (kid !== undefined && source.current()?.has(kid) === false) await source.renew("unknown-kid");
    const keys = source.current();
    if (keys === undefined) return { kind: "denied", reason: `provider ${provider.name}: no keys`, status: 503 };
    const { version } = source;
    const verified = await verifySignature(token, parsed.value, keys, provider.algorithms);
    if (!verified.ok) return denied(provider, verified.error);
    const outcome: Verified = { provider: provider.name, claims, principal: principalOf(claims), index, version };
    this.#remember(token, outcome);
    return outcome;
  }

  #remember(token: string, outcome: Verified): void {
    if (this.#verified.size >= JWT_LIMITS.cachedTokens) {
      const oldest = this.#verified.keys().next().value;
      if (oldest !== undefined) this.#verified.delete(oldest);
    }
    this.#verified.set(digestOf(token), outcome);
  }
}

function denied(provider: JwtProviderConfig, why: string): TokenOutcome {
  return { kind: "denied", reason: `provider ${provider.name}: ${why}`, status: 401 };
}

const digestOf = (token: string): string => createHash("sha256").update(token, "latin1").digest("latin1");

function sourceOf(provider: JwtProviderConfig, tools: JwtTools): KeySource {
  const { keys } = provider;
  if (keys.kind === "inline") return new InlineKeys(keys.jwks);
  const fetch = (): Promise<string> => fetchKeys(keys, tools.clock);
  const log = tools.log.for("jwt");
  return new RemoteKeys({ provider: provider.name, cacheMs: keys.cacheMs, clock: tools.clock, rng: tools.rng, log, fetch });
}
