import type { BackendConfig } from "../../config/snapshot.ts";
import type { Rng } from "../../core/rng.ts";

/** Picks a backend with the probability `weight / sum of weights`; undefined when there is none or all weights are 0. Allocates nothing. */
export function chooseBackend(backends: readonly BackendConfig[], rng: Rng): BackendConfig | undefined {
  if (backends.length === 1) {
    const only = backends[0] as BackendConfig;
    return only.weight > 0 ? only : undefined;
  }
  let total = 0;
  for (let i = 0; i < backends.length; i++) total += (backends[i] as BackendConfig).weight;
  if (total <= 0) return undefined;
  let left = rng.next() * total;
  let last: BackendConfig | undefined;
  for (let i = 0; i < backends.length; i++) {
    const backend = backends[i] as BackendConfig;
    if (backend.weight <= 0) continue;
    if (left < backend.weight) return backend;
    left -= backend.weight;
    last = backend;
  }
  // Rounding may leave a crumb behind the last one.
  return last;
}
