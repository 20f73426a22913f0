import type { IssueCode } from "../codes.ts";

export type RegistryCode = Extract<
  IssueCode,
  | "artifact_not_found"
  | "artifact_altered"
  | "artifact_too_large"
  | "bad_artifact"
  | "registry_unauthorized"
  | "registry_not_allowed"
  | "registry_unreachable"
  | "registry_busy"
  | "registry_quota"
  | "out_of_range"
>;

/** Why something did not come from a registry, or did not get there. Holds no credentials and nothing that a registry wrote. */
export class RegistryError extends Error {
  constructor(
    readonly code: RegistryCode,
    /** Without a full stop. */
    message: string,
    /** What to do; "" when the message says it. */
    readonly hint = "",
  ) {
    super(message);
  }
}
