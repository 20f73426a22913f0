import type { EndpointConfig, ServiceConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import type { Rng } from "../../core/rng.ts";
import type { Picker } from "./picker.ts";

/** A picker of the given policy over `endpoints` (may be empty). One per service or subset; outlives generations. */
export function createPicker(
  _policy: ServiceConfig["balancing"],
  _endpoints: readonly EndpointConfig[],
  _clock: Clock,
  _rng: Rng,
): Picker {
  throw new Error("not yet");
}
