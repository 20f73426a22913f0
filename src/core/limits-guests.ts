/** Bounds of what filters have the host do for them, besides those of one filter's budget. */

/** How `proxy_on_queue_ready` is called: of each filter with queues of its own, in each worker. What is over one of these waits, and `selvedge_filter_waits_total` counts that. */
export const QUEUE_LIMITS = {
  /** Words about items in one turn of the event loop: everything else has its turn in between. */
  perTurn: 64,
  /** Fuel used in one turn: no further word after the one that reaches it. Some 0.5 to 2 ms of warm code. */
  turnFuel: 10_000_000,
  /** Words about items within a second. */
  perSecond: 10_000,
  /** After that, or when the filter's `fuelPerSecond` is used up: the next try comes then. */
  retryMs: 100,
} as const;

/** What attributes (`selvedge.log.*` among them) that one filter sets in one exchange or stream may hold at a time. Exceeded: proxy-wasm's call fails (INTERNAL_FAILURE), a component's does nothing; both count as the fault `budget`. */
export const SET_ATTRIBUTE_LIMITS = {
  /** Names; setting one again takes no other. */
  names: 256,
  /** Names and values together, besides what `outputBytes` says of one exchange, or of one callback of a stream. */
  bytes: 1024 * 1024,
} as const;

/** Isolated filters (`isolated: true`), besides `isolatedInstances`, and what keeping their state and putting it back costs of `fuelPerSecond`. */
export const ISOLATION_LIMITS = {
  /** Memories of one filter's instances in one worker, with what is kept of each. One that is larger by itself: refused when loaded. Where another instance would not fit, exchanges wait as for `isolatedInstances`. */
  bytes: 512 * 1024 * 1024,
  /** Exchanges of one filter that wait for an instance, each for its `pauseMs` at most. More, or longer: `onFailure`. */
  waiting: 1024,
  /** Of those, in one turn of the event loop. */
  servedPerTurn: 64,
  /** A memory up to this size fits a cache, and its bytes cost little. Each byte of a larger one beyond it costs one. */
  cachedBytes: 2 * 1024 * 1024,
  /** Bytes of those that cost one fuel. */
  bytesPerFuel: 4,
} as const;

/** How modules are prepared: validated, rewritten, compiled. Per process, but for what is on disk. */
export const PREPARE_LIMITS = {
  /** A module up to this size is rewritten where it is loaded (some 5 ms); larger ones by a thread beside, so that traffic goes on. */
  inlineBytes: 128 * 1024,
  /** What one module may take there: the largest takes some 5 s of a core. Exceeded: it is refused, and a new thread goes on with those behind it. */
  jobMs: 120_000,
  /** That thread ends when nothing came for it for this long. */
  threadIdleMs: 2_000,
  /** Rewritten modules that are kept on disk. Exceeded: those that were not used for longest go. */
  cacheBytes: 256 * 1024 * 1024,
  /** Files of such modules. Exceeded: those that were not used for longest go. */
  cacheFiles: 1_000,
  /** What a writer that died left behind is removed once it is this old. */
  cacheLeftoverMs: 600_000,
} as const;
