import type { EndpointConfig, ServiceConfig } from "../../config/snapshot.ts";
import type { Rng } from "../../core/rng.ts";
import type { ClientTls, Net } from "../../runtime/net.ts";
import { createPicker } from "../balance/create.ts";
import type { Endpoint, Lease, Picker, PickHint } from "../balance/picker.ts";
import { selectSubset } from "../balance/subset.ts";
import type { UpstreamHost } from "../http1/upstream.ts";
import { EndpointPool } from "./endpoint-pool.ts";

/**
 * One service at run time: who may get an attempt (a picker per subset) and the connections to each endpoint. Outlives
 * generations with an equal configuration; endpoints change under it without a new one.
 */
export class UpstreamService {
  readonly #pickers = new Map<string, Picker>();
  readonly #pools = new Map<string, EndpointPool>();
  #endpoints: readonly EndpointConfig[] = [];

  constructor(
    readonly config: ServiceConfig,
    readonly net: Net,
    readonly host: UpstreamHost,
    readonly rng: Rng,
  ) {
    this.#pickers.set("", createPicker(config.balancing, [], host.clock, rng));
    for (const subset of config.subsets) this.#pickers.set(subset.name, createPicker(config.balancing, [], host.clock, rng));
  }

  get endpoints(): readonly EndpointConfig[] {
    return this.#endpoints;
  }

  /** A new view of the endpoints. Pools of those that are gone drain. */
  updateEndpoints(endpoints: readonly EndpointConfig[]): void {
    this.#endpoints = endpoints;
    this.#pickers.get("")?.update(endpoints);
    for (const subset of this.config.subsets) this.#pickers.get(subset.name)?.update(selectSubset(endpoints, subset.labels));
    const keys = new Set(endpoints.map(endpointKey));
    for (const [key, pool] of this.#pools) {
      if (keys.has(key)) continue;
      pool.close();
      this.#pools.delete(key);
    }
  }

  /** Undefined: no endpoint is available (or there is no such subset). */
  pick(subset: string | undefined, hint: PickHint): Lease | undefined {
    return this.#pickers.get(subset ?? "")?.pick(hint);
  }

  poolOf(endpoint: Endpoint): EndpointPool {
    const pool = this.#pools.get(endpoint.key);
    if (pool !== undefined) return pool;
    const fresh = new EndpointPool(endpoint, this.config, this.#tlsFor(endpoint), this.net, this.host);
    this.#pools.set(endpoint.key, fresh);
    return fresh;
  }

  /** For status and metrics. */
  get pools(): ReadonlyMap<string, EndpointPool> {
    return this.#pools;
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
    this.#pools.clear();
  }

  #tlsFor(endpoint: Endpoint): ClientTls | undefined {
    const { tls, dns } = this.config;
    if (tls === undefined) return undefined;
    const { address } = endpoint.config;
    // Resolved endpoints are addresses; the certificate is for the name.
    const host = dns?.host ?? (address.kind === "tcp" ? address.host : "");
    return {
      serverName: tls.serverName === "" ? host : tls.serverName,
      caPem: tls.caPem,
      verify: tls.verify,
      certificatePem: tls.certificatePem,
      keyPem: tls.keyPem,
      alpn: [],
      minVersion: tls.minVersion,
    };
  }
}

/** The identity of an endpoint within a service: its address as text. */
export function endpointKey(endpoint: EndpointConfig): string {
  const { address } = endpoint;
  if (address.kind === "unix") return `unix:${address.path}`;
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
