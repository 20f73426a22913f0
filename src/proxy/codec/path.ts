import type { PathPolicyConfig } from "../../config/snapshot.ts";
import { Failure } from "../../core/failure.ts";

/** A request target's path and query after normalisation. */
export interface NormalPath {
  readonly path: string;
  readonly query: string | undefined;
}

/** Normalises an origin-form target (`/a/%7Eb?x`): see the table. */
export function normalisePath(_target: string, _policy: PathPolicyConfig): NormalPath | Failure {
  return new Failure("bad_path", "not written yet");
}

/** The same for a path that a rewrite or a filter made: routing, policy and upstream must see normalised bytes again. */
export function renormalisePath(target: string, policy: PathPolicyConfig): NormalPath | Failure {
  return normalisePath(target, policy);
}
