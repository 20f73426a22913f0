import type { EndpointState } from "./endpoint-set.ts";
import type { PickHint } from "./picker.ts";
import { chooseRandomly, PolicyPicker } from "./policy-picker.ts";

/** By chance and weight, whatever the endpoints do. */
export class RandomPicker extends PolicyPicker {
  protected override choose(): EndpointState {
    const { set, rng } = this;
    return set.uniform ? (set.states[rng.below(set.states.length)] as EndpointState) : set.at(rng.next() * set.totalWeight);
  }

  protected override chooseWithout(hint: PickHint): EndpointState | undefined {
    return chooseRandomly(this.set, hint, this.rng);
  }
}
