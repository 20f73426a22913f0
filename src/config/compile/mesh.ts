import { sortedSet } from "../canonical.ts";
import { meshSpec } from "../schema/mesh.ts";
import type { MeshConfig } from "../snapshot.ts";
import { type CompileContext, fullName } from "./context.ts";

/** The one Mesh, or the defaults. */
export function compileMesh(context: CompileContext): MeshConfig {
  const [mesh, ...others] = context.ofKind("Mesh");
  for (const other of others) {
    const message = `There is also Mesh ${mesh === undefined ? "" : fullName(mesh)}.`;
    context.report(other, ["metadata", "name"], "mesh_conflict", message, "put everything into one");
  }
  const { accessLog, tracing, trustedProxies, drain, filters } = mesh?.spec ?? meshSpec.parse({});
  const { filter, filters: logsFilters, slowFilter, ...settings } = accessLog;
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
    tracing,
    trustedProxies: sortedSet(trustedProxies),
    drain: { graceMs: drain.grace, tunnelGraceMs: drain.tunnelGrace },
    ...(filters.requireSignature ? { filterKeys: sortedSet(filters.trustedKeys) } : {}),
  };
}
