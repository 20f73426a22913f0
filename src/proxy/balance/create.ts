import type { EndpointConfig, ServiceConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import type { Rng } from "../../core/rng.ts";
import { LeastRequestPicker } from "./least-request.ts";
import { P2cPicker } from "./p2c.ts";
import type { Picker } from "./picker.ts";
import { RandomPicker } from "./random.ts";
import { RoundRobinPicker } from "./round-robin.ts";

const PICKERS = {
  p2c: P2cPicker,
  "round-robin": RoundRobinPicker,
  "least-request": LeastRequestPicker,
  random: RandomPicker,
} as const;

/** A picker of the given policy over `endpoints` (may be empty). One per service or subset; outlives generations. */
export function createPicker(
  policy: ServiceConfig["balancing"],
  endpoints: readonly EndpointConfig[],
  clock: Clock,
  rng: Rng,
): Picker {
  return new PICKERS[policy](endpoints, clock, rng);
}
