import type { EndpointConfig } from "../../config/snapshot.ts";

/** Seam 6a: who gets the attempt. Pure: no request objects inside, fed back through the lease, time and chance injected. */
export interface Picker {
  /** Undefined: no endpoint is available. */
  pick(hint: PickHint): Lease | undefined;
  /** A new view of the endpoints; what is known about those that stay (latency, load) is kept. */
  update(endpoints: readonly EndpointConfig[]): void;
  /** For status and metrics. */
  snapshot(): readonly { readonly endpoint: Endpoint; readonly inFlight: number; readonly ewmaMs: number }[];
}

export interface PickHint {
  /** Endpoints already tried in this exchange. */
  readonly exclude: readonly Endpoint[];
}

export const NO_HINT: PickHint = { exclude: [] };

/** An endpoint's identity within a service: the same object for the same address across updates. */
export interface Endpoint {
  /** `10.0.0.1:80`, `[::1]:80`, `unix:/run/x.sock`. */
  readonly key: string;
  readonly config: EndpointConfig;
}

/** One attempt's claim on an endpoint. */
export interface Lease {
  readonly endpoint: Endpoint;
  /** Exactly once. */
  settle(outcome: Outcome): void;
}

/** `latencyMs`: from the attempt's start to the head of the answer. */
export type Outcome = { readonly kind: "success" | "failure" | "cancelled"; readonly latencyMs: number };
