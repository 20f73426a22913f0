import type { EndpointConfig } from "../../config/snapshot.ts";
import { assert } from "../../core/assert.ts";
import type { Clock } from "../../core/clock.ts";
import type { Rng } from "../../core/rng.ts";
import { EndpointSet, type EndpointState, isExcluded } from "./endpoint-set.ts";
import { decayedEwmaMs, observeOutcome } from "./ewma.ts";
import type { Endpoint, Lease, Outcome, Picker, PickHint } from "./picker.ts";

/**
 * What the four policies share: the endpoints, the leases, the latencies. A policy says only whom it prefers. Every policy learns
 * latencies, so that status shows them whatever the policy is.
 */
export abstract class PolicyPicker implements Picker {
  protected readonly set = new EndpointSet();

  constructor(
    endpoints: readonly EndpointConfig[],
    protected readonly clock: Clock,
    protected readonly rng: Rng,
  ) {
    this.set.update(endpoints);
  }

  /** One of two endpoints or more, none of them excluded. */
  protected abstract choose(): EndpointState;
  /** One that is not excluded, of two endpoints or more; undefined when all are. */
  protected abstract chooseWithout(hint: PickHint): EndpointState | undefined;

  pick(hint: PickHint): Lease | undefined {
    const { states } = this.set;
    if (states.length === 0) return undefined;
    let state: EndpointState | undefined;
    if (states.length === 1) {
      state = states[0] as EndpointState;
      if (hint.exclude.length > 0 && isExcluded(state, hint)) return undefined;
    } else state = hint.exclude.length === 0 ? this.choose() : this.chooseWithout(hint);
    if (state === undefined) return undefined;
    state.inFlight++;
    return new EndpointLease(state, this.clock);
  }

  update(endpoints: readonly EndpointConfig[]): void {
    this.set.update(endpoints);
  }

  snapshot(): readonly { readonly endpoint: Endpoint; readonly inFlight: number; readonly ewmaMs: number }[] {
    const nowMs = this.clock.nowMs();
    return this.set.states.map((state) => ({
      endpoint: state,
      inFlight: state.inFlight,
      ewmaMs: decayedEwmaMs(state, nowMs),
    }));
  }
}

/** Not pooled: one that is settled too late must never count for somebody else's attempt. */
class EndpointLease implements Lease {
  #settled = false;

  constructor(
    readonly endpoint: EndpointState,
    readonly clock: Clock,
  ) {}

  settle(outcome: Outcome): void {
    assert(!this.#settled, "a lease is settled once");
    this.#settled = true;
    this.endpoint.inFlight--;
    observeOutcome(this.endpoint, outcome, this.clock.nowMs());
  }
}

/** A random endpoint by weight that is not excluded; undefined when all are. */
export function chooseRandomly(set: EndpointSet, hint: PickHint, rng: Rng): EndpointState | undefined {
  let total = 0;
  for (const state of set.states) if (!isExcluded(state, hint)) total += state.weight;
  let left = rng.next() * total;
  let last: EndpointState | undefined;
  for (const state of set.states) {
    if (isExcluded(state, hint)) continue;
    last = state;
    if (left < state.weight) return state;
    left -= state.weight;
  }
  return last;
}
