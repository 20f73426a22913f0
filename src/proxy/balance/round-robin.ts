import type { EndpointConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import type { Rng } from "../../core/rng.ts";
import { type EndpointState, isExcluded } from "./endpoint-set.ts";
import type { PickHint } from "./picker.ts";
import { PolicyPicker } from "./policy-picker.ts";

/**
 * In turn; with weights, smoothly (nginx's algorithm: 5,1,1 gives a a b a c a a, not five in a row). Starts at a random endpoint,
 * so that many workers do not all begin with the first.
 */
export class RoundRobinPicker extends PolicyPicker {
  #next: number;

  constructor(endpoints: readonly EndpointConfig[], clock: Clock, rng: Rng) {
    super(endpoints, clock, rng);
    this.#next = endpoints.length === 0 ? 0 : rng.below(endpoints.length);
  }

  override update(endpoints: readonly EndpointConfig[]): void {
    const upcoming = this.set.states[this.#next];
    super.update(endpoints);
    // Goes on with the same endpoint if it is still there.
    const at = upcoming === undefined ? -1 : this.set.states.indexOf(upcoming);
    const count = this.set.states.length;
    this.#next = at >= 0 ? at : count === 0 ? 0 : this.#next % count;
  }

  protected override choose(): EndpointState {
    const { states, uniform } = this.set;
    if (!uniform) return this.#chooseSmoothly(undefined) as EndpointState;
    const state = states[this.#next] as EndpointState;
    this.#next = this.#next + 1 === states.length ? 0 : this.#next + 1;
    return state;
  }

  protected override chooseWithout(hint: PickHint): EndpointState | undefined {
    const { states, uniform } = this.set;
    if (!uniform) return this.#chooseSmoothly(hint);
    for (let i = 0; i < states.length; i++) {
      const state = this.choose();
      if (!isExcluded(state, hint)) return state;
    }
    return undefined;
  }

  #chooseSmoothly(hint: PickHint | undefined): EndpointState | undefined {
    let best: EndpointState | undefined;
    let total = 0;
    for (const state of this.set.states) {
      if (hint !== undefined && isExcluded(state, hint)) continue;
      state.turn += state.weight;
      total += state.weight;
      if (best === undefined || state.turn > best.turn) best = state;
    }
    if (best !== undefined) best.turn -= total;
    return best;
  }
}
