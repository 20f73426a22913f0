import { sortedSet } from "../canonical.ts";
import type { MeshResource } from "../schema/index.ts";
import { type MeshSpec, meshSpec } from "../schema/mesh.ts";
import type { MeshConfig, TracingConfig } from "../snapshot.ts";
import type { CompileContext } from "./context.ts";

/** Of what is applied, or of all. */
function refuseSeveral(context: CompileContext, meshes: readonly MeshResource[]): void {
  const first = meshes.find((each) => !context.isApplied(each)) ?? meshes[0];
  for (const other of meshes) {
    if (other === first || first === undefined) continue;
    const message = `There is also ${context.nameOf(first)}${context.whereStored(first).replace(/,$/, "")}.`;
    const stored = `Mesh/${shortReference(first)}`;
    const hint = context.isApplied(first)
      ? "put everything into one"
      : `put everything into that one, under its name: \`selvedge get ${stored}\` shows it; or \`selvedge delete ${stored}\` first`;
    context.report(other, ["metadata", "name"], "mesh_conflict", message, hint);
  }
}

/** As commands take it: without the namespace `default`. */
const shortReference = ({ metadata: { namespace, name } }: MeshResource): string =>
  namespace === "default" ? name : `${namespace}/${name}`;

/** The one Mesh, or the defaults. */
export function compileMesh(context: CompileContext): MeshConfig {
  const meshes = context.ofKind("Mesh");
  const [mesh] = meshes;
  refuseSeveral(
    context,
    meshes.filter((each) => context.isWhole(each, ["metadata"])),
  );
  const { accessLog, tracing, trustedProxies, drain, filters } = mesh?.spec ?? meshSpec.parse({});
  const { filter, filters: logsFilters, slowFilter, ...settings } = accessLog;
  if (mesh !== undefined) warnOfIdleKeys(context, mesh);
  const routes = filter?.routes?.map((each, i) =>
    mesh === undefined ? each : context.resolve(mesh, "Route", each, ["spec", "accessLog", "filter", "routes", i]),
  );
  return {
    accessLog: {
      ...settings,
      ...(logsFilters ? { filters: true } : {}),
      ...(slowFilter === undefined ? {} : { slowFilterMs: slowFilter }),
      filter: filter && {
        minStatus: filter.minStatus,
        minDurationMs: filter.minDuration,
        routes: routes && sortedSet(routes.filter((each) => each !== undefined)),
      },
      requestHeaders: sortedSet(accessLog.requestHeaders),
      responseHeaders: sortedSet(accessLog.responseHeaders),
    },
    tracing: compileTracing(tracing),
    trustedProxies: sortedSet(trustedProxies),
    drain: { graceMs: drain.grace, tunnelGraceMs: drain.tunnelGrace },
    ...(filters.requireSignature ? { filterKeys: sortedSet(filters.trustedKeys) } : {}),
  };
}

const COLLECTOR_PATHS = { otlp: "/v1/traces", zipkin: "/api/v2/spans" } as const;

function compileTracing({ export: wanted, ...context }: MeshSpec["tracing"]): TracingConfig {
  if (wanted === undefined) return context;
  const { protocol, serviceName, timeout } = wanted;
  const url = new URL(wanted.url);
  if (url.pathname === "/") url.pathname = COLLECTOR_PATHS[protocol];
  return { ...context, export: { protocol, url: url.href, serviceName, timeoutMs: timeout } };
}

/** Keys alone refuse nobody: whoever names them most likely thinks that they do. */
function warnOfIdleKeys(context: CompileContext, mesh: MeshResource): void {
  const path = ["spec", "filters"];
  const { requireSignature, trustedKeys } = mesh.spec.filters;
  if (requireSignature || trustedKeys.length === 0) return;
  if (!context.isWhole(mesh, path) || context.hasUnknownKey(mesh, path)) return;
  const message = "Keys are trusted, but no signature is required: every module runs.";
  context.warn(mesh, [...path, "trustedKeys"], "signature_not_required", message, "requireSignature: true beside trustedKeys");
}

/** The Mesh says whose modules may run, and how long they may start: none runs while that cannot be read, or a field that nobody knows may have meant it. */
export function isMeshKnown(context: CompileContext): boolean {
  if (!context.refused.mayHave("Mesh")) return true;
  const meshes = context.ofKind("Mesh");
  const isKnown = (mesh: MeshResource): boolean =>
    context.isPartial(mesh) &&
    context.isWhole(mesh, ["spec", "filters"]) &&
    ![[], ["spec"], ["spec", "filters"]].some((path) => context.hasUnknownKey(mesh, path));
  return meshes.length > 0 && meshes.every(isKnown);
}
