import { describeCause } from "../../core/failure.ts";
import { METER_LIMITS } from "../../core/limits.ts";
import type { FaultKind } from "../stats.ts";

/** Words for what breaks an instance, the same on every runtime where that is possible, and the kind that each counts as. */

export const TOO_DEEP = "its calls nest too deep";
const FUEL = "it used up its fuel of";
const HOST_CALL = "a host call failed:";
const HOST = "the host failed:";
/** In one callback or exchange, of an ABI that has no answer for it. */
export const TOO_MANY_HOST_CALLS = "it makes more calls to the host than its budget";
const WRONG_TYPE = "an answer of the wrong type:";
/** A call that its capabilities do not grant, and that cannot answer an error. */
export const DENIED_CALL = "it may not call";

/** `within`: `one callback`, `one exchange`, `while it started`. */
export function outOfFuel(
  given: number,
  within: "in one callback" | "in one exchange" | "in one second" | "while it started",
): string {
  return `${FUEL} ${given} ${within}`;
}

/** Says a reason that fuel ran out? What a guest says may look like it. */
export const saysOutOfFuel = (reason: string): boolean => reason.includes(FUEL);

/** The same at the start. `reserve`: fuel that there was, and could not be given because it did not call the host. */
export const outOfStartFuel = (given: number, reserve: number): string =>
  reserve > 0
    ? `${FUEL} ${METER_LIMITS.counter} between two calls of the host while it started`
    : outOfFuel(given, "while it started");

/** A host call threw: a bug of ours, or a guest that let the stack run out in it. */
export function hostFailure(error: unknown): string {
  return `${HOST_CALL} ${describeCause(error)}`;
}

/** What is around a callback threw: a bug of ours, whatever the guest did. */
export function hostThrew(error: unknown): string {
  return `${HOST} ${describeCause(error)}`;
}

/** Words of JavaScriptCore and V8 for the same traps, and ours. */
const TRAPS: readonly (readonly [RegExp, string, FaultKind])[] = [
  [/out of bounds memory|memory access out of bounds/i, "a memory access out of bounds", "memory"],
  [/out of bounds.*table|table.*out of bounds|call_indirect to a null|null table/i, "a table access out of bounds", "memory"],
  [/signature/i, "an indirect call of the wrong type", "trap"],
  [/division by zero|divide by zero|remainder by zero/i, "a division by zero", "trap"],
  [/overflow|unrepresentable/i, "a number that does not fit", "trap"],
  [/unreachable/i, "unreachable code", "trap"],
];

/** Why a guest stopped. */
export function describeTrap(error: unknown): string {
  if (error instanceof RangeError) return "trap: the stack overflowed";
  if (!(error instanceof Error)) return "trap: an exception was not caught";
  const { message } = error;
  if (!(error instanceof WebAssembly.RuntimeError)) return `trap: ${message.slice(0, 200)}`;
  return `trap: ${TRAPS.find(([words]) => words.test(message))?.[1] ?? message.slice(0, 200)}`;
}

/** What a callback answered is no number that it may answer. */
export const wrongType = (callback: string): string => `${WRONG_TYPE} ${callback}`;

/** A bug of ours. */
export const reentered = (callback: string): string => `${HOST} ${callback} would have entered a running instance`;

/** What a guest did against the rules that its host keeps: a trap, unless it says by its words what it is. */
export const describeBreach = (words: string): string => (faultKindOf(words) === "other" ? `trap: ${words}` : words);

/** Beginnings of reasons, all written by this host: what a guest says comes behind them, so it cannot choose its kind. */
const BEGINNINGS: readonly (readonly [string, FaultKind])[] = [
  [FUEL, "fuel"],
  [TOO_DEEP, "depth"],
  [TOO_MANY_HOST_CALLS, "budget"],
  ["trap: the stack overflowed", "depth"],
  ...TRAPS.map(([, words, kind]): [string, FaultKind] => [`trap: ${words}`, kind]),
  ["trap: a pointer beyond the memory", "memory"],
  ["trap:", "trap"],
  ["abort:", "trap"],
  ["the guest aborted", "trap"],
  ["the guest exited", "trap"],
  [HOST_CALL, "host"],
  [HOST, "host"],
  [WRONG_TYPE, "answer"],
  [DENIED_CALL, "denied"],
  ["its variables are larger than its budget", "budget"],
  ["more than ", "budget"],
  ["it hands over more", "budget"],
];

/** The kind of what broke an instance. */
export function faultKindOf(reason: string): FaultKind {
  return BEGINNINGS.find(([beginning]) => reason.startsWith(beginning))?.[1] ?? "other";
}
