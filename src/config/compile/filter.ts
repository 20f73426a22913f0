import { exchangeHostCalls } from "../../core/host-calls.ts";
import { BUILTIN_FILTER_FUEL, CONFIG_LIMITS, CONTROL_LIMITS, DEFAULT_FILTER_BUDGET } from "../../core/limits.ts";
import { canonicalJson, sha256Digest } from "../canonical.ts";
import type { ServedModule } from "../compile.ts";
import { detectAbi } from "../module-abi.ts";
import { secretsOfModule } from "../module-secrets.ts";
import { refuseUnsigned } from "../module-signature.ts";
import type { ModuleBytes } from "../modules.ts";
import type { Json } from "../parse.ts";
import type { FilterResource } from "../schema/index.ts";
import { SecretSettings } from "../secret-settings.ts";
import type { FilterCapabilities, FilterConfig } from "../snapshot.ts";
import { compileCapabilities } from "./capabilities.ts";
import { type CompileContext, fullName } from "./context.ts";
import { declaredCapabilities, missingGrants } from "./declared.ts";
import { isMeshKnown } from "./mesh.ts";

/** The module of a filter: its bytes, or what is known of it without them. */
type FoundModule = { readonly origin: string } & (
  | (ModuleBytes & { readonly served?: undefined })
  | { readonly digest: string; readonly bytes?: undefined; readonly served: ServedModule }
);

/** All filters; the bytes of their modules go to `context.modules`. */
export function compileFilters(context: CompileContext): FilterConfig[] {
  return context.ofKind("Filter").flatMap((filter) => {
    refuseRedacted(context, filter, filter.spec.settings, ["spec", "settings"]);
    const module = findModule(context, filter);
    if (module === undefined || isUnsigned(context, filter, module.bytes)) return [];
    if (module.bytes !== undefined) context.modules.set(module.digest, module.bytes);
    const { spec } = filter;
    const { budget } = spec;
    if (!isStartAllowed(context, filter)) return [];
    const capabilities = compileCapabilities(context, filter);
    if (spec.module.builtin === undefined && module.bytes !== undefined) warnOfMissing(context, filter, module, capabilities);
    const fuel = spec.module.builtin === undefined ? DEFAULT_FILTER_BUDGET : BUILTIN_FILTER_FUEL;
    const abi = (module.bytes === undefined ? module.served.abi : detectAbi(module.bytes)) ?? "proxy-wasm";
    const settings = typeof spec.settings === "string" && abi === "proxy-wasm" ? spec.settings : canonicalJson(spec.settings);
    const secrets = secretsIn(spec.settings as Json, settings, module);
    return [
      {
        name: fullName(filter),
        abi,
        digest: module.digest,
        origin: module.origin,
        settings,
        ...(secrets.length === 0 ? {} : { secrets }),
        onFailure: spec.onFailure,
        ...(spec.pauseHolds === "head" ? { pauseHolds: "head" } : {}),
        ...(spec.rootId === "" ? {} : { rootId: spec.rootId }),
        isolated: spec.isolated,
        ...(spec.disabled ? { disabled: true } : {}),
        ...(spec.release === undefined ? {} : { release: spec.release }),
        budget: {
          callbackFuel: budget.callbackFuel ?? fuel.callbackFuel,
          exchangeFuel: budget.exchangeFuel ?? fuel.exchangeFuel,
          startFuel: budget.startFuel,
          fuelPerSecond: budget.fuelPerSecond ?? fuel.fuelPerSecond,
          faults: budget.faults,
          faultWindowMs: budget.faultWindow,
          depthSlots: budget.depth,
          memoryBytes: budget.memory,
          bufferBytes: budget.buffer,
          pauseMs: budget.pause,
          hostCallsPerCallback: budget.hostCalls,
          hostCallsPerExchange: exchangeHostCalls(budget.hostCalls, budget.exchangeHostCalls),
          outputBytes: budget.output,
          callouts: budget.callouts,
          logLinesPerSecond: budget.logLines,
          sharedDataKeys: budget.sharedDataKeys,
          sharedDataBytes: budget.sharedData,
          metrics: budget.metrics,
          contextsPerInstance: budget.contexts,
        },
        capabilities,
      },
    ];
  });
}

