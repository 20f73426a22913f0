import type { Clock } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import { JWT_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import type { Rng } from "../../core/rng.ts";
import { type KeySet, readKeySet } from "./keys.ts";

/** Where the keys of one issuer come from. */
export interface KeySource {
  /** The keys to use now; undefined while there are none. May start a refresh behind the scenes. */
  current(): KeySet | undefined;
  /** Waits for keys when there are none, or for a refresh when a token names an unknown key. Never rejects. */
  renew(reason: "missing" | "unknown-kid"): Promise<void>;
  /** Changes whenever the keys do: what was verified under another number is verified again. */
  readonly version: number;
}

/** Keys that are part of the configuration. Throws an `Error` when they cannot be used. */
export class InlineKeys implements KeySource {
  readonly version = 1;
  readonly #keys: KeySet;

  constructor(jwks: string) {
    const read = readKeySet(jwks);
    if (!read.ok) throw new Error(read.error);
    this.#keys = read.value;
  }
  current(): KeySet {
    return this.#keys;
  }
  renew(): Promise<void> {
    return Promise.resolve();
  }
}

export interface RemoteKeysOptions {
  readonly provider: string;
  readonly cacheMs: number;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  /** Fetches the text of the set; rejects when it cannot. */
  readonly fetch: () => Promise<string>;
}

/**
 * Keys behind a URL. Without keys every token of the issuer is refused. Once there are keys they stay until others came:
 * a failed fetch, or a set that cannot be read, changes nothing (last good). Refreshed in use, when they are older than the
 * cache time (jittered by 10 %), by one fetch at a time; after a failure the wait doubles.
 */
export class RemoteKeys implements KeySource {
  version = 0;
  readonly #options: RemoteKeysOptions;
  #keys: KeySet | undefined;
  #text: string | undefined;
  #refreshAtMs = Number.NEGATIVE_INFINITY;
  #kidRefreshAtMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #running: Promise<void> | undefined;
  /** For status: why the last fetch failed, or undefined. */
  lastError: string | undefined;

  constructor(options: RemoteKeysOptions) {
    this.#options = options;
  }

  current(): KeySet | undefined {
    if (this.#options.clock.nowMs() >= this.#refreshAtMs) void this.#refresh();
    return this.#keys;
  }

  renew(reason: "missing" | "unknown-kid"): Promise<void> {
    if (this.#running !== undefined) return this.#running;
    const nowMs = this.#options.clock.nowMs();
    if (reason === "missing") return nowMs >= this.#refreshAtMs ? this.#refresh() : Promise.resolve();
    // Anybody can make up key ids: they cause one fetch in a while, whatever its outcome, and none during a back-off.
    if (nowMs < this.#kidRefreshAtMs || (this.#failures > 0 && nowMs < this.#refreshAtMs)) return Promise.resolve();
    this.#kidRefreshAtMs = nowMs + JWT_LIMITS.kidRefreshMs;
    return this.#refresh();
  }

  #refresh(): Promise<void> {
    this.#running ??= this.#fetch().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #fetch(): Promise<void> {
    const { clock, log, provider, cacheMs } = this.#options;
    try {
      const text = await this.#options.fetch();
      const read = readKeySet(text);
      if (!read.ok) throw new Error(read.error);
      if (text !== this.#text) {
        this.#keys = read.value;
        this.#text = text;
        this.version++;
        log.info("keys fetched", { provider, keys: read.value.keys.length });
      }
      this.#failures = 0;
      this.lastError = undefined;
      this.#refreshAtMs = clock.nowMs() + this.#jittered(cacheMs);
    } catch (error) {
      this.lastError = describeCause(error);
      const waitMs = Math.min(JWT_LIMITS.retryLastMs, JWT_LIMITS.retryFirstMs * 2 ** Math.min(this.#failures, 20));
      this.#failures++;
      this.#refreshAtMs = clock.nowMs() + this.#jittered(waitMs);
      log.warn("keys could not be fetched", { provider, error: this.lastError, keptLastGood: this.#keys !== undefined });
    }
  }

  #jittered(ms: number): number {
    return ms * (0.9 + 0.2 * this.#options.rng.next());
  }
}
