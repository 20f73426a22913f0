import type { FilterBudget } from "./limits.ts";

/** Callbacks of one exchange that may each make as many calls to the host as one may, unless the budget says otherwise. */
const CALLBACKS = 10;

type CallBudget = Pick<FilterBudget, "hostCallsPerCallback" | "hostCallsPerExchange">;

/** The bound of an exchange: `perExchange`, or what follows from the bound of a callback. */
export const exchangeHostCalls = (perCallback: number, perExchange: number | undefined): number =>
  perExchange ?? CALLBACKS * perCallback;

/** Most calls to the host in the callback to come. `used`: those of its exchange so far; undefined: nobody counts them. */
export function hostCallsLeft({ hostCallsPerCallback, hostCallsPerExchange }: CallBudget, used: number | undefined): number {
  if (used === undefined) return hostCallsPerCallback;
  const left = hostCallsPerExchange - used;
  return left < hostCallsPerCallback ? Math.max(0, left) : hostCallsPerCallback;
}