/** Pointers to what is secret. Nobody can say it of other settings than those that were compiled with the module: then all of them are. */
function secretsIn(settings: Json, text: string, { bytes, served }: FoundModule): readonly string[] {
  if (bytes !== undefined) return secretsOfModule(bytes).pointersIn(settings);
  return served.settings === text ? (served.secrets ?? []) : SecretSettings.ALL.pointersIn(settings);
}

/** What `get` and `diff` show in a secret's place must not become the secret. */
function refuseRedacted(
  context: CompileContext,
  filter: FilterResource,
  value: unknown,
  path: readonly (string | number)[],
): void {
  if (context.isRedacted(filter, value, path)) return;
  if (typeof value === "object" && value !== null) {
    const isList = Array.isArray(value);
    for (const [name, child] of Object.entries(value))
      refuseRedacted(context, filter, child, [...path, isList ? Number(name) : name]);
  }
}

/**
 * A module says what it needs, and the resource decides. What it says grants nothing, and keeps nothing out: it may well work without, and
 * where it cannot, its host refuses to load it.
 */
function warnOfMissing(
  context: CompileContext,
  filter: FilterResource,
  { bytes, origin }: { readonly bytes: Uint8Array; readonly origin: string },
  granted: FilterCapabilities,
): void {
  const declared = declaredCapabilities(bytes);
  if (declared === undefined) return;
  for (const { path, write } of missingGrants(declared, granted)) {
    const message = `${origin} declares that it needs capabilities.${path.join(".")}, which is not granted.`;
    const hint = `grant it, if you trust the module with it: ${path.join(".")}: ${write} below spec.capabilities`;
    context.warn(filter, ["spec", "capabilities", ...path], "capability_not_granted", message, hint);
  }
}

/**
 * Where the mesh wants signed modules: reports one that is not. What comes with the proxy needs no signature. Undefined bytes: the module is
 * lost; it was looked at when it was applied, which will do until the Mesh changes.
 */
function isUnsigned(context: CompileContext, filter: FilterResource, bytes: Uint8Array | undefined): boolean {
  const [mesh] = context.ofKind("Mesh");
  const { builtin, file, oci } = filter.spec.module;
  if (mesh?.spec.filters.requireSignature !== true || builtin !== undefined) return false;
  if (!context.isWhole(mesh, ["spec", "filters"])) return true;
  if (bytes === undefined && !context.isBrought(mesh)) return false;
  const reason = bytes === undefined ? "it is not stored any more" : refuseUnsigned(bytes, mesh.spec.filters.trustedKeys);
  if (reason === undefined) return false;
  const path = ["spec", "module", oci !== undefined ? "oci" : file === undefined ? "digest" : "file"];
  const hint = "selvedge filter sign signs it; the Mesh names the keys that are trusted";
  context.report(filter, path, "unsigned_module", `The mesh wants signed modules, and this one will not do: ${reason}.`, hint);
  return true;
}

/** A start runs where others are served: how long that may last is not for whoever writes a filter to say. */
function isStartAllowed(context: CompileContext, filter: FilterResource): boolean {
  const { startFuel } = filter.spec.budget;
  const [mesh] = context.ofKind("Mesh");
  const allowed = mesh?.spec.filters.startFuel ?? CONTROL_LIMITS.startFuel;
  if (startFuel <= allowed) return true;
  // Nothing is tried while it is not known what the mesh says.
  if (!isMeshKnown(context)) return false;
  const message = `A start may use ${allowed} fuel at most, and this one has ${startFuel}.`;
  const hint = "whoever may write the Mesh can allow more: spec.filters.startFuel";
  context.report(filter, ["spec", "budget", "startFuel"], "out_of_range", message, hint);
  return false;
}

