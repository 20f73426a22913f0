/** Bounds of the spans that a worker sends to a collector (`Mesh` `tracing.export`). */
export const TRACE_LIMITS = {
  /** A batch is sent when it has so many spans… */
  batchSpans: 512,
  /** …or has grown to this… */
  batchBytes: 256 * 1024,
  /** …or when its first span is this old. */
  flushMs: 1_000,
  /** Spans that wait while the collector is slow or away. Exceeded: newer ones are dropped and counted. */
  pendingSpans: 4_096,
  /** The same in bytes of JSON. */
  pendingBytes: 4 * 1024 * 1024,
  /** Tries for a batch that the collector did not take; then it is dropped and counted. */
  batchTries: 5,
  /** First wait after a failed try; doubles up to the last. */
  retryFirstMs: 1_000,
  /** The longest wait after failed tries. */
  retryLastMs: 30_000,
  /** Read of an answer, which says nothing that is needed; then the connection is closed. */
  answerBytes: 64 * 1024,
  /** How long the last batches may take when the proxy stops, or spans go elsewhere from now on. */
  closeMs: 2_000,
  /** Characters of one value in a span; the rest is cut. */
  valueChars: 2_048,
  /** Least time between two log lines about one collector. */
  logEveryMs: 60_000,
} as const;
