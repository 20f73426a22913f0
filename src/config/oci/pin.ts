import type { Budget, Share } from "../../core/budgets.ts";
import type { Clock } from "../../core/clock.ts";
import { OCI_LIMITS } from "../../core/limits.ts";
import type { Json, ParsedResource } from "../parse.ts";
import type { FilterResource, Resource } from "../schema/index.ts";
import { Refusal } from "../schema/text.ts";
import { formatDuration, formatSize } from "../schema/units.ts";
import { RegistryError } from "./failure.ts";
import type { HoldBytes, KnownModule, PulledModule } from "./pull.ts";
import { type OciReference, readOciReference } from "./reference.ts";
import type { RegistrySettings } from "./session.ts";
import type { SilentRegistries } from "./silent.ts";

/** Takes a module from its registry. Rejects with a `RegistryError`. */
export type PullModule = (
  reference: OciReference,
  signal: AbortSignal,
  known: KnownModule,
  hold: HoldBytes,
) => Promise<PulledModule>;

export interface PinTools {
  readonly pull: PullModule;
  readonly known: KnownModule;
  readonly clock: Clock;
  /** Of applies that others wait for: who is not asked. */
  readonly silent?: SilentRegistries | undefined;
  /** How long all of it may take: at most `OCI_LIMITS.pullMs`, which is the default. 0: nothing is pulled. Less: that is a quota. */
  readonly pullMs?: number;
  /** What all applies hold together; undefined: they come one at a time. */
  readonly held?: Budget | undefined;
}

/** The pins of resources, and what they stand for. */
export interface PinnedModules {
  /** The same resources; filters from registries name the digest of their module. */
  readonly resources: readonly ParsedResource[];
  /** What was pulled, by digest. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
  /** Filters whose module could not be had, and why. */
  readonly failures: ReadonlyMap<Resource, RegistryError>;
  /** The modules are of no use any more. */
  release(): void;
}

const NOTHING = { modules: new Map<never, never>(), failures: new Map<never, never>(), release: (): void => {} };

/** What is pinned where nothing is to be pulled. */
export const pinNothing = (resources: readonly ParsedResource[]): PinnedModules => ({ resources, ...NOTHING });

/** What is done when nothing names a registry: nothing. */
export const isFromRegistry = (resource: Resource): resource is FilterResource =>
  resource.kind === "Filter" && resource.spec.module.oci !== undefined;

/** Pulls from the registries that the settings allow; loads what it needs when it is first asked. */
export function createPuller(settings: () => RegistrySettings): PullModule {
  return async (reference, signal, known, hold) => {
    const { RegistrySession } = await import("./session.ts");
    const { pullModule } = await import("./pull.ts");
    return pullModule(new RegistrySession(reference, settings(), "pull", signal), known, hold);
  };
}

/**
 * Gives every filter from a registry the digest of its module, so that all that comes after (log, history, backup, proxies) is
 * about these very bytes. A filter that names the digest itself is pulled only when `known` has it not, and must then be
 * just that. Never rejects.
 */
export async function pinModules(parsed: readonly ParsedResource[], tools: PinTools): Promise<PinnedModules> {
  const wanted: FilterResource[] = [];
  for (const { resource } of parsed) {
    if (!isFromRegistry(resource)) continue;
    const { digest } = resource.spec.module;
    if (digest === undefined || (await tools.known(digest)) === undefined) wanted.push(resource);
  }
  if (wanted.length === 0) return pinNothing(parsed);
  const texts = [...new Set(wanted.map((each) => each.spec.module.oci ?? ""))];
  const shares: Share[] = [];
  const pulled = await pullAll(texts, tools, shares);
  const modules = new Map<string, Uint8Array>();
  const failures = new Map<Resource, RegistryError>();
  const digests = new Map<Resource, string>();
  for (const filter of wanted) {
    const { oci = "", digest } = filter.spec.module;
    const result = pulled.get(oci);
    if (result === undefined || result instanceof RegistryError) failures.set(filter, result ?? notPulled());
    else if (digest !== undefined && digest !== result.digest) failures.set(filter, otherDigest(result.digest, digest));
    else {
      modules.set(result.digest, result.bytes);
      digests.set(filter, result.digest);
    }
  }
  const resources = parsed.map((each) => withDigest(each, digests.get(each.resource)));
  const release = (): void => {
    for (const share of shares) share.end();
  };
  return { resources, modules, failures, release };
}

export const notPulled = (): RegistryError =>
  new RegistryError("registry_not_allowed", "modules are not pulled here", "name the digest of a module that is stored");

