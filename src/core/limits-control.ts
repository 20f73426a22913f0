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
  /** Most `startFuel` that a filter may have unless the Mesh allows more (`spec.filters.startFuel`): some second of cold code on the loop of each worker. Exceeded: `out_of_range`. */
  startFuel: 2_000_000_000,
  /** Changes through the API that wait for their turn; those over NATS come one at a time. One more: 503 with `Retry-After`. */
  waitingChanges: 1_000,
  /** Messages of one subject (of one publisher, where they have names) that wait in NATS to be processed. One more is not taken, and the log says so. */
  inboxMessages: 256,
  /** One message that waits. Twice `inboxMessages` of them are half of `inboxBytes`, so that no publisher fills it alone. Larger: `bad_request`; texts go in parts. */
  inboxMessageBytes: 1024 * 1024,
  /** All messages that wait. Exceeded: no more is taken; what waits is not thrown away for it. */
  inboxBytes: 1024 * 1024 * 1024,
  /** Refused changes over NATS that the status lists. Exceeded: the oldest goes. */
  refusals: 16,
  /** Proxies that are known by their status messages. Those that fell silent go first; while all live, one more is not taken. */
  proxies: 10_000,
  /** Stored messages that cannot be read and that the status lists. Exceeded: the oldest goes. */
  unreadable: 64,
  /** The same, each named in the log once. Beyond: passed over without a word, which is said once. */
  unreadableNamed: 10_000,
  /** Nesting of values in a stored message: twice what a document may have, with its envelope. Deeper: it is passed over. */
  storedDepth: 160,
  /** Checks of a filter's settings against the schema in its module, each of one value against one part of the schema: some 2 to 9 us. More: they are left to the filter itself. */
  settingsChecks: 50_000,
  /** Schemas looked at to find what is secret in one filter's settings, once for all values alike: some 1.5 us each. More: what is left is secret. */
  secretSteps: 300_000,
  /** A part counts for at least so much: each is an object. */
  partMinBytes: 4 * 1024,
} as const;

/** How a control plane tries the filters of an apply before any proxy gets them. */
export const TRIAL_LIMITS = {
  /** A module up to this size is tried on the control plane's own loop, as long as its start uses no more than `hereFuel`; all others in a process of their own. */
  hereBytes: 1024 * 1024,
  /** Some 2 to 10 ms of code that runs for the first time. */
  hereFuel: 20_000_000,
  /** That process ends when nothing came for it for this long; until then a trial costs no start of a process. */
  idleMs: 10_000,
  /** How long one trial may take besides its `startFuel`: a process begins, the module is rewritten and compiled. Far beyond what that takes: it ends what hangs. Exceeded: it is killed, `trial_failed`. */
  prepareMs: 120_000,
  /** A start uses so much fuel in a millisecond at least, on a machine that is not overloaded. */
  startFuelPerMs: 1_000_000,
  /** For so long a trial that failed is answered as it was: who sends the same again and again spends no start each time. */
  failedMs: 60_000,
  /** Trials that failed, and modules whose starts were too costly for the loop, which are remembered. Exceeded: the oldest goes. */
  remembered: 1_000,
} as const;
