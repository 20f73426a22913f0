import type { EndpointState } from "./endpoint-set.ts";
import type { Outcome } from "./picker.ts";

/** How long a latency is remembered: after this time it weighs 1/e of what it did. */
export const DECAY_MS = 10_000;

/** A failed attempt counts as one that took at least this long: an endpoint that refuses fast must not look fast. */
export const FAILURE_PENALTY_MS = 250;

/**
 * Peak EWMA (Finagle, Linkerd): a latency above the average replaces it at once, one below pulls it down slowly. The average also
 * decays while nothing is heard, so that an endpoint that was slow is tried again in the end.
 */
export function observeOutcome(state: EndpointState, outcome: Outcome, nowMs: number): void {
  let latencyMs = Math.max(0, outcome.latencyMs);
  const beforeMs = decayedEwmaMs(state, nowMs);
  if (outcome.kind === "cancelled") {
    // All it says is that an answer would have taken longer than this.
    if (latencyMs <= beforeMs) return;
  } else if (outcome.kind === "failure") latencyMs = Math.max(latencyMs, FAILURE_PENALTY_MS);
  if (latencyMs >= beforeMs || state.observedMs < 0) state.ewmaMs = latencyMs;
  else {
    const weight = Math.exp(-Math.max(0, nowMs - state.observedMs) / DECAY_MS);
    // `beforeMs` has the decay in it already: old * w + new * (1 - w).
    state.ewmaMs = beforeMs + latencyMs * (1 - weight);
  }
  state.observedMs = nowMs;
}

/** The average as of now. */
export function decayedEwmaMs(state: EndpointState, nowMs: number): number {
  if (state.observedMs < 0) return 0;
  const idleMs = nowMs - state.observedMs;
  return idleMs <= 0 ? state.ewmaMs : state.ewmaMs * Math.exp(-idleMs / DECAY_MS);
}
