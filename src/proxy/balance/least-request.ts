import { type EndpointState, isExcluded } from "./endpoint-set.ts";
import { NO_HINT, type PickHint } from "./picker.ts";
import { PolicyPicker } from "./policy-picker.ts";

/** The endpoint with the fewest attempts in flight per weight; among equals a random one by weight. Looks at all endpoints. */
export class LeastRequestPicker extends PolicyPicker {
  protected override choose(): EndpointState {
    return this.chooseWithout(NO_HINT) as EndpointState;
  }

  protected override chooseWithout(hint: PickHint): EndpointState | undefined {
    let best: EndpointState | undefined;
    let bestLoad = 0;
    let tiedWeight = 0;
    for (const state of this.set.states) {
      if (hint.exclude.length > 0 && isExcluded(state, hint)) continue;
      const load = state.inFlight / state.weight;
      if (best === undefined || load < bestLoad) {
        best = state;
        bestLoad = load;
        tiedWeight = state.weight;
      } else if (load === bestLoad) {
        // Weighted reservoir of one: each of the tied ends up with its share.
        tiedWeight += state.weight;
        if (this.rng.next() * tiedWeight < state.weight) best = state;
      }
    }
    return best;
  }
}
