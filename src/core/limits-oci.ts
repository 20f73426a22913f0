/** Bounds of pulling a filter module from an OCI registry, which may be anybody's. A module itself: `CONFIG_LIMITS.moduleBytes`. */
export const OCI_LIMITS = {
  /** All pulls of one apply together, from looking up the first name to the last byte. Exceeded: `registry_unreachable`. */
  pullMs: 20_000,
  /** For so long applies over NATS do not ask a registry that used up at least half of `pullMs` without an answer: they wait for each other. */
  silentMs: 60_000,
  /** Such registries that are remembered. More: the one that was noted first is asked again. */
  silentRegistries: 1_000,
  /** For so long pulls of one publisher may hold up the inbox within `lineWindowMs`, whatever registries they name. Exceeded: `registry_quota`. */
  lineMs: 60_000,
  /** The same of all publishers together. */
  lineAllMs: 120_000,
  /** The time in which `lineMs` and `lineAllMs` are counted. */
  lineWindowMs: 600_000,
  /** One push of a module. Exceeded: it failed. */
  pushMs: 300_000,
  /** Pulls of one apply under way at a time. */
  concurrent: 4,
  /** Different modules that one apply pulls. More: `out_of_range`. */
  pulls: 100,
  /** Modules of one apply together. Exceeded: `artifact_too_large`. */
  pulledBytes: 256 * 1024 * 1024,
  /** Layers and modules that all applies through the API hold together, until each is done. Exceeded: `registry_busy`, 503 with `Retry-After`. Applies over NATS come one at a time, and have their own `pulledBytes`. */
  heldBytes: 1024 * 1024 * 1024,
  /** A manifest or an index. Exceeded: `artifact_too_large`. */
  manifestBytes: 4 * 1024 * 1024,
  /** Manifests in one index, layers in one manifest. More: `bad_artifact`. */
  entries: 128,
  /** Layers of a container image that are looked through for `plugin.wasm`, the last ones first. */
  layersRead: 4,
  /** What a layer of a container image may unpack to. Exceeded: `artifact_too_large`. */
  unpackedBytes: 128 * 1024 * 1024,
  /** Redirects followed for one request. More: `registry_not_allowed`. */
  redirects: 5,
  /** The answer of a token service, and a token. Exceeded: `registry_unauthorized`. */
  tokenBytes: 64 * 1024,
  /** What a credential helper of Docker may print; it has the time of the pull or push. Exceeded: `registry_unauthorized`. */
  helperBytes: 64 * 1024,
  /** Characters of a challenge (`WWW-Authenticate`); a longer one is none. */
  challengeChars: 8 * 1024,
  /** Body of an answer that is an error; the rest is not read. */
  errorBytes: 16 * 1024,
} as const;
