/** Native API version. */
export const API_VERSION = "selvedge.dev/v1";

/** Native kinds. */
export const KINDS = ["Gateway", "Route", "Service", "Filter", "Authentication", "Mesh"] as const;
export type Kind = (typeof KINDS)[number];

export interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A resource that passed the schema: defaults filled in, durations in ms, sizes in bytes. */
export interface Resource {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: Kind;
  readonly metadata: Metadata;
  readonly spec: unknown;
}

/** `Route default/shop`: how issues and people name a resource; unique in a configuration. */
export function resourceKey(resource: {
  readonly kind: string;
  readonly metadata: Pick<Metadata, "name" | "namespace">;
}): string {
  return `${resource.kind} ${resource.metadata.namespace}/${resource.metadata.name}`;
}

/** JSON Schema (draft 2020-12) for editors: of one kind, or of all with one `oneOf` entry per kind. */
export function jsonSchema(_kind?: Kind): Record<string, unknown> {
  throw new Error("not yet");
}
