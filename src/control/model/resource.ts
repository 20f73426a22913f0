import { canonicalJson, sha256Digest } from "../../config/canonical.ts";
import type { Json } from "../../config/parse.ts";

/** `Kind/namespace/name`, e.g. `Route/default/shop`; the identity of a resource in store, history and API. */
export type ResourceKey = string;

/** A resource as the store holds it. */
export interface StoredResource {
  readonly key: ResourceKey;
  /** Revision of the apply that wrote it last; its ETag. */
  readonly revision: number;
  /** As the user wrote it: the Kubernetes envelope, without defaults. */
  readonly written: Json;
}

interface Named {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

export function keyOf(resource: Named): ResourceKey {
  return makeKey(resource.kind, resource.metadata.namespace, resource.metadata.name);
}

/** The namespace is `default` when there is none. */
export function makeKey(kind: string, namespace: string | undefined, name: string): ResourceKey {
  return `${kind}/${namespace === undefined || namespace === "" ? "default" : namespace}/${name}`;
}

/** Reads `Kind/namespace/name` or `Kind/name` (also with a space after the kind); undefined when it is neither. */
export function parseKey(text: string): ResourceKey | undefined {
  const parts = text.trim().split(/[/\s]+/);
  if (
    parts.length < 2 ||
    parts.length > 3 ||
    !parts.every((part) => /^[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?$/.test(part))
  )
    return undefined;
  const [kind, second, third] = parts as [string, string, string | undefined];
  return third === undefined ? makeKey(kind, undefined, second) : makeKey(kind, second, third);
}

/** `sha256:` of what a user wrote; equal for equal values. */
export function hashOf(written: Json): string {
  return sha256Digest(canonicalJson(written));
}
