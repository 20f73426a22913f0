/** Bounds of JWT verification. */
export const JWT_LIMITS = {
  /** Verified tokens remembered per authentication; the oldest go first. */
  cachedTokens: 10_000,
  /** Tokens in one request; all of them must be valid. Exceeded: 401. */
  tokensPerRequest: 4,
  /** A key set fetched from an issuer. Exceeded: the fetch fails. */
  jwksBytes: 1024 * 1024,
  /** Keys in a set; the rest is ignored. */
  jwksKeys: 100,
  /** One fetch of a key set, from looking up the name to the last byte. */
  fetchMs: 5_000,
  /** Least time between two fetches that unknown key ids cause. */
  kidRefreshMs: 10_000,
  /** First wait after a failed fetch; doubles up to the last. */
  retryFirstMs: 1_000,
  /** The longest wait after failed fetches. */
  retryLastMs: 300_000,
  /** Keys tried for a token that names none. */
  keysTried: 8,
} as const;
