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
  const rules = spec.rules.flatMap((rule, i): Reference[] => {
    const path = ["spec", "rules", i];
    const backends = (rule.backends ?? []).map(({ service }, at) => ({ reference: service, path: [...path, "backends", at] }));
    const authentication =
      rule.authentication === undefined ? [] : [{ reference: rule.authentication, path: [...path, "authentication"] }];
    return [...backends, ...listed(rule.filters, [...path, "filters"]), ...authentication];
  });
  return [...listed(spec.gateways, ["spec", "gateways"]), ...rules];
}

const listed = (references: readonly string[], path: IssuePath): Reference[] =>
  references.map((reference, i) => ({ reference, path: [...path, i] }));
