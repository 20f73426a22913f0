import type { DnsConfig, EndpointConfig } from "../../config/snapshot.ts";
import type { Clock, Timer } from "../../core/clock.ts";
import { DNS_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import { IdSource, type Rng } from "../../core/rng.ts";
import { type Resolution, resolveEndpoints } from "./resolver.ts";

export interface DnsEnvironment {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

export interface DnsWatch {
  /** No call follows; everything under way is given up. Idempotent. */
  stop(): void;
}

/**
 * Resolves a service's name now and again when the answer's TTL (within `minTtlMs` and `maxTtlMs`, up to a fifth earlier) ends.
 * `onEndpoints` gets each new set, never an equal one twice in a row, never in this call. A refresh that fails keeps the last good
 * set and is repeated soon. That a name which had endpoints has none any more must be said several times in a row before it counts:
 * a name server that starts empty would else take everything down.
 */
export function watchDns(
  config: DnsConfig,
  onEndpoints: (endpoints: readonly EndpointConfig[]) => void,
  environment: DnsEnvironment,
): DnsWatch {
  return new Watch(config, onEndpoints, environment);
}

class Watch implements DnsWatch {
  readonly #abort = new AbortController();
  readonly #ids = new IdSource();
  #timer: Timer | undefined;
  /** What was handed over last, as text to compare. */
  #last = "";
  #failures = 0;
  #emptyAnswers = 0;

  constructor(
    readonly config: DnsConfig,
    readonly onEndpoints: (endpoints: readonly EndpointConfig[]) => void,
    readonly environment: DnsEnvironment,
  ) {
    this.#refresh();
  }

  stop(): void {
    this.#abort.abort();
    this.#timer?.cancel();
  }

  #refresh(): void {
    const { clock } = this.environment;
    const { signal } = this.#abort;
    resolveEndpoints(this.config, { clock, ids: this.#ids, signal }).then(
      (resolution) => this.#onResolution(resolution),
      (error: unknown) => this.#onFailure(error instanceof Error ? error.message : String(error)),
    );
  }

  #onResolution(resolution: Resolution): void {
    if (this.#abort.signal.aborted) return;
    if (resolution.endpoints.length === 0 && ++this.#emptyAnswers < DNS_LIMITS.emptyAnswers) {
      this.#onFailure("the name has no records");
      return;
    }
    this.#failures = 0;
    if (resolution.endpoints.length > 0) this.#emptyAnswers = 0;
    const { minTtlMs, maxTtlMs } = this.config;
    const ttlMs = Math.max(minTtlMs, Math.min(maxTtlMs, resolution.ttlMs));
    // Many proxies that learned it together must not all ask again together.
    this.#schedule(Math.max(minTtlMs, ttlMs * (1 - this.environment.rng.next() / 5)));
    this.environment.log.debug("DNS resolved", { host: this.config.host, endpoints: resolution.endpoints.length, ttlMs });
    const text = JSON.stringify(resolution.endpoints);
    if (text === this.#last || (this.#last === "" && resolution.endpoints.length === 0)) return;
    this.#last = text;
    this.onEndpoints(resolution.endpoints);
  }

  #onFailure(problem: string): void {
    if (this.#abort.signal.aborted) return;
    const { retryMinMs, retryMaxMs } = DNS_LIMITS;
    const delayMs = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    this.environment.log.warn("DNS resolution failed", { host: this.config.host, problem, kept: this.#last !== "" });
    this.#schedule(delayMs * (0.5 + this.environment.rng.next() / 2));
  }

  #schedule(delayMs: number): void {
    this.#timer = this.environment.clock.setTimer(delayMs, () => this.#refresh());
  }
}
