import type { EndpointConfig } from "../../config/snapshot.ts";
import type { Endpoint, PickHint } from "./picker.ts";

/** The name of an endpoint: `10.0.0.1:80`, `[::1]:80`, `unix:/run/x.sock`. */
export function endpointKey({ address }: EndpointConfig): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** What a policy knows about one endpoint. It is the `Endpoint` itself, so that a pick needs no look-up. */
export class EndpointState implements Endpoint {
  inFlight = 0;
  /** Peak EWMA of the latency in ms, as of `observedMs`; 0 and -1 until something was observed. */
  ewmaMs = 0;
  observedMs = -1;
  /** Smooth weighted round robin's running weight. */
  turn = 0;

  constructor(
    readonly key: string,
    /** Of the newest view: labels and weight may change while the address stays. */
    public config: EndpointConfig,
  ) {}

  get weight(): number {
    return this.config.weight;
  }
}

/** The endpoints that may be picked. The same address keeps its state from view to view; of two with one address the first counts. */
export class EndpointSet {
  states: readonly EndpointState[] = [];
  totalWeight = 0;
  /** All weights are equal: the common case, for which every policy has a short way. */
  uniform = true;
  #byKey = new Map<string, EndpointState>();
  /** Sums of the weights up to and including each endpoint. */
  #sums = new Float64Array(0);

  update(endpoints: readonly EndpointConfig[]): void {
    const next = new Map<string, EndpointState>();
    for (const config of endpoints) {
      const key = endpointKey(config);
      if (next.has(key)) continue;
      const state = this.#byKey.get(key) ?? new EndpointState(key, config);
      state.config = config;
      next.set(key, state);
    }
    this.#byKey = next;
    this.states = [...next.values()];
    this.#sums = new Float64Array(this.states.length);
    this.totalWeight = 0;
    this.states.forEach((state, i) => {
      this.totalWeight += state.weight;
      this.#sums[i] = this.totalWeight;
    });
    this.uniform = this.states.every((state) => state.weight === this.states[0]?.weight);
  }

  /** The endpoint that covers a point in [0, totalWeight). There must be one at least. */
  at(point: number): EndpointState {
    const sums = this.#sums;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (point < (sums[middle] as number)) high = middle;
      else low = middle + 1;
    }
    return this.states[low] as EndpointState;
  }
}

/** Was it tried already in this exchange? */
export function isExcluded(state: EndpointState, hint: PickHint): boolean {
  const { exclude } = hint;
  for (let i = 0; i < exclude.length; i++) if ((exclude[i] as Endpoint).key === state.key) return true;
  return false;
}
