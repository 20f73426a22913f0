/** Bounds of the host of Extism plug-ins that are not a matter of one filter's budget. */
export const EXTISM_LIMITS = {
  /** Memory that a plug-in and its host share: inputs, outputs and all blocks of one call together. Exceeded: `alloc` answers 0. */
  sharedBytes: 16 * 1024 * 1024,
  /** Characters that a filter may keep from the request to its answer (`state`). Exceeded: the filter's `onFailure`. */
  stateChars: 4_096,
  /** Names in `headers.remove` of one answer. Exceeded: the filter's `onFailure`. */
  removedNames: 1_000,
  /** The JSON of one `http_request`, without the body. Exceeded: the call is not made, and the filter's `onFailure` applies. */
  httpRequestBytes: 256 * 1024,
  /** Instances of a plug-in that makes calls (`http_request`), with two memories each, made one a turn of the loop. Exceeded: callbacks wait for one that is free. */
  instances: 32,
  /** Exchanges of one filter that wait for an instance. Exceeded: `onFailure`. */
  waiting: 1_024,
  /** Instances a second that break after a call without an answer and are made anew at once. Exceeded: none for a second. */
  lossesPerSecond: 8,
} as const;
