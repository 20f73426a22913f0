import type { IssuePath } from "../../config/parse.ts";
import type { Resource } from "../../config/schema/index.ts";

/** A reference that a resource makes to another. */
export interface Reference {
  /** `name` or `namespace/name`. */
  readonly reference: string;
  readonly path: IssuePath;
}

/** Every reference in a resource. */
export function referencesOf(resource: Resource): Reference[] {
  switch (resource.kind) {
    case "Route":
      return routeReferences(resource);
    case "Filter":
      return listed(
        resource.spec.capabilities.callouts.map(({ service }) => service),
        ["spec", "capabilities", "callouts"],
      );
    case "Mesh":
      return listed(resource.spec.accessLog.filter?.routes ?? [], ["spec", "accessLog", "filter", "routes"]);
    default:
      return [];
  }
}

function routeReferences({ spec }: Extract<Resource, { kind: "Route" }>): Reference[] {
  const rules = (spec.rules ?? []).flatMap((rule, i): Reference[] => {
    const path = ["spec", "rules", i];
    const authentication =
      rule.authentication === undefined ? [] : [{ reference: rule.authentication, path: [...path, "authentication"] }];
    return [...partReferences(rule.backends ?? [], rule.filters, path), ...authentication];
  });
  const tcp = spec.tcp === undefined ? [] : partReferences(spec.tcp.backends, spec.tcp.filters, ["spec", "tcp"]);
  return [...listed(spec.gateways, ["spec", "gateways"]), ...rules, ...tcp];
}

function partReferences(backends: readonly { service: string }[], filters: readonly string[], path: IssuePath): Reference[] {
  const services = backends.map(({ service }, at) => ({ reference: service, path: [...path, "backends", at] }));
  return [...services, ...listed(filters, [...path, "filters"])];
}

const listed = (references: readonly string[], path: IssuePath): Reference[] =>
  references.map((reference, i) => ({ reference, path: [...path, i] }));