function findModule(context: CompileContext, filter: FilterResource): FoundModule | undefined {
  const { builtin, file, digest, oci } = filter.spec.module;
  const { modules } = context.options;
  const path = ["spec", "module"];
  if (builtin !== undefined) {
    const found = modules.builtin(builtin);
    if (found !== undefined) return { ...found, origin: `builtin:${builtin}` };
    const known = modules.builtins.join(", ");
    const hint = known === "" ? "the built-in filters are not built: npm run build" : `there are ${known}`;
    context.report(filter, [...path, "builtin"], "unknown_module", `There is no built-in filter ${builtin}.`, hint);
    return undefined;
  }
  if (file !== undefined) {
    const bytes = context.readFile(filter, file, [...path, "file"], CONFIG_LIMITS.moduleBytes);
    if (bytes === undefined) return undefined;
    if (detectAbi(bytes) !== undefined) return { digest: sha256Digest(bytes), bytes, origin: file };
    const hint = "a core module of version 1, or a component";
    context.report(filter, [...path, "file"], "bad_module", `${file} is not a WebAssembly module.`, hint);
    return undefined;
  }
  // Nothing is pulled for a filter that has issues.
  if (oci !== undefined) return context.isPartial(filter) ? undefined : findPulled(context, filter, oci);
  const stored = modules.byDigest(digest ?? "");
  if (stored !== undefined) return { ...stored, origin: stored.digest };
  const lost = findServed(context, filter, "digest", digest);
  if (lost !== undefined) return { ...lost, origin: lost.digest };
  reportUnknown(context, filter, digest ?? "");
  return undefined;
}

/** Where there is no store, pushing it there would not help. */
function reportUnknown(context: CompileContext, filter: FilterResource, digest: string): void {
  const { alone } = context.options;
  const path = ["spec", "module", "digest"];
  if (alone === undefined) {
    const hint = "selvedge filter push stores a module and prints its digest; selvedge filter list shows what is stored";
    context.report(filter, path, "unknown_module", `No module with the digest ${digest} is stored.`, hint);
    return;
  }
  const message = `There is no module with the digest ${digest}: a digest is of what a control plane has stored.`;
  const hint = alone === "files" ? context.hintOfStored : "a proxy that reads files takes module: { file: … } or { oci: … }";
  context.report(filter, path, "unknown_module", message, hint);
}

/**
 * A module that is not stored any more, of a Filter that the apply does not touch: proxies have it, so that what they serve goes on, and an
 * apply of something else is not to blame.
 */
function findServed(
  context: CompileContext,
  filter: FilterResource,
  field: "digest" | "oci",
  digest = "",
): Pick<FoundModule & { readonly bytes?: undefined }, "digest" | "bytes" | "served"> | undefined {
  if (context.isBrought(filter)) return undefined;
  const served = context.options.served?.(digest);
  if (served === undefined) return undefined;
  const message = `The module ${digest} is not stored any more: only proxies that have it go on with it.`;
  const hint = "push it again (selvedge filter push), or delete the Filter";
  context.warn(filter, ["spec", "module", field], "module_lost", message, hint);
  return { digest, served };
}

/** The scheme in front keeps it apart from `builtin:`, whose modules need no signature: a host may have that name. */
const originOf = (oci: string): string => (oci.startsWith("oci://") ? oci : `oci://${oci}`);

/** A module that was pulled (`pinModules`) before this, or earlier. */
function findPulled(context: CompileContext, filter: FilterResource, oci: string): FoundModule | undefined {
  const { digest } = filter.spec.module;
  const { modules, notPulled } = context.options;
  const failure = notPulled?.get(filter);
  const found = failure === undefined && digest !== undefined ? modules.byDigest(digest) : undefined;
  if (found !== undefined) return { ...found, origin: originOf(oci) };
  const lost = failure === undefined ? findServed(context, filter, "oci", digest) : undefined;
  if (lost !== undefined) return { ...lost, origin: originOf(oci) };
  const { code, message, hint } = failure ?? {
    code: "unknown_module",
    message: digest === undefined ? "it was not pulled" : `no module with the digest ${digest} is stored`,
    hint: "apply the Filter: an apply pulls it",
  };
  context.report(filter, ["spec", "module", "oci"], code, `${oci} cannot be had: ${message}.`, hint);
  return undefined;
}