const otherDigest = (actual: string, wanted: string): RegistryError =>
  new RegistryError(
    "artifact_altered",
    `the module has the digest ${actual}, not ${wanted}`,
    "without `digest` an apply takes what the registry has now",
  );

function withDigest(parsed: ParsedResource, digest: string | undefined): ParsedResource {
  const { resource, written } = parsed;
  if (digest === undefined || !isFromRegistry(resource)) return parsed;
  const pinned: FilterResource = { ...resource, spec: { ...resource.spec, module: { ...resource.spec.module, digest } } };
  return { resource: pinned, written: pinWritten(written, digest), locate: (path) => parsed.locate(path) };
}

const objectOf = (value: Json | undefined): Readonly<Record<string, Json>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, Json>>) : {};

function pinWritten(written: Json, digest: string): Json {
  const envelope = objectOf(written);
  const spec = objectOf(envelope.spec);
  return { ...envelope, spec: { ...spec, module: { ...objectOf(spec.module), digest } } };
}

type Results = Map<string, PulledModule | RegistryError>;

/** A few at a time; all together have one time and one bound on their bytes. */
async function pullAll(texts: readonly string[], tools: PinTools, shares: Share[]): Promise<Results> {
  const results: Results = new Map();
  const stop = new AbortController();
  const timer = tools.clock.setTimer(tools.pullMs ?? OCI_LIMITS.pullMs, () => stop.abort());
  const waiting = texts.slice(0, OCI_LIMITS.pulls);
  const beyond = new RegistryError(
    "out_of_range",
    `one apply pulls at most ${OCI_LIMITS.pulls} modules`,
    "name digests, or apply in parts",
  );
  for (const text of texts.slice(OCI_LIMITS.pulls)) results.set(text, beyond);
  let bytes = 0;
  const next = async (): Promise<void> => {
    for (let text = waiting.shift(); text !== undefined; text = waiting.shift()) {
      const share = tools.held?.share();
      if (share !== undefined) shares.push(share);
      let result = await pullOne(text, tools, stop.signal, share);
      if (!(result instanceof RegistryError)) bytes += result.bytes.byteLength;
      if (bytes > OCI_LIMITS.pulledBytes) result = tooMuch();
      share?.end(result instanceof RegistryError ? 0 : result.bytes.byteLength);
      results.set(text, result);
    }
  };
  await Promise.all(Array.from({ length: OCI_LIMITS.concurrent }, next));
  timer.cancel();
  return results;
}

const tooMuch = (): RegistryError =>
  new RegistryError("artifact_too_large", `all modules of this apply have more than ${formatSize(OCI_LIMITS.pulledBytes)}`);

const tooLate = (): RegistryError =>
  new RegistryError("registry_unreachable", `it was not there within ${formatDuration(OCI_LIMITS.pullMs)}`);

const overQuota = (): RegistryError =>
  new RegistryError(
    "registry_quota",
    `pulls of this publisher, or of all, have held up applies over NATS for as long as they may within ${formatDuration(OCI_LIMITS.lineWindowMs)}`,
    "name the digest of a module that is stored, or apply with --server http://…, which holds up nobody",
  );

const busy = (): RegistryError =>
  new RegistryError(
    "registry_busy",
    `other applies hold ${formatSize(OCI_LIMITS.heldBytes)} of modules, which is all that may be held`,
    "nothing was changed: apply again in a moment",
  );

async function pullOne(
  text: string,
  tools: PinTools,
  signal: AbortSignal,
  share: Share | undefined,
): Promise<PulledModule | RegistryError> {
  const { pull, known, clock, silent, pullMs = OCI_LIMITS.pullMs } = tools;
  if (pullMs <= 0) return overQuota();
  const reference = readOciReference(text);
  if (reference instanceof Refusal) return new RegistryError("bad_artifact", reference.message);
  const refused = silent?.refuse(reference.registry);
  if (refused !== undefined) return refused;
  const startMs = clock.nowMs();
  const late = pullMs < OCI_LIMITS.pullMs ? overQuota() : tooLate();
  const hold = (bytes: number): void => {
    if (share?.take(bytes) === false) throw busy();
  };
  let onAbort = (): void => {};
  const aborted = new Promise<RegistryError>((resolve) => {
    onAbort = () => {
      silent?.note(reference.registry, startMs);
      resolve(late);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort);
  });
  try {
    return await Promise.race([pull(reference, signal, known, hold), aborted]);
  } catch (error) {
    if (signal.aborted) return late;
    return error instanceof RegistryError
      ? error
      : new RegistryError("registry_unreachable", "it failed for a reason that is a bug");
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
