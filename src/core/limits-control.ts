/** Bounds of what those may make a control plane hold or store who may change configuration. Each control plane counts for itself. */
export const CONTROL_LIMITS = {
  /** Bodies of requests (documents, modules, backups) that the API holds together, until each is answered. Exceeded: 503 with `Retry-After`. */
  bodyBytes: 512 * 1024 * 1024,
  /** What `Retry-After` says then, in seconds. */
  retrySeconds: 5,
} as const;
