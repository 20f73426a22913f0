/** Bounds of what those may make a control plane hold or store who may change configuration. Each control plane counts for itself. */
export const CONTROL_LIMITS = {
  /** Bodies of requests (documents, modules, backups) that the API holds together, until each is answered. Exceeded: 503 with `Retry-After`. */
  bodyBytes: 512 * 1024 * 1024,
  /** How long one body may take to come, so that nobody holds that by sending slowly. Exceeded: 408. */
  bodyMs: 120_000,
  /** What `Retry-After` says when too much is held, in seconds. */
  retrySeconds: 5,
  /** Parts of large texts that one publisher may store over NATS within `partsWindowMs`. Exceeded: `parts_quota`, and nothing is stored. */
  partsBytes: 256 * 1024 * 1024,
  /** The same of all publishers together. */
  partsAllBytes: 1024 * 1024 * 1024,
  /** Longer than what nobody refers to is kept, so that it bounds what is stored at a time. */
  partsWindowMs: 30 * 60_000,
  /** Most `startFuel` that a filter may have unless the Mesh allows more (`spec.filters.startFuel`): some second of cold code, on the loop of the control plane that tries it and of each worker. Exceeded: `out_of_range`. */
  startFuel: 2_000_000_000,
  /** A part counts for at least so much: each is an object. */
  partMinBytes: 4 * 1024,
} as const;
