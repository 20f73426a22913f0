/** What a user wrote, parsed: the Kubernetes envelope. Plain JSON; validated by src/config before it gets here. */
export interface ResourceDocument {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string | undefined; readonly [key: string]: unknown };
  readonly spec?: unknown;
}

/** `Kind/namespace/name`, e.g. `Route/default/shop`; the identity of a resource in store, history and API. */
export type ResourceKey = string;

/** A resource as the store holds it. */
export interface StoredResource {
  readonly key: ResourceKey;
  /** Revision of the apply that wrote it last; its ETag. */
  readonly revision: number;
  readonly resource: ResourceDocument;
}

/** Key of a resource; the namespace is `default` when it has none. */
export function keyOf(resource: ResourceDocument): ResourceKey {
  return makeKey(resource.kind, resource.metadata.namespace, resource.metadata.name);
}

export function makeKey(kind: string, namespace: string | undefined, name: string): ResourceKey {
  return `${kind}/${namespace === undefined || namespace === "" ? "default" : namespace}/${name}`;
}
