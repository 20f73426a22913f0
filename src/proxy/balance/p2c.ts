import { type EndpointState, isExcluded } from "./endpoint-set.ts";
import { decayedEwmaMs } from "./ewma.ts";
import type { PickHint } from "./picker.ts";
import { chooseRandomly, PolicyPicker } from "./policy-picker.ts";

/** What an endpoint costs of which nothing is known while its first attempts are under way: one probe at a time, not a flood. */
const COLD_COST_MS = 1_000;

/** How much cheaper the second one drawn must be when weights differ. */
const WEIGHTED_MARGIN = 0.9;

/**
 * Power of two choices with peak EWMA: of two random endpoints the one with the lower expected wait, latency × (in flight + 1).
 * Weights decide who is drawn, and how much in flight counts.
 */
export class P2cPicker extends PolicyPicker {
  protected override choose(): EndpointState {
    const { set, rng } = this;
    const { states } = set;
    if (!set.uniform) {
      // The same one drawn twice is taken: else the small one of two would be compared, and often taken, every time.
      const first = set.at(rng.next() * set.totalWeight);
      const second = set.at(rng.next() * set.totalWeight);
      return first === second ? first : this.#cheaper(first, second);
    }
    const i = rng.below(states.length);
    let j = rng.below(states.length - 1);
    if (j >= i) j++;
    return this.#cheaper(states[i] as EndpointState, states[j] as EndpointState);
  }

  /** A retry: rare, so it may look at all. */
  protected override chooseWithout(hint: PickHint): EndpointState | undefined {
    const first = chooseRandomly(this.set, hint, this.rng);
    if (first === undefined) return undefined;
    const second = chooseRandomly(this.set, hint, this.rng);
    return second === undefined || second === first || isExcluded(second, hint) ? first : this.#cheaper(first, second);
  }

  #cheaper(first: EndpointState, second: EndpointState): EndpointState {
    const nowMs = this.clock.nowMs();
    // With weights, about the same is a tie and the one drawn first is taken: else noise would level the shares.
    const margin = this.set.uniform ? 1 : WEIGHTED_MARGIN;
    return this.#costOf(second, nowMs) < this.#costOf(first, nowMs) * margin ? second : first;
  }

  #costOf(state: EndpointState, nowMs: number): number {
    const { inFlight } = state;
    const meanWeight = this.set.totalWeight / this.set.states.length;
    const load = 1 + (inFlight * meanWeight) / state.weight;
    if (state.observedMs < 0) return inFlight === 0 ? 0 : COLD_COST_MS * load;
    return decayedEwmaMs(state, nowMs) * load;
  }
}
