/** Bounds of the log lines of filters that a proxy keeps (`/filters/…/logs`). The oldest go first. */
export const FILTER_LOG_LIMITS = {
  /** Lines of one filter, of all workers together. */
  lines: 1_000,
  /** One line, as UTF-8; the rest is cut. */
  lineBytes: 4 * 1024,
  /** All lines of one filter, with what keeping them takes. */
  filterBytes: 256 * 1024,
  /** The lines of all filters. Exceeded: the filter that holds most loses its older half. */
  bytes: 8 * 1024 * 1024,
  /** Filters whose lines are kept, also of those that are gone. Exceeded: the one that has been silent for longest goes. */
  filters: 1_000,
  /** Lines in one answer, as JSON; who reads asks again. */
  pageBytes: 256 * 1024,
  /** Questions over NATS that a proxy, and a control plane, has under way. More: not answered. */
  questions: 64,
  /** How long a control plane waits for a proxy's answer. */
  answerMs: 3_000,
} as const;

/** Failures of the proxy itself, which cost a connection or an exchange and not the process. */
export const BUG_LIMITS = {
  /** Those of connections, of one process. Exceeded: the process ends, because nobody knows what they left behind; a gateway's worker is replaced. */
  containedPerMinute: 100,
  /** Different ones around one filter that are told with where they happened, in each worker, until the filter is loaded anew. More are only counted (fault `host`). */
  toldPerFilter: 16,
  /** Characters of each in the log, and of where it happened; the rest is cut. */
  chars: 4_096,
} as const;
