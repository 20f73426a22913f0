import type { Kind } from "./schema/index.ts";
import type { ResourceName } from "./snapshot.ts";

/**
 * Resources that are there and cannot be used as they are, by `Kind namespace/name`. What of it could not be read is `*`: nobody
 * is told that a thing is missing which this may be.
 */
export type RefusedKeys = readonly string[];

/** Of a text that cannot be read at all: it may hold anything. */
export const REFUSED_ANYTHING = "* */*";

/** May the resource be one of those that were refused? */
export function mayBeRefused(refused: RefusedKeys, kind: Kind, name: ResourceName): boolean {
  const [namespace = "", short = ""] = name.split("/");
  return refused.some((key) => {
    const [ofKind = "", ofNamespace = "", ofName = ""] = key.split(/[ /]/);
    return fits(ofKind, kind) && fits(ofNamespace, namespace) && fits(ofName, short);
  });
}

/** May a resource of this kind be among those that were refused? */
export const mayHaveRefused = (refused: RefusedKeys, kind: Kind): boolean =>
  refused.some((key) => fits(key.slice(0, key.indexOf(" ")), kind));

const fits = (pattern: string, text: string): boolean => pattern === "*" || pattern === text;
